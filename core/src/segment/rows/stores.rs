// SPDX-License-Identifier: MPL-2.0
//! Stores of what was made of pixels in a small buffer, into a segment or into private memory.

use super::super::{AccessError, Segment};
use super::{RUN, kernel};

/// Which stores a frame's pieces are put in their places with. [`Segment::paced`] chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Ordinary ones, into the caches.
    Cached,
    /// Those that go past the caches and need not fetch what they overwrite.
    Streamed,
}

impl Stores {
    /// How many rows are read in ascending order before rows further up follow, where a frame is read from its last row to
    /// its first: rows of `read` bytes, which become `written` bytes. What is streamed may be written in such runs, what is
    /// not is written in order. A run is no longer on either side than [`Rows`](super::Rows) promises: who reads beside the
    /// writer goes by it.
    pub(crate) fn run(self, read: usize, written: usize) -> usize {
        match self {
            Self::Cached => 1,
            Self::Streamed => (RUN / read.max(written).max(1)).max(1),
        }
    }

    /// Copies a piece of a frame to its place in private memory, within [`Segment::paced`].
    ///
    /// # Panics
    /// The two have not the same length.
    pub(crate) fn put(self, piece: &[u8], dst: &mut [u8]) {
        assert_eq!(piece.len(), dst.len(), "a piece and its place");
        match self {
            Self::Cached => dst.copy_from_slice(piece),
            // SAFETY: both slices have this length, and one that is borrowed for writing overlaps no other.
            Self::Streamed => unsafe { kernel::stream(piece.as_ptr(), dst.as_mut_ptr(), piece.len()) },
        }
    }
}

impl Segment {
    /// Has `work` move a frame of `bytes` bytes between this segment and private memory, piece by piece, with the stores
    /// that were faster when both were last tried. All are done when it returns.
    pub(crate) fn paced<R>(&self, bytes: usize, work: impl FnOnce(Stores) -> R) -> R {
        self.pace.measured(bytes, |streams| {
            if !streams {
                return work(Stores::Cached);
            }
            let done = work(Stores::Streamed);
            kernel::settle();
            done
        })
    }

    /// Copies a piece of a frame to `offset`, within [`paced`](Self::paced).
    ///
    /// # Errors
    /// As [`Segment::write`].
    pub(crate) fn write_piece(&self, stores: Stores, offset: usize, piece: &[u8]) -> Result<(), AccessError> {
        if stores == Stores::Cached || cfg!(miri) {
            return self.write(offset, piece);
        }
        self.writable()?;
        let dst = self.at(offset, piece.len())?;
        // SAFETY: `at` proved that the bytes are mapped, `writable` that they may be written; `piece`, being private
        // memory, cannot overlap them.
        unsafe { kernel::stream(piece.as_ptr(), dst.as_ptr(), piece.len()) };
        self.whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_as_short_as_other_readers_rely_on_whatever_rows_become() {
        for (read, written) in [(4096, 4096), (512, 8192), (8192, 512), (1, 1), (1 << 20, 1 << 16)] {
            assert_eq!(Stores::Cached.run(read, written), 1, "{read} {written}");
            let run = Stores::Streamed.run(read, written);
            assert!(run == 1 || run * read.max(written) <= RUN, "{read} {written}: {run} rows");
            assert!((run + 1) * read.max(written) > RUN, "{read} {written}: {run} rows, as long as may be");
        }
    }

    #[test]
    fn pieces_arrive_whole_by_either_kind_of_stores_and_nothing_beside() {
        let piece: Vec<u8> = (1..=200).collect();
        for stores in [Stores::Cached, Stores::Streamed] {
            for (offset, len) in [(0, 200), (3, 1), (17, 63), (64, 64), (1, 199)] {
                let segment = Segment::heap(300);
                segment.write_piece(stores, offset, &piece[..len]).unwrap();
                let mut found = vec![0; 300];
                segment.read(0, &mut found).unwrap();
                let mut expected = vec![0; 300];
                expected[offset..offset + len].copy_from_slice(&piece[..len]);
                assert_eq!(found, expected, "{stores:?} {offset} {len}");

                let mut private = vec![0; 300];
                stores.put(&piece[..len], &mut private[offset..offset + len]);
                assert_eq!(private, expected, "{stores:?} {offset} {len}");
            }
            assert!(Segment::heap(300).write_piece(stores, 200, &piece[..101]).is_err(), "{stores:?}");
        }
    }
}
