// SPDX-License-Identifier: MPL-2.0
//! What an element is between start and stop.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that exists while an element is started, and that one thread at a time uses.
///
/// That thread holds no lock meanwhile: a handler of a message or signal that it sends may read properties, and may
/// even stop the element.
#[derive(Debug)]
pub struct Run<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    Stopped,
    /// Boxed: it changes hands twice a frame, and is some kilobytes.
    Idle(Box<T>),
    /// Some thread has it.
    Busy,
}

impl<T> Default for Run<T> {
    fn default() -> Self {
        Self(Mutex::new(State::Stopped))
    }
}

impl<T> Run<T> {
    /// The element is started.
    pub fn begin(&self, run: T) {
        *self.state() = State::Idle(Box::new(run));
    }

    /// The element is stopped. What is in use ends when its thread is done with it.
    pub fn end(&self) {
        let ended = std::mem::replace(&mut *self.state(), State::Stopped);
        // Dropped without the lock.
        drop(ended);
    }

    /// Uses it; `None` when the element is stopped.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut run = {
            let mut state = self.state();
            match std::mem::replace(&mut *state, State::Busy) {
                State::Idle(run) => run,
                other => {
                    *state = other;
                    return None;
                }
            }
        };
        let result = f(&mut run);
        let mut state = self.state();
        if matches!(*state, State::Busy) {
            *state = State::Idle(run);
        }
        Some(result)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Each change is one assignment: there is nothing half done to see after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_while_in_use_does_not_come_back() {
        let run = Run::default();
        assert_eq!(run.with(|_: &mut i32| ()), None);
        run.begin(1);
        assert_eq!(run.with(|n| std::mem::replace(n, 2)), Some(1));
        assert_eq!(run.with(|_| run.end()), Some(()));
        assert_eq!(run.with(|n| *n), None);
    }

    #[test]
    fn one_thread_at_a_time_has_it() {
        let run = Run::default();
        run.begin(1);
        assert_eq!(run.with(|_| run.with(|n| *n)), Some(None));
    }
}
