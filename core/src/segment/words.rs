// SPDX-License-Identifier: MPL-2.0
//! Words of a segment that several programs change: atomic loads, stores and updates at checked offsets.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{AccessError, Segment};

macro_rules! words {
    ($word:ty, $atomic:ty, $at:ident, $load:ident, $peek:ident, $poke:ident, $store:ident, $add:ident, $exchange:ident) => {
        impl Segment {
            /// Loads the word at `offset` as cheaply as can be, for protocols that look at many: `None` where there is
            /// no such word. [`Segment::check`] must be asked before and after, and tells whether the memory was there.
            #[inline]
            pub(crate) fn $peek(&self, offset: usize, order: Ordering) -> Option<$word> {
                self.word(offset, size_of::<$word>()).map(|word| {
                    // SAFETY: `word` proved that these bytes are mapped and aligned; other programs reach them by atomic
                    // operations of this size only, which is the protocol's to keep.
                    unsafe { <$atomic>::from_ptr(word.cast().as_ptr()) }.load(order)
                })
            }

            /// Stores a word in the same way; `None` also where the mapping is read-only.
            #[inline]
            pub(crate) fn $poke(&self, offset: usize, value: $word, order: Ordering) -> Option<()> {
                self.word(offset, size_of::<$word>()).filter(|_| self.writable).map(|word| {
                    // SAFETY: as above.
                    unsafe { <$atomic>::from_ptr(word.cast().as_ptr()) }.store(value, order);
                })
            }

            /// The atomic at `offset`. It does not leave this module: the segment must outlive it, and its callers
            /// have checked that it may be written before they do.
            pub(super) fn $at(&self, offset: usize) -> Result<&$atomic, AccessError> {
                let word = self.at(offset, size_of::<$word>())?.cast::<$word>();
                if !word.is_aligned() {
                    return Err(AccessError::Misaligned { offset, align: align_of::<$atomic>() });
                }
                // SAFETY: the word is mapped for as long as `self` lives and is aligned; other programs reach it by
                // atomic operations of this size only, which is the protocol's to keep.
                Ok(unsafe { <$atomic>::from_ptr(word.as_ptr()) })
            }

            /// Loads the word at `offset` with `order`.
            ///
            /// # Errors
            /// Out of bounds, misaligned, truncated.
            ///
            /// # Panics
            /// With an `order` that no load can have, as std's atomics.
            pub fn $load(&self, offset: usize, order: Ordering) -> Result<$word, AccessError> {
                let value = self.$at(offset)?.load(order);
                self.whole().map(|()| value)
            }

            /// Stores `value` at `offset` with `order`.
            ///
            /// # Errors
            /// Out of bounds, misaligned, read-only, truncated.
            ///
            /// # Panics
            /// With an `order` that no store can have, as std's atomics.
            pub fn $store(&self, offset: usize, value: $word, order: Ordering) -> Result<(), AccessError> {
                self.writable()?;
                self.$at(offset)?.store(value, order);
                self.whole()
            }

            /// Adds `value` to the word at `offset`, wrapping around; gives the word before.
            ///
            /// # Errors
            /// Out of bounds, misaligned, read-only, truncated.
            pub fn $add(&self, offset: usize, value: $word, order: Ordering) -> Result<$word, AccessError> {
                self.writable()?;
                let before = self.$at(offset)?.fetch_add(value, order);
                self.whole().map(|()| before)
            }

            /// Replaces the word at `offset` by `new` if it is `current`. The inner result is std's: the word before,
            /// `Ok` when it was replaced.
            ///
            /// # Errors
            /// Out of bounds, misaligned, read-only, truncated.
            ///
            /// # Panics
            /// With a `failure` order that no load can have, as std's atomics.
            pub fn $exchange(
                &self,
                offset: usize,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<Result<$word, $word>, AccessError> {
                self.writable()?;
                let outcome = self.$at(offset)?.compare_exchange(current, new, success, failure);
                self.whole().map(|()| outcome)
            }
        }
    };
}

impl Segment {
    /// The first byte of an aligned word of `size` bytes.
    #[inline]
    fn word(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let fits = offset.is_multiple_of(size) && offset.checked_add(size).is_some_and(|end| end <= self.len);
        // SAFETY: the word ends within the mapping. The mapping begins at a multiple of every word's size.
        fits.then(|| unsafe { self.base.add(offset) })
    }
}

words!(u32, AtomicU32, atomic_u32, load_u32, peek_u32, poke_u32, store_u32, fetch_add_u32, compare_exchange_u32);
words!(u64, AtomicU64, atomic_u64, load_u64, peek_u64, poke_u64, store_u64, fetch_add_u64, compare_exchange_u64);

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

    use super::*;

    #[test]
    fn words_are_little_endian_bytes_of_the_segment() {
        let segment = Segment::heap(64);
        segment.store_u64(8, 0x0807_0605_0403_0201, Release).unwrap();
        let mut bytes = [0; 8];
        segment.read(8, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(segment.load_u32(12, Acquire), Ok(0x0807_0605));
    }

    #[test]
    fn what_is_peeked_and_poked_is_what_is_loaded_and_stored() {
        let segment = Segment::heap(70);
        assert_eq!(segment.poke_u64(56, 7 << 32 | 9, Release), Some(()));
        assert_eq!((segment.load_u64(56, Acquire), segment.peek_u32(60, Acquire)), (Ok(7 << 32 | 9), Some(7)));
        for (offset, what) in [(64, "beyond"), (60, "askew"), (usize::MAX - 7, "far away")] {
            assert_eq!(
                (segment.peek_u64(offset, Acquire), segment.poke_u64(offset, 1, Release)),
                (None, None),
                "{what}"
            );
        }
    }

    #[test]
    fn updates_tell_what_was_there() {
        let segment = Segment::heap(64);
        assert_eq!(segment.fetch_add_u32(60, u32::MAX, SeqCst), Ok(0));
        assert_eq!(segment.fetch_add_u32(60, 2, SeqCst), Ok(u32::MAX));
        assert_eq!(segment.compare_exchange_u64(0, 0, 7, SeqCst, Relaxed), Ok(Ok(0)));
        assert_eq!(segment.compare_exchange_u64(0, 0, 8, SeqCst, Relaxed), Ok(Err(7)));
        assert_eq!(segment.load_u64(0, Relaxed), Ok(7));
    }

    #[test]
    fn a_word_out_of_place_is_refused() {
        let segment = Segment::heap(66);
        let out = AccessError::OutOfBounds { offset: 64, len: 4, segment_len: 66 };
        assert_eq!(segment.load_u32(64, Relaxed), Err(out));
        assert_eq!(segment.load_u32(62, Relaxed), Err(AccessError::Misaligned { offset: 62, align: 4 }));
        assert_eq!(segment.store_u64(4, 1, Relaxed), Err(AccessError::Misaligned { offset: 4, align: 8 }));
        assert!(segment.load_u64(usize::MAX - 3, Relaxed).is_err());
    }

    #[test]
    fn threads_lose_no_count() {
        let segment = Segment::heap(64);
        let each = if cfg!(miri) { 50 } else { 10_000 };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..each {
                        segment.fetch_add_u64(0, 1, Relaxed).unwrap();
                    }
                });
            }
        });
        assert_eq!(segment.load_u64(0, Relaxed), Ok(3 * each));
    }
}
