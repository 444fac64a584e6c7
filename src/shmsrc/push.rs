// SPDX-License-Identifier: MPL-2.0
//! How long downstream has had a frame: until it is done with it nobody looks at the wire.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gst::prelude::*;

/// How long that may take before others are no longer to wait for us: as long as a silent sender is held.
const LONG: Duration = Duration::from_millis(1500);
/// How often is looked.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(250);

/// The streaming thread's way between two looks at the wire.
#[derive(Debug, Default)]
pub struct Push {
    /// Since when downstream has a frame.
    since: Mutex<Option<Instant>>,
    looks: Mutex<Option<gst::PeriodicClockId>>,
}

impl Push {
    /// A frame goes downstream.
    pub fn begin(&self) {
        *guard(&self.since) = Some(Instant::now());
    }

    /// Downstream asks for the next one. Waits until [`Push::if_long`] is done.
    pub fn end(&self) {
        *guard(&self.since) = None;
    }

    /// Calls `f` if downstream has kept a frame for long; once for each.
    pub fn if_long(&self, f: impl FnOnce()) {
        let mut since = guard(&self.since);
        if since.is_some_and(|since| since.elapsed() >= LONG) {
            *since = None;
            f();
        }
    }

    /// Calls `look` some times a second, on a thread of GStreamer's, until [`Push::unwatch`].
    pub fn watch(&self, look: impl Fn() + Send + 'static) {
        let clock = gst::SystemClock::obtain();
        let looks = clock.new_periodic_id(clock.time(), LOOK);
        match looks.wait_async(move |_, _, _| look()) {
            Ok(_) => *guard(&self.looks) = Some(looks),
            Err(err) => tracing::warn!(?err, "a sender waits for us as long as downstream takes for a frame"),
        }
    }

    /// No more looks.
    pub fn unwatch(&self) {
        *guard(&self.since) = None;
        if let Some(looks) = guard(&self.looks).take() {
            looks.unschedule();
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
