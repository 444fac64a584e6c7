// SPDX-License-Identifier: MPL-2.0
//! The segment as a consumer sees it: everything but the GPU. Nothing is ever written.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use super::layout::{
    self, HEAD, Header, MAX_SLOTS, Places, SHUTDOWN, Stamp, TIMESTAMP, VERSION, WRITE_IDX, parse, slot_of, still_whole,
};
use super::offer::doorbell;
use super::pace::{Noticed, Pace};
use super::{ConsumeError, words};
use crate::protocol::control::Interrupt;
use crate::segment::{AccessError, Bell, Linked, OpenOptions, Segment, SegmentName, monotonic_ns, monotonic_ns_at};

/// Between two questions to the system whether anybody can still bring news.
const PROBE_NS: u64 = 250_000_000;
/// How long the count must stand still until a section's last user is looked for by letting go of it, on Windows.
#[cfg(windows)]
const STILL_NS: u64 = 1_000_000_000;
/// How often contents that are being written are copied again, a moment apart.
const TRIES: u32 = 20;
/// That moment.
const MOMENT: std::time::Duration = std::time::Duration::from_micros(200);
/// A sleep that was shorter was none.
const ASLEEP_NS: u64 = 20_000;
/// Readers of one word do not tell each other apart.
const ME: u32 = 0;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There is a frame to take.
    Newer,
    /// There is another generation from now on.
    Respec,
    /// The producer has said that it has ended.
    Closed,
    /// The producer has died. How that is known: see [`Watch::wait_newer`].
    Gone,
    /// Another segment stands under the name: attach again.
    Superseded,
    /// The deadline came.
    Deadline,
    /// The interrupt was raised.
    Interrupted,
}

/// A frame that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its number within the generation.
    pub index: u32,
    /// Where it is.
    pub slot: u32,
    /// The generation.
    pub generation: u64,
    /// When it was published, in nanoseconds of the machine's monotonic clock; `None` when the producer does not say.
    /// There is one for all slots, written before the count: it may be that of the frame which is just coming. Nobody
    /// checks what another program says here.
    pub stamp: Option<Stamp>,
}

/// Sees what a producer announces and publishes under a name.
#[derive(Debug)]
pub struct Watch {
    name: SegmentName,
    /// To open the name again.
    #[cfg(windows)]
    options: OpenOptions,
    segment: Arc<Segment>,
    bell: Arc<Bell>,
    interrupt: Interrupt,
    pace: Pace,
    header: Header,
    /// What the header was read from, without count and stamp: while this stands there, the generation is the same.
    announced: Vec<u8>,
    /// The last frame that was taken; 0: none in this generation.
    last: u32,
    /// The count when it was last looked at, to see it move, and when it last did.
    seen: u32,
    moved_ns: u64,
    probed_ns: u64,
    /// A producer of ours had its lock on it.
    owned: bool,
    begun: bool,
    /// What stood here before the last frame was taken: its number, whether there was one, frames skipped, rivals.
    before: (u32, bool, u64, u64),
    /// A frame was given back: it is news, but no sign of life.
    untaken: bool,
    skipped: u64,
    overwritten: u64,
    rivals: u64,
}

impl Watch {
    /// Opens the segment under `name`, read-only, and reads what is announced. The newest frame, if there is one, is the
    /// first to be taken. `interrupt` ends waits.
    ///
    /// # Errors
    /// Nothing there, not ready yet, ended, what cannot be read, and what segments can come to.
    pub fn attach(name: &SegmentName, options: &OpenOptions, interrupt: Interrupt) -> Result<Self, ConsumeError> {
        Self::over(name, options, Arc::new(Segment::open(name, options.clone())?), interrupt)
    }

    /// The same over memory that is open already.
    ///
    /// # Errors
    /// See [`Watch::attach`].
    pub fn over(
        name: &SegmentName,
        options: &OpenOptions,
        segment: Arc<Segment>,
        interrupt: Interrupt,
    ) -> Result<Self, ConsumeError> {
        let bell = Arc::new(Bell::named(&doorbell(name), Arc::clone(&segment), WRITE_IDX.offset())?);
        let mut snapshot = Snapshot::take(name, &segment)?;
        for _ in 0..TRIES {
            if snapshot.is_some() {
                break;
            }
            std::thread::sleep(MOMENT);
            snapshot = Snapshot::take(name, &segment)?;
        }
        let Snapshot { header, announced } = snapshot.ok_or_else(|| not_ready(name))?;
        #[cfg(not(windows))]
        let _ = options;
        let owned = segment.has_owner(name)?;
        let now = monotonic_ns();
        Ok(Self {
            name: name.clone(),
            #[cfg(windows)]
            options: options.clone(),
            segment,
            bell,
            interrupt,
            pace: Pace::default(),
            seen: header.index,
            header,
            announced,
            last: 0,
            moved_ns: now,
            probed_ns: now,
            owned,
            begun: false,
            before: (0, false, 0, 0),
            untaken: false,
            skipped: 0,
            overwritten: 0,
            rivals: 0,
        })
    }

    /// What is announced. Its handles and its description are there.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// Frames that were published since the first one taken, and never seen here.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Frames that were given up because the producer may have written into them: see [`Watch::still_whole`].
    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }

    /// Signs of two producers: how often the count went back, or contents changed, within a generation.
    pub fn rivals(&self) -> u64 {
        self.rivals
    }

    /// Waits until there is something to say, at most until `deadline` (`None`: as long as it takes).
    ///
    /// A count that stands still proves nothing: a paused program publishes nothing. A producer has died
    /// ([`Wait::Gone`]) when one of ours has lost its lock; when, on Linux, the name leads nowhere, the count stands
    /// still, and no other process has the segment open; when, on Windows, the section goes as soon as we let go of it,
    /// which is tried once the count has stood still for a second. That the name is gone is no proof: a Python program
    /// that only read takes it away when it ends.
    ///
    /// # Errors
    /// The segment was cut short, or says what cannot be; the system does not tell.
    pub fn wait_newer(&mut self, deadline: Option<Instant>) -> Result<Wait, ConsumeError> {
        let until = deadline.map_or(u64::MAX, monotonic_ns_at);
        let mut slept: Option<(u64, u64)> = None;
        loop {
            if self.interrupt.is_raised() {
                return Ok(Wait::Interrupted);
            }
            let count = words::index(&self.segment)?;
            let now = monotonic_ns();
            if count != self.seen {
                if let Some((from, to)) = slept {
                    let how = match now {
                        now if now >= to => Noticed::Found,
                        now if now - from < ASLEEP_NS => Noticed::Awake,
                        _ => Noticed::Rung,
                    };
                    self.pace.arrived(now, how);
                }
                self.seen = count;
                self.moved_ns = now;
                self.probed_ns = now;
            }
            // A frame that nobody can read is seen at each look, and must not hide its producer's death.
            let found = self.look(count)?;
            if let Some(wait) = found.filter(|wait| *wait != Wait::Newer || !self.untaken) {
                return Ok(wait);
            }
            if now.saturating_sub(self.probed_ns) >= PROBE_NS {
                self.probed_ns = now;
                if let Some(wait) = self.probe(now)? {
                    return Ok(wait);
                }
            }
            if let Some(wait) = found {
                return Ok(wait);
            }
            if now >= until {
                return Ok(Wait::Deadline);
            }
            let to = self.pace.next_look(now).min(until).min(self.probed_ns + PROBE_NS);
            slept = Some((now, to));
            self.interrupt.sleep(&self.bell, ME, count, to)?;
        }
    }

    /// What there is without waiting.
    fn look(&mut self, count: u32) -> Result<Option<Wait>, ConsumeError> {
        let newer = count != 0 && count != self.last;
        // Looked at after the count: a producer's last frame is published before its end.
        let over = words::is_over(&self.segment, self.header.places)?;
        if !newer && !over && words::version(&self.segment)? == self.header.generation {
            return Ok(None);
        }
        if self.changed()? {
            // With another number of slots, that place means something else by now.
            let respec = self.respec()?;
            return Ok(if over { respec.or(Some(Wait::Closed)) } else { respec });
        }
        Ok(match (newer, over) {
            // Its memory stays good for a moment, and that it did is asked afterwards.
            (true, _) => Some(Wait::Newer),
            (false, true) => Some(Wait::Closed),
            (false, false) => None,
        })
    }

    /// Whether what is announced is no longer what was read.
    fn changed(&self) -> Result<bool, AccessError> {
        let mut now = [0; ANNOUNCED];
        let now = &mut now[..self.announced.len()];
        read_announced(&self.segment, self.header.places, now)?;
        Ok(now != self.announced)
    }

    /// Reads what is announced by now. `None` while it is being written: then there is nothing to say yet.
    fn respec(&mut self) -> Result<Option<Wait>, ConsumeError> {
        let snapshot = match Snapshot::take(&self.name, &self.segment) {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) | Err(ConsumeError::NotReady { .. }) => return Ok(None),
            Err(ConsumeError::Closed { .. }) => return Ok(Some(Wait::Closed)),
            Err(error) => return Err(error),
        };
        if snapshot.header.generation <= self.header.generation {
            self.rivals += 1;
        }
        (self.header, self.announced) = (snapshot.header, snapshot.announced);
        // The new generation's first frame may have the number of the last one that was taken.
        (self.last, self.begun, self.untaken) = (0, false, false);
        self.pace.forget();
        Ok(Some(Wait::Respec))
    }

    /// Asks the system whether anybody can still bring news.
    fn probe(&mut self, now: u64) -> Result<Option<Wait>, ConsumeError> {
        let lives = self.segment.has_owner(&self.name)?;
        if self.owned && !lives {
            return Ok(Some(Wait::Gone));
        }
        self.owned |= lives;
        match self.segment.linked()? {
            Linked::Here => {}
            Linked::Elsewhere => return Ok(Some(Wait::Superseded)),
            Linked::Gone if lives => {}
            Linked::Gone => return Ok(self.is_alone()?.then_some(Wait::Gone)),
        }
        #[cfg(windows)]
        if !lives && now.saturating_sub(self.moved_ns) >= STILL_NS {
            return self.let_go(now);
        }
        let _ = (now, self.moved_ns);
        Ok(None)
    }

    /// Whether nobody else has the segment open.
    fn is_alone(&self) -> Result<bool, ConsumeError> {
        #[cfg(target_os = "linux")]
        return Ok(!crate::segment::used_by_others(self.segment.identity()));
        #[cfg(not(target_os = "linux"))]
        Ok(true)
    }

    /// Gives the section up for a moment: one that nobody else has open is not there any more.
    #[cfg(windows)]
    fn let_go(&mut self, now: u64) -> Result<Option<Wait>, ConsumeError> {
        use crate::segment::SegmentError;
        // Again after another while.
        self.moved_ns = now;
        let event = doorbell(&self.name);
        self.bell = Arc::new(Bell::over_nothing(&event));
        self.segment = Arc::new(Segment::nothing());
        let segment = match Segment::open(&self.name, self.options.clone()) {
            Ok(segment) => Arc::new(segment),
            Err(SegmentError::NotFound { .. }) => return Ok(Some(Wait::Gone)),
            Err(error) => return Err(error.into()),
        };
        self.bell = Arc::new(Bell::named(&event, Arc::clone(&segment), WRITE_IDX.offset())?);
        self.segment = segment;
        Ok(None)
    }

    /// The newest frame, if it was not taken yet. Older ones are skipped, and counted.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn take(&mut self) -> Result<Option<Published>, ConsumeError> {
        let index = words::index(&self.segment)?;
        let seconds = words::stamp(&self.segment, self.header.places)?;
        if index == 0 || index == self.last || self.changed()? {
            return Ok(None);
        }
        self.before = (self.last, self.begun, self.skipped, self.rivals);
        self.untaken = false;
        let ahead = index.wrapping_sub(self.last);
        if self.begun && ahead > u32::MAX / 2 {
            // It went back, which one producer alone never does.
            self.rivals += 1;
        } else if self.begun {
            let passed_zero = index < self.last;
            self.skipped += u64::from(ahead - 1) - u64::from(passed_zero && ahead > 1);
        }
        (self.last, self.begun) = (index, true);
        let slot = slot_of(index, self.header.places.slots());
        let generation = self.header.generation;
        Ok(Some(Published { index, slot, generation, stamp: layout::stamp(seconds) }))
    }

    /// Gives back the frame that was taken last: there is a frame to take again, this one or a newer one.
    pub fn untake(&mut self, frame: &Published) {
        if frame.generation == self.header.generation && frame.index == self.last {
            (self.last, self.begun, self.skipped, self.rivals) = self.before;
            self.untaken = true;
        }
    }

    /// Asked when everything has been read of a frame: whether it was left alone until then. One that was not is counted
    /// as overwritten, and must not be shown.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn still_whole(&mut self, frame: &Published) -> Result<bool, ConsumeError> {
        let whole = self.is_whole(frame)?;
        self.overwritten += u64::from(!whole);
        Ok(whole)
    }

    /// The same without counting: for a frame that somebody merely looks at.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn is_whole(&self, frame: &Published) -> Result<bool, ConsumeError> {
        // [still_whole] Acquire, pairs with [begin]: the copy comes before this look.
        fence(Ordering::SeqCst);
        let newest = words::index(&self.segment)?;
        let slots = self.header.places.slots();
        Ok(frame.generation == self.header.generation
            && still_whole(frame.index, newest, slots)
            && !self.changed()?
            // [died] A producer's death ends the wait for its event, whatever its copy had come to. One that ends in order
            // holds its lock as long as its memory is there.
            && (!self.owned || self.segment.has_owner(&self.name)?))
    }
}

fn not_ready(name: &SegmentName) -> ConsumeError {
    ConsumeError::NotReady { name: name.to_string() }
}

/// Contents that were read twice and were the same.
struct Snapshot {
    header: Header,
    announced: Vec<u8>,
}

impl Snapshot {
    /// `None`: they changed meanwhile.
    fn take(name: &SegmentName, segment: &Segment) -> Result<Option<Self>, ConsumeError> {
        let mut bytes = vec![0; segment.len().min(Places::of(MAX_SLOTS).size())];
        segment.read(0, &mut bytes)?;
        let header = match parse(&bytes) {
            Ok(header) => header,
            Err(source) => {
                // Perhaps one half of it is older than the other.
                let first = bytes.clone();
                std::thread::sleep(MOMENT);
                segment.read(0, &mut bytes)?;
                if bytes != first {
                    return Ok(None);
                }
                return Err(ConsumeError::Layout { name: name.to_string(), source });
            }
        };
        // Whoever writes it anew writes zeros first, or an end that nobody has taken back.
        fence(Ordering::SeqCst);
        let header = header.ok_or_else(|| not_ready(name))?;
        if header.is_over {
            return Err(ConsumeError::Closed { name: name.to_string() });
        }
        if header.handles.is_none() || header.description.is_none() {
            return Err(not_ready(name));
        }
        let mut announced = announced(&bytes, header.places);
        let first = announced.clone();
        read_announced(segment, header.places, &mut announced)?;
        Ok((announced == first).then_some(Self { header, announced }))
    }
}

/// The parts of the segment that stay as they are within a generation: version and number of slots, handles,
/// description.
const PARTS: usize = 3;
/// Bytes of them, at most.
const ANNOUNCED: usize = Places::of(MAX_SLOTS).size();

fn parts(places: Places) -> [std::ops::Range<usize>; PARTS] {
    let tail = places.tail();
    [VERSION.offset()..WRITE_IDX.offset(), HEAD..tail, tail + SHUTDOWN.end()..tail + TIMESTAMP.offset()]
}

fn announced(bytes: &[u8], places: Places) -> Vec<u8> {
    parts(places).into_iter().filter_map(|part| bytes.get(part)).flatten().copied().collect()
}

fn read_announced(segment: &Segment, places: Places, to: &mut [u8]) -> Result<(), AccessError> {
    let mut rest = to;
    for part in parts(places) {
        let (now, later) = rest.split_at_mut(part.len());
        segment.read(part.start, now)?;
        rest = later;
    }
    Ok(())
}

// Waits are more than Miri models.
#[cfg(all(test, not(miri)))]
#[path = "watch_tests.rs"]
mod tests;
