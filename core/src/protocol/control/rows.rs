// SPDX-License-Identifier: MPL-2.0
//! What a producer knows of its consumers' rows: its own notes, which no consumer can change.

use super::layout::ROWS;
use super::ring::{self, Claim, Holds, Words};

/// Slots that no lease may hold: one to write, and the newest frame, where nobody waits. A lossless producer waits, and
/// whoever holds an old frame has newer ones to take.
fn reserved(lossless: bool) -> u32 {
    if lossless { 1 } else { 2 }
}

/// Notes about one row.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The claim that the rest is about.
    count: u32,
    /// Whether it is in use and its owner lives, as far as is known.
    live: bool,
    /// The owner has gone without a word: nothing of this claim counts.
    dead: bool,
    wish: u32,
    /// Leases that the row was told it may hold.
    told: u32,
    /// Leases that are respected: more than it was told while it holds more.
    granted: u32,
    /// What it held when that number was lowered last.
    held: u32,
    /// A lossless producer waits for this row no more, until it takes something after this frame.
    let_go_at: Option<u64>,
}

/// The notes of all rows.
#[derive(Debug)]
pub(super) struct Rows {
    rows: [Row; ROWS as usize],
    generation: u32,
    lossless: bool,
    budget: u32,
    /// Somebody has more, or less, than a fair part.
    uneven: bool,
}

/// Who came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub joined: u32,
    pub left: u32,
}

impl Rows {
    pub(super) fn new(lossless: bool) -> Self {
        Self { rows: [Row::default(); ROWS as usize], generation: 0, lossless, budget: 0, uneven: false }
    }

    /// Begins a generation of `slots` slots: all grants end. Before the edition says so.
    pub(super) fn restart(&mut self, words: &impl Words, generation: u32, slots: u32) {
        self.generation = generation;
        self.budget = if slots > 1 { slots.saturating_sub(reserved(self.lossless)) } else { 0 };
        self.uneven = true;
        for (number, row) in (0..).zip(&mut self.rows) {
            (row.told, row.granted) = (0, 0);
            ring::grant(words, number, row.count, 0);
        }
    }

    /// Live rows.
    pub(super) fn live(&self) -> u32 {
        self.rows.iter().filter(|row| row.live).count() as u32
    }

    /// Whether somebody copies frames without a lease, so that slots should rest as long as they can.
    pub(super) fn has_copiers(&self) -> bool {
        self.rows.iter().any(|row| row.live && row.granted == 0)
    }

    /// Takes note of rows that were claimed or given back, and grants leases.
    pub(super) fn update(&mut self, words: &impl Words) -> Changes {
        let mut changes = Changes::default();
        for number in 0..ROWS {
            let claim = ring::claimed(words, number);
            let row = &mut self.rows[number as usize];
            if claim.count == row.count && claim.active == (row.live || row.dead) {
                continue;
            }
            if row.live {
                changes.left += 1;
            }
            if claim.active {
                changes.joined += 1;
            }
            *row = Row { count: claim.count, live: claim.active, wish: claim.wish, ..Row::default() };
            if claim.active && claim.wish == 0 {
                ring::grant(words, number, claim.count, 0);
            }
        }
        self.uneven |= changes != Changes::default();
        if self.uneven {
            self.share(words);
        }
        changes
    }

    /// Rows that are in use, as far as is known, with what must be asked of the kernel about them.
    pub(super) fn living(&self) -> impl Iterator<Item = u32> + use<> {
        let rows = self.rows;
        (0..ROWS).filter(move |&number| rows[number as usize].live)
    }

    /// Takes note that nobody has the lock of `row`. To be asked after the claim was seen and before this.
    pub(super) fn bury(&mut self, words: &impl Words, number: u32) {
        let row = &mut self.rows[number as usize];
        row.live = false;
        row.dead = true;
        (row.told, row.granted) = (0, 0);
        self.share(words);
    }

    /// Waits no more for rows that have not taken `sequence`; tells which.
    pub(super) fn let_go(&mut self, words: &impl Words, sequence: u64) -> u32 {
        let mut who = 0;
        for number in 0..ROWS {
            let row = self.rows[number as usize];
            let at = ring::taken(words, number);
            if row.live && at < sequence && row.let_go_at != Some(at) {
                self.rows[number as usize].let_go_at = Some(at);
                who |= 1 << number;
            }
        }
        who
    }

    /// Deals the budget out evenly, one lease after the other, to those who wish for more. Who has too many is told so,
    /// and the others get them once they are given back.
    fn share(&mut self, words: &impl Words) {
        let mut fair = [0; ROWS as usize];
        let mut left = self.budget;
        loop {
            let before = left;
            for (fair, row) in fair.iter_mut().zip(&self.rows) {
                if left > 0 && row.live && *fair < row.wish {
                    *fair += 1;
                    left -= 1;
                }
            }
            if left == 0 || left == before {
                break;
            }
        }
        for ((number, row), &fair) in (0..).zip(&mut self.rows).zip(&fair) {
            if row.told > fair {
                row.told = fair;
                ring::lower_grant(words, number, row.count, fair);
            }
            if row.granted > row.told {
                let held = ring::leases(words, number, self.generation);
                if held.count_ones() <= row.told {
                    (row.granted, row.held) = (row.told, held);
                }
            }
        }
        let mut left = self.budget.saturating_sub(self.rows.iter().map(|row| row.granted).sum());
        self.uneven = false;
        for ((number, row), &fair) in (0..).zip(&mut self.rows).zip(&fair) {
            let more = fair.saturating_sub(row.granted).min(left);
            if row.live && more > 0 {
                row.granted += more;
                left -= more;
                row.told = row.granted;
                // Noted before it is told.
                ring::grant(words, number, row.count, row.told);
            }
            self.uneven |= row.live && row.granted != fair;
        }
    }

    /// Slots that are leased, as a mask. Leases beyond a row's grant do not count: who sets them harms itself only.
    pub(super) fn leased(&self, words: &impl Words) -> u32 {
        let mut all = 0;
        for (number, row) in (0..).zip(&self.rows) {
            if row.granted == 0 {
                continue;
            }
            let claim = ring::claimed(words, number);
            if claim.count == row.count && claim.active {
                all |= counted(ring::leases(words, number, self.generation), row.held, row.granted);
            }
        }
        all
    }

    /// The frame up to which everybody has taken everything; `u64::MAX` when nobody has to.
    pub(super) fn floor(&self, words: &impl Words) -> u64 {
        if !self.lossless {
            return u64::MAX;
        }
        (0..ROWS).filter_map(|number| self.must_take(words, number)).min().unwrap_or(u64::MAX)
    }

    /// The same of rows that were noted: enough to begin with, since [`ring::begin`] looks again.
    pub(super) fn noted_floor(&self, words: &impl Words) -> u64 {
        if !self.lossless {
            return u64::MAX;
        }
        let noted = (0..).zip(&self.rows).filter(|(_, row)| row.live).map(|(number, _)| number);
        noted.filter_map(|number| self.must_take(words, number)).min().unwrap_or(u64::MAX)
    }

    /// What a row that has to take everything has taken. One that was claimed a moment ago counts, noted or not.
    fn must_take(&self, words: &impl Words, number: u32) -> Option<u64> {
        let row = &self.rows[number as usize];
        let Claim { count, active, .. } = ring::claimed(words, number);
        if !active || (row.dead && row.count == count) {
            return None;
        }
        let taken = ring::taken(words, number);
        (row.count != count || row.let_go_at != Some(taken)).then_some(taken)
    }
}

impl Holds for Rows {
    fn hold(&self, words: &impl Words, slot: u32, sequence: u64) -> bool {
        self.leased(words) >> slot & 1 != 0 || sequence > self.floor(words)
    }
}

/// The leases of a row that count: `granted` of `bits`, those that it `held` when its grant was lowered before others. An
/// honest row may show one too many for a moment, until it has seen the lower grant: that one is none of those.
pub(super) fn counted(bits: u32, held: u32, granted: u32) -> u32 {
    let first = first_bits(bits & held, granted);
    first | first_bits(bits & !held, granted - first.count_ones())
}

/// The lowest `most` of the bits that are set.
fn first_bits(bits: u32, most: u32) -> u32 {
    let mut left = bits;
    for _ in 0..most {
        left &= left.wrapping_sub(1);
    }
    bits & !left
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::protocol::control::layout::{CLAIM_ACTIVE, Tables};
    use crate::protocol::control::ring::Word;
    use crate::protocol::control::words::SegmentWords;
    use crate::segment::Segment;
    use crate::sync::Ordering::Relaxed;
    use std::sync::Arc;

    const GENERATION: u32 = 7;

    fn words() -> SegmentWords {
        SegmentWords::new(Arc::new(Segment::heap(16384)), Tables::OURS)
    }

    fn rows(words: &SegmentWords, lossless: bool, slots: u32) -> Rows {
        let mut rows = Rows::new(lossless);
        rows.restart(words, GENERATION, slots);
        rows
    }

    fn lease(words: &SegmentWords, row: u32, bits: u32) {
        words.store(Word::Lease(row), u64::from(GENERATION) << 32 | u64::from(bits), Relaxed);
    }

    #[test]
    fn leases_are_dealt_out_evenly_as_long_as_two_slots_stay_free() {
        let words = words();
        let mut rows = rows(&words, false, 6);
        let counts: Vec<u32> = [3, 3, 1].iter().zip(0..).map(|(&wish, row)| ring::claim(&words, row, wish).0).collect();
        assert_eq!(rows.update(&words), Changes { joined: 3, left: 0 });
        let granted = |row: u32| ring::granted(&words, row, counts[row as usize]);
        assert_eq!((granted(0), granted(1), granted(2)), (2, 1, 1));
        assert!(!rows.has_copiers());
        // What one gives back, the others get.
        ring::unclaim(&words, 0);
        assert_eq!(rows.update(&words), Changes { joined: 0, left: 1 });
        assert_eq!((granted(1), granted(2)), (3, 1));
        assert_eq!(rows.live(), 2);
    }

    #[test]
    fn a_lossless_ring_needs_one_slot_for_itself() {
        for (slots, lossless, expected) in [(4, true, 3), (4, false, 2), (2, true, 1), (2, false, 0), (1, false, 0)] {
            let words = words();
            let mut rows = rows(&words, lossless, slots);
            let (count, _) = ring::claim(&words, 0, 9);
            rows.update(&words);
            assert_eq!(ring::granted(&words, 0, count), expected, "{slots} slots, lossless {lossless}");
        }
    }

    #[test]
    fn who_comes_later_gets_a_lease_as_soon_as_the_first_gives_one_back() {
        let words = words();
        let mut rows = rows(&words, false, 4);
        let (first, _) = ring::claim(&words, 0, 2);
        rows.update(&words);
        lease(&words, 0, 0b11);
        let (second, _) = ring::claim(&words, 1, 2);
        rows.update(&words);
        assert_eq!((ring::granted(&words, 0, first), ring::granted(&words, 1, second)), (1, 0));
        assert_eq!(rows.leased(&words), 0b11, "what is held is respected");
        lease(&words, 0, 0b10);
        rows.update(&words);
        assert_eq!((ring::granted(&words, 0, first), ring::granted(&words, 1, second)), (1, 1));
        lease(&words, 0, 0b11);
        assert_eq!(rows.leased(&words), 0b10, "no more than was granted since: the one that was held then");
    }

    #[test]
    fn a_hostile_row_wastes_its_grant_and_no_more() {
        let words = words();
        let mut rows = rows(&words, false, 4);
        ring::claim(&words, 0, 1);
        rows.update(&words);
        lease(&words, 0, u32::MAX);
        assert_eq!(rows.leased(&words), 1);
        // A wish beyond reason is cut to the budget, and garbage elsewhere holds nothing.
        ring::claim(&words, 1, 255);
        rows.update(&words);
        lease(&words, 1, 0b1100);
        words.store(Word::Lease(2), u64::MAX, Relaxed);
        words.store(Word::Claim(3), u64::MAX, Relaxed);
        words.store(Word::Lease(3), u64::MAX, Relaxed);
        rows.update(&words);
        assert_eq!(rows.leased(&words).count_ones(), 2);
    }

    #[test]
    fn leases_of_another_generation_or_of_a_former_owner_hold_nothing() {
        let words = words();
        let mut rows = rows(&words, false, 4);
        ring::claim(&words, 0, 2);
        rows.update(&words);
        lease(&words, 0, 0b11);
        assert_eq!(rows.leased(&words), 0b11);
        rows.restart(&words, GENERATION + 1, 4);
        assert_eq!(rows.leased(&words), 0);
        rows.restart(&words, GENERATION, 4);
        rows.update(&words);
        assert_eq!(rows.leased(&words), 0b11);
        // Claimed anew, and not noted yet.
        words.store(Word::Claim(0), 2 << 32 | CLAIM_ACTIVE | 2, Relaxed);
        assert_eq!(rows.leased(&words), 0);
    }

    #[test]
    fn the_dead_hold_nothing_and_their_row_can_be_claimed_again() {
        let words = words();
        let mut rows = rows(&words, true, 4);
        ring::claim(&words, 0, 2);
        rows.update(&words);
        lease(&words, 0, 0b11);
        assert_eq!((rows.leased(&words), rows.floor(&words)), (0b11, 0));
        rows.bury(&words, 0);
        assert_eq!((rows.leased(&words), rows.floor(&words), rows.live()), (0, u64::MAX, 0));
        assert_eq!(rows.update(&words), Changes::default());
        ring::claim(&words, 0, 2);
        assert_eq!(rows.floor(&words), 0, "a claim counts before it is noted");
        assert_eq!(rows.update(&words), Changes { joined: 1, left: 0 });
        assert_eq!(rows.live(), 1);
    }

    #[test]
    fn the_slowest_sets_the_pace_until_it_is_let_go_and_again_when_it_moves() {
        let words = words();
        let mut rows = rows(&words, true, 4);
        for row in 0..2 {
            ring::claim(&words, row, 0);
        }
        rows.update(&words);
        ring::set_taken(&words, 0, 9);
        ring::set_taken(&words, 1, 5);
        assert_eq!(rows.floor(&words), 5);
        assert_eq!(rows.let_go(&words, 6), 1 << 1);
        assert_eq!(rows.let_go(&words, 6), 0, "it is told once");
        assert_eq!(rows.floor(&words), 9);
        ring::set_taken(&words, 1, 8);
        assert_eq!(rows.floor(&words), 8);
    }

    #[test]
    fn a_latest_producer_waits_for_nobody() {
        let words = words();
        let mut rows = rows(&words, false, 4);
        ring::claim(&words, 0, 0);
        rows.update(&words);
        assert_eq!(rows.floor(&words), u64::MAX);
    }

    #[test]
    fn the_first_bits_are_the_lowest() {
        assert_eq!(first_bits(0b1011_0100, 0), 0);
        assert_eq!(first_bits(0b1011_0100, 2), 0b1_0100);
        assert_eq!(first_bits(u32::MAX, 40), u32::MAX);
    }
}
