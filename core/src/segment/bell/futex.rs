// SPDX-License-Identifier: MPL-2.0
//! A futex of the word itself: shared, with an absolute deadline of the monotonic clock, one bit for each sleeper.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;

use crate::segment::{AccessError, Segment, SegmentName};

#[derive(Debug)]
pub(super) struct Bell;

impl Bell {
    pub(super) fn new(_: &SegmentName, _: usize) -> Self {
        Self
    }

    pub(super) fn named(_: &str) -> Self {
        Self
    }

    pub(super) fn ring(&self, segment: &Segment, offset: usize, who: u32) -> Result<(), AccessError> {
        let Some(who) = NonZeroU32::new(who) else { return Ok(()) };
        let word = segment.atomic_u32(offset)?;
        match futex::wake_bitset(word, Flags::empty(), i32::MAX as u32, who) {
            Ok(_) => Ok(()),
            Err(_) => lost(segment, offset),
        }
    }

    pub(super) fn wait(
        &self,
        segment: &Segment,
        offset: usize,
        me: u32,
        seen: u32,
        until_ns: u64,
    ) -> Result<(), AccessError> {
        let word = segment.atomic_u32(offset)?;
        let me = NonZeroU32::new(1 << (me % u32::BITS)).unwrap_or(NonZeroU32::MIN);
        let until = Timespec {
            tv_sec: i64::try_from(until_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (until_ns % 1_000_000_000) as i64,
        };
        match futex::wait_bitset(word, Flags::empty(), seen, Some(&until), me) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
            Err(_) => lost(segment, offset),
        }
    }
}

/// The kernel could not read the word: the object was cut short, which a look at it makes known.
fn lost(segment: &Segment, offset: usize) -> Result<(), AccessError> {
    segment.load_u32(offset, Ordering::Relaxed).map(drop)
}
