// SPDX-License-Identifier: MPL-2.0
//! Whether to look a little longer before falling asleep.
//!
//! Being woken costs both sides a call of the system and several microseconds. Where the last sleeps were that short,
//! news is looked for first, for as long as a waking would take. Who waits for milliseconds never does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::segment::monotonic_ns;

/// How long is looked.
const LOOK_NS: u64 = 4_000;
/// A sleep that was too short to be worth it.
const SHORT_NS: u64 = 25_000;
/// How often looking may be in vain until sleeps are tried again.
const CREDIT: u32 = 4;
/// Looks from one look at the clock to the next.
const LOOKS: u32 = 8;

/// What the last waits were like.
#[derive(Debug, Default)]
pub(super) struct Patience {
    credit: AtomicU32,
}

impl Patience {
    /// Repeats `look` for a moment, if that may be worth it, until it gives something.
    pub(super) fn look<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit == 0 || alone() {
            return None;
        }
        let until = monotonic_ns() + LOOK_NS;
        loop {
            for _ in 0..LOOKS {
                let found = look();
                if found.is_some() {
                    return found;
                }
                std::hint::spin_loop();
            }
            if monotonic_ns() >= until {
                self.credit.store(credit - 1, Ordering::Relaxed);
                return None;
            }
        }
    }

    /// Takes note of a sleep.
    pub(super) fn slept(&self, ns: u64) {
        let credit = if ns < SHORT_NS { CREDIT } else { self.credit.load(Ordering::Relaxed).saturating_sub(1) };
        self.credit.store(credit, Ordering::Relaxed);
    }
}

/// Whether the other side cannot run meanwhile.
fn alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_after_short_sleeps_is_news_looked_for_and_not_in_vain_for_long() {
        let patience = Patience::default();
        assert_eq!(patience.look(|| Some(())), None, "nobody has slept yet");
        patience.slept(SHORT_NS - 1);
        let expected = (!alone()).then_some(());
        assert_eq!(patience.look(|| Some(())), expected);
        let mut looked = 0;
        for _ in 0..2 * CREDIT {
            let before = looked;
            patience.look(|| {
                looked += 1;
                None::<()>
            });
            if looked == before {
                break;
            }
        }
        assert_eq!(patience.look(|| Some(())), None);
        patience.slept(SHORT_NS - 1);
        for _ in 0..CREDIT {
            patience.slept(SHORT_NS);
        }
        assert_eq!(patience.look(|| Some(())), None, "long sleeps need no looking");
    }
}
