// SPDX-License-Identifier: MPL-2.0
//! When a frame is due: ticks of a constant rate, and timestamps that rise.

use gst::ClockTime;

/// Lateness is compared over so many steps.
const WINDOW: u32 = 16;
/// Lateness that is never caught up, whatever its cause.
const HOPELESS: ClockTime = ClockTime::SECOND;

/// A grid of equal steps in running time. Times are computed from the index, so that nothing drifts.
#[derive(Debug, Clone)]
pub struct Ticks {
    rate: gst::Fraction,
    start: Option<ClockTime>,
    next: u64,
    /// Steps served in this window.
    served: u32,
    /// How late steps were at the end of the last two windows, the older one first.
    late: [ClockTime; 2],
}

/// One step of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Running time of the step.
    pub at: ClockTime,
    /// Running time of the one after it.
    pub end: ClockTime,
}

impl Ticks {
    /// A grid of `rate` steps per second, which must be above zero; it starts when first asked.
    pub fn new(rate: gst::Fraction) -> Self {
        debug_assert!(rate.numer() > 0 && rate.denom() > 0);
        Self { rate, start: None, next: 0, served: 0, late: [ClockTime::ZERO; 2] }
    }

    /// Steps per second.
    pub fn rate(&self) -> gst::Fraction {
        self.rate
    }

    /// The step that is due next. A grid that was never asked starts `now`.
    pub fn due(&mut self, now: ClockTime) -> Tick {
        let start = *self.start.get_or_insert(now);
        Tick { at: start + self.offset(self.next), end: start + self.offset(self.next + 1) }
    }

    /// The due step is being served `now`; the number of steps that were left out before the next one.
    ///
    /// What was late once (a wait that ended late, a slow frame, a disk that stood still) is caught up, frame by
    /// frame, so that there are exactly as many frames as the rate says. A sink that keeps each frame for its latency
    /// makes all steps late alike. Where lateness grows and grows the rate is too high for this machine: then the
    /// steps that have passed are left out, and what comes is on time.
    pub fn serve(&mut self, now: ClockTime) -> u64 {
        let tick = self.due(now);
        let late = now.saturating_sub(tick.at);
        let step = tick.end - tick.at;
        self.next += 1;
        self.served += 1;
        let mut growing = false;
        if self.served == WINDOW {
            let [older, newer] = self.late;
            growing = late > newer + step / 2 && newer > older + step / 2;
            (self.served, self.late) = (0, [newer, late]);
        }
        if !growing && late < HOPELESS.max(step * 2) {
            return 0;
        }
        let passed = self.index_at(now.saturating_sub(self.start.unwrap_or(now)));
        let skipped = (passed + 1).saturating_sub(self.next);
        self.next += skipped;
        (self.served, self.late) = (0, [ClockTime::ZERO; 2]);
        skipped
    }

    fn offset(&self, index: u64) -> ClockTime {
        let (num, den) = parts(self.rate);
        // Rounded down: index ÷ rate, to the nanosecond.
        let ns = u128::from(index) * u128::from(den) * 1_000_000_000 / u128::from(num);
        ClockTime::from_nseconds(u64::try_from(ns).unwrap_or(u64::MAX - 1))
    }

    /// The last step at or before `since_start`.
    fn index_at(&self, since_start: ClockTime) -> u64 {
        let (num, den) = parts(self.rate);
        let index = u128::from(since_start.nseconds()) * u128::from(num) / (u128::from(den) * 1_000_000_000);
        u64::try_from(index).unwrap_or(u64::MAX)
    }
}

/// `index` ÷ `rate` as a time.
pub fn count_time(index: u64, rate: gst::Fraction) -> ClockTime {
    Ticks::new(rate).offset(index)
}

fn parts(rate: gst::Fraction) -> (u64, u64) {
    (u64::from(rate.numer().unsigned_abs()).max(1), u64::from(rate.denom().unsigned_abs()).max(1))
}

/// Keeps timestamps strictly rising.
#[derive(Debug, Default, Clone)]
pub struct Rising {
    last: Option<ClockTime>,
}

impl Rising {
    /// `at`, or the first time after the last one given out.
    pub fn next(&mut self, at: ClockTime) -> ClockTime {
        let next = match self.last {
            Some(last) if at <= last => last + ClockTime::NSECOND,
            _ => at,
        };
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: (i32, i32) = (50, 1);
    const STEP: u64 = 20;

    fn ms(ms: u64) -> ClockTime {
        ClockTime::from_mseconds(ms)
    }

    /// Serves steps for `seconds`; `cost(step, now)` is how long serving one takes. All times in milliseconds.
    /// Gives the steps that were served with how late, and how many were left out.
    fn run(seconds: u64, cost: impl Fn(u64, u64) -> u64) -> (Vec<u64>, u64) {
        let mut ticks = Ticks::new(RATE.into());
        let (mut now, mut late, mut skipped) = (0, Vec::new(), 0);
        loop {
            let tick = ticks.due(ms(now));
            if tick.at >= ms(seconds * 1000) {
                break;
            }
            now = now.max(tick.at.mseconds());
            late.push(now - tick.at.mseconds());
            skipped += ticks.serve(ms(now));
            now += cost(late.len() as u64, now);
        }
        (late, skipped)
    }

    #[test]
    fn a_year_of_ntsc_does_not_drift() {
        let mut ticks = Ticks::new(gst::Fraction::new(60_000, 1001));
        ticks.due(ClockTime::ZERO);
        ticks.next = 60_000 * 86_400 * 365 / 1001;
        let due = ticks.due(ClockTime::ZERO).at.nseconds();
        let exact = u128::from(ticks.next) * 1001 * 1_000_000_000 / 60_000;
        assert_eq!(u128::from(due), exact);
    }

    #[test]
    fn the_grid_starts_when_first_asked() {
        let mut ticks = Ticks::new(RATE.into());
        assert_eq!(ticks.due(ms(1234)).at, ms(1234));
        ticks.serve(ms(1234));
        assert_eq!(ticks.due(ms(1235)), Tick { at: ms(1254), end: ms(1274) });
    }

    #[test]
    fn a_sink_that_waits_for_its_clock_gets_every_frame() {
        // Each push returns when the frame's time has come: the steps are late, but no step is too slow.
        for latency in [0, STEP / 2, STEP, 2 * STEP, 10 * STEP] {
            let (late, skipped) = run(10, |step, now| (step * STEP - STEP + latency).saturating_sub(now));
            assert_eq!((late.len(), skipped), (500, 0), "latency {latency} ms");
        }
    }

    #[test]
    fn what_is_late_once_is_caught_up_without_a_gap() {
        for hiccup in [STEP * 2, 300, 900] {
            let (late, skipped) = run(10, |step, _| if step == 100 { hiccup } else { 4 });
            assert_eq!((late.len(), skipped), (500, 0), "{hiccup} ms");
        }
    }

    #[test]
    fn a_machine_that_is_too_slow_gets_fewer_frames_and_stays_on_time() {
        let (late, skipped) = run(20, |_, _| 30); // 30 ms for each frame of 20 ms
        assert!((640..=680).contains(&late.len()), "{} served", late.len());
        assert!((300..=360).contains(&skipped), "{skipped} left out");
        assert!(late.iter().all(|late| *late < 500), "{} ms late", late.iter().max().unwrap());
    }

    #[test]
    fn a_long_stand_still_is_left_out() {
        let (late, skipped) = run(20, |step, _| if step == 100 { 5000 } else { 4 });
        assert!((245..=251).contains(&skipped), "{skipped} left out");
        assert!(late.iter().filter(|late| **late > STEP).count() <= 1);
    }

    #[test]
    fn timestamps_rise_even_when_time_stands_still() {
        let mut rising = Rising::default();
        assert_eq!(rising.next(ms(5)), ms(5));
        assert_eq!(rising.next(ms(5)), ms(5) + ClockTime::NSECOND);
        assert_eq!(rising.next(ms(4)), ms(5) + ClockTime::from_nseconds(2));
        assert_eq!(rising.next(ms(6)), ms(6));
    }
}
