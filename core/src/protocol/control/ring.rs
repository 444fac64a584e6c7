// SPDX-License-Identifier: MPL-2.0
//! Whose slot is it? The algorithms, over words that may be anybody's memory: a segment's, or a model checker's.
//!
//! Every word has one writer. A slot belongs to the producer from [`begin`] to [`publish`], and to nobody otherwise: a
//! consumer either leases it, which the producer respects, or copies it and asks afterwards whether it was left alone.
//!
//! Orderings come in pairs, which carry the same tag on both sides; `model.rs` breaks each of them and shows what
//! happens then.

use crate::protocol::control::layout::{CLAIM_ACTIVE, CLAIM_WISH, SEQ_WRITING, WAITING_SEEN};
use crate::sync::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

/// A word of the control segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Newest,
    Edition,
    State,
    Wake,
    ProducerWaiting,
    Freed,
    /// Of a slot.
    Sequence(u32),
    // Of a row:
    Claim(u32),
    Lease(u32),
    Taken(u32),
    Waiting(u32),
    Grant(u32),
}

/// A fence, by the pair that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// [lease] The producer's: the mark before the look at the rows. Also [copy]: the mark before the bytes.
    Mark,
    /// [lease] The consumer's: the lease before the second look at the slot.
    Lease,
    /// [grant] The producer's: the lower grant before the look at the leases.
    Lower,
    /// [copy] The consumer's: the bytes before the second look.
    Copied,
    /// [claim] The consumer's: the claim before the first look at the newest frame.
    Claim,
    /// [sleep] The waker's: the news before the look for sleepers.
    Ring,
    /// [sleep] The sleeper's: the sign before the last look for news.
    Sleep,
    /// [edition] The producer's: the odd edition before the bytes.
    Describe,
    /// [edition] The reader's: the bytes before the second look.
    Described,
}

impl Fence {
    pub(super) fn order(self) -> Ordering {
        match self {
            Self::Mark | Self::Lease | Self::Lower | Self::Claim | Self::Ring | Self::Sleep => SeqCst,
            Self::Describe => Release,
            Self::Copied | Self::Described => Acquire,
        }
    }
}

/// Where the words are. A word that cannot be reached reads as 0; whoever hands the words in finds out.
pub(super) trait Words {
    fn load(&self, word: Word, order: Ordering) -> u64;
    fn store(&self, word: Word, value: u64, order: Ordering);
    fn exchange(&self, word: Word, current: u64, new: u64, order: Ordering) -> Result<u64, u64>;
    fn fence(&self, fence: Fence);
}

/// Which frame is the newest, as one word says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    /// Counts frames. Never goes back while the segment lives.
    pub sequence: u64,
    /// Where it is; none before the first frame of a generation.
    pub slot: Option<u32>,
}

impl Newest {
    const NO_SLOT: u64 = 0xff;
    /// Sequence numbers wrap nowhere near this.
    pub(super) const MOST: u64 = u64::MAX >> 10;

    pub(super) fn pack(self) -> u64 {
        self.sequence << 8 | self.slot.map_or(Self::NO_SLOT, u64::from)
    }

    pub(super) fn unpack(word: u64) -> Self {
        let slot = word & 0xff;
        Self { sequence: word >> 8, slot: (slot != Self::NO_SLOT).then_some(slot as u32) }
    }
}

/// What stands in the way of writing a slot.
pub(super) trait Holds {
    /// Whether somebody leases `slot`, or has yet to take the frame `sequence` in it.
    fn hold(&self, words: &impl Words, slot: u32, sequence: u64) -> bool;
}

/// Takes a slot, whose word is `before`, for writing; false when it is held.
pub(super) fn begin(words: &impl Words, holds: &impl Holds, slot: u32, before: u64) -> bool {
    mark(words, slot, before);
    if !holds.hold(words, slot, before & !SEQ_WRITING) {
        return true;
    }
    // Release: who sees the old number again sees the frame that it stands for.
    words.store(Word::Sequence(slot), before, Release);
    false
}

/// Says that a slot is about to be written.
pub(super) fn mark(words: &impl Words, slot: u32, before: u64) {
    words.store(Word::Sequence(slot), before | SEQ_WRITING, Relaxed);
    // [lease] Who does not see the lease that we are about to look for has been seen by its second look.
    // [copy] Who sees our bytes sees the mark.
    words.fence(Fence::Mark);
}

/// Shows a slot that was begun, and written since, as the newest frame.
pub(super) fn publish(words: &impl Words, slot: u32, sequence: u64) {
    // [publish] Release, pairs with `observe`, `oldest_after` and the second look of `lease`: the frame is whole before
    // it has a number.
    words.store(Word::Sequence(slot), sequence, Release);
    words.store(Word::Newest, Newest { sequence, slot: Some(slot) }.pack(), Release);
}

/// The newest frame. Look at the edition after this: a frame of another generation is never seen with the old edition.
pub(super) fn observe(words: &impl Words) -> Newest {
    // [publish] Acquire.
    Newest::unpack(words.load(Word::Newest, Acquire))
}

/// What a consumer that wants the newest frame finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    /// Nothing that it has not taken, or nothing that is whole: the newest frame's slot is being written again, by a
    /// producer that is at it or died over it. Its next frame will be news.
    None,
    /// This one.
    Frame { sequence: u64, slot: u32 },
    /// Another one has become the newest meanwhile: look again.
    Moved,
}

/// The newest frame of `slots` slots, if it comes after `taken` and its slot still has it.
pub(super) fn newest_after(words: &impl Words, slots: u32, taken: u64) -> Fresh {
    let newest = observe(words);
    let Some(slot) = newest.slot.filter(|&slot| newest.sequence > taken && slot < slots) else { return Fresh::None };
    // [publish] Acquire.
    if words.load(Word::Sequence(slot), Acquire) == newest.sequence {
        return Fresh::Frame { sequence: newest.sequence, slot };
    }
    if observe(words) == newest { Fresh::None } else { Fresh::Moved }
}

/// The edition: even and twice the generation, or odd while a description is being written.
pub(super) fn edition(words: &impl Words) -> u64 {
    words.load(Word::Edition, Acquire)
}

/// What a consumer that takes every frame in order finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oldest {
    /// Nothing that it has not taken.
    None,
    /// This one is next.
    Frame { sequence: u64, slot: u32 },
    /// This one would be next, but the producer has it in hand; it may give it back.
    InHand { sequence: u64 },
}

/// The oldest frame after `taken` that is still there, of `slots` slots.
pub(super) fn oldest_after(words: &impl Words, slots: u32, taken: u64) -> Oldest {
    // Frames up to this one have been published, so that none of them is overlooked while slots are visited.
    let newest = observe(words);
    let mut oldest = Oldest::None;
    for slot in 0..slots {
        // [publish] Acquire.
        let word = words.load(Word::Sequence(slot), Acquire);
        let sequence = word & !SEQ_WRITING;
        if sequence <= taken || sequence > newest.sequence {
            continue;
        }
        let best = match oldest {
            Oldest::None => u64::MAX,
            Oldest::Frame { sequence, .. } | Oldest::InHand { sequence } => sequence,
        };
        if sequence < best {
            let in_hand = word & SEQ_WRITING != 0;
            oldest = if in_hand { Oldest::InHand { sequence } } else { Oldest::Frame { sequence, slot } };
        }
    }
    oldest
}

/// What became of an attempt to lease a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leased {
    /// It stays as it is until the lease is given back.
    Yes,
    /// The producer has taken the slot back.
    Moved,
    /// The row may hold no more.
    Over,
}

/// Leases `slot` for row `row`, if frame `sequence` is in it, the producer has not taken it back, and claim `count` of
/// the row may hold one more.
pub(super) fn lease(words: &impl Words, row: u32, count: u32, generation: u32, slot: u32, sequence: u64) -> Leased {
    change_leases(words, row, generation, true, |bits| bits | 1 << slot);
    // [lease] Either the producer sees the lease, or we see its mark.
    // [grant] Either the producer sees the lease and goes on respecting it, or we see the lower grant.
    words.fence(Fence::Lease);
    let held = (words.load(Word::Lease(row), Relaxed) as u32).count_ones();
    let outcome = if held > granted(words, row, count) {
        Leased::Over
    // [publish] Acquire.
    } else if words.load(Word::Sequence(slot), Acquire) != sequence {
        Leased::Moved
    } else {
        return Leased::Yes;
    };
    give_back(words, row, generation, slot);
    outcome
}

/// Ends a lease. Its bytes must not be touched any more.
pub(super) fn give_back(words: &impl Words, row: u32, generation: u32, slot: u32) {
    change_leases(words, row, generation, false, |bits| bits & !(1 << slot));
}

/// Threads of one process change the leases of its row. `begin`: leases of another generation are forgotten, since
/// nobody writes that one's memory any more; otherwise they are left alone.
fn change_leases(words: &impl Words, row: u32, generation: u32, begin: bool, change: impl Fn(u32) -> u32) {
    let mut word = words.load(Word::Lease(row), Relaxed);
    loop {
        let (of, bits) = ((word >> 32) as u32, word as u32);
        if of != generation && !begin {
            return;
        }
        let bits = change(if of == generation { bits } else { 0 });
        let new = u64::from(generation) << 32 | u64::from(bits);
        // [give back] Release, pairs with `leases`: our last look at a slot comes before the producer's first byte.
        match words.exchange(Word::Lease(row), word, new, Release) {
            Ok(_) => return,
            Err(now) => word = now,
        }
    }
}

/// The slots that row `row` leases in `generation`: the producer's look.
pub(super) fn leases(words: &impl Words, row: u32, generation: u32) -> u32 {
    // [give back] Acquire.
    let word = words.load(Word::Lease(row), Acquire);
    if (word >> 32) as u32 == generation { word as u32 } else { 0 }
}

/// After a copy out of `slot`: whether all of it was frame `sequence`.
pub(super) fn still_whole(words: &impl Words, slot: u32, sequence: u64) -> bool {
    // [copy] The bytes come before this look.
    words.fence(Fence::Copied);
    words.load(Word::Sequence(slot), Relaxed) == sequence
}

/// A row's claim, as its word says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Counts claims of the row, so that no owner is taken for another one.
    pub count: u32,
    /// Whether the row is in use.
    pub active: bool,
    /// Leases that its owner wishes.
    pub wish: u32,
}

impl Claim {
    pub(super) fn pack(self) -> u64 {
        let active = if self.active { CLAIM_ACTIVE } else { 0 };
        u64::from(self.count) << 32 | active | u64::from(self.wish) & CLAIM_WISH
    }

    pub(super) fn unpack(word: u64) -> Self {
        let wish = (word & CLAIM_WISH) as u32;
        Self { count: (word >> 32) as u32, active: word & CLAIM_ACTIVE != 0, wish }
    }
}

/// What a consumer writes into a row that it has locked. Gives its claim's count, and the last frame that it need not
/// take: later ones stay until it has.
pub(super) fn claim(words: &impl Words, row: u32, wish: u32) -> (u32, u64) {
    let before = Claim::unpack(words.load(Word::Claim(row), Relaxed));
    let count = before.count.wrapping_add(1);
    words.store(Word::Lease(row), 0, Relaxed);
    words.store(Word::Waiting(row), 0, Relaxed);
    // Holds everything back until we know where to start.
    words.store(Word::Taken(row), 0, Relaxed);
    // Release: who sees the claim sees what belongs to it.
    words.store(Word::Claim(row), Claim { count, active: true, wish }.pack(), Release);
    // [claim] A producer that has not seen the claim had begun before: its slot is older than what we see now.
    words.fence(Fence::Claim);
    let newest = observe(words).sequence;
    let taken = newest.saturating_sub(1);
    words.store(Word::Taken(row), taken, Release);
    (count, taken)
}

/// Gives a claimed row back; the lock comes after this.
pub(super) fn unclaim(words: &impl Words, row: u32) {
    let claim = Claim::unpack(words.load(Word::Claim(row), Relaxed));
    words.store(Word::Lease(row), 0, Release);
    words.store(Word::Waiting(row), 0, Relaxed);
    words.store(Word::Claim(row), Claim { active: false, ..claim }.pack(), Release);
}

/// The producer's look at a row's claim.
pub(super) fn claimed(words: &impl Words, row: u32) -> Claim {
    // Acquire: what belongs to the claim is seen with it.
    Claim::unpack(words.load(Word::Claim(row), Acquire))
}

/// Says that a row has taken everything up to `sequence`.
pub(super) fn set_taken(words: &impl Words, row: u32, sequence: u64) {
    // [taken] Release, pairs with `taken`: a copy comes before the producer's next bytes.
    words.store(Word::Taken(row), sequence, Release);
}

/// The last frame that a row has taken: the producer's look.
pub(super) fn taken(words: &impl Words, row: u32) -> u64 {
    // [taken] Acquire.
    words.load(Word::Taken(row), Acquire)
}

/// Grants `leases` to a claim: the producer's answer, which it keeps a note of and never reads back.
pub(super) fn grant(words: &impl Words, row: u32, count: u32, leases: u32) {
    words.store(Word::Grant(row), u64::from(count) << 32 | u64::from(leases), Release);
}

/// Grants fewer leases than before. Those that are held by then must be respected as long as they are held: look at
/// [`leases`] after this.
pub(super) fn lower_grant(words: &impl Words, row: u32, count: u32, leases: u32) {
    grant(words, row, count, leases);
    // [grant]
    words.fence(Fence::Lower);
}

/// Leases granted to the claim of row `row` that has this count.
pub(super) fn granted(words: &impl Words, row: u32, count: u32) -> u32 {
    let word = words.load(Word::Grant(row), Acquire);
    if (word >> 32) as u32 == count { word as u32 } else { 0 }
}

/// Changes the word that is slept over, and tells which of `rows` rows sleep: they must be woken.
pub(super) fn news(words: &impl Words, rows: u32, wake: u32) -> u32 {
    words.store(Word::Wake, wake.into(), Release);
    // [sleep] Either we see the sleeper's sign, or it sees the news.
    words.fence(Fence::Ring);
    let before = u64::from(wake.wrapping_sub(1));
    (0..rows).filter(|&row| is_due(words.load(Word::Waiting(row), Relaxed), before)).fold(0, |who, row| who | 1 << row)
}

/// How somebody says that it sleeps over a word that it has seen as `seen`.
fn sleeps_over(seen: u64) -> u64 {
    seen & !WAITING_SEEN & u64::from(u32::MAX) | WAITING_SEEN
}

/// Whether who says `waiting` must be woken after its word was changed from `before`. Who has seen another value was
/// woken when that one changed, or does not fall asleep over it any more.
fn is_due(waiting: u64, before: u64) -> bool {
    waiting != 0 && (waiting & WAITING_SEEN == 0 || waiting == sleeps_over(before))
}

/// Says that row `row` is about to sleep. Gives the word that it sleeps over; look for news once more after this.
pub(super) fn about_to_sleep(words: &impl Words, row: u32) -> u32 {
    let seen = words.load(Word::Wake, Acquire);
    words.store(Word::Waiting(row), sleeps_over(seen), Relaxed);
    // [sleep]
    words.fence(Fence::Sleep);
    seen as u32
}

/// Says that row `row` is awake.
pub(super) fn awake(words: &impl Words, row: u32) {
    words.store(Word::Waiting(row), 0, Relaxed);
}

/// The same for the producer, who sleeps until a slot is free.
pub(super) fn producer_about_to_sleep(words: &impl Words) -> u32 {
    let seen = words.load(Word::Freed, Acquire);
    words.store(Word::ProducerWaiting, sleeps_over(seen), Relaxed);
    // [sleep]
    words.fence(Fence::Sleep);
    seen as u32
}

/// Says that the producer is awake.
pub(super) fn producer_awake(words: &impl Words) {
    words.store(Word::ProducerWaiting, 0, Relaxed);
}

/// After a slot was given free: whether the producer sleeps and must be woken, if `worth` says that it is. The word that
/// it sleeps over has been changed then.
pub(super) fn freed(words: &impl Words, worth: impl FnOnce() -> bool) -> bool {
    // [sleep]
    words.fence(Fence::Ring);
    let waiting = words.load(Word::ProducerWaiting, Relaxed);
    // Another consumer may do the same at this moment: only that it changes counts.
    let before = words.load(Word::Freed, Relaxed);
    if !is_due(waiting, before) || !worth() {
        return false;
    }
    words.store(Word::Freed, before.wrapping_add(1) & u64::from(u32::MAX), Release);
    true
}

/// Begins to write a description: readers wait from here on.
pub(super) fn begin_edition(words: &impl Words, before: u64) {
    words.store(Word::Edition, before | 1, Relaxed);
    // [edition] Who sees a byte of the new description sees that it is being written.
    words.fence(Fence::Describe);
}

/// Ends what [`begin_edition`] began: the description is now that of `edition`, an even number that was never used.
pub(super) fn end_edition(words: &impl Words, edition: u64) {
    // [edition] Release, pairs with `edition`.
    words.store(Word::Edition, edition, Release);
}

/// After a copy of the description: whether all of it was of `edition`.
pub(super) fn still_described(words: &impl Words, edition: u64) -> bool {
    // [edition]
    words.fence(Fence::Described);
    words.load(Word::Edition, Relaxed) == edition
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_change_from_what_is_slept_over_needs_a_ring() {
        for seen in [0, 1, 7, u64::from(u32::MAX >> 1), u64::from(u32::MAX)] {
            let waiting = sleeps_over(seen);
            assert!(waiting != 0 && waiting <= u64::from(u32::MAX));
            assert!(is_due(waiting, seen));
            assert!(!is_due(waiting, seen + 1) && !is_due(waiting, seen.wrapping_sub(1)));
            assert!(is_due(1, seen), "who says just 1 is rung for at each change");
            assert!(!is_due(0, seen));
        }
    }
}
