// SPDX-License-Identifier: MPL-2.0
//! A producer's slots, some of them in upstream's hands.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst_video::VideoInfo;
use tdlink_core::protocol::control::{FrameSpec, Interrupt, MAX_SLOTS, ProduceError, Producer, Stamps, WriteSlot};

use super::memory;

/// A lossless wait looks this often whether upstream has let go of a buffer, and whether it is to end.
const SLICE: Duration = Duration::from_millis(20);
/// How long a ring that waits for readers for ever waits for buffers that upstream keeps.
const UPSTREAM: Duration = Duration::from_secs(4);

/// Offers frames through slots, and knows which of them GStreamer buffers point into.
#[derive(Debug)]
pub struct Ring {
    producer: Producer,
    interrupt: Interrupt,
    slots: u32,
    /// Whether no frame may be left out, and how long to wait then for a slot that nobody gives back.
    lossless: Option<Patience>,
    /// Nobody gave a slot back for that long: waiting again would stop upstream for nobody.
    given_up: AtomicBool,
    state: Mutex<State>,
}

/// How long to wait; `None`: for ever.
pub type Patience = Option<Duration>;

#[derive(Debug)]
struct State {
    /// The producer's generation that the rest is about: tokens of former ones mean nothing.
    generation: u64,
    /// Frames of these caps lie in slots as GStreamer lays them out; `None`: they must be converted.
    direct: Option<Arc<VideoInfo>>,
    lent: [Lent; MAX_SLOTS as usize],
}

/// A slot that a `GstMemory` of ours points into.
#[derive(Debug, Default)]
enum Lent {
    /// None does.
    #[default]
    Home,
    /// Somebody fills it.
    Filling { address: usize, slot: WriteSlot },
    /// It was published. The buffer is kept, so that whoever else has it cannot write, until the slot is chosen again.
    Shown(Option<gst::Buffer>),
}

/// Where a frame can be written.
#[derive(Debug)]
pub enum Place {
    /// Here.
    Slot(WriteSlot),
    /// Nowhere: every slot is in use.
    Full,
    /// The same, and it was waited for longer than anybody gets: said once, until a slot comes back.
    GivenUp,
    /// Nowhere yet: the wait was ended from outside.
    Interrupted,
}

/// What a slot is fit for.
enum Cleared {
    /// Writing.
    Free(WriteSlot),
    /// Nothing yet: somebody upstream has its buffer. Its number.
    Kept(u32),
    /// Nothing: the description has changed.
    Stale,
}

/// The life of one `GstMemory`: at its end the slot is home again.
struct Token {
    ring: Weak<Ring>,
    generation: u64,
    slot: u32,
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(ring) = self.ring.upgrade() else { return };
        let home = {
            let mut state = ring.state();
            if state.generation != self.generation {
                return;
            }
            std::mem::take(&mut state.lent[self.slot as usize])
        };
        // A slot that was not published is given back without the lock.
        drop(home);
    }
}

impl Ring {
    /// Around a producer of `slots` slots, whose waits `interrupt` ends.
    pub fn new(
        producer: Producer,
        interrupt: Interrupt,
        slots: u32,
        lossless: Option<Patience>,
        direct: Option<Arc<VideoInfo>>,
    ) -> Arc<Self> {
        let state = State { generation: producer.generation(), direct, lent: Default::default() };
        let given_up = AtomicBool::new(false);
        Arc::new(Self { producer, interrupt, slots, lossless, given_up, state: Mutex::new(state) })
    }

    /// The producer.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The caps whose frames can be made in slots.
    pub fn direct(&self) -> Option<Arc<VideoInfo>> {
        self.state().direct.clone()
    }

    /// Frames of another description from now on.
    ///
    /// # Errors
    /// The producer's.
    pub fn set_spec(&self, spec: FrameSpec, direct: Option<Arc<VideoInfo>>) -> Result<(), ProduceError> {
        // Upstream gets no slot of the new description for a frame of the old one.
        let before = self.state().direct.take();
        if let Err(error) = self.producer.set_spec(spec) {
            self.state().direct = before;
            return Err(error);
        }
        self.adopt(self.producer.generation());
        self.state().direct = direct;
        Ok(())
    }

    /// Forgets slots of former generations.
    fn adopt(&self, generation: u64) {
        let former = {
            let mut state = self.state();
            if state.generation == generation {
                return;
            }
            state.generation = generation;
            std::mem::take(&mut state.lent)
        };
        // Buffers and slots of the former description go without the lock.
        drop(former);
    }

    /// Waits until every reader has taken every frame, for `patience` at most or until the interrupt was raised at any
    /// time meanwhile; whether they have.
    ///
    /// # Errors
    /// The producer's.
    pub fn drain(&self, patience: Patience) -> Result<bool, ProduceError> {
        let (began, raised) = (Instant::now(), self.interrupt.count());
        loop {
            if self.producer.drain(Some(Instant::now() + SLICE))? {
                return Ok(true);
            }
            let over = patience.is_some_and(|patience| began.elapsed() >= patience);
            if over || self.interrupt.count() != raised {
                return Ok(false);
            }
        }
    }

    /// A slot to copy a frame into. A lossless ring waits until consumers have taken what is in its way, until the
    /// interrupt is raised, or until readers that stand still have held every slot for too long.
    ///
    /// # Errors
    /// The producer's.
    pub fn place(&self) -> Result<Place, ProduceError> {
        self.find(self.lossless.is_some(), false, &|| false)
    }

    /// A buffer in a slot, for upstream to fill with a frame of `info`; `None` when there is none now. A lossless ring
    /// waits for consumers if `may_wait`, until `stopped`, but not for slots that upstream itself has.
    ///
    /// # Errors
    /// The producer's.
    pub fn lend(
        self: &Arc<Self>,
        info: &Arc<VideoInfo>,
        may_wait: bool,
        stopped: &impl Fn() -> bool,
    ) -> Result<Option<gst::Buffer>, ProduceError> {
        let wait = self.lossless.is_some() && may_wait && self.filling() + 1 < self.slots;
        let Place::Slot(slot) = self.find(wait, true, stopped)? else { return Ok(None) };
        let (number, generation, memory) = (slot.slot(), slot.generation(), slot.memory().clone());
        let address = memory.as_ptr() as usize;
        // Whatever is dropped here is dropped without the lock: a token takes it.
        let token = Token { ring: Arc::downgrade(self), generation, slot: number };
        let Some(memory) = memory::writable(memory, info.size(), token) else { return Ok(None) };
        {
            let mut state = self.state();
            // It may have changed during the wait.
            if state.generation == generation && state.direct.as_ref() == Some(info) {
                state.lent[number as usize] = Lent::Filling { address, slot };
            } else {
                drop(state);
                drop(memory);
                return Ok(None);
            }
        }
        let mut buffer = gst::Buffer::new();
        if let Some(buffer) = buffer.get_mut() {
            buffer.append_memory(memory);
        }
        Ok(Some(buffer))
    }

    /// The slot that upstream has filled for `buffer`, if it is one of ours, is whole in it, and is not published.
    pub fn filled(&self, buffer: &gst::BufferRef) -> Option<WriteSlot> {
        let (address, len) = memory::place(buffer)?;
        let generation = self.producer.generation();
        let mut state = self.state();
        let info = state.direct.as_ref()?;
        // A meta may say that the frame is only a part of the memory, or that its rows lie further apart.
        let whole = len >= info.size()
            && buffer.meta::<gst_video::VideoMeta>().is_none_or(|meta| {
                meta.stride() == info.stride()
                    && meta.offset() == info.offset()
                    && (meta.width(), meta.height()) == (info.width(), info.height())
            });
        let is_it = |lent: &Lent| matches!(lent, Lent::Filling { address: at, slot } if *at == address && slot.generation() == generation);
        let at = state.lent.iter().position(is_it).filter(|_| whole)?;
        match std::mem::replace(&mut state.lent[at], Lent::Shown(None)) {
            Lent::Filling { slot, .. } => Some(slot),
            other => {
                state.lent[at] = other;
                None
            }
        }
    }

    /// Shows a slot that [`Ring::filled`] gave, and keeps its buffer.
    ///
    /// # Errors
    /// The producer's; the frame is not seen then.
    pub fn show(&self, slot: WriteSlot, buffer: &gst::Buffer, stamps: Stamps) -> Result<(), ProduceError> {
        let number = slot.slot() as usize;
        {
            let mut state = self.state();
            // Before anybody can see the frame.
            if let Lent::Shown(kept) = &mut state.lent[number] {
                *kept = Some(buffer.clone());
            }
        }
        slot.publish(stamps).map(|_| ())
    }

    /// Slots that upstream fills.
    fn filling(&self) -> u32 {
        self.state().lent.iter().filter(|lent| matches!(lent, Lent::Filling { .. })).count() as u32
    }

    /// `for_upstream`: upstream itself would wait, and cannot give back what it has meanwhile.
    fn find(&self, wait: bool, for_upstream: bool, stopped: &impl Fn() -> bool) -> Result<Place, ProduceError> {
        let began = Instant::now();
        let wait = wait && !self.given_up.load(Relaxed);
        let mut except = 0;
        loop {
            let slot = if wait {
                self.producer.acquire_by(Some(Instant::now() + SLICE), except)?
            } else {
                self.producer.acquire(except)?
            };
            let limit = match self.lossless.flatten() {
                // Twice the time that a reader gets until it is waited for no more.
                Some(patience) => Some(patience * 2),
                None => Some(UPSTREAM).filter(|_| except != 0),
            };
            match slot.map(|slot| self.clear(slot)) {
                Some(Cleared::Free(slot)) => {
                    self.given_up.store(false, Relaxed);
                    return Ok(Place::Slot(slot));
                }
                Some(Cleared::Kept(number)) => except |= 1 << number,
                Some(Cleared::Stale) => {}
                None if !wait => return Ok(Place::Full),
                None if self.interrupt.is_raised() || stopped() => return Ok(Place::Interrupted),
                None if for_upstream && except != 0 => return Ok(Place::Full),
                None if limit.is_some_and(|limit| began.elapsed() >= limit) => {
                    self.given_up.store(true, Relaxed);
                    return Ok(Place::GivenUp);
                }
                None => except = 0,
            }
        }
    }

    /// Lets go of the buffer that was kept for `slot`.
    fn clear(&self, slot: WriteSlot) -> Cleared {
        let (number, generation) = (slot.slot(), slot.generation());
        if generation != self.producer.generation() {
            return Cleared::Stale;
        }
        // The producer may have begun a generation by itself, for names that were lost.
        self.adopt(generation);
        let kept = match &mut self.state().lent[number as usize] {
            Lent::Home => return Cleared::Free(slot),
            Lent::Shown(kept) => kept.take(),
            Lent::Filling { .. } => None,
        };
        // If it was the last reference, its token says so.
        drop(kept);
        let home = matches!(self.state().lent[number as usize], Lent::Home);
        if home { Cleared::Free(slot) } else { Cleared::Kept(number) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
