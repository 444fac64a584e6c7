// SPDX-License-Identifier: MPL-2.0
//! Counters of a source: written by the streaming thread, read by anyone.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use gst_base::prelude::*;

/// How often the counters are announced.
const ANNOUNCED: Duration = Duration::from_secs(1);

/// What a source has done since it was started.
#[derive(Debug)]
pub struct Stats {
    epoch: Instant,
    pub connected: AtomicBool,
    pub frames: AtomicU64,
    pub repeated: AtomicU64,
    pub skipped: AtomicU64,
    pub torn: AtomicU64,
    pub overwritten: AtomicU64,
    pub reattached: AtomicU64,
    pub lock_timeouts: AtomicU64,
    /// Nanoseconds since `epoch`, plus 1; 0: no frame yet.
    last_frame: AtomicU64,
    latency_ns: AtomicU64,
    wake_jitter_us: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            connected: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            torn: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
            reattached: AtomicU64::new(0),
            lock_timeouts: AtomicU64::new(0),
            last_frame: AtomicU64::new(0),
            latency_ns: AtomicU64::new(0),
            wake_jitter_us: AtomicU64::new(0),
        }
    }
}

impl Stats {
    /// Back to zero, at start.
    pub fn reset(&self) {
        self.connected.store(false, Relaxed);
        for counter in [
            &self.frames,
            &self.repeated,
            &self.skipped,
            &self.torn,
            &self.overwritten,
            &self.reattached,
            &self.lock_timeouts,
            &self.last_frame,
            &self.latency_ns,
            &self.wake_jitter_us,
        ] {
            counter.store(0, Relaxed);
        }
    }

    /// A new frame is handed on, `latency` after it was due or seen.
    pub fn fresh(&self, now: Instant, latency: Duration) {
        self.frames.fetch_add(1, Relaxed);
        self.last_frame.store(1 + nanos(now.saturating_duration_since(self.epoch)), Relaxed);
        self.latency_ns.store(nanos(latency), Relaxed);
    }

    /// A timed wait ended `late` after its deadline. Kept as a mean over about sixteen waits.
    pub fn woke(&self, late: Duration) {
        let late_us = nanos(late) / 1000;
        let mean = self.wake_jitter_us.load(Relaxed);
        self.wake_jitter_us.store((mean * 15 + late_us).div_ceil(16), Relaxed);
    }

    /// The `stats` property. `last-frame-age-ms` is −1 before the first frame.
    pub fn structure(&self, name: &str) -> gst::Structure {
        let last = self.last_frame.load(Relaxed);
        let age_ms = match last {
            0 => -1,
            at => i64::try_from(nanos(self.epoch.elapsed()).saturating_sub(at) / 1_000_000).unwrap_or(i64::MAX),
        };
        gst::Structure::builder(name)
            .field("frames", self.frames.load(Relaxed))
            .field("repeated", self.repeated.load(Relaxed))
            .field("skipped", self.skipped.load(Relaxed))
            .field("torn", self.torn.load(Relaxed))
            .field("overwritten", self.overwritten.load(Relaxed))
            .field("reattached", self.reattached.load(Relaxed))
            .field("lock-timeouts", self.lock_timeouts.load(Relaxed))
            .field("last-frame-age-ms", age_ms)
            .field("latency-ns", self.latency_ns.load(Relaxed))
            .field("wake-jitter-us", self.wake_jitter_us.load(Relaxed))
            .build()
    }
}

/// Notifies of a source's `stats` about once a second while buffers go out, and a last time before the end of the
/// stream: whoever watches properties, as `gst-launch-1.0 -v` does, sees what was skipped and torn.
#[derive(Debug, Default)]
pub struct Announcer {
    said: Mutex<Option<Instant>>,
}

impl Announcer {
    /// Watches for the end of the stream. For events alone: a probe of buffers made up half of what a push costs.
    pub fn watch(src: &gst_base::BaseSrc) {
        let weak = src.downgrade();
        src.src_pad().add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let ends =
                matches!(&info.data, Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos);
            if let Some(src) = weak.upgrade().filter(|_| ends) {
                src.notify("stats");
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// A buffer goes out.
    pub fn buffer(&self, src: &gst_base::BaseSrc) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.saturating_duration_since(*said.get_or_insert(now)) >= ANNOUNCED {
            *said = Some(now);
            // Whoever is told may ask anything of us meanwhile.
            drop(said);
            src.notify("stats");
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
