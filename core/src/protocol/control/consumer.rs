// SPDX-License-Identifier: MPL-2.0
//! The end that reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::field::{Empty, debug};

use super::description::Description;
use super::layout::{
    HEADER_BYTES, Header, LayoutError, ROWS, SLOT_BYTES, SLOT_SEQUENCE, STATE_CLOSED, STATE_EOS, STATE_SUPERSEDED,
    Tables, WAKE,
};
use super::link::Link;
use super::patience::Patience;
use super::ring::{self, Fresh, Oldest, Word, Words};
use super::stamps::FrameInfo;
use super::takeover::wire_identity;
use super::{ConsumeError, Interrupt};
use crate::segment::{
    AccessError, Bell, ControlSegment, Linked, OpenOptions, RowClaim, Segment, SegmentError, SegmentName, SlotMemory,
    monotonic_ns, monotonic_ns_at,
};

/// Longest sleep: a ring that was lost, and a producer that died, are noticed after this.
const SLICE_NS: u64 = 100_000_000;
/// How often a description that is being written, or a name that is being removed, is looked at, a millisecond apart.
const TRIES: u32 = 50;
/// How often the pixels are looked for where the control segment says they are, a millisecond apart.
const ELSEWHERE: u32 = 10;
/// How often a frame is copied without a lease before it is given up as one that the producer outruns.
const COPIES: u32 = 4;
/// How often a frame is looked for that the producer takes away meanwhile.
const LOOKS: u32 = 16;

/// How to attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Frames that this consumer wants to hold at once without a copy. It gets as many as there are, perhaps none.
    pub leases: u32,
    /// Other users' segments.
    pub open: OpenOptions,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There is a frame to take.
    Newer,
    /// Frames have another description from now on: see [`Consumer::description`].
    Respec,
    /// All frames were taken, and the producer says that there will be no more.
    Eos,
    /// The producer has gone, in order.
    Closed,
    /// The producer has died. Another one may go on in its place: then a wait says [`Wait::Respec`].
    Gone,
    /// Another segment stands under the name: attach again.
    Superseded,
    /// The deadline came.
    Deadline,
    /// The interrupt was raised.
    Interrupted,
}

/// What became of an attempt to lease a frame.
#[derive(Debug)]
pub enum Take {
    /// This frame stays as it is until the slot is dropped.
    Frame(ReadSlot),
    /// There is a frame, but this consumer may not hold any more: copy it.
    NoLease,
    /// There is no frame that was not taken.
    Nothing,
}

/// A frame where it lies.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What is known about it.
    pub info: FrameInfo,
    /// The segment that it lies in.
    pub segment: &'a Arc<Segment>,
    /// Its first byte in the segment.
    pub offset: usize,
}

/// Takes frames that a producer offers under a name.
#[derive(Debug)]
pub struct Consumer {
    link: Arc<Link>,
    interrupt: Interrupt,
    news: Arc<Bell>,
    patience: Patience,
    edition: u64,
    header: Header,
    description: Description,
    pixels: Arc<Segment>,
    /// The last frame that was taken.
    last: u64,
    /// Whether one was.
    begun: bool,
    probed: u64,
    skipped: u64,
    torn: u64,
}

impl Consumer {
    /// Finds the producer of `name`, claims a row, maps the pixels and has every page of them at hand. The newest frame,
    /// if there is one, is the first to be taken. `interrupt` ends waits.
    ///
    /// # Errors
    /// No control segment, a producer that has gone (what it left is removed, if nobody else uses it) or is not ready,
    /// pixels that are not those under the name ([`ConsumeError::Elsewhere`]: another program made its own, which is to
    /// be read without a control segment), no row, or a segment that this program cannot read.
    pub fn attach(name: &SegmentName, options: &AttachOptions, interrupt: Interrupt) -> Result<Self, ConsumeError> {
        let _span = tracing::debug_span!("attach", protocol = "control", %name).entered();
        let mut elsewhere = 0;
        for _ in 0..TRIES {
            match Self::try_attach(name, options, &interrupt)? {
                Ok(consumer) => return Ok(consumer),
                Err(NotYet::Elsewhere) if elsewhere == ELSEWHERE => {
                    return Err(ConsumeError::Elsewhere { name: name.as_str().to_owned() });
                }
                Err(NotYet::Elsewhere) => elsewhere += 1,
                Err(NotYet::Changing) => elsewhere = 0,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(ConsumeError::NotReady { name: name.as_str().to_owned() })
    }

    fn try_attach(
        name: &SegmentName,
        options: &AttachOptions,
        interrupt: &Interrupt,
    ) -> Result<Result<Self, NotYet>, ConsumeError> {
        let control = ControlSegment::open(name, &options.open)?;
        let snapshot = match Snapshot::take(control.segment())? {
            Some(snapshot) => snapshot,
            None => return not_ready(name, control).map(|()| Err(NotYet::Changing)),
        };
        let row = match control.claim_row(snapshot.header.tables.rows)? {
            RowClaim::Row(row) => row,
            RowClaim::Leaving => return Ok(Err(NotYet::Changing)),
            RowClaim::Full => return Err(ConsumeError::Full { name: name.as_str().to_owned() }),
        };
        // From here on the row goes with the link.
        let link = Link::new(name, control, snapshot.header.tables, row)?;
        if link.control.linked()? != Linked::Here {
            return Ok(Err(NotYet::Changing));
        }
        link.set_description(&snapshot.description);
        if !link.control.has_producer()? {
            return Err(ConsumeError::NoProducer { name: name.as_str().to_owned() });
        }
        let Some(pixels) = open_pixels(name, &snapshot.description, &options.open)? else {
            // A producer that changes its memory says so before and after.
            let stands = ring::edition(&link.words) == snapshot.edition;
            return Ok(Err(if stands { NotYet::Elsewhere } else { NotYet::Changing }));
        };
        pixels.populate()?;
        let segment = Arc::clone(link.control.segment());
        segment.populate()?;
        let news = Arc::new(Bell::new(&name.control(), segment, WAKE.offset())?);
        let taken = link.claim(options.leases);
        Ok(Ok(Self {
            link: Arc::new(link),
            interrupt: interrupt.clone(),
            news,
            patience: Patience::default(),
            edition: snapshot.edition,
            header: snapshot.header,
            description: snapshot.description,
            pixels,
            last: taken,
            begun: false,
            probed: monotonic_ns(),
            skipped: 0,
            torn: 0,
        }))
    }

    /// What the frames are.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Counts descriptions.
    pub fn generation(&self) -> u64 {
        self.edition / 2
    }

    /// Whether the producer leaves no frame out.
    pub fn is_lossless(&self) -> bool {
        self.header.lossless
    }

    /// Frames that this consumer may hold at once, as of now.
    pub fn granted(&self) -> u32 {
        self.link.granted()
    }

    /// Number of the row.
    pub fn row(&self) -> u32 {
        self.link.row
    }

    /// Frames that were published since the first one taken, and never seen here.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Copies that were given up because the producer wrote into them.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// Waits until there is something to say, at most until `deadline` (`None`: as long as it takes).
    ///
    /// # Errors
    /// A segment was cut short, or says what cannot be; the system does not tell.
    pub fn wait_newer(&mut self, deadline: Option<Instant>) -> Result<Wait, ConsumeError> {
        let span = tracing::trace_span!("wait", name = %self.link.name, came = Empty).entered();
        let wait = self.wait_for_newer(deadline)?;
        span.record("came", debug(wait));
        Ok(wait)
    }

    fn wait_for_newer(&mut self, deadline: Option<Instant>) -> Result<Wait, ConsumeError> {
        let mut until = None;
        loop {
            if self.interrupt.is_raised() {
                return Ok(Wait::Interrupted);
            }
            let wake = self.link.words.load(Word::Wake, Ordering::Acquire);
            if let Some(wait) = self.look()? {
                return Ok(wait);
            }
            let news = || (self.link.words.load(Word::Wake, Ordering::Acquire) != wake).then_some(());
            if self.patience.look(news).is_some() {
                continue;
            }
            let until = *until.get_or_insert_with(|| deadline.map_or(u64::MAX, monotonic_ns_at));
            let now = monotonic_ns();
            if now.saturating_sub(self.probed) >= SLICE_NS {
                self.probed = now;
                if let Some(wait) = self.probe()? {
                    return Ok(wait);
                }
            }
            if now >= until {
                return Ok(Wait::Deadline);
            }
            let words = &self.link.words;
            let seen = ring::about_to_sleep(words, self.link.row);
            let found = self.look();
            if !matches!(found, Ok(None)) {
                ring::awake(&self.link.words, self.link.row);
                return found.map(|found| found.unwrap_or(Wait::Deadline));
            }
            let slice = until.min(self.probed + SLICE_NS);
            let slept = self.interrupt.sleep(&self.news, self.link.row, seen, slice);
            ring::awake(&self.link.words, self.link.row);
            let awake = monotonic_ns();
            self.patience.slept(awake - now);
            if self.link.words.load(Word::Wake, Ordering::Relaxed) != wake {
                // News is a sign of life: the kernel need not be asked.
                self.probed = awake;
            }
            slept?;
        }
    }

    /// What there is without waiting.
    fn look(&mut self) -> Result<Option<Wait>, ConsumeError> {
        self.link.check()?;
        let words = &self.link.words;
        // Looked at before the frames: all of them were published before the end was said.
        let state = words.load(Word::State, Ordering::Acquire) as u32;
        let next = self.next();
        words.check()?;
        let edition = ring::edition(words);
        if edition != self.edition {
            // Odd: it is about to be said.
            #[cfg(windows)]
            if !edition.is_multiple_of(2) && self.description.pixels.name == self.link.name.as_str() {
                // The raw section cannot grow while we have it open. It is opened again with the description.
                self.pixels = Arc::new(Segment::nothing());
            }
            return Ok(if edition.is_multiple_of(2) && self.respec()? { Some(Wait::Respec) } else { None });
        }
        Ok(match state {
            _ if next.is_some() => Some(Wait::Newer),
            state if state & STATE_SUPERSEDED != 0 => Some(Wait::Superseded),
            state if state & STATE_CLOSED != 0 => Some(Wait::Closed),
            state if state & STATE_EOS != 0 => Some(Wait::Eos),
            _ => None,
        })
    }

    /// Asks the kernel whether anybody can still bring news.
    fn probe(&self) -> Result<Option<Wait>, ConsumeError> {
        if self.link.control.linked()? != Linked::Here {
            return Ok(Some(Wait::Superseded));
        }
        if !self.link.control.has_producer()? {
            return Ok(Some(Wait::Gone));
        }
        // The raw segment: another program may have made its own under the name.
        let raw = self.description.pixels.name == self.link.name.as_str();
        let elsewhere = raw && self.pixels.linked()? == Linked::Elsewhere;
        // Unless the producer did, who says so.
        Ok((elsewhere && ring::edition(&self.link.words) == self.edition).then_some(Wait::Superseded))
    }

    /// The frame to take next, and its slot.
    fn next(&self) -> Option<(u64, u32)> {
        let words = &self.link.words;
        let slots = self.description.pixels.slots;
        if self.header.lossless {
            for _ in 0..LOOKS {
                match ring::oldest_after(words, slots, self.last) {
                    Oldest::Frame { sequence, slot } => return Some((sequence, slot)),
                    Oldest::None => return None,
                    Oldest::InHand { .. } => std::thread::yield_now(),
                }
            }
            // Either the producer has gone on without us, or it stands between its mark and its look at our row: what
            // it does next tells.
            return None;
        }
        for _ in 0..LOOKS {
            match ring::newest_after(words, slots, self.last) {
                Fresh::Frame { sequence, slot } => return Some((sequence, slot)),
                Fresh::None => return None,
                Fresh::Moved => {}
            }
        }
        None
    }

    /// Reads the description that is new. False when it is being written again.
    fn respec(&mut self) -> Result<bool, ConsumeError> {
        let Some(snapshot) = Snapshot::take(self.link.control.segment())? else { return Ok(false) };
        if snapshot.header.tables != *self.link.words.tables() {
            return Err(LayoutError::Bad { what: "the tables' place", found: 0, why: "has changed" }.into());
        }
        let name = &self.link.name;
        let open = OpenOptions { allow_other_user: true };
        let Some(pixels) = open_pixels(name, &snapshot.description, &open)? else { return Ok(false) };
        pixels.populate()?;
        self.link.set_description(&snapshot.description);
        self.edition = snapshot.edition;
        self.header = snapshot.header;
        self.description = snapshot.description;
        self.pixels = pixels;
        let words = &self.link.words;
        let newest = ring::observe(words).sequence;
        if newest < self.last {
            // Somebody began to count anew.
            self.last = newest;
            self.took(newest);
        }
        Ok(true)
    }

    /// Leases the next frame: the newest, or the oldest that was not taken yet if the producer is lossless.
    ///
    /// # Errors
    /// A segment was cut short, or says what cannot be.
    pub fn take(&mut self) -> Result<Take, ConsumeError> {
        self.link.check()?;
        for _ in 0..LOOKS {
            let Some((sequence, slot)) = self.next() else { break };
            let link = &self.link;
            if ring::edition(&link.words) != self.edition {
                break;
            }
            let generation = self.generation() as u32;
            match link.lease(generation, slot, sequence) {
                ring::Leased::Yes => {}
                ring::Leased::Moved => continue,
                ring::Leased::Over => return Ok(Take::NoLease),
            }
            // From here on the lease goes with the slot.
            let lease = Lease { link: Arc::clone(link), generation, slot, lossless: self.header.lossless };
            link.words.check()?;
            if ring::edition(&link.words) != self.edition {
                break;
            }
            let info = self.info(slot, sequence)?;
            let (offset, len) = (self.description.slot_offset(slot), info.payload);
            let memory = SlotMemory::new(Arc::clone(&self.pixels), offset, len)?;
            self.took(sequence);
            return Ok(Take::Frame(ReadSlot { memory, info, _lease: lease }));
        }
        self.link.words.check()?;
        Ok(Take::Nothing)
    }

    /// Hands the next frame to `copy`, which may copy its bytes and nothing else: it is leased meanwhile if that can be,
    /// else `copy` is called again when the producer wrote into it. `None`: nothing new, or the producer is too fast.
    ///
    /// # Errors
    /// What `copy` says; a segment was cut short, or says what cannot be.
    pub fn copy<T, E: From<ConsumeError>>(
        &mut self,
        mut copy: impl FnMut(Frame<'_>) -> Result<T, E>,
    ) -> Result<Option<(FrameInfo, T)>, E> {
        match self.take()? {
            Take::Frame(slot) => {
                let frame = Frame { info: slot.info, segment: slot.memory.segment(), offset: slot.memory.offset() };
                let _span = copying(&self.link.name, &slot.info).entered();
                let copied = copy(frame)?;
                return Ok(Some((slot.info, copied)));
            }
            Take::Nothing => return Ok(None),
            Take::NoLease => {}
        }
        for _ in 0..COPIES {
            let Some((sequence, slot)) = self.next() else { break };
            let words = &self.link.words;
            if ring::edition(words) != self.edition {
                break;
            }
            // What is read before the second look is nobody's word yet, an error neither.
            let info = self.info(slot, sequence);
            let copied = info.as_ref().ok().map(|info| {
                let _span = copying(&self.link.name, info).entered();
                copy(Frame { info: *info, segment: &self.pixels, offset: self.description.slot_offset(slot) })
            });
            if !ring::still_whole(words, slot, sequence) {
                self.torn += 1;
                words.check().map_err(ConsumeError::from)?;
                continue;
            }
            let info = info?;
            let Some(copied) = copied else { break };
            let copied = copied?;
            self.took(sequence);
            return Ok(Some((info, copied)));
        }
        self.link.words.check().map_err(ConsumeError::from)?;
        Ok(None)
    }

    fn info(&self, slot: u32, sequence: u64) -> Result<FrameInfo, ConsumeError> {
        let mut entry = [0; SLOT_BYTES];
        self.link.words.segment().read(self.link.words.tables().slot(slot, SLOT_SEQUENCE), &mut entry)?;
        Ok(FrameInfo::parse(&entry, sequence, &self.description)?)
    }

    /// Notes that frame `sequence` was taken.
    fn took(&mut self, sequence: u64) {
        if self.begun {
            self.skipped += sequence.saturating_sub(self.last + 1);
        }
        self.begun = true;
        self.last = sequence;
        self.link.took(sequence, self.header.lossless);
    }
}

/// A frame that is read where it lies.
fn copying(name: &SegmentName, info: &FrameInfo) -> tracing::Span {
    tracing::trace_span!("copy", %name, sequence = info.sequence, bytes = info.payload)
}

impl Drop for Consumer {
    fn drop(&mut self) {
        tracing::debug!(protocol = "control", name = %self.link.name, skipped = self.skipped, torn = self.torn, "detach");
        // Slots that are still held keep the row, and must not keep anybody waiting for frames that nobody takes.
        self.link.took(u64::MAX, self.header.lossless);
    }
}

/// A leased frame: nobody writes it until this is dropped, from any thread, whatever became of consumer and producer.
#[derive(Debug)]
pub struct ReadSlot {
    memory: SlotMemory,
    info: FrameInfo,
    _lease: Lease,
}

impl ReadSlot {
    /// What is known about the frame.
    pub fn info(&self) -> &FrameInfo {
        &self.info
    }

    /// Its bytes, mapped for reading.
    pub fn memory(&self) -> &SlotMemory {
        &self.memory
    }
}

/// The right to a slot, given back at the end.
#[derive(Debug)]
struct Lease {
    link: Arc<Link>,
    generation: u32,
    slot: u32,
    lossless: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.give_back(self.generation, self.slot, self.lossless);
    }
}

/// Why there is no consumer yet.
enum NotYet {
    /// The producer, or whoever removes what it left, is at it.
    Changing,
    /// The pixels are not where the control segment says.
    Elsewhere,
}

/// Header and description of one edition.
struct Snapshot {
    edition: u64,
    header: Header,
    description: Description,
}

impl Snapshot {
    /// `None` while they are being written.
    fn take(segment: &Arc<Segment>) -> Result<Option<Self>, ConsumeError> {
        if segment.len() < HEADER_BYTES {
            return Err(LayoutError::TooShort { len: segment.len(), needed: HEADER_BYTES }.into());
        }
        let mut bytes = [0; HEADER_BYTES];
        segment.read(0, &mut bytes)?;
        // A file of somebody else's is judged before any word of it is believed.
        if let Err(stranger @ LayoutError::BadMagic { .. }) = Header::parse(&bytes, segment.len()) {
            return Err(stranger.into());
        }
        // Only words that every version has at its place are looked at before the header is known.
        let words = super::words::SegmentWords::new(Arc::clone(segment), Tables::OURS);
        let edition = ring::edition(&words);
        if !edition.is_multiple_of(2) {
            return Ok(None);
        }
        segment.read(0, &mut bytes)?;
        if !ring::still_described(&words, edition) {
            return Ok(None);
        }
        words.check()?;
        let header = match Header::parse(&bytes, segment.len()) {
            Err(LayoutError::NotReady) => return Ok(None),
            header => header?,
        };
        let description = Description::parse(&bytes, &header)?;
        Ok(Some(Self { edition, header, description }))
    }
}

/// A control segment that nobody has finished: being written, or left so by a producer that died over it.
fn not_ready(name: &SegmentName, control: ControlSegment) -> Result<(), ConsumeError> {
    if control.has_producer()? {
        return Ok(());
    }
    control.remove_if_unused(|| crate::segment::remove_pixels(name, None));
    Err(ConsumeError::NoProducer { name: name.as_str().to_owned() })
}

/// Maps the object that holds the pixels; `None` when it is not there, or not any more.
fn open_pixels(
    name: &SegmentName,
    description: &Description,
    open: &OpenOptions,
) -> Result<Option<Arc<Segment>>, ConsumeError> {
    let pixels = &description.pixels;
    let Some(object) = name.pixels_named(&pixels.name) else {
        return Err(ConsumeError::Foreign { name: name.as_str().to_owned(), found: pixels.name.clone() });
    };
    let segment = match Segment::open(&object, open.clone()) {
        Ok(segment) => segment,
        Err(SegmentError::NotFound { .. } | SegmentError::Empty { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if wire_identity(&segment) != pixels.identity {
        return Ok(None);
    }
    if (segment.len() as u64) < pixels.size {
        return Err(AccessError::Truncated { segment_len: segment.len() }.into());
    }
    Ok(Some(Arc::new(segment)))
}

const _: () = assert!(ROWS <= crate::segment::SLEEPERS);
