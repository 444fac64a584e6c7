// SPDX-License-Identifier: MPL-2.0
//! When to look for buffers again: soon after the system has said that something changed, seldom else, and never for more
//! than a thousandth of a core in the long run.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::imp::CAT;
#[cfg(target_os = "linux")]
use tdlink_core::discover::Changes;

/// Between two questions whether there is news, which cost one call of the system each.
pub const TICK: Duration = Duration::from_secs(1);
/// The longest pause between two looks, unless looks are so dear that [`SHARE`] asks for a longer one. After news pauses
/// begin at [`TICK`] and double up to this: what is written into a buffer is no news, and a new one says only when it has
/// been written what is in it.
const LONGEST: Duration = Duration::from_secs(10);
/// A look may take this part of the time that it is followed by: half a thousandth of a core. (A look takes some 30 µs for
/// each buffer. Where there are Shared Mem TOPs' or other programs' cuda-link, it also asks `/proc` for all processes of the
/// user: with thousands of those, and news all the time, [`LONGEST`] bounds the wait, and not the cost.)
const SHARE: u32 = 2000;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    #[cfg(target_os = "linux")]
    changes: Option<Changes>,
    /// Something has changed since the last look, or may have.
    news: bool,
    /// Looks since there was news.
    quiet: u32,
    looked: Instant,
    took: Duration,
}

impl Pace {
    /// Watches the folder, where the system has one.
    pub fn watching() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            changes: Changes::watch()
                .inspect_err(|error| gst::warning!(CAT, "the folder is looked at instead of watched: {error}"))
                .ok(),
            news: true,
            quiet: 0,
            looked: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// Looks, and remembers what it took.
    pub fn look(&mut self, look: impl FnOnce()) {
        let begun = Instant::now();
        look();
        self.looked = Instant::now();
        self.took = self.looked - begun;
        self.quiet = if self.news { 0 } else { self.quiet.saturating_add(1) };
        self.news = false;
    }

    /// Whether it is time for another look.
    pub fn is_due(&mut self) -> bool {
        self.news |= self.has_news();
        let pause = if self.news { after_news(self.took) } else { without_news(self.took, self.quiet) };
        self.looked.elapsed() >= pause
    }

    #[cfg(target_os = "linux")]
    fn has_news(&mut self) -> bool {
        let Some(changes) = &mut self.changes else { return true };
        changes.any().unwrap_or_else(|error| {
            gst::warning!(CAT, "the folder is looked at instead of watched from now on: {error}");
            self.changes = None;
            true
        })
    }

    /// Nobody tells.
    #[cfg(not(target_os = "linux"))]
    fn has_news(&mut self) -> bool {
        true
    }
}

/// Whoever waits for a device does not wait for ever, however dear a look is.
fn after_news(look: Duration) -> Duration {
    look.saturating_mul(SHARE).clamp(TICK, LONGEST)
}

fn without_news(look: Duration, quiet: u32) -> Duration {
    let doubled = TICK.saturating_mul(2u32.saturating_pow(quiet)).min(LONGEST);
    doubled.max(look.saturating_mul(SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_news_a_look_is_a_thousandth_of_its_pause_at_most_however_long_that_is() {
        for micros in [1, 100, 5_000, 20_000, 1_000_000] {
            for quiet in [0, 1, 5, 40, u32::MAX] {
                let look = Duration::from_micros(micros);
                assert!(without_news(look, quiet) >= look * 1000, "{look:?}, {quiet}");
            }
        }
        let pauses: Vec<u64> = (0..6).map(|quiet| without_news(Duration::ZERO, quiet).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn after_news_the_pause_is_ten_seconds_at_most_and_one_at_least() {
        assert_eq!(after_news(Duration::ZERO), TICK);
        assert_eq!(after_news(Duration::from_secs(60)), LONGEST);
    }
}
