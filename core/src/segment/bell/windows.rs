// SPDX-License-Identifier: MPL-2.0
//! A named event for each sleeper: `SEGMENT.bell.OFFSET.SLEEPER`, which resets itself when it has woken one.
//!
//! An event that was set for a former sleeper of the number wakes the next one for no reason, once.

use std::os::windows::io::OwnedHandle;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::segment::bell::SLEEPERS;
use crate::segment::clock::monotonic_ns;
use crate::segment::wait::windows::{timer, wait};
use crate::segment::windows::event;
use crate::segment::{AccessError, Segment, SegmentName};

/// Longest sleep: whoever is woken by the word alone, where no event could be had, must look for itself.
const LONGEST_NS: u64 = 100_000_000;
/// The same where there is neither event nor timer.
const COARSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Bell {
    name: String,
    /// One event wakes any sleeper: `name` itself.
    shared: bool,
    /// Opened when they are first needed. `None`: the system refused.
    events: [OnceLock<Option<OwnedHandle>>; SLEEPERS as usize],
    /// Of the last wait, for the next one.
    timer: Mutex<Option<OwnedHandle>>,
}

impl Bell {
    pub(super) fn new(name: &SegmentName, offset: usize) -> Self {
        let name = format!("{name}.bell.{offset}");
        Self { name, shared: false, events: Default::default(), timer: Mutex::default() }
    }

    pub(super) fn named(event: &str) -> Self {
        Self { name: event.to_owned(), shared: true, events: Default::default(), timer: Mutex::default() }
    }

    fn event(&self, sleeper: u32) -> Option<&OwnedHandle> {
        let sleeper = if self.shared { 0 } else { sleeper };
        let event = self.events.get(sleeper as usize)?.get_or_init(|| {
            let name = if self.shared { self.name.clone() } else { format!("{}.{sleeper}", self.name) };
            match event::create(&name) {
                Ok((event, _)) => Some(event),
                Err(error) => {
                    tracing::warn!(name, %error, "no event to wake by");
                    None
                }
            }
        });
        event.as_ref()
    }

    pub(super) fn ring(&self, segment: &Segment, offset: usize, who: u32) -> Result<(), AccessError> {
        let who = if self.shared { u32::from(who != 0) } else { who };
        for sleeper in (0..SLEEPERS).filter(|sleeper| who >> sleeper & 1 != 0) {
            if let Some(event) = self.event(sleeper) {
                event::set(event);
            }
        }
        segment.load_u32(offset, Ordering::Relaxed).map(drop)
    }

    pub(super) fn wait(
        &self,
        segment: &Segment,
        offset: usize,
        me: u32,
        seen: u32,
        until_ns: u64,
    ) -> Result<(), AccessError> {
        let event = self.event(me % SLEEPERS);
        let left = until_ns.saturating_sub(monotonic_ns()).min(LONGEST_NS);
        if segment.load_u32(offset, Ordering::Acquire)? != seen || left == 0 {
            return Ok(());
        }
        let left = Duration::from_nanos(left);
        let timer = self.timer().take().or_else(timer);
        let waited = match (event, &timer) {
            (Some(event), Some(timer)) => wait(event, timer, left),
            _ => false,
        };
        if !waited {
            std::thread::sleep(left.min(COARSE));
        }
        *self.timer() = timer;
        Ok(())
    }

    fn timer(&self) -> std::sync::MutexGuard<'_, Option<OwnedHandle>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
