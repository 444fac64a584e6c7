// SPDX-License-Identifier: MPL-2.0
//! The end that writes.

use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use tracing::field::Empty;

use super::ProduceError;
use super::format::Description;
use super::layout::{MAX_SLOTS, SlotHandles};
use super::offer::{GRACE, Offer};
use crate::cuda::{Context, CudaError, DeviceMem, Event, Plane, Stream};
use crate::frame::FrameDesc;
use crate::segment::{Acquired, CreateOptions, Published, SegmentName, monotonic_ns};

/// How to offer frames.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Slots, 2 to [`MAX_SLOTS`].
    pub slots: u32,
    /// Leaves the flag out that says B G R A: readers before 1.8.0 take it for another format.
    pub legacy_flags: bool,
    /// Publishes a frame when it is complete, not when its copy was ordered: for readers that do not wait for events. Always
    /// so where events cannot be shared between processes, as in virtual machines of Windows.
    pub export_sync: bool,
    /// Modes, takeover, other users' segments.
    pub create: CreateOptions,
}

impl Default for ProducerOptions {
    /// Three slots, as everybody has.
    fn default() -> Self {
        Self { slots: 3, legacy_flags: false, export_sync: false, create: CreateOptions::default() }
    }
}

/// Offers frames in GPU memory under a name. Nobody is waited for: the newest frame wins.
///
/// Dropping it says that it has ended, waits 100 ms for readers to let go, and gives memory and name back.
#[derive(Debug)]
pub struct Producer {
    offer: Offer,
    slots: Vec<Slot>,
    /// Slots of former generations, and from when on they may go.
    retired: Vec<(Instant, Vec<Slot>)>,
    /// For [`ProducerOptions::export_sync`], and for slots without events.
    complete: Option<Event>,
    context: Context,
    frame: FrameDesc,
    description: Description,
    legacy_flags: bool,
}

#[derive(Debug)]
struct Slot {
    /// `None` where events cannot be shared.
    event: Option<Event>,
    memory: DeviceMem,
    handles: SlotHandles,
}

impl Slot {
    fn new(context: &Context, bytes: usize, has_event: bool) -> Result<Self, CudaError> {
        let memory = DeviceMem::new(context, bytes)?;
        let event = has_event.then(|| Event::interprocess(context)).transpose()?;
        let of_event = event.as_ref().map(Event::ipc_handle).transpose()?;
        let handles = SlotHandles { memory: memory.ipc_handle()?, event: of_event };
        Ok(Self { event, memory, handles })
    }

    fn ring(context: &Context, slots: u32, bytes: usize) -> Result<Vec<Self>, CudaError> {
        let has_event = context.driver().shares_events(context.device())?;
        (0..slots).map(|_| Self::new(context, bytes, has_event)).collect()
    }
}

impl Producer {
    /// Takes `name`, makes memory for `options.slots` frames in `context` and announces it.
    ///
    /// # Errors
    /// A live producer's name, a frame or a number of slots that cannot be announced, the GPU's refusal, and what segments
    /// can come to.
    pub fn create(
        name: &SegmentName,
        context: &Context,
        frame: FrameDesc,
        options: &ProducerOptions,
    ) -> Result<Self, ProduceError> {
        let slots = options.slots;
        let device = context.device();
        let _span = tracing::debug_span!("attach", protocol = "cuda-link", %name, device, %frame, slots).entered();
        if !(2..=MAX_SLOTS).contains(&slots) {
            return Err(ProduceError::Slots { slots });
        }
        let description = describe(&frame, options.legacy_flags)?;
        // Before the name is touched: what fails here has left nothing there.
        let ring = Slot::ring(context, slots, description.frame_bytes() as usize)?;
        // Readers that have no event to wait for take what is published for complete.
        let waits = options.export_sync || ring.iter().any(|slot| slot.event.is_none());
        let complete = waits.then(|| Event::new(context)).transpose()?;
        let offer = Offer::create(name, slots, &options.create)?;
        let (context, legacy_flags) = (context.clone(), options.legacy_flags);
        let retired = Vec::new();
        let mut producer = Self { offer, slots: ring, retired, complete, context, frame, description, legacy_flags };
        producer.announce()?;
        Ok(producer)
    }

    fn announce(&mut self) -> Result<(), ProduceError> {
        let handles = self.slots.iter().map(|slot| slot.handles).collect();
        self.offer.announce(self.description, handles).map(drop)
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.offer.acquired()
    }

    /// What is offered now.
    pub fn frame(&self) -> &FrameDesc {
        &self.frame
    }

    /// Counts announcements.
    pub fn generation(&self) -> u64 {
        self.offer.generation()
    }

    /// The newest frame's number; 0 before the first of a generation.
    pub fn index(&self) -> u32 {
        self.offer.index()
    }

    /// The context that the memory is in.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How often somebody else was seen to write the count of frames.
    pub fn rivals(&self) -> u64 {
        self.offer.rivals()
    }

    /// Offers frames of another size or format from now on, in new memory; the number of slots stays. The old memory goes
    /// a moment later. The same frame again changes nothing.
    ///
    /// # Errors
    /// A frame that cannot be announced, or the GPU's refusal: then the old one stays in force. The segment was cut short.
    pub fn set_frame(&mut self, frame: FrameDesc) -> Result<(), ProduceError> {
        let _span = tracing::debug_span!("resize", name = %self.offer.name(), %frame).entered();
        let description = describe(&frame, self.legacy_flags)?;
        if description == self.description {
            self.frame = frame;
            return Ok(());
        }
        let ring = Slot::ring(&self.context, self.offer.slots(), description.frame_bytes() as usize)?;
        let old = std::mem::replace(&mut self.slots, ring);
        (self.frame, self.description) = (frame, description);
        let announced = self.announce();
        self.retired.push((Instant::now() + GRACE, old));
        announced
    }

    /// The slot of the next frame. Publishing the slot shows it; dropping it shows nothing.
    ///
    /// # Errors
    /// See [`Producer::tend`].
    pub fn begin(&mut self) -> Result<WriteSlot<'_>, ProduceError> {
        let now = Instant::now();
        self.retired.retain(|(until, _)| now < *until);
        let slot = self.offer.next_slot();
        // [begin] Release, pairs with the reader's look after its copy: who sees what is written now also sees the count
        // that allowed it.
        fence(Ordering::Release);
        Ok(WriteSlot { producer: self, slot })
    }

    /// Says that no frame will follow for now: see [`Offer::pause`].
    ///
    /// # Errors
    /// Another program has announced its own ring, or the segment was cut short.
    pub fn pause(&mut self) -> Result<(), ProduceError> {
        self.offer.pause()
    }

    /// Keeps the name: see [`Offer::tend`]. For each frame; it is cheap.
    ///
    /// # Errors
    /// No space for a new segment, or the system's refusal.
    pub fn tend(&mut self) -> Result<Published, ProduceError> {
        self.offer.tend()
    }
}

fn describe(frame: &FrameDesc, legacy_flags: bool) -> Result<Description, ProduceError> {
    Description::new(frame, legacy_flags).ok_or(ProduceError::Frame { frame: *frame })
}

impl Drop for Producer {
    fn drop(&mut self) {
        tracing::debug!(protocol = "cuda-link", name = %self.offer.name(), "detach");
        if !self.offer.is_ours() {
            // A forked child's copies of a GPU's things are not things of a GPU.
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.retired));
            std::mem::forget(self.complete.take());
            return;
        }
        self.offer.end();
        std::thread::sleep(GRACE);
        self.offer.clear();
        // The name goes with the offer, before the memory: nobody finds a handle that leads nowhere.
    }
}

/// A slot that nobody has been told of yet. Readers may still be looking at the frame that stands in it: they find out
/// by the count.
#[derive(Debug)]
#[must_use = "a frame that is not published is never seen"]
pub struct WriteSlot<'p> {
    producer: &'p mut Producer,
    slot: u32,
}

impl WriteSlot<'_> {
    fn inner(&self) -> &Slot {
        &self.producer.slots[self.slot as usize]
    }

    /// Number of the slot.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Its memory.
    pub fn memory(&self) -> &DeviceMem {
        &self.inner().memory
    }

    /// The frame's rows in it: tight, as the wire has them.
    ///
    /// # Errors
    /// None that can happen: the memory was made for the frame.
    pub fn plane(&self) -> Result<Plane, CudaError> {
        let description = self.producer.description;
        let row_bytes = description.row_bytes();
        self.inner().memory.plane(row_bytes, row_bytes, description.height as usize)
    }

    /// Shows the frame as the newest, complete when everything that is in `stream` now is done. Gives its number.
    ///
    /// # Errors
    /// What the work in the stream failed with, if that is known; another program has announced its own ring; the segment
    /// was cut short. The frame is not seen then.
    pub fn publish(self, stream: &Stream) -> Result<u32, ProduceError> {
        let name = self.producer.offer.name();
        let span = tracing::trace_span!("publish", %name, slot = self.slot(), sequence = Empty).entered();
        // Before the count moves: whoever sees the frame's number finds its event recorded.
        if let Some(event) = &self.inner().event {
            event.record(stream)?;
        }
        if let Some(complete) = &self.producer.complete {
            complete.record(stream)?;
            complete.synchronize()?;
        } else if cfg!(windows) {
            // The driver collects work there until somebody asks.
            stream.query()?;
        }
        let sequence = self.producer.offer.publish(monotonic_ns())?;
        span.record("sequence", sequence);
        Ok(sequence)
    }
}
