// SPDX-License-Identifier: MPL-2.0
//! Which stores a segment's large copies are made with: what was faster when it was last tried.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::kernel;

/// Copies below this are over before a choice could pay.
const LARGE: usize = 1 << 20;
/// Copies from one trial to the next: a few seconds of frames.
const CYCLE: u32 = 256;
/// Copies that a trial makes in either way.
const TRIED: u32 = 10;
/// Of these, the last ones, whose median counts. The first ones bring the caches to where this way keeps them: streamed
/// copies of a frame that was in the caches are fast for about five frames, and slow from then on.
const COUNTED: usize = 5;

/// What one segment's large copies have taken. Several threads may copy at once; then a trial may err, until the next.
#[derive(Debug, Default)]
pub(in crate::segment) struct Pace {
    copies: AtomicU32,
    streams: AtomicBool,
    /// Times of this trial, ordinary and streamed, in nanoseconds per MiB.
    took: Mutex<[[u64; COUNTED]; 2]>,
}

impl Pace {
    /// Makes a copy of `bytes` bytes by `copy`, which is told whether to stream.
    pub(super) fn measured<R>(&self, bytes: usize, copy: impl FnOnce(bool) -> R) -> R {
        if !kernel::CAN_STREAM || bytes < LARGE {
            return copy(false);
        }
        // Relaxed, here and below: nothing depends on these but speed.
        let turn = self.copies.fetch_add(1, Ordering::Relaxed) % CYCLE;
        if turn >= 2 * TRIED {
            return copy(self.streams.load(Ordering::Relaxed));
        }
        let streams = turn >= TRIED;
        let began = Instant::now();
        let copied = copy(streams);
        let nanoseconds = began.elapsed().as_nanos() as u64 / (bytes >> 20) as u64;

        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took[usize::from(streams)][(turn % TRIED) as usize % COUNTED] = nanoseconds;
        if turn == 2 * TRIED - 1 {
            let [cached, streamed] = took.map(median);
            // What stays in the caches is worth something to whoever comes next: a fifth.
            self.streams.store(streamed + streamed / 5 < cached, Ordering::Relaxed);
        }
        copied
    }
}

fn median(mut times: [u64; COUNTED]) -> u64 {
    times.sort_unstable();
    times[COUNTED / 2]
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Makes `n` copies of which streamed ones take `streamed` and the others `cached`; says how many were streamed.
    fn streamed(pace: &Pace, n: u32, bytes: usize, cached: Duration, streamed: Duration) -> u32 {
        let mut count = 0;
        for _ in 0..n {
            pace.measured(bytes, |streams| {
                count += u32::from(streams);
                let (began, long) = (Instant::now(), if streams { streamed } else { cached });
                while began.elapsed() < long {}
            });
        }
        count
    }

    #[test]
    fn the_faster_way_is_taken_and_asked_for_again() {
        let (short, long) = (Duration::from_micros(100), Duration::from_micros(1000));
        let pace = Pace::default();
        assert_eq!(streamed(&pace, CYCLE, LARGE, long, short), CYCLE - TRIED);
        assert_eq!(streamed(&pace, CYCLE, LARGE, short, long), TRIED);
        assert_eq!(streamed(&pace, CYCLE, LARGE, long, short), CYCLE - TRIED);
    }

    #[test]
    fn small_copies_are_never_streamed() {
        let pace = Pace::default();
        assert_eq!(streamed(&pace, 2 * CYCLE, LARGE - 1, Duration::ZERO, Duration::ZERO), 0);
    }
}
