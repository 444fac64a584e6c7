// SPDX-License-Identifier: MPL-2.0
//! Rates and times of frames.

use std::time::Duration;

/// Upper edges of the latency histogram's buckets, in µs; one more bucket holds the rest.
pub const EDGES_US: [u64; 12] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000];
/// Buckets of the latency histogram.
pub const BUCKETS: usize = EDGES_US.len() + 1;

/// Frames of a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    last: Option<u64>,
    intervals: Vec<u64>,
    frames: u64,
}

/// What a stretch of time came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Frames.
    pub frames: u64,
    /// Frames per second, from one frame to the next.
    pub rate: f64,
    /// Shortest time from one frame to the next, in ms.
    pub least: f64,
    /// Longest.
    pub most: f64,
    /// Standard deviation of these times, in ms.
    pub jitter: f64,
}

impl Meter {
    /// A frame that was published at `published` ns.
    pub fn frame(&mut self, published: u64) {
        if let Some(last) = self.last {
            self.intervals.push(published.saturating_sub(last));
        }
        self.last = Some(published);
        self.frames += 1;
    }

    /// The stretch since the last call. `None`: there were no two frames.
    pub fn take(&mut self) -> Option<Summary> {
        let (intervals, frames) = (std::mem::take(&mut self.intervals), std::mem::take(&mut self.frames));
        let (least, most) = (*intervals.iter().min()?, *intervals.iter().max()?);
        let ms = |ns: f64| ns / 1e6;
        let mean = intervals.iter().sum::<u64>() as f64 / intervals.len() as f64;
        let squares = intervals.iter().map(|interval| (*interval as f64 - mean).powi(2)).sum::<f64>();
        let rate = if mean > 0.0 { 1e9 / mean } else { 0.0 };
        let jitter = ms((squares / intervals.len() as f64).sqrt());
        Some(Summary { frames, rate, least: ms(least as f64), most: ms(most as f64), jitter })
    }
}

/// How long frames took from publication to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Frames in each bucket.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in ns.
    pub sum: u64,
    /// Their number.
    pub count: u64,
}

impl Latency {
    /// A frame that took so long.
    pub fn frame(&mut self, took: Duration) {
        let us = took.as_micros() as u64;
        let bucket = EDGES_US.iter().position(|edge| us <= *edge).unwrap_or(EDGES_US.len());
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(took.as_nanos() as u64);
        self.count += 1;
    }

    /// The mean; `None` before the first frame.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.sum / self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_come_evenly_have_their_rate_and_no_jitter() {
        let mut meter = Meter::default();
        (0..61u64).for_each(|number| meter.frame(number * 20_000_000));
        let summary = meter.take().unwrap();
        assert_eq!((summary.frames, summary.rate, summary.jitter), (61, 50.0, 0.0));
        assert_eq!((summary.least, summary.most), (20.0, 20.0));
        assert_eq!(meter.take(), None, "a stretch without frames has no rate");
    }

    #[test]
    fn a_frame_counts_in_the_bucket_whose_edge_it_does_not_pass() {
        let mut latency = Latency::default();
        for us in [50, 51, 1_000_000] {
            latency.frame(Duration::from_micros(us));
        }
        assert_eq!((latency.buckets[0], latency.buckets[1], latency.buckets[BUCKETS - 1]), (1, 1, 1));
        assert_eq!(latency.mean(), Some(Duration::from_nanos(1_000_101_000 / 3)));
    }
}
