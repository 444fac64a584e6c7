// SPDX-License-Identifier: MPL-2.0
//! A producer's side of the memory: which generation is offered, whose slot is whose, what the kernel says of consumers.

use std::sync::Arc;
use std::time::Duration;

use super::ProduceError;
use super::description::{Description, FrameSpec, Pixels};
use super::layout::{
    HEADER_BYTES, Header, LayoutError, MAGIC, MAGIC_VALUE, MAX_SLOTS, NEWEST, OUR_CAPS_OFFSET, OUR_DESCRIPTION_BYTES,
    OUR_DESCRIPTION_OFFSET, ROWS, SEQ_WRITING, SLOT_BYTES, SLOT_PTS, STATE_CLOSED, STATE_EOS, STATE_SUPERSEDED, Tables,
    VERSION,
};
use super::producer::{Delivery, ProducerOptions};
use super::ring::{self, Newest, Word, Words};
use super::rows::{Changes, Rows};
use super::stamps::{FrameInfo, Stamps};
use super::takeover::{describe, take_control, wire_identity};
use super::words::SegmentWords;
use crate::segment::{
    Acquired, Bell, ControlSegment, CreateOptions, Linked, OwnedSegment, PixelSegment, Process, Published, Segment,
    SegmentName, monotonic_ns, remove_pixels,
};
use crate::sync::Ordering::{Relaxed, Release};

/// Slots begin at multiples of this, the largest page of the systems that this runs on.
const SLOT_ALIGN: u64 = 16384;
/// Beyond all editions that a producer of ours reaches.
const LAST_EDITION: u64 = 1 << 48;
/// Between two questions to the kernel about consumers, though one of them stands in the way.
const BURY_NS: u64 = 5_000_000;
/// Between two questions to the kernel about names and consumers.
const TEND_NS: u64 = 100_000_000;

/// Memory of one generation.
#[derive(Debug)]
pub(super) enum Memory {
    /// One slot: the raw segment itself.
    Raw(OwnedSegment),
    /// More: an object of this generation alone.
    Ring(PixelSegment),
}

impl Memory {
    pub(super) fn segment(&self) -> &Arc<Segment> {
        match self {
            Self::Raw(owned) => owned.segment(),
            Self::Ring(pixels) => pixels.segment(),
        }
    }
}

/// Notes about one slot, which no consumer can change.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// What its word says while it is nobody's.
    word: u64,
    /// A `WriteSlot` of it is out.
    lent: bool,
    /// When it was found free: a count, the higher the later. 0: it was not, when it was last looked at.
    freed: u64,
}

/// The shared part of one control segment, and the bells over its words.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) control: ControlSegment,
    pub(super) words: SegmentWords,
    pub(super) news: Arc<Bell>,
    pub(super) freed: Arc<Bell>,
}

/// Everything that a producer's lock guards.
#[derive(Debug)]
pub(super) struct Offer {
    name: SegmentName,
    options: ProducerOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) rows: Rows,
    edition: u64,
    memory: Option<Memory>,
    description: Description,
    slots: [Slot; MAX_SLOTS as usize],
    newest: Newest,
    wake: u32,
    state: u32,
    tick: u64,
    tended: u64,
    /// When the kernel was last asked who is dead.
    buried: u64,
    standing: Published,
    pub(super) changes: Changes,
    pub(super) let_go: u32,
    /// The slowest row's last frame, and since when the producer waits for it to take another one.
    still: Option<(u64, u64)>,
    process: Process,
}

impl Offer {
    /// The name.
    pub(super) fn name(&self) -> &SegmentName {
        &self.name
    }

    /// Takes the names. How the control segment came to be ours is the second value.
    pub(super) fn new(
        name: &SegmentName,
        spec: FrameSpec,
        options: ProducerOptions,
    ) -> Result<(Self, Acquired), ProduceError> {
        let slots = options.slots;
        if slots == 0 || slots > MAX_SLOTS {
            return Err(ProduceError::Slots { found: slots });
        }
        if slots == 1 && options.delivery == Delivery::Lossless {
            return Err(ProduceError::NoRing { found: slots });
        }
        spec.check()?;
        let (shared, acquired) = take_control(name, &options)?;
        let words = &shared.words;
        let mut newest = Newest::unpack(words.load(Word::Newest, Relaxed));
        if newest.sequence > Newest::MOST {
            newest.sequence = 0;
        }
        newest.slot = None;
        // Odd: a producer died over a description. Beyond reason: another program wrote there.
        let edition = match words.load(Word::Edition, Relaxed) {
            edition if edition < LAST_EDITION => edition,
            _ => 0,
        };
        let wake = words.load(Word::Wake, Relaxed) as u32;
        let lossless = options.delivery == Delivery::Lossless;
        let mut offer = Self {
            name: name.clone(),
            shared: Arc::new(shared),
            rows: Rows::new(lossless),
            edition,
            memory: None,
            description: describe(spec, Pixels::none()),
            slots: Default::default(),
            newest,
            wake,
            state: 0,
            tick: 0,
            tended: 0,
            buried: 0,
            standing: Published::Still,
            changes: Changes::default(),
            let_go: 0,
            still: None,
            process: Process::current(),
            options,
        };
        let spec = offer.description.spec.clone();
        let outcome = offer.offer(spec, acquired);
        if outcome.is_err() {
            offer.close();
        }
        outcome.map(|()| (offer, acquired))
    }

    pub(super) fn generation(&self) -> u64 {
        self.edition / 2
    }

    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    pub(super) fn is_lossless(&self) -> bool {
        self.options.delivery == Delivery::Lossless
    }

    /// How the raw name came to be ours, for one slot.
    pub(super) fn raw_origin(&self) -> Option<Acquired> {
        match self.memory.as_ref()? {
            Memory::Raw(owned) => Some(owned.origin()),
            Memory::Ring(_) => None,
        }
    }

    pub(super) fn memory(&self) -> Result<&Memory, ProduceError> {
        if !self.process.is_current() {
            return Err(ProduceError::Forked);
        }
        match (&self.memory, self.standing) {
            (Some(memory), Published::Still | Published::Republished | Published::Recreated) => Ok(memory),
            (_, Published::TakenByOther) => Err(ProduceError::Taken { name: self.name.as_str().to_owned() }),
            (None, _) => Err(ProduceError::Closed),
        }
    }

    /// Offers frames of `spec` from now on.
    pub(super) fn set_spec(&mut self, spec: FrameSpec) -> Result<(), ProduceError> {
        self.memory()?;
        spec.check()?;
        self.offer(spec, Acquired::Created)
    }

    /// Begins a generation. `acquired`: how we came to the control segment, if just now.
    fn offer(&mut self, spec: FrameSpec, acquired: Acquired) -> Result<(), ProduceError> {
        let shared = Arc::clone(&self.shared);
        let words = &shared.words;
        // The raw segment changes under its name. A ring's old memory stays in force until there is a new one.
        let in_place = self.options.slots == 1 || self.memory.is_none();
        if in_place {
            ring::begin_edition(words, self.edition);
            if cfg!(windows) && self.memory.is_some() {
                // A section cannot grow while anybody has it open: readers that sleep let go of it now.
                self.ring()?;
            }
        }
        // Should a raw segment not change its size, its old description goes on under a new number.
        let (generation, outcome) = match self.make_memory(&spec, acquired) {
            Ok((memory, pixels, generation)) => {
                self.description = describe(spec, pixels);
                // The old memory goes with its last mapping.
                self.memory = Some(memory);
                (generation, Ok(()))
            }
            Err(error) if in_place && self.memory.is_some() => (self.generation() + 1, Err(error)),
            Err(error) => return Err(error),
        };
        if !in_place {
            ring::begin_edition(words, self.edition);
        }
        let slots = self.description.pixels.slots;
        self.rows.restart(words, generation as u32, slots);
        self.newest.slot = None;
        words.store(Word::Newest, self.newest.pack(), Release);
        for slot in 0..MAX_SLOTS {
            words.store(Word::Sequence(slot), 0, Relaxed);
        }
        self.slots = Default::default();
        self.state = 0;
        words.store(Word::State, 0, Relaxed);
        self.write_header()?;
        self.edition = generation * 2;
        ring::end_edition(words, self.edition);
        words.segment().store_u64(MAGIC.offset(), MAGIC_VALUE, Release)?;
        self.changes += self.rows.update(words);
        self.ring()?;
        outcome
    }

    /// The raw segment in its new size, or a new object for the ring; and the generation that it is for.
    fn make_memory(&mut self, spec: &FrameSpec, acquired: Acquired) -> Result<(Memory, Pixels, u64), ProduceError> {
        let frame = spec.frame_bytes(spec.stride).unwrap_or(usize::MAX) as u64;
        let create = &self.options.create;
        if self.options.slots == 1 {
            let owned = match self.memory.take() {
                Some(Memory::Raw(mut owned)) => match owned.resize(frame as usize) {
                    Ok(()) => owned,
                    Err(error) => {
                        self.memory = Some(Memory::Raw(owned));
                        return Err(error.into());
                    }
                },
                _ => {
                    if acquired == Acquired::Recovered {
                        remove_pixels(&self.name, None);
                    }
                    OwnedSegment::create(&self.name, frame as usize, create)?
                }
            };
            owned.segment().populate()?;
            let pixels = Pixels {
                name: self.name.as_str().to_owned(),
                size: frame,
                identity: wire_identity(owned.segment()),
                slots: 1,
                slot_offset: 0,
                slot_stride: frame,
                frame_size: frame,
            };
            return Ok((Memory::Raw(owned), pixels, self.generation() + 1));
        }
        let slots = u64::from(self.options.slots);
        let stride = frame.checked_next_multiple_of(SLOT_ALIGN);
        let size = stride.and_then(|stride| stride.checked_mul(slots)).filter(|&size| size <= isize::MAX as u64);
        let (Some(stride), Some(size)) = (stride, size) else {
            return Err(LayoutError::Bad { what: "the ring's size", found: frame, why: "fits no address" }.into());
        };
        if acquired == Acquired::Recovered {
            remove_pixels(&self.name, None);
        }
        let pixels = PixelSegment::create(&self.name, self.generation() + 1, size as usize, create)?;
        let generation = pixels.generation();
        pixels.segment().populate()?;
        let description = Pixels {
            name: self.name.pixels(generation).as_str().to_owned(),
            size,
            identity: wire_identity(pixels.segment()),
            slots: self.options.slots,
            slot_offset: 0,
            slot_stride: stride,
            frame_size: stride,
        };
        Ok((Memory::Ring(pixels), description, generation))
    }

    fn write_header(&self) -> Result<(), ProduceError> {
        let mut bytes = [0; HEADER_BYTES];
        Header::put(&mut bytes, self.is_lossless());
        let (front, caps) = bytes.split_at_mut(OUR_CAPS_OFFSET);
        self.description.put(&mut front[OUR_DESCRIPTION_OFFSET..][..OUR_DESCRIPTION_BYTES], caps);
        let segment = self.shared.words.segment();
        segment.write(VERSION.offset(), &bytes[VERSION.offset()..NEWEST.offset()])?;
        segment.write(OUR_DESCRIPTION_OFFSET, &bytes[OUR_DESCRIPTION_OFFSET..])?;
        Ok(())
    }

    /// Takes a slot for writing that is none of `except`; `None` when there is none.
    pub(super) fn acquire(&mut self, except: u32) -> Result<Option<u32>, ProduceError> {
        self.memory()?;
        self.shared.words.check()?;
        self.changes += self.rows.update(&self.shared.words);
        let slot = match self.free_slot(except) {
            None if self.bury_dead()? => self.free_slot(except),
            found => found,
        };
        self.shared.words.check()?;
        if slot.is_some() {
            self.waits_no_more();
        }
        Ok(slot)
    }

    /// Whether nobody uses slot `at`.
    fn is_free(&self, at: u32, leased: u32, floor: u64) -> bool {
        let slot = &self.slots[at as usize];
        let newest = self.description.pixels.slots > 1 && self.newest.slot == Some(at);
        !slot.lent && !newest && leased >> at & 1 == 0 && slot.word & !SEQ_WRITING <= floor
    }

    fn free_slot(&mut self, except: u32) -> Option<u32> {
        let words = &self.shared.words;
        let leased = self.rows.leased(words);
        let floor = self.rows.noted_floor(words);
        let number = self.description.pixels.slots;
        let (mut tried, mut refused) = (except, except);
        for at in 0..number {
            if !self.is_free(at, leased, floor) {
                self.slots[at as usize].freed = 0;
                tried |= 1 << at;
            }
        }
        // What came free since the last look is freed last; of several, the one that was written last.
        while let Some(at) = (0..number)
            .filter(|&at| self.slots[at as usize].freed == 0 && self.is_free(at, leased, floor))
            .min_by_key(|&at| self.slots[at as usize].word)
        {
            self.tick += 1;
            self.slots[at as usize].freed = self.tick;
        }
        let rest = self.rows.has_copiers();
        loop {
            let free = (0..number).filter(|at| tried >> at & 1 == 0);
            // Who copies without a lease gets as long as possible; else memory that the cache still has.
            let at = if rest {
                free.min_by_key(|&at| self.slots[at as usize].word)
            } else {
                free.max_by_key(|&at| self.slots[at as usize].freed)
            };
            let at = at.or_else(|| self.spent_newest(refused, leased, floor))?;
            let slot = &mut self.slots[at as usize];
            if ring::begin(&self.shared.words, &self.rows, at, slot.word) {
                slot.lent = true;
                return Some(at);
            }
            slot.freed = 0;
            tried |= 1 << at;
            refused |= 1 << at;
        }
    }

    /// The newest frame's slot, where everybody has taken it and readers that stand still hold all others: whoever comes
    /// to a lossless ring gets the frames from then on, not those that others have.
    fn spent_newest(&self, refused: u32, leased: u32, floor: u64) -> Option<u32> {
        let at = self.newest.slot.filter(|_| self.is_lossless())?;
        let slot = &self.slots[at as usize];
        let spent = !slot.lent && leased >> at & 1 == 0 && slot.word & !SEQ_WRITING <= floor;
        (spent && refused >> at & 1 == 0).then_some(at)
    }

    /// A slot that was begun comes back without a frame.
    pub(super) fn give_up(&mut self, generation: u64, at: u32) {
        if generation == self.generation() && self.memory().is_ok() {
            let slot = &mut self.slots[at as usize];
            // No frame's number: nobody waits for the one that was there.
            slot.word = SEQ_WRITING;
            slot.lent = false;
            self.shared.words.store(Word::Sequence(at), SEQ_WRITING, Relaxed);
        }
    }

    /// Shows a slot that was begun as the newest frame; gives its number.
    pub(super) fn publish(&mut self, generation: u64, at: u32, stamps: Stamps) -> Result<u64, ProduceError> {
        let memory = self.memory()?;
        let now = self.generation();
        if generation != now {
            return Err(ProduceError::Stale { found: generation, now });
        }
        memory.segment().check()?;
        let sequence = self.newest.sequence + 1;
        let info = FrameInfo::new(sequence, stamps, &self.description, monotonic_ns())?;
        let words = &self.shared.words;
        let entry = info.put();
        let offset = Tables::OURS.slot(at, SLOT_PTS);
        words.segment().write(offset, &entry[SLOT_PTS.offset()..SLOT_BYTES])?;
        ring::publish(words, at, sequence);
        self.newest = Newest { sequence, slot: Some(at) };
        self.slots[at as usize] = Slot { word: sequence, ..Slot::default() };
        if self.state & STATE_EOS != 0 {
            self.set_state(self.state & !STATE_EOS);
        }
        self.ring()?;
        Ok(sequence)
    }

    fn set_state(&mut self, state: u32) {
        self.state = state;
        self.shared.words.store(Word::State, state.into(), Release);
    }

    pub(super) fn set_eos(&mut self) -> Result<(), ProduceError> {
        self.memory()?;
        self.set_state(self.state | STATE_EOS);
        self.ring()
    }

    /// Wakes who sleeps.
    fn ring(&mut self) -> Result<(), ProduceError> {
        self.wake = self.wake.wrapping_add(1);
        let who = ring::news(&self.shared.words, ROWS, self.wake);
        self.shared.news.ring(who)?;
        self.shared.words.check()?;
        Ok(())
    }

    /// Whether everybody has taken all frames of this generation. Those of a former one are not waited for.
    pub(super) fn is_drained(&self) -> bool {
        self.newest.slot.is_none() || self.rows.floor(&self.shared.words) >= self.newest.sequence
    }

    /// Goes on without consumers that took nothing for `timeout` while they were waited for, over however many waits.
    pub(super) fn let_go_of_the_still(&mut self, timeout: Option<Duration>) {
        let floor = self.rows.floor(&self.shared.words);
        let now = monotonic_ns();
        let since = match self.still {
            Some((at, since)) if at == floor => since,
            _ => {
                self.still = Some((floor, now));
                return;
            }
        };
        // Whoever has taken everything keeps nobody waiting.
        let Some(timeout) = timeout.filter(|_| floor < self.newest.sequence) else { return };
        if u128::from(now - since) < timeout.as_nanos() {
            return;
        }
        let who = self.rows.let_go(&self.shared.words, floor.saturating_add(1));
        self.still = None;
        if who == 0 {
            return;
        }
        self.let_go += who.count_ones();
        tracing::warn!(name = %self.name, rows = format!("{who:#b}"), "going on without a consumer");
    }

    /// What was waited for came.
    pub(super) fn waits_no_more(&mut self) {
        self.still = None;
    }

    /// Slots that could be written now, as a mask.
    pub(super) fn free(&self) -> u32 {
        let words = &self.shared.words;
        let (leased, floor) = (self.rows.leased(words), self.rows.floor(words));
        let free = (0..self.description.pixels.slots).filter(|&at| self.is_free(at, leased, floor));
        free.fold(0, |mask, at| mask | 1 << at)
    }

    /// Asks the kernel which consumers have gone without a word, unless it was asked a moment ago; whether one had.
    pub(super) fn bury_dead(&mut self) -> Result<bool, ProduceError> {
        let now = monotonic_ns();
        if now.saturating_sub(self.buried) < BURY_NS {
            return Ok(false);
        }
        self.buried = now;
        let shared = Arc::clone(&self.shared);
        let mut found = false;
        for row in self.rows.living() {
            // The claim was seen before this question: a later owner of the row has another one.
            if !shared.control.row_is_claimed(row)? {
                self.rows.bury(&shared.words, row);
                self.changes.left += 1;
                found = true;
            }
        }
        Ok(found)
    }

    /// See [`Producer::tend`](super::Producer::tend).
    pub(super) fn tend(&mut self) -> Result<Published, ProduceError> {
        if self.standing == Published::TakenByOther {
            return Ok(self.standing);
        }
        self.memory()?;
        let mut published = Published::Still;
        if let Some(Memory::Raw(owned)) = &mut self.memory {
            published = owned.keep_published()?;
        }
        match published {
            Published::TakenByOther => return self.lose(),
            Published::Recreated => self.offer(self.description.spec.clone(), Acquired::Created)?,
            Published::Still | Published::Republished => {}
        }
        let now = monotonic_ns();
        if now.saturating_sub(self.tended) < TEND_NS {
            return Ok(published);
        }
        self.tended = now;
        let shared = Arc::clone(&self.shared);
        self.changes += self.rows.update(&shared.words);
        self.bury_dead()?;
        shared.words.check()?;
        match shared.control.linked()? {
            Linked::Here => Ok(published),
            Linked::Elsewhere => self.lose(),
            Linked::Gone => {
                self.renew_control()?;
                Ok(Published::Recreated)
            }
        }
    }

    /// Another producer has the name: consumers must look there.
    fn lose(&mut self) -> Result<Published, ProduceError> {
        self.standing = Published::TakenByOther;
        self.set_state(self.state | STATE_SUPERSEDED);
        let told = self.ring();
        // Where one object stays under the name, the other producer waits for this before it begins.
        self.shared.control.release_producer();
        told.map(|()| Published::TakenByOther)
    }

    /// Somebody removed the control segment: a new one, and the old one says so.
    fn renew_control(&mut self) -> Result<(), ProduceError> {
        let options = ProducerOptions {
            create: CreateOptions { takeover: false, ..self.options.create.clone() },
            ..self.options.clone()
        };
        let (shared, _) = take_control(&self.name, &options)?;
        self.set_state(self.state | STATE_SUPERSEDED);
        self.ring()?;
        let left = self.rows.live();
        self.shared = Arc::new(shared);
        self.rows = Rows::new(self.is_lossless());
        self.changes.left += left;
        // The numbers of editions and frames go on.
        self.offer(self.description.spec.clone(), Acquired::Created)
    }

    /// Ends it all.
    pub(super) fn close(&mut self) {
        // The words may be another producer's by now.
        if self.standing != Published::TakenByOther {
            self.set_state(self.state | STATE_CLOSED);
            if let Err(error) = self.ring() {
                tracing::debug!(%error, "nobody could be told that the producer goes");
            }
        }
        self.memory = None;
        self.shared.control.release_producer();
        let name = self.name.clone();
        self.shared.control.remove_if_unused(|| remove_pixels(&name, None));
    }
}

impl std::ops::AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.joined += other.joined;
        self.left += other.left;
    }
}
