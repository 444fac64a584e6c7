// SPDX-License-Identifier: MPL-2.0
//! A consumer's row, which it shares with the slots that it has leased: whoever of them is last gives it back.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::ConsumeError;
use super::description::Description;
use super::layout::{FREED, ROW_PID, ROW_SINCE, Tables};
use super::ring;
use super::takeover::remove_raw;
use super::words::SegmentWords;
use crate::segment::{Bell, ControlSegment, Process, SegmentName, remove_pixels};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: SegmentName,
    pub(super) control: ControlSegment,
    pub(super) words: SegmentWords,
    pub(super) row: u32,
    /// The claim's count, once there is one.
    claim: OnceLock<u32>,
    freed: Bell,
    /// Half of the ring's slots.
    half: AtomicU32,
    /// What must be removed with the control segment, should its producer die.
    description: Mutex<Option<Description>>,
    /// A forked child has this value too, and must not give back what its parent has.
    process: Process,
}

impl Link {
    /// Over a row whose lock is held.
    pub(super) fn new(
        name: &SegmentName,
        control: ControlSegment,
        tables: Tables,
        row: u32,
    ) -> Result<Self, ConsumeError> {
        let segment = Arc::clone(control.segment());
        let freed = Bell::new(&name.control(), Arc::clone(&segment), FREED.offset());
        let freed = match freed {
            Ok(freed) => freed,
            Err(error) => {
                control.release_row(row);
                return Err(error.into());
            }
        };
        Ok(Self {
            name: name.clone(),
            words: SegmentWords::new(segment, tables),
            control,
            row,
            claim: OnceLock::new(),
            freed,
            half: AtomicU32::new(0),
            description: Mutex::new(None),
            process: Process::current(),
        })
    }

    /// Shows the row to the producer; gives the last frame that was taken before we came.
    pub(super) fn claim(&self, wish: u32) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let (segment, tables) = (self.words.segment(), self.words.tables());
        // For display only: that they cannot be written shows in everything else.
        let _ = segment.store_u32(tables.row(self.row, ROW_PID), std::process::id(), Ordering::Relaxed);
        let _ = segment.store_u64(tables.row(self.row, ROW_SINCE), since, Ordering::Relaxed);
        let (count, taken) = ring::claim(&self.words, self.row, wish);
        // Only the end that attaches comes here, once.
        let _ = self.claim.set(count);
        taken
    }

    /// Whether this process may use the row, and its words are there.
    pub(super) fn check(&self) -> Result<(), ConsumeError> {
        if !self.process.is_current() {
            return Err(ConsumeError::Forked);
        }
        Ok(self.words.check()?)
    }

    pub(super) fn set_description(&self, description: &Description) {
        self.half.store(description.pixels.slots / 2, Ordering::Relaxed);
        *self.description.lock().unwrap_or_else(PoisonError::into_inner) = Some(description.clone());
    }

    /// Leases that the producer has granted.
    pub(super) fn granted(&self) -> u32 {
        self.claim.get().map_or(0, |&count| ring::granted(&self.words, self.row, count))
    }

    /// Leases `slot`, if frame `sequence` is in it and this row may hold one more.
    pub(super) fn lease(&self, generation: u32, slot: u32, sequence: u64) -> ring::Leased {
        let Some(&count) = self.claim.get() else {
            return ring::Leased::Over;
        };
        let (words, row) = (&self.words, self.row);
        if ring::leases(words, row, generation).count_ones() >= ring::granted(words, row, count) {
            return ring::Leased::Over;
        }
        ring::lease(words, row, count, generation, slot, sequence)
    }

    pub(super) fn give_back(&self, generation: u32, slot: u32, lossless: bool) {
        // Of threads that are not ours: so that a segment that was cut short does them no harm.
        if self.words.check().is_ok() && self.process.is_current() {
            ring::give_back(&self.words, self.row, generation, slot);
            self.tell(lossless);
        }
    }

    /// Says that everything up to `sequence` was taken.
    pub(super) fn took(&self, sequence: u64, lossless: bool) {
        if lossless && self.process.is_current() {
            ring::set_taken(&self.words, self.row, sequence);
            self.tell(lossless);
        }
    }

    /// Wakes a producer that waits, unless there is more than half a ring that we have yet to take: then it is woken
    /// when less is left, for several frames at once. (One that looks by itself need not wait for that.)
    fn tell(&self, lossless: bool) {
        let few = || {
            let left = ring::observe(&self.words).sequence.saturating_sub(ring::taken(&self.words, self.row));
            left <= self.half.load(Ordering::Relaxed).into()
        };
        if lossless
            && ring::freed(&self.words, few)
            && let Err(error) = self.freed.ring(1)
        {
            tracing::debug!(name = %self.name, %error, "the producer cannot be woken");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        if self.claim.get().is_some() {
            ring::unclaim(&self.words, self.row);
            self.tell(true);
        }
        self.control.release_row(self.row);
        let description = self.description.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let name = &self.name;
        self.control.remove_if_unused(|| {
            if let Some(description) = &description {
                remove_raw(name, description);
            }
            remove_pixels(name, None);
        });
    }
}
