// SPDX-License-Identifier: MPL-2.0
//! Waking sleepers of other processes, over a 32-bit word that they share.
//!
//! Who rings changes the word first; who waits says which value it has seen, and does not fall asleep over another one.
//! A ring that is lost all the same (a peer that cannot do better than poll) costs its wait no more than its deadline.

#[cfg(target_os = "linux")]
mod futex;
#[cfg(target_os = "macos")]
mod poll;
#[cfg(windows)]
mod windows;

use std::sync::Arc;
use std::sync::atomic::Ordering;

#[cfg(target_os = "linux")]
use futex as os;
#[cfg(target_os = "macos")]
use poll as os;
#[cfg(windows)]
use windows as os;

use super::{AccessError, Segment, SegmentName};

/// Sleepers that one ring can tell apart: bits of a `u32`.
pub const SLEEPERS: u32 = u32::BITS;

/// One word that can be slept over. All who share it say the same name and the same offset.
#[derive(Debug)]
pub struct Bell {
    segment: Arc<Segment>,
    offset: usize,
    os: os::Bell,
}

impl Bell {
    /// The bell over the word at `offset` of the segment under `name`.
    ///
    /// # Errors
    /// No such word, or it cannot be written.
    pub fn new(name: &SegmentName, segment: Arc<Segment>, offset: usize) -> Result<Self, AccessError> {
        segment.load_u32(offset, Ordering::Relaxed)?;
        let os = os::Bell::new(name, offset);
        Ok(Self { segment, offset, os })
    }

    /// The same for a word of another protocol's, which on Windows wakes by an event of this name: one for everybody, and
    /// a ring wakes one of them.
    ///
    /// # Errors
    /// No such word.
    pub fn named(event: &str, segment: Arc<Segment>, offset: usize) -> Result<Self, AccessError> {
        segment.load_u32(offset, Ordering::Relaxed)?;
        Ok(Self { segment, offset, os: os::Bell::named(event) })
    }

    /// One that keeps no memory open and cannot be waited at.
    #[cfg(windows)]
    pub(crate) fn over_nothing(event: &str) -> Self {
        Self { segment: Arc::new(Segment::nothing()), offset: 0, os: os::Bell::named(event) }
    }

    /// Wakes those of the sleepers whose bits are set in `who`. The word must have been changed before.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn ring(&self, who: u32) -> Result<(), AccessError> {
        self.os.ring(&self.segment, self.offset, who)
    }

    /// Sleeps as sleeper number `me` (below [`SLEEPERS`]) until somebody rings for it, the word is not `seen`, or the
    /// monotonic clock shows `until_ns`. May end for no reason.
    ///
    /// # Errors
    /// The segment was cut short.
    pub fn wait(&self, me: u32, seen: u32, until_ns: u64) -> Result<(), AccessError> {
        self.os.wait(&self.segment, self.offset, me, seen, until_ns)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::segment::clock::{monotonic_ns, monotonic_ns_at};
    use crate::segment::{CreateOptions, OwnedSegment};

    fn bell(test: &str) -> (OwnedSegment, Bell) {
        let name = SegmentName::new(&format!("tdlink-bell-{test}-{}", std::process::id())).unwrap();
        let owned = OwnedSegment::create(&name, 4096, &CreateOptions::default()).unwrap();
        let bell = Bell::new(&name, Arc::clone(owned.segment()), 64).unwrap();
        (owned, bell)
    }

    #[test]
    fn nobody_sleeps_over_a_word_that_has_changed() {
        let (owned, bell) = bell("changed");
        owned.segment().store_u32(64, 7, Ordering::Relaxed).unwrap();
        let began = Instant::now();
        if cfg!(target_os = "linux") {
            bell.wait(0, 6, monotonic_ns_at(began + Duration::from_secs(600))).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let (_owned, bell) = bell("deadline");
        let until = monotonic_ns() + 3_000_000;
        while monotonic_ns() < until {
            bell.wait(31, 0, until).unwrap();
        }
        bell.wait(0, 0, until).unwrap();
    }

    #[test]
    fn a_ring_wakes_whom_it_is_for() {
        let (owned, bell) = bell("who");
        let woken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                while !woken.load(Ordering::Acquire) {
                    bell.wait(3, 0, u64::MAX).unwrap();
                }
            });
            while !other.is_finished() {
                // For another one: the sleeper of bit 3 cannot tell, since the flag is set only below.
                bell.ring(1 << 2).unwrap();
                woken.store(true, Ordering::Release);
                owned.segment().store_u32(64, 1, Ordering::Release).unwrap();
                bell.ring(1 << 3).unwrap();
            }
        });
    }

    #[test]
    fn there_is_no_bell_beyond_the_segment() {
        let (owned, _bell) = bell("beyond");
        let name = SegmentName::new("tdlink-bell-none").unwrap();
        assert!(Bell::new(&name, Arc::clone(owned.segment()), 1 << 20).is_err());
        assert!(Bell::new(&name, Arc::clone(owned.segment()), 2).is_err());
    }
}
