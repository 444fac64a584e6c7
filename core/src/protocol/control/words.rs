// SPDX-License-Identifier: MPL-2.0
//! The words of a control segment where they are.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::layout::{
    EDITION, FREED, NEWEST, PRODUCER_WAITING, ROW_CLAIM, ROW_GRANT, ROW_LEASE, ROW_TAKEN, ROW_WAITING, SLOT_SEQUENCE,
    STATE, Tables, WAKE,
};
use super::ring::{Fence, Word, Words};
use crate::segment::{AccessError, Segment};

/// Words at the places that a header says; a producer's are its own, whatever stands in the segment by now.
#[derive(Debug)]
pub(super) struct SegmentWords {
    segment: Arc<Segment>,
    tables: Tables,
}

/// Where a word is, and its size.
enum At {
    Short(usize),
    Long(usize),
}

impl SegmentWords {
    pub(super) fn new(segment: Arc<Segment>, tables: Tables) -> Self {
        Self { segment, tables }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Whether all words were there until now. To be asked before a thread's first look, and after each that counts.
    pub(super) fn check(&self) -> Result<(), AccessError> {
        self.segment.check()
    }

    #[inline]
    fn at(&self, word: Word) -> At {
        let tables = &self.tables;
        match word {
            Word::Newest => At::Long(NEWEST.offset()),
            Word::Edition => At::Long(EDITION.offset()),
            Word::State => At::Short(STATE.offset()),
            Word::Wake => At::Short(WAKE.offset()),
            Word::ProducerWaiting => At::Short(PRODUCER_WAITING.offset()),
            Word::Freed => At::Short(FREED.offset()),
            Word::Sequence(slot) => At::Long(tables.slot(slot, SLOT_SEQUENCE)),
            Word::Claim(row) => At::Long(tables.row(row, ROW_CLAIM)),
            Word::Lease(row) => At::Long(tables.row(row, ROW_LEASE)),
            Word::Taken(row) => At::Long(tables.row(row, ROW_TAKEN)),
            Word::Waiting(row) => At::Short(tables.row(row, ROW_WAITING)),
            Word::Grant(row) => At::Long(tables.row(row, ROW_GRANT)),
        }
    }
}

impl Words for SegmentWords {
    #[inline]
    fn load(&self, word: Word, order: Ordering) -> u64 {
        let word = match self.at(word) {
            At::Short(offset) => self.segment.peek_u32(offset, order).map(u64::from),
            At::Long(offset) => self.segment.peek_u64(offset, order),
        };
        // Every word of a header's tables is there.
        word.unwrap_or(0)
    }

    #[inline]
    fn store(&self, word: Word, value: u64, order: Ordering) {
        let _ = match self.at(word) {
            At::Short(offset) => self.segment.poke_u32(offset, value as u32, order),
            At::Long(offset) => self.segment.poke_u64(offset, value, order),
        };
    }

    fn exchange(&self, word: Word, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        let outcome = match self.at(word) {
            At::Short(offset) => self
                .segment
                .compare_exchange_u32(offset, current as u32, new as u32, order, Ordering::Relaxed)
                .map(|outcome| outcome.map(u64::from).map_err(u64::from)),
            At::Long(offset) => self.segment.compare_exchange_u64(offset, current, new, order, Ordering::Relaxed),
        };
        // What cannot be reached need not be changed; `check` tells.
        outcome.unwrap_or(Ok(current))
    }

    fn fence(&self, at: Fence) {
        fence(at.order());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::ring::{self, Newest};
    use super::super::rows::Rows;
    use super::*;

    const SLOTS: u32 = 4;
    const FRAME: usize = 64;
    const GENERATION: u32 = 1;
    /// More than any process writes here; few enough for Miri.
    const FRAMES: u64 = if cfg!(miri) { 40 } else { 20_000 };

    fn words() -> SegmentWords {
        SegmentWords::new(Arc::new(Segment::heap(16384)), Tables::OURS)
    }

    fn number(pixels: &Segment, slot: u32) -> Option<u64> {
        let mut bytes = [0; FRAME];
        pixels.read(slot as usize * FRAME, &mut bytes).unwrap();
        let mut words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let first = words.next().unwrap();
        words.all(|word| word == first).then_some(first)
    }

    /// One thread writes frames as a producer does; two take them, by lease and by copy.
    #[test]
    fn frames_cross_whole_between_threads_over_plain_memory() {
        let (words, pixels) = (words(), Segment::heap(FRAME * SLOTS as usize));
        let (leased, copied) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut rows = Rows::new(false);
        rows.restart(&words, GENERATION, SLOTS);
        let (count, _) = ring::claim(&words, 0, 1);
        rows.update(&words);
        assert_eq!(ring::granted(&words, 0, count), 1);
        let last = || ring::observe(&words).sequence == FRAMES;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut known = [0; SLOTS as usize];
                let mut newest = SLOTS;
                for sequence in 1..=FRAMES {
                    let free = (0..SLOTS).filter(|&slot| slot != newest);
                    let mut free = free.filter(|&slot| ring::begin(&words, &rows, slot, known[slot as usize]));
                    let slot = free.next().expect("one is leased, one is the newest");
                    pixels.write(slot as usize * FRAME, &sequence.to_le_bytes().repeat(FRAME / 8)).unwrap();
                    ring::publish(&words, slot, sequence);
                    known[slot as usize] = sequence;
                    newest = slot;
                }
            });
            scope.spawn(|| {
                while !last() {
                    let Newest { sequence, slot: Some(slot) } = ring::observe(&words) else { continue };
                    let lease = |sequence| ring::lease(&words, 0, count, GENERATION, slot, sequence);
                    if sequence > 0 && lease(sequence) == ring::Leased::Yes {
                        assert_eq!(number(&pixels, slot), Some(sequence), "a leased frame was overwritten");
                        ring::give_back(&words, 0, GENERATION, slot);
                        leased.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            scope.spawn(|| {
                while !last() {
                    let Newest { sequence, slot: Some(slot) } = ring::observe(&words) else { continue };
                    let copy = number(&pixels, slot);
                    if sequence > 0 && ring::still_whole(&words, slot, sequence) {
                        assert_eq!(copy, Some(sequence), "a torn frame, or another one");
                        copied.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        });
        println!("{leased:?} leased, {copied:?} copied of {FRAMES}");
        assert!(words.check().is_ok());
    }
}
