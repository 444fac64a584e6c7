// SPDX-License-Identifier: MPL-2.0
//! std's condition variable: a futex and the monotonic clock on Linux, and precise to the timer slack (50 µs).

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::Woken;

#[derive(Debug, Default)]
pub(super) struct Waiter {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waiter {
    pub(super) fn wait_until(&self, deadline: Instant) -> Woken {
        // Nothing can go wrong while a flag is held, so a poisoned one is as good as any.
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *woken {
                return Woken::Woken;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Deadline;
            }
            woken = self.changed.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn reset(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}
