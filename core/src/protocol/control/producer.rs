// SPDX-License-Identifier: MPL-2.0
//! The end that writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::Empty;

use super::description::{Description, FrameSpec};
use super::offer::{Offer, Shared};
use super::patience::Patience;
use super::ring;
use super::stamps::Stamps;
use super::{Interrupt, ProduceError};
use crate::segment::{
    Acquired, CreateOptions, Process, Published, Segment, SegmentName, SlotMemory, monotonic_ns, monotonic_ns_at,
};

/// Longest sleep of a producer that waits for consumers: one that has died is found after this.
const SLICE_NS: u64 = 20_000_000;
/// The producer is the one sleeper over its word.
const ME: u32 = 0;

/// Whether frames may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The newest frame wins; nobody waits.
    #[default]
    Latest,
    /// A slot is written again only when every live consumer has taken its frame.
    Lossless,
}

/// How to offer frames.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Slots, 1 to [`MAX_SLOTS`](super::MAX_SLOTS). One: the raw segment of part one, which others may read as well.
    pub slots: u32,
    /// Whether frames may be left out. [`Delivery::Lossless`] needs 2 slots at least.
    pub delivery: Delivery,
    /// A lossless producer waits this long for a consumer that takes nothing, then goes on without it until it takes
    /// something again. `None`: for ever. One that has died is let go at once.
    pub lossless_timeout: Option<Duration>,
    /// Modes, takeover, other users' segments.
    pub create: CreateOptions,
}

impl ProducerOptions {
    /// `slots` slots, the newest frame wins.
    pub fn latest(slots: u32) -> Self {
        let lossless_timeout = Some(Duration::from_secs(2));
        Self { slots, delivery: Delivery::Latest, lossless_timeout, create: CreateOptions::default() }
    }

    /// `slots` slots, no frame is left out, nobody is waited for longer than 2 s.
    pub fn lossless(slots: u32) -> Self {
        Self { delivery: Delivery::Lossless, ..Self::latest(slots) }
    }
}

/// What [`Producer::tend`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tended {
    /// What became of the names. [`Published::Recreated`]: a new generation. [`Published::TakenByOther`]: the end.
    pub names: Published,
    /// Consumers that are there.
    pub clients: u32,
    /// Consumers that came since the last call.
    pub joined: u32,
    /// Consumers that went since the last call, with a word or without.
    pub left: u32,
    /// How often a lossless producer went on without a consumer that stood still, since the last call.
    pub let_go: u32,
}

/// Offers frames under a name, with a control segment beside it. Dropping it gives the names back.
///
/// All methods may be called from any thread; a lock is held for moments, never while pixels are copied.
#[derive(Debug)]
pub struct Producer {
    inner: Arc<Inner>,
    acquired: Acquired,
    interrupt: Interrupt,
    lossless_timeout: Option<Duration>,
    patience: Patience,
    /// Threads that sleep until a slot is free.
    sleepers: Mutex<u32>,
    /// A forked child has this value too, and must not close what its parent offers.
    process: Process,
}

#[derive(Debug)]
struct Inner {
    offer: Mutex<Offer>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Offer> {
        // Every change of it is whole before anything can panic.
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Producer {
    /// Takes `name`: makes the control segment and the memory of `options.slots` frames, every page of it, or takes over
    /// what a producer left that has gone; its consumers go on here. `interrupt` ends waits.
    ///
    /// # Errors
    /// A live producer's name, a description or a number of slots that cannot be, and what segments can come to.
    pub fn create(
        name: &SegmentName,
        spec: FrameSpec,
        options: ProducerOptions,
        interrupt: Interrupt,
    ) -> Result<Self, ProduceError> {
        let frame = spec.desc;
        let _span =
            tracing::debug_span!("attach", protocol = "control", %name, %frame, slots = options.slots).entered();
        let lossless_timeout = options.lossless_timeout;
        let (offer, acquired) = Offer::new(name, spec, options)?;
        let acquired = offer.raw_origin().unwrap_or(acquired);
        let inner = Arc::new(Inner { offer: Mutex::new(offer) });
        let (patience, process) = (Patience::default(), Process::current());
        let sleepers = Mutex::new(0);
        Ok(Self { inner, acquired, interrupt, lossless_timeout, patience, sleepers, process })
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.acquired
    }

    /// What is offered now.
    pub fn description(&self) -> Description {
        self.inner.lock().description().clone()
    }

    /// Counts descriptions.
    pub fn generation(&self) -> u64 {
        self.inner.lock().generation()
    }

    /// Offers frames of another description from now on, in new memory: readers of the old one keep it as long as they
    /// like. Slots that are out are void. A lossless producer drains first ([`Producer::drain`]), or frames are lost.
    ///
    /// # Errors
    /// A description that cannot be, and what segments can come to: then the old description stays in force.
    pub fn set_spec(&self, spec: FrameSpec) -> Result<(), ProduceError> {
        // It ends without the lock: who is told of it may ask anything of us.
        let _span;
        let mut offer = self.inner.lock();
        _span = tracing::debug_span!("resize", name = %offer.name(), frame = %spec.desc).entered();
        offer.set_spec(spec)
    }

    /// Takes a slot for writing that is none of `except` (a mask of slots): of those that nobody uses, the one that was
    /// freed last. Never waits. `None` when there is none.
    ///
    /// # Errors
    /// The name was taken, a segment was cut short, or the system does not tell.
    pub fn acquire(&self, except: u32) -> Result<Option<WriteSlot>, ProduceError> {
        let mut offer = self.inner.lock();
        let slot = offer.acquire(except)?;
        slot.map(|slot| self.slot(&offer, slot)).transpose()
    }

    /// The same, but waits until `deadline` (`None`: as long as it takes) for consumers to give a slot free. `None` when
    /// none came free by then, or the interrupt was raised.
    ///
    /// # Errors
    /// See [`Producer::acquire`].
    pub fn acquire_by(&self, deadline: Option<Instant>, except: u32) -> Result<Option<WriteSlot>, ProduceError> {
        self.wait(deadline, |offer| offer.acquire(except)?.map(|slot| self.slot(offer, slot)).transpose())
    }

    /// Waits until every consumer has taken every frame, at most until `deadline`; whether they have.
    ///
    /// # Errors
    /// See [`Producer::acquire`].
    pub fn drain(&self, deadline: Option<Instant>) -> Result<bool, ProduceError> {
        let drained = self.wait(deadline, |offer| {
            offer.memory()?;
            Ok(offer.is_drained().then(|| offer.waits_no_more()))
        })?;
        Ok(drained.is_some())
    }

    fn slot(&self, offer: &Offer, slot: u32) -> Result<WriteSlot, ProduceError> {
        let description = offer.description();
        let segment = Arc::clone(offer.memory()?.segment());
        let (offset, len) = (description.slot_offset(slot), description.pixels.frame_size as usize);
        let memory = SlotMemory::new(segment, offset, len)?;
        Ok(WriteSlot { inner: Arc::clone(&self.inner), generation: offer.generation(), slot, memory, published: false })
    }

    /// Repeats `attempt` whenever a consumer gave something free.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Offer) -> Result<Option<T>, ProduceError>,
    ) -> Result<Option<T>, ProduceError> {
        if let Some(done) = attempt(&mut self.inner.lock())? {
            return Ok(Some(done));
        }
        let until = deadline.map_or(u64::MAX, monotonic_ns_at);
        loop {
            if let Some(done) = self.patience.look(|| attempt(&mut self.inner.lock()).transpose()) {
                return done.map(Some);
            }
            if self.interrupt.is_raised() {
                return Ok(None);
            }
            let shared: Arc<Shared> = {
                let mut offer = self.inner.lock();
                offer.bury_dead()?;
                offer.let_go_of_the_still(self.lossless_timeout);
                Arc::clone(&offer.shared)
            };
            let asleep = Asleep::new(&self.sleepers, &shared);
            let outcome = attempt(&mut self.inner.lock());
            let now = monotonic_ns();
            if !matches!(outcome, Ok(None)) || now >= until {
                return outcome;
            }
            let slept = self.interrupt.sleep(&shared.freed, ME, asleep.seen, until.min(now + SLICE_NS));
            drop(asleep);
            self.patience.slept(monotonic_ns() - now);
            slept?;
        }
    }

    /// Consumers that are there now. What has come and gone is told by the next [`Producer::tend`].
    ///
    /// # Errors
    /// See [`Producer::tend`].
    pub fn count_clients(&self) -> Result<u32, ProduceError> {
        let mut offer = self.inner.lock();
        offer.tend()?;
        Ok(offer.rows.live())
    }

    /// Slots that could be written now, as a mask: nobody reads them and no [`WriteSlot`] of them is out.
    pub fn free(&self) -> u32 {
        self.inner.lock().free()
    }

    /// Says that no frame will follow, until one does.
    ///
    /// # Errors
    /// The name was taken, or the control segment was cut short.
    pub fn set_eos(&self) -> Result<(), ProduceError> {
        self.inner.lock().set_eos()
    }

    /// Keeps the names and looks after the consumers; to be called for each frame, or ten times a second. Cheap.
    ///
    /// # Errors
    /// A name could not be put back, a segment was cut short, or the system does not tell.
    pub fn tend(&self) -> Result<Tended, ProduceError> {
        let mut offer = self.inner.lock();
        let names = offer.tend()?;
        let changes = std::mem::take(&mut offer.changes);
        let let_go = std::mem::take(&mut offer.let_go);
        Ok(Tended { names, clients: offer.rows.live(), joined: changes.joined, left: changes.left, let_go })
    }

    /// Consumers that are there, as of the last slot that was taken or the last call of [`Producer::tend`].
    pub fn clients(&self) -> u32 {
        self.inner.lock().rows.live()
    }
}

/// The sign that a thread of the producer sleeps: it stands until the last of them is awake.
struct Asleep<'a> {
    sleepers: &'a Mutex<u32>,
    shared: &'a Shared,
    /// The word that is slept over.
    seen: u32,
}

impl<'a> Asleep<'a> {
    fn new(sleepers: &'a Mutex<u32>, shared: &'a Shared) -> Self {
        let mut number = sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        Self { sleepers, shared, seen: ring::producer_about_to_sleep(&shared.words) }
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let mut number = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        *number -= 1;
        if *number == 0 {
            ring::producer_awake(&self.shared.words);
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.process.is_current() {
            let mut offer = self.inner.lock();
            offer.close();
            let name = offer.name().clone();
            drop(offer);
            tracing::debug!(protocol = "control", %name, "detach");
        }
    }
}

/// A slot that only its holder touches, until it is published. Dropping it publishes nothing.
#[derive(Debug)]
#[must_use = "a frame that is not published is never seen"]
pub struct WriteSlot {
    inner: Arc<Inner>,
    generation: u64,
    slot: u32,
    memory: SlotMemory,
    published: bool,
}

impl WriteSlot {
    /// Number of the slot.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The generation that it belongs to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its bytes: [`SlotMemory::segment`] and [`SlotMemory::offset`] say where rows are to be written.
    pub fn memory(&self) -> &SlotMemory {
        &self.memory
    }

    /// The segment that it lies in, for [`Segment::write_rows`].
    pub fn segment(&self) -> &Arc<Segment> {
        self.memory.segment()
    }

    /// First byte of it in the segment.
    pub fn offset(&self) -> usize {
        self.memory.offset()
    }

    /// Shows it as the newest frame, and wakes who waits for one. Gives the number of the frame.
    ///
    /// # Errors
    /// The description has changed since it was acquired, the producer has gone or lost its name, `stamps` say a stride
    /// that does not fit, or a segment was cut short. The frame is not seen then.
    pub fn publish(mut self, stamps: Stamps) -> Result<u64, ProduceError> {
        // It ends without the lock: who is told of it may ask anything of us.
        let span;
        let mut offer = self.inner.lock();
        span = tracing::trace_span!("publish", name = %offer.name(), slot = self.slot, sequence = Empty).entered();
        let sequence = offer.publish(self.generation, self.slot, stamps)?;
        span.record("sequence", sequence);
        self.published = true;
        Ok(sequence)
    }
}

impl Drop for WriteSlot {
    fn drop(&mut self) {
        if !self.published {
            self.inner.lock().give_up(self.generation, self.slot);
        }
    }
}
