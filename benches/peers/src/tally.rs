// SPDX-License-Identifier: MPL-2.0
//! Counts frames while the window is open, and tells when the first one has come.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tdlink_core::segment::monotonic_ns;

use crate::stamp::Stamp;

/// Latencies that are kept of one window; beyond them frames are counted only.
const LATENCIES: usize = 1 << 20;

/// What a receiver does with each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// Counts it.
    None,
    /// Looks at its stamp.
    #[default]
    Stamp,
    /// Adds up its bytes, and looks at its stamp before and after.
    Read,
}

impl Check {
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "stamp" => Some(Self::Stamp),
            "read" => Some(Self::Read),
            _ => None,
        }
    }
}

/// Shared by the thread that handles frames and the one that hears the driver.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    any: bool,
    open: Option<Opened>,
    frames: u64,
    lost: u64,
    torn: u64,
    /// Number that the next frame should have.
    expected: Option<u64>,
    sum: u64,
    latencies_ns: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Opened {
    at_ns: u64,
    cpu_ns: u64,
}

impl Tally {
    /// For a receiver: has room for latencies, touched here so that no page fault falls into the window.
    pub fn with_latencies() -> Self {
        let mut latencies_ns = vec![1; LATENCIES];
        latencies_ns.clear();
        Self(Mutex::new(State { latencies_ns, ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more frame; `stamp` if it was looked at, `sum` of its bytes if they were.
    pub fn frame(&self, stamp: Option<Stamp>, arrived_ns: u64, sum: u64) {
        let mut state = self.state();
        if !state.any {
            state.any = true;
            println!("first");
        }
        if state.open.is_none() {
            return;
        }
        state.frames += 1;
        state.sum = state.sum.wrapping_add(sum);
        let Some(stamp) = stamp else { return };
        if !stamp.whole {
            state.torn += 1;
            return;
        }
        if let Some(expected) = state.expected {
            state.lost += stamp.number.saturating_sub(expected);
        }
        state.expected = Some(stamp.number + 1);
        if state.latencies_ns.len() < LATENCIES {
            state.latencies_ns.push(arrived_ns.saturating_sub(stamp.left_ns));
        }
    }

    pub fn open(&self) {
        let mut state = self.state();
        state.frames = 0;
        state.lost = 0;
        state.torn = 0;
        state.expected = None;
        state.latencies_ns.clear();
        state.open = Some(Opened { at_ns: monotonic_ns(), cpu_ns: cpu_ns() });
    }

    /// Ends the window and says what was in it, as one line of `key=value`.
    pub fn close(&self) -> String {
        let (now, cpu) = (monotonic_ns(), cpu_ns());
        let mut state = self.state();
        let opened = state.open.take().unwrap_or(Opened { at_ns: now, cpu_ns: cpu });
        let mut latencies = std::mem::take(&mut state.latencies_ns);
        let mut line = format!(
            "result ns={} cpu_ns={} frames={} lost={} torn={} sum={}",
            now - opened.at_ns,
            cpu - opened.cpu_ns,
            state.frames,
            state.lost,
            state.torn,
            state.sum
        );
        latencies.sort_unstable();
        for (name, percent) in [("p50_ns", 50), ("p99_ns", 99), ("max_ns", 100)] {
            if let Some(ns) = percentile(&latencies, percent) {
                line += &format!(" {name}={ns}");
            }
        }
        state.latencies_ns = latencies;
        line
    }
}

/// The value that `percent` of the sorted values do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// Processor time of this process so far, user and system, all threads.
fn cpu_ns() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec.unsigned_abs() * 1_000_000_000 + spent.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64, left_ns: u64) -> Stamp {
        Stamp { number, left_ns, whole: true }
    }

    #[test]
    fn what_is_missing_in_the_window_is_lost_and_what_came_before_is_not() {
        let tally = Tally::with_latencies();
        tally.frame(Some(stamp(3, 0)), 1, 0);
        tally.open();
        tally.frame(Some(stamp(90, 100)), 150, 7);
        tally.frame(Some(stamp(91, 100)), 170, 0);
        tally.frame(Some(Stamp { whole: false, ..stamp(0, 0) }), 9, 0);
        tally.frame(Some(stamp(95, 100)), 110, 0);
        let line = tally.close();
        for expected in [" frames=4 ", " lost=3 ", " torn=1 ", " sum=7 ", " p50_ns=50 ", " p99_ns=70 "] {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Some(100));
        assert_eq!(percentile(&sorted, 99), Some(198));
        assert_eq!(percentile(&sorted, 100), Some(200));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
