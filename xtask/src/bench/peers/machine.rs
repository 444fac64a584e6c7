// SPDX-License-Identifier: MPL-2.0
//! The machine that the numbers are of, and whether it had something else to do.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::run;

/// More processors than this busy with something else: the run is marked.
pub const BUSY: f64 = 0.25;

/// Processor time of the whole machine at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Busy {
    at: Instant,
    seconds: f64,
}

impl Busy {
    pub fn now() -> Busy {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Busy { at: Instant::now(), seconds: busy_seconds(&stat) }
    }

    /// Processors busy since then, on average, beside `ours` seconds of processor time.
    pub fn until_now(self, ours: f64) -> f64 {
        let now = Self::now();
        let elapsed = now.at.duration_since(self.at).as_secs_f64();
        ((now.seconds - self.seconds - ours) / elapsed.max(1e-3)).max(0.0)
    }
}

/// All but idle and waiting for disks, in the first line of /proc/stat: hundredths of a second. What the host took
/// (steal) counts: it was not there for us.
fn busy_seconds(stat: &str) -> f64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).take(8).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().sum::<f64>() - idle) / 100.0
}

/// Waits until nothing else is going on, but no longer than `patience`.
pub fn wait_for_quiet(patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let before = Busy::now();
        std::thread::sleep(Duration::from_millis(250));
        if before.until_now(0.0) < BUSY {
            return;
        }
    }
}

/// A line about the machine.
pub fn described(gstreamer: &str) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".into(), |count| count.to_string());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} processors, Linux {}, GStreamer {gstreamer}", kernel.trim())
}

pub fn date() -> String {
    run::ask(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])).unwrap_or_else(|| "no date".into())
}

/// Processes that ran or wanted to, on average over the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_seconds("cpu  100 10 40 9000 700 3 2 45 5 5\ncpu0 1 1 1 1"), 2.0);
        assert_eq!(busy_seconds(""), 0.0);
    }
}
