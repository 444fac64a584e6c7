// SPDX-License-Identifier: MPL-2.0
//! Waiting for a moment, unless somebody says that the wait is over.

#[cfg(not(windows))]
mod condvar;
#[cfg(windows)]
pub(super) mod windows;

use std::time::Instant;

#[cfg(not(windows))]
use condvar as os;
#[cfg(windows)]
use windows as os;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The moment came.
    Deadline,
    /// [`Waiter::wake`] was called.
    Woken,
}

/// Waits that another thread can end. Waking lasts: every wait ends at once until [`Waiter::reset`].
#[derive(Debug, Default)]
pub struct Waiter(os::Waiter);

impl Waiter {
    /// A waiter that nobody has woken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Blocks until `deadline` (of the monotonic clock) or [`Waiter::wake`], whichever comes first. Never ends before
    /// one of them.
    pub fn wait_until(&self, deadline: Instant) -> Woken {
        self.0.wait_until(deadline)
    }

    /// Ends this wait and those to come.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// Takes a waking back.
    pub fn reset(&self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_wait_ends_at_its_moment_and_not_before() {
        let waiter = Waiter::new();
        for micros in [0, 1, 300, 20_000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            assert_eq!(waiter.wait_until(deadline), Woken::Deadline);
            assert!(Instant::now() >= deadline);
        }
    }

    #[test]
    fn a_moment_that_has_passed_is_not_waited_for() {
        let waiter = Waiter::new();
        let past = Instant::now();
        assert_eq!(waiter.wait_until(past), Woken::Deadline);
    }

    #[test]
    fn another_thread_ends_the_wait() {
        let waiter = Waiter::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| waiter.wait_until(Instant::now() + LONG));
            waiter.wake();
            assert_eq!(waiting.join().unwrap(), Woken::Woken);
        });
    }

    #[test]
    fn waking_lasts_until_it_is_taken_back() {
        let waiter = Waiter::new();
        waiter.wake();
        assert_eq!(waiter.wait_until(Instant::now() + LONG), Woken::Woken);
        assert_eq!(waiter.wait_until(Instant::now() + LONG), Woken::Woken);
        waiter.reset();
        assert_eq!(waiter.wait_until(Instant::now() + Duration::from_millis(1)), Woken::Deadline);
    }
}
