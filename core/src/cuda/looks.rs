// SPDX-License-Identifier: MPL-2.0
//! When to look whether the GPU is done with what another process gave it.
//!
//! A wait in the driver can be neither interrupted nor given a deadline, so one looks, and each look is a call of the
//! driver. A producer's copies take nearly the same time each: nobody looks until that has passed.

use std::time::Duration;

/// Between two looks: at least, at most, and this part of the time waited so far. Work that takes long is looked at seldom,
/// and noticed as much later.
const LOOK: Duration = Duration::from_micros(50);
const SELDOM: Duration = Duration::from_millis(1);
const PART: u32 = 8;

/// A copy of a small frame takes no longer; a sleep would.
const SHORT: Duration = Duration::from_micros(20);
/// Between two looks meanwhile: a question costs the driver about one.
const MOMENT: Duration = Duration::from_micros(4);

/// Nobody sleeps longer before the second look: who interrupts the wait is heard after that.
const LONGEST: Duration = Duration::from_millis(4);

/// What to do until the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Stay awake.
    Awake(Duration),
    Sleep(Duration),
}

/// How long waits of one kind have taken lately. Starts with nothing known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usual(Duration);

impl Usual {
    /// Until the next look of a wait that has taken `waited` so far, and in which one has looked `looks` times.
    pub(super) fn pause(&self, looks: u32, waited: Duration) -> Pause {
        if looks == 1 && self.0 >= SHORT {
            return Pause::Sleep(self.0);
        }
        if waited < SHORT { Pause::Awake(MOMENT) } else { Pause::Sleep((waited / PART).clamp(LOOK, SELDOM)) }
    }

    /// A wait is over that has taken `waited`, as the last of `looks` looks says.
    pub(super) fn learn(&mut self, looks: u32, waited: Duration) {
        if looks <= 2 && self.0 >= SHORT || looks == 1 {
            // It may have been over for long.
            self.0 -= self.0 / PART;
        } else {
            // One wait that took far longer than all others says little of the next.
            let most = self.0 / 4 + LOOK;
            self.0 = (self.0 + (waited.saturating_sub(self.0) / 2).min(most)).min(LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a sleep takes that is to take no time, roughly.
    const LATE: Duration = Duration::from_micros(55);

    /// One wait for something that takes `time`. Gives the number of looks and how late the end was noticed.
    fn wait(usual: &mut Usual, time: Duration) -> (u32, Duration) {
        let (mut looks, mut waited) = (1, Duration::ZERO);
        while waited < time {
            waited += match usual.pause(looks, waited) {
                Pause::Awake(moment) => moment,
                Pause::Sleep(time) => time + LATE,
            };
            looks += 1;
        }
        usual.learn(looks, waited);
        (looks, waited - time)
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn copies_that_take_the_same_time_are_looked_at_two_or_three_times() {
        for time in [100, 300, 600, 1500, 3500] {
            let mut usual = Usual::default();
            for _ in 0..30 {
                wait(&mut usual, micros(time));
            }
            let waits: Vec<_> =
                (0..100u64).map(|at| wait(&mut usual, micros(time + time * (at * 7 % 10) / 100))).collect();
            let looks: u32 = waits.iter().map(|(looks, _)| looks).sum();
            assert!(looks <= 300, "{time}: {looks} looks in 100 waits");
            let late: Duration = waits.iter().map(|(_, late)| *late).sum();
            assert!(late / 100 <= micros(time / 8) + 2 * LATE, "{time}: {late:?} late in 100 waits");
        }
    }

    #[test]
    fn what_takes_a_few_microseconds_is_not_slept_for() {
        let mut usual = Usual::default();
        for _ in 0..100 {
            let (_, late) = wait(&mut usual, micros(12));
            assert!(late <= MOMENT, "{late:?}");
        }
    }

    #[test]
    fn one_long_wait_holds_up_none_of_those_that_follow() {
        let mut usual = Usual::default();
        for _ in 0..30 {
            wait(&mut usual, micros(400));
        }
        wait(&mut usual, Duration::from_secs(2));
        let (_, late) = wait(&mut usual, micros(400));
        assert!(late <= micros(300), "{late:?}");
        for _ in 0..1000 {
            wait(&mut usual, Duration::from_secs(2));
        }
        assert!(usual.0 <= LONGEST);
        for _ in 0..60 {
            wait(&mut usual, micros(400));
        }
        let (_, late) = wait(&mut usual, micros(400));
        assert!(late <= micros(200), "it is forgotten what was: {late:?}");
    }

    #[test]
    fn what_is_done_before_anybody_asks_is_asked_for_at_once() {
        let mut usual = Usual::default();
        for _ in 0..50 {
            wait(&mut usual, micros(600));
        }
        (0..50).for_each(|_| assert_eq!(wait(&mut usual, Duration::ZERO), (1, Duration::ZERO)));
        assert!(matches!(usual.pause(1, Duration::ZERO), Pause::Awake(_)));
    }
}
