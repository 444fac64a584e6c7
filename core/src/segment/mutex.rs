// SPDX-License-Identifier: MPL-2.0
//! A mutex under a name, between processes: the lock that TouchDesigner's Shared Mem TOPs take around every access.
//!
//! It exists as long as anybody has it open. A holder that dies gives it up, and the next one has it and is told
//! ([`Locked::was_abandoned`]). Every wait has an end.
//!
//! Windows: a mutex of the system. Linux: an object of four bytes, held open as in `section`. Whoever holds the lock has
//! byte 2^40 + 2 of it locked (`F_OFD_SETLK`) and its process number in the four bytes, which are 0 otherwise: a number
//! that is there when the lock is taken is a dead holder's. The kernel has no timed wait for such locks, so they are
//! asked for again and again. macOS: not supported.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

use std::marker::PhantomData;
use std::time::Duration;

#[cfg(windows)]
use super::windows::mutex as os;
#[cfg(target_os = "linux")]
use linux as os;
#[cfg(target_os = "macos")]
use macos as os;

use super::{CreateOptions, SegmentError, SegmentName};

/// One user's end of a named mutex.
#[derive(Debug)]
pub struct NamedMutex {
    os: os::Mutex,
}

impl NamedMutex {
    /// The mutex of that name, made if nobody has it.
    ///
    /// # Errors
    /// Access denied, another user's, an object of another kind, or the system's refusal. macOS: not supported.
    pub fn new(name: &SegmentName, options: &CreateOptions) -> Result<Self, SegmentError> {
        Ok(Self { os: os::Mutex::new(name, options)? })
    }

    /// Whether anybody has a mutex of that name.
    ///
    /// # Errors
    /// The system cannot tell. macOS: not supported.
    pub fn exists(name: &SegmentName) -> Result<bool, SegmentError> {
        os::Mutex::exists(name)
    }

    /// Takes the lock, or waits `patience` for it; `None` when somebody else had it all the time.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn lock(&mut self, patience: Duration) -> Result<Option<Locked<'_>>, SegmentError> {
        let abandoned = self.os.lock(patience)?;
        Ok(abandoned.map(|abandoned| Locked { mutex: self, abandoned, thread: PhantomData }))
    }
}

/// The lock, until it is dropped, which must happen on the thread that took it.
#[derive(Debug)]
pub struct Locked<'a> {
    mutex: &'a mut NamedMutex,
    abandoned: bool,
    /// Windows gives it back to its own thread only.
    thread: PhantomData<*const ()>,
}

impl Locked<'_> {
    /// Whether the last holder died over it: what it guards may be half changed.
    pub fn was_abandoned(&self) -> bool {
        self.abandoned
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.mutex.os.unlock();
    }
}

#[cfg(all(test, not(miri), not(target_os = "macos")))]
mod tests;
