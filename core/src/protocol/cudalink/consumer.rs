// SPDX-License-Identifier: MPL-2.0
//! The end that reads.

use std::time::Instant;

use tracing::field::{Empty, debug};

use super::format::Description;
use super::watch::{Published, Wait, Watch};
use super::{ConsumeError, Interrupt};
use crate::cuda::{Context, CudaError, Event, Imported, Plane, Usual};
use crate::segment::{OpenOptions, SegmentName};

/// Takes frames that a producer offers under a name, the newest one each time.
#[derive(Debug)]
pub struct Consumer {
    watch: Watch,
    description: Description,
    slots: Vec<Slot>,
    /// What was asked for; imports may live in another one of the same GPU.
    context: Context,
    /// How long the producer's copies take.
    usual: Usual,
    dead: bool,
    /// A generation's memory did not open: what is announced and what is open here are two things.
    broken: bool,
}

/// A slot of the producer's, opened here.
#[derive(Debug)]
struct Slot {
    event: Option<Event>,
    memory: Imported,
}

/// A frame of the producer's, where it lies. The producer may write over it at any time: whatever is read of it counts
/// only if [`Consumer::still_whole`] says so afterwards.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which one it is.
    pub published: Published,
    /// Its rows, tight, in the producer's order.
    pub plane: Plane,
    memory: Imported,
}

impl Frame {
    /// The memory, which stays open as long as this is kept.
    pub fn memory(&self) -> &Imported {
        &self.memory
    }
}

impl Consumer {
    /// Finds the producer of `name` and opens its memory in `context`, or in the one context of that GPU where this
    /// process has imports already: [`Consumer::context`] tells. The newest frame, if there is one, is the first to be
    /// taken. `interrupt` ends waits.
    ///
    /// # Errors
    /// Nobody there, not ready, ended ([`ConsumeError::may_pass`]); a ring of one slot; contents that cannot be; handles of
    /// memory or events that lead nowhere, to this very process, or to less memory than a frame needs.
    pub fn attach(
        name: &SegmentName,
        context: &Context,
        options: &OpenOptions,
        interrupt: Interrupt,
    ) -> Result<Self, ConsumeError> {
        let _span = tracing::debug_span!("attach", protocol = "cuda-link", %name, device = context.device()).entered();
        let watch = Watch::attach(name, options, interrupt)?;
        let (description, slots) = open(&watch, context)?;
        Ok(Self {
            watch,
            description,
            slots,
            context: context.clone(),
            usual: Usual::default(),
            dead: false,
            broken: false,
        })
    }

    /// What the frames are.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The generation.
    pub fn generation(&self) -> u64 {
        self.watch.header().generation
    }

    /// Number of slots: a frame that is not copied is written over when so many others have come, less one.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The context in which the memory is open: copies are made in its streams.
    pub fn context(&self) -> &Context {
        self.slots.first().map_or(&self.context, |slot| slot.memory.context())
    }

    /// The memory of a slot, for who keeps one buffer for each.
    pub fn memory(&self, slot: u32) -> Option<&Imported> {
        self.slots.get(slot as usize).map(|slot| &slot.memory)
    }

    /// See [`Watch::skipped`].
    pub fn skipped(&self) -> u64 {
        self.watch.skipped()
    }

    /// See [`Watch::overwritten`].
    pub fn overwritten(&self) -> u64 {
        self.watch.overwritten()
    }

    /// See [`Watch::rivals`].
    pub fn rivals(&self) -> u64 {
        self.watch.rivals()
    }

    /// Waits until there is something to say: see [`Watch::wait_newer`]. At [`Wait::Respec`] the new generation's memory
    /// is open already; frames of the old one are void, but what keeps their memory keeps it.
    ///
    /// # Errors
    /// See [`Watch::wait_newer`] and [`Consumer::attach`]. This consumer is of no more use then.
    pub fn wait_newer(&mut self, deadline: Option<Instant>) -> Result<Wait, ConsumeError> {
        self.usable()?;
        let wait = self.wait(deadline)?;
        match wait {
            Wait::Respec => {
                // The old ones go when the new ones are there: what is in both stays open. If those do not open, nothing
                // that is here belongs to the frames that will be announced.
                let opened = open(&self.watch, &self.context);
                self.slots.clear();
                self.broken = opened.is_err();
                (self.description, self.slots) = opened?;
            }
            Wait::Gone | Wait::Superseded => self.dead = true,
            _ => {}
        }
        Ok(wait)
    }

    /// The newest frame, if it was not taken yet.
    ///
    /// # Errors
    /// The segment was cut short, or [`Consumer::wait_newer`] has failed.
    pub fn take(&mut self) -> Result<Option<Frame>, ConsumeError> {
        self.usable()?;
        let Some(published) = self.watch.take()? else { return Ok(None) };
        let Some(slot) = self.slots.get(published.slot as usize) else { return Ok(None) };
        let plane = plane(&slot.memory, &self.description)?;
        Ok(Some(Frame { published, plane, memory: slot.memory.clone() }))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<Wait, ConsumeError> {
        let span = tracing::trace_span!("wait", name = %self.watch.name(), came = Empty).entered();
        let wait = self.watch.wait_newer(deadline)?;
        span.record("came", debug(wait));
        Ok(wait)
    }

    /// [`ConsumeError::NotReady`] once a generation could not be opened: attach again.
    fn usable(&self) -> Result<(), ConsumeError> {
        if self.broken { Err(ConsumeError::NotReady { name: self.watch.name().to_string() }) } else { Ok(()) }
    }

    /// Waits for the producer's copy of the frame until `deadline`, or until `is_over` says that nobody waits any more.
    /// Whether it is done, as far as events tell. What is queued behind the producer's event cannot be taken back, however
    /// long that takes: who waits here first queues nothing that hangs.
    ///
    /// # Errors
    /// What that copy failed with.
    pub fn complete_by(
        &mut self,
        frame: &Frame,
        deadline: Instant,
        is_over: impl Fn() -> bool,
    ) -> Result<bool, ConsumeError> {
        let mut usual = self.usual;
        let is_complete =
            self.event(frame).map_or(Ok(true), |event| event.synchronize_by(deadline, &mut usual, is_over));
        self.usual = usual;
        Ok(is_complete?)
    }

    /// Gives a frame back that was taken last: it is the newest again, until another one is.
    pub fn untake(&mut self, frame: &Frame) {
        self.watch.untake(&frame.published);
    }

    fn event(&self, frame: &Frame) -> Option<&Event> {
        let current = frame.published.generation == self.generation();
        self.slots.get(frame.published.slot as usize).filter(|_| current)?.event.as_ref()
    }

    /// Asked when a copy of a frame is done: whether the frame was left alone until then. One that was not counts as
    /// overwritten, and must not be shown.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn still_whole(&mut self, frame: &Frame) -> Result<bool, ConsumeError> {
        self.watch.still_whole(&frame.published)
    }

    /// The same, without counting, of a frame that was passed on as it lies.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn is_whole(&self, published: &Published) -> Result<bool, ConsumeError> {
        self.watch.is_whole(published)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        tracing::debug!(protocol = "cuda-link", name = %self.watch.name(), skipped = self.skipped(), "detach");
        if self.dead {
            for event in self.slots.drain(..).filter_map(|slot| slot.event) {
                event.abandon();
            }
        }
    }
}

/// Opens everything that is announced.
fn open(watch: &Watch, context: &Context) -> Result<(Description, Vec<Slot>), ConsumeError> {
    let name = || watch.name().to_string();
    let header = watch.header();
    let (Some(handles), Some(description)) = (&header.handles, header.description) else {
        return Err(ConsumeError::NotReady { name: name() });
    };
    if handles.len() < 2 {
        return Err(ConsumeError::OneSlot { name: name() });
    }
    let slots = handles.iter().map(|handles| {
        let memory = Imported::open(context, &handles.memory)?;
        plane(&memory, &description)?;
        // A slot whose producer has an event that cannot be asked is not known to be complete, ever. (One without an event is
        // published when it is.)
        let event = handles.event.map(|handle| Event::import(memory.context(), &handle)).transpose()?;
        Ok(Slot { event, memory })
    });
    Ok((description, slots.collect::<Result<_, ConsumeError>>()?))
}

/// The frame's rows in a slot, all of which must be there.
fn plane(memory: &Imported, description: &Description) -> Result<Plane, CudaError> {
    let (needed, found) = (description.frame_bytes() as usize, memory.len());
    if found < needed {
        return Err(CudaError::TooSmall { found, needed });
    }
    let row_bytes = description.row_bytes();
    memory.plane(row_bytes, row_bytes, description.height as usize)
}
