// SPDX-License-Identifier: MPL-2.0
//! When to look for the next frame of a producer that wakes nobody.
//!
//! Frames come at nearly even intervals. So one sleeps until shortly before the next is due and looks often around that
//! moment; between frames, and when none come, hardly ever. A producer that does wake its readers is soon known by that,
//! and nobody looks at all.

/// Around the moment when a frame is due.
const OFTEN_NS: u64 = 100_000;
/// Before the interval is known, and when a frame is overdue.
const SOMETIMES_NS: u64 = 500_000;
/// When none has come for some intervals.
const SELDOM_NS: u64 = 1_000_000;
/// When none has come for a second.
const RARELY_NS: u64 = 4_000_000;
/// As long as that, it counts as a pause: the interval is not asked for.
const PAUSE_NS: u64 = 1_000_000_000;
/// Time around the due moment, at least and at most.
const MARGIN_NS: (u64, u64) = (200_000, 2_000_000);
/// So many rings in a row are no chance.
const CREDIT: u8 = 3;
/// Longest sleep when the producer rings.
const RUNG_NS: u64 = 100_000_000;

/// How a frame was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// Somebody ended the sleep.
    Rung,
    /// It stood there when the sleep was over.
    Found,
    /// It came before one had fallen asleep: that tells nothing.
    Awake,
}

/// What is known of a producer's pace.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    last_ns: Option<u64>,
    interval_ns: u64,
    /// How far from the due moment frames come.
    jitter_ns: u64,
    /// Rings in a row; from [`CREDIT`] on it is one that rings.
    rings: u8,
}

impl Pace {
    /// A frame was noticed at `now`.
    pub(super) fn arrived(&mut self, now: u64, how: Noticed) {
        self.rings = match how {
            Noticed::Rung => (self.rings + 1).min(CREDIT),
            Noticed::Found => 0,
            Noticed::Awake => self.rings,
        };
        if let Some(last) = self.last_ns {
            let found = now.saturating_sub(last);
            if found < PAUSE_NS {
                if self.interval_ns == 0 {
                    (self.interval_ns, self.jitter_ns) = (found, found / 8);
                } else {
                    let off = found.abs_diff(self.interval_ns);
                    self.jitter_ns = (7 * self.jitter_ns + off.min(self.interval_ns)) / 8;
                    self.interval_ns = (7 * self.interval_ns + found) / 8;
                }
            }
        }
        self.last_ns = Some(now);
    }

    /// Nothing is known of who comes next.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Until when to sleep, as of `now`, if nobody rings before.
    pub(super) fn next_look(&self, now: u64) -> u64 {
        if self.rings >= CREDIT {
            return now + RUNG_NS;
        }
        let (Some(last), interval) = (self.last_ns, self.interval_ns) else { return now + SOMETIMES_NS };
        let since = now.saturating_sub(last);
        if since >= PAUSE_NS {
            return now + RARELY_NS;
        }
        if interval == 0 {
            return now + SOMETIMES_NS;
        }
        let margin = (2 * self.jitter_ns).clamp(MARGIN_NS.0, MARGIN_NS.1);
        let (from, to) = (interval.saturating_sub(margin), interval + 2 * margin);
        let often = OFTEN_NS.min(interval / 8).max(1);
        match since {
            _ if since < from => last + from,
            _ if since <= to => now + often,
            _ if since <= 4 * interval => now + SOMETIMES_NS.min(interval / 2).max(often),
            _ => now + SELDOM_NS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Frames at the given moments; gives for each of the last ones how late it was seen, and the number of looks.
    fn follow(pace: &mut Pace, frames: &[u64], warm: usize) -> (Vec<u64>, usize) {
        let (mut now, mut looks, mut late) = (frames[0], 0, Vec::new());
        pace.arrived(now, Noticed::Found);
        for (number, &frame) in frames.iter().enumerate().skip(1) {
            while now < frame {
                now = pace.next_look(now);
                looks += usize::from(number > warm);
            }
            if number > warm {
                late.push(now - frame);
            }
            pace.arrived(now, Noticed::Found);
        }
        (late, looks)
    }

    #[test]
    fn sixty_frames_a_second_are_seen_at_once_with_few_looks() {
        let frames: Vec<u64> = (0..600).map(|i| 10_000 * MS + i * 16_666_667 + i * 7919 % 97 * 3_000).collect();
        let (mut late, looks) = follow(&mut Pace::default(), &frames, 60);
        late.sort_unstable();
        assert!(late[late.len() / 2] <= OFTEN_NS, "{} ns", late[late.len() / 2]);
        assert!(late[late.len() - 1] <= 2 * SOMETIMES_NS, "{late:?}");
        let each = looks as f64 / late.len() as f64;
        assert!(each < 12.0, "{each} looks for each frame");
    }

    #[test]
    fn a_frame_rate_of_thousands_is_followed() {
        let frames: Vec<u64> = (0..3000).map(|i| 10_000 * MS + i * 300_000).collect();
        let (late, looks) = follow(&mut Pace::default(), &frames, 300);
        assert!(late.iter().all(|&late| late <= OFTEN_NS));
        assert!(looks < 10 * late.len());
    }

    #[test]
    fn a_paused_producer_costs_little_and_is_noticed_when_it_goes_on() {
        let mut pace = Pace::default();
        let frames: Vec<u64> = (0..100).map(|i| 10_000 * MS + i * 16_666_667).collect();
        follow(&mut pace, &frames, 50);
        let (mut now, mut looks) = (frames[99], 0);
        let end = now + 10_000 * MS;
        while now < end {
            now = pace.next_look(now);
            looks += 1;
        }
        assert!(looks < 3500, "{looks} looks in ten seconds");
        assert!(pace.next_look(now) - now <= RARELY_NS);
        let before = pace.interval_ns;
        pace.arrived(now, Noticed::Found);
        assert_eq!(pace.interval_ns, before, "a pause is no interval");
    }

    #[test]
    fn who_rings_is_not_looked_for_until_it_stops_ringing() {
        let mut pace = Pace::default();
        pace.arrived(0, Noticed::Rung);
        pace.arrived(16 * MS, Noticed::Rung);
        assert!(pace.next_look(32 * MS) < 32 * MS + RUNG_NS, "two may be chance");
        pace.arrived(32 * MS, Noticed::Rung);
        pace.arrived(48 * MS, Noticed::Awake);
        assert_eq!(pace.next_look(48 * MS), 48 * MS + RUNG_NS);
        pace.arrived(64 * MS, Noticed::Found);
        assert!(pace.next_look(64 * MS) < 64 * MS + RUNG_NS, "it was found and nobody had rung");
    }

    #[test]
    fn looks_are_never_set_for_a_moment_that_has_passed() {
        let mut pace = Pace::default();
        for (last, interval) in [(0, 0), (5, 1), (u64::MAX / 2, 1), (1000, u64::MAX / 4)] {
            (pace.last_ns, pace.interval_ns, pace.jitter_ns) = (Some(last), interval, interval);
            for now in [0, last, last + 1, last + interval, last + 3 * PAUSE_NS] {
                assert!(pace.next_look(now) > now, "{last} {interval} {now}");
            }
        }
    }
}
