// SPDX-License-Identifier: MPL-2.0
//! Frames that were passed on as they lie, without a copy: whether the producer left them alone until they were read.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::watch::{Published, Watch};
use crate::cuda::{Context, CudaError, Event, Stream, Usual};

/// How long the GPU is waited for at the end: longer than any frame's work takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Judges frames after they were given back.
///
/// Who gives a frame back has often only queued the kernel that reads it. So an event is recorded in the context's default
/// stream, which comes after all that was queued before in blocking streams (GStreamer makes no others), and a frame is
/// judged when that is over. That is noticed at the next call, not at once: a frame counts as overwritten when it was by
/// then, so none is missed, and one that was read in the last moment may be counted too many.
#[derive(Debug)]
pub struct Loans {
    watch: Watch,
    context: Context,
    reads: Mutex<Reads>,
}

#[derive(Debug, Default)]
struct Reads {
    /// What may still be going on, oldest first.
    pending: Vec<(Event, Published)>,
    /// Events of reads that are over, for the next ones.
    spare: Vec<Event>,
}

impl Loans {
    /// Of frames that `watch` sees, and that are read in blocking streams of `context`.
    pub fn new(watch: Watch, context: &Context) -> Self {
        Self { watch, context: context.clone(), reads: Mutex::default() }
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        // Each change is whole: there is nothing half done to see after a panic.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame that nobody holds any more, but that the GPU may still be reading. Gives the number of frames that turn out
    /// to have been overwritten, this one or former ones.
    pub fn give_back(&self, frame: &Published) -> u64 {
        if !self.is_whole(frame) {
            // Whatever is still read of it.
            return 1 + self.judge();
        }
        // Once for all that follows, where a lost context is an error each time.
        let _current = self.context.enter();
        let spare = self.reads().spare.pop();
        match self.behind(spare) {
            Ok(event) => self.reads().pending.push((event, *frame)),
            // A context that was lost reads nothing any more.
            Err(error) => tracing::debug!(%error, "when the GPU has read a frame cannot be told"),
        }
        self.judge()
    }

    /// An event behind all that is queued now.
    fn behind(&self, spare: Option<Event>) -> Result<Event, CudaError> {
        let event = spare.map_or_else(|| Event::new(&self.context), Ok)?;
        event.record(&Stream::legacy(&self.context))?;
        Ok(event)
    }

    /// Gives the number of frames that turn out to have been overwritten since this was last asked.
    pub fn judge(&self) -> u64 {
        let mut reads = self.reads();
        let Reads { pending, spare } = &mut *reads;
        let mut overwritten = 0;
        let _current = (!pending.is_empty()).then(|| self.context.enter());
        for (event, frame) in std::mem::take(pending) {
            let is_over = event.query();
            if !self.is_whole(&frame) {
                overwritten += 1;
            } else if is_over == Ok(false) {
                pending.push((event, frame));
                continue;
            }
            spare.push(event);
        }
        overwritten
    }

    /// The same when no more frames are lent: the reads that are still going on are waited for, two seconds at most.
    pub fn finish(&self) -> u64 {
        let until = Instant::now() + PATIENCE;
        let pending = std::mem::take(&mut self.reads().pending);
        let overwritten = pending.iter().filter(|(event, frame)| {
            // What fails or does not end is judged as it stands.
            let _ = event.synchronize_by(until, &mut Usual::default(), || false);
            !self.is_whole(frame)
        });
        overwritten.count() as u64
    }

    /// A segment that was cut short tells of no frame that it was left alone.
    fn is_whole(&self, frame: &Published) -> bool {
        self.watch.is_whole(frame).unwrap_or(false)
    }
}
