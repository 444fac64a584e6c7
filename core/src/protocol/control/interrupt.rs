// SPDX-License-Identifier: MPL-2.0
//! Ending waits from another thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::segment::wait::Waiter;
use crate::segment::{AccessError, Bell};

/// Between two rings for somebody who may not have fallen asleep yet.
const AGAIN: Duration = Duration::from_micros(50);
/// How long it is rung: a wait ends by itself by then.
const PATIENCE: Duration = Duration::from_millis(100);

/// A switch that ends the waits of one consumer or producer, from any thread: those that are going on, and those to
/// come until it is cleared. One switch serves a consumer and its successors.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicBool,
    count: AtomicU32,
    /// Threads in a wait.
    waiting: AtomicU32,
    /// Held for the moment of an assignment, never during a wait. Weak: a switch outlives what it is used with, and must
    /// keep no memory mapped.
    sleeper: Mutex<Option<(Weak<Bell>, u32)>>,
    waiter: Waiter,
}

impl Interrupt {
    /// A switch that is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends waits.
    pub fn raise(&self) {
        let inner = &self.0;
        inner.count.fetch_add(1, Ordering::SeqCst);
        inner.raised.store(true, Ordering::SeqCst);
        inner.waiter.wake();
        let began = Instant::now();
        // [interrupt] Either we see it wait, or it sees the switch.
        while inner.waiting.load(Ordering::SeqCst) != 0 && began.elapsed() < PATIENCE {
            let sleeper = inner.sleeper.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // Between its look at the switch and its sleep nobody can be woken, so it is rung until it is up.
            if let Some((bell, me)) = sleeper
                && let Some(bell) = bell.upgrade()
                && bell.ring(1 << me).is_err()
            {
                return;
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Lets waits be again.
    pub fn clear(&self) {
        self.0.raised.store(false, Ordering::SeqCst);
        self.0.waiter.reset();
    }

    /// Whether waits end.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// How often it was raised: somebody who was busy meanwhile sees it afterwards.
    pub fn count(&self) -> u32 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// A waiter for moments that this switch ends too.
    pub fn waiter(&self) -> &Waiter {
        &self.0.waiter
    }

    /// Sleeps over `bell` as [`Bell::wait`] does, unless the switch is on.
    pub(in crate::protocol) fn sleep(
        &self,
        bell: &Arc<Bell>,
        me: u32,
        seen: u32,
        until_ns: u64,
    ) -> Result<(), AccessError> {
        let inner = &self.0;
        {
            let mut sleeper = inner.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
            if !sleeper.as_ref().is_some_and(|(known, as_whom)| known.as_ptr() == Arc::as_ptr(bell) && *as_whom == me) {
                *sleeper = Some((Arc::downgrade(bell), me));
            }
        }
        inner.waiting.fetch_add(1, Ordering::SeqCst);
        // [interrupt]
        let outcome = if inner.raised.load(Ordering::SeqCst) { Ok(()) } else { bell.wait(me, seen, until_ns) };
        inner.waiting.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}
