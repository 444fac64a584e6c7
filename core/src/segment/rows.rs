// SPDX-License-Identifier: MPL-2.0
//! Rows of a frame, copied between a segment and private memory, straight or upside down.
//!
//! A frame that is in the caches is copied fastest by ordinary stores, one that is not by stores that go past them:
//! these need not fetch what they overwrite, and win half as much again. Which of them it is depends on everything else
//! that the machine does between two frames, so it is tried now and then; see [`Pace`].
//!
//! Upside down, one side goes backwards row by row, where no prefetcher looks. Ordinary copies ask for the next row
//! themselves; streamed ones read in runs that are long enough for the prefetcher to catch on.

mod kernel;
mod pace;
mod stores;

use super::AccessError;
pub(super) use kernel::{copy_in, copy_out};
pub(super) use pace::Pace;
pub(crate) use stores::Stores;

/// `rows` rows of `row_bytes` bytes in a segment, `stride` bytes apart, the first at `offset`.
///
/// Rows of a segment are visited in ascending address order, flipped or not, as other writers and readers do: strictly
/// when they are read, in runs of 128 KiB when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// First byte of the first row in the segment.
    pub offset: usize,
    /// Bytes of one row that are copied.
    pub row_bytes: usize,
    /// Bytes from one row's start to the next one's in the segment.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Whether the segment's first row is the last row of the private side.
    pub flip: bool,
}

impl Rows {
    /// Bytes from the first row's first byte to the last row's last, when rows lie `stride` apart.
    /// `usize::MAX`, which nothing contains, where that does not fit.
    pub(super) fn span(&self, stride: usize) -> Result<usize, AccessError> {
        if self.rows == 0 || self.row_bytes == 0 {
            return Ok(0);
        }
        if stride < self.row_bytes && self.rows > 1 {
            return Err(AccessError::Overlapping { row_bytes: self.row_bytes, stride });
        }
        Ok((self.rows - 1)
            .checked_mul(stride)
            .and_then(|before| before.checked_add(self.row_bytes))
            .unwrap_or(usize::MAX))
    }

    /// Checks the private side: its span must fit `len` bytes.
    pub(super) fn fits_buffer(&self, stride: usize, len: usize) -> Result<(), AccessError> {
        let needed = self.span(stride)?;
        if needed > len { Err(AccessError::Buffer { needed, len }) } else { Ok(()) }
    }

    /// The private row that belongs to the segment's first, and the step from there to the next one's, in bytes.
    fn private_side(&self, stride: usize) -> (usize, isize) {
        // A span that was checked fits an allocation, and those are at most `isize::MAX` bytes.
        if self.flip { ((self.rows - 1) * stride, -(stride as isize)) } else { (0, stride as isize) }
    }
}

/// Copies rows out of shared memory; see [`Rows`].
///
/// # Safety
/// `shared` is mapped readable for `rows.span(rows.stride)` bytes, `private` writable for `rows.span(stride)` bytes.
/// Others may write to `shared` meanwhile.
pub(super) unsafe fn rows_out(rows: &Rows, shared: *const u8, private: *mut u8, stride: usize, pace: &Pace) {
    if rows.rows == 0 || rows.row_bytes == 0 {
        return;
    }
    let (first, dst_step) = rows.private_side(stride);
    // SAFETY: the last row's start lies within the span.
    let dst = unsafe { private.add(first) };
    let copy = Copy { src: shared, src_step: rows.stride as isize, dst, dst_step, row_bytes: rows.row_bytes };
    if cfg!(miri) {
        // SAFETY: as below.
        return unsafe { copy.each(rows.rows, copy_out) };
    }
    // SAFETY: row by row, both sides lie within spans that the caller vouches for.
    unsafe { copy.frame(rows.rows, pace) };
}

/// Copies rows into shared memory; see [`Rows`].
///
/// # Safety
/// `shared` is mapped writable for `rows.span(rows.stride)` bytes, `private` readable for `rows.span(stride)` bytes.
/// Others may read and write `shared` meanwhile.
pub(super) unsafe fn rows_in(rows: &Rows, private: *const u8, stride: usize, shared: *mut u8, pace: &Pace) {
    if rows.rows == 0 || rows.row_bytes == 0 {
        return;
    }
    let (first, src_step) = rows.private_side(stride);
    // SAFETY: the last row's start lies within the span.
    let src = unsafe { private.add(first) };
    let copy = Copy { src, src_step, dst: shared, dst_step: rows.stride as isize, row_bytes: rows.row_bytes };
    if cfg!(miri) {
        // SAFETY: as below.
        return unsafe { copy.each(rows.rows, copy_in) };
    }
    // SAFETY: row by row, both sides lie within spans that the caller vouches for.
    unsafe { copy.frame(rows.rows, pace) };
}

/// Bytes that a prefetcher needs to see in ascending order before it pays that the next run lies elsewhere.
const RUN: usize = 128 << 10;

/// One copy, row by row: where row 0 is and how far it is to the next one, on both sides.
#[derive(Clone, Copy)]
struct Copy {
    src: *const u8,
    src_step: isize,
    dst: *mut u8,
    dst_step: isize,
    row_bytes: usize,
}

impl Copy {
    /// # Safety
    /// Rows 0 to `rows` are readable at `src` and writable at `dst`, and the two sides do not overlap.
    unsafe fn frame(self, rows: usize, pace: &Pace) {
        let bytes = self.row_bytes * rows;
        let tight = self.row_bytes as isize;
        let (copy, rows) = match self.src_step == tight && self.dst_step == tight {
            // One row as long as all of them.
            true => (Self { row_bytes: bytes, ..self }, 1),
            false => (self, rows),
        };
        pace.measured(bytes, |streams| match streams {
            // SAFETY: all rows, as the caller says.
            true => unsafe { copy.streamed(rows) },
            // SAFETY: all rows, as the caller says.
            false => unsafe { copy.cached(rows) },
        });
    }

    /// Every row by `copy`: with Miri, to which the copies below are races.
    ///
    /// # Safety
    /// As [`Copy::frame`], and `copy` copies what it is given.
    unsafe fn each(self, rows: usize, copy: unsafe fn(*const u8, *mut u8, usize)) {
        for row in 0..rows {
            // SAFETY: one of the caller's rows.
            let (src, dst) = unsafe { self.row(row) };
            // SAFETY: a row on either side.
            unsafe { copy(src, dst, self.row_bytes) };
        }
    }

    /// # Safety
    /// As [`Copy::frame`].
    unsafe fn cached(self, rows: usize) {
        for row in 0..rows {
            // SAFETY: one of the caller's rows.
            let (src, dst) = unsafe { self.row(row) };
            // The next row of a side that goes backwards. Only a hint, so it may lie before the first row.
            let back_src = (self.src_step < 0).then(|| src.wrapping_offset(self.src_step));
            let back_dst = (self.dst_step < 0).then(|| dst.wrapping_offset(self.dst_step).cast_const());
            match back_src.or(back_dst) {
                // SAFETY: a row on either side.
                Some(hint) => unsafe { kernel::ahead(src, dst, self.row_bytes, hint) },
                // SAFETY: a row on either side.
                None => unsafe { kernel::plain(src, dst, self.row_bytes) },
            }
        }
    }

    /// # Safety
    /// As [`Copy::frame`].
    unsafe fn streamed(self, rows: usize) {
        // What is streamed may go backwards, since it is not fetched; what is read may not.
        let run = if self.src_step < 0 { (RUN / self.row_bytes).max(1) } else { 1 };
        for first in (0..rows).step_by(run) {
            for row in (first..rows.min(first + run)).rev() {
                // SAFETY: one of the caller's rows.
                let (src, dst) = unsafe { self.row(row) };
                // SAFETY: a row on either side.
                unsafe { kernel::stream(src, dst, self.row_bytes) };
            }
        }
        kernel::settle();
    }

    /// # Safety
    /// `row` is one of the rows of [`Copy::frame`].
    unsafe fn row(self, row: usize) -> (*const u8, *mut u8) {
        // SAFETY: the row is there.
        let src = unsafe { self.src.offset(row as isize * self.src_step) };
        // SAFETY: the row is there.
        let dst = unsafe { self.dst.offset(row as isize * self.dst_step) };
        (src, dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_copies_every_row_and_nothing_beside() {
        let sizes: &[usize] = if cfg!(miri) { &[1, 67] } else { &[1, 15, 16, 63, 64, 65, 127, 200, 4099] };
        for &row_bytes in sizes {
            for (src_gap, dst_gap, offset) in [(0, 0, 0), (0, 0, 3), (5, 0, 1), (0, 7, 64), (1, 1, 17)] {
                for (flip, streams) in [(false, false), (false, true), (true, false), (true, true)] {
                    let rows = if row_bytes == 4099 { 70 } else { 5 };
                    let (src_stride, dst_stride) = (row_bytes + src_gap, row_bytes + dst_gap);
                    let src: Vec<u8> = (0..offset + rows * src_stride).map(|i| (i % 251) as u8).collect();
                    let mut dst = vec![0xEE; offset + rows * dst_stride + 64];
                    let mut expected = dst.clone();
                    for row in 0..rows {
                        let to = offset + if flip { rows - 1 - row } else { row } * dst_stride;
                        expected[to..][..row_bytes].copy_from_slice(&src[offset + row * src_stride..][..row_bytes]);
                    }
                    let (first, dst_step) = match flip {
                        true => (offset + (rows - 1) * dst_stride, -(dst_stride as isize)),
                        false => (offset, dst_stride as isize),
                    };
                    // SAFETY: within the vector.
                    let to = unsafe { dst.as_mut_ptr().add(first) };
                    let from = src[offset..].as_ptr();
                    let copy = Copy { src: from, src_step: src_stride as isize, dst: to, dst_step, row_bytes };
                    match streams {
                        // SAFETY: the vectors hold all rows.
                        true => unsafe { copy.streamed(rows) },
                        // SAFETY: the vectors hold all rows.
                        false => unsafe { copy.cached(rows) },
                    }
                    assert_eq!(dst, expected, "{row_bytes} {src_gap} {dst_gap} {offset} {flip} {streams}");
                }
            }
        }
    }

    #[test]
    #[cfg(not(miri))] // megabytes
    fn a_large_frame_is_whole_whichever_way_is_being_tried() {
        let shape = Rows { offset: 5, row_bytes: 7001, stride: 7003, rows: 300, flip: true };
        let segment = crate::segment::Segment::heap(5 + 7003 * 300);
        let mut frame: Vec<u8> = (0..7001 * 300).map(|i| (i % 253) as u8).collect();
        let mut back = vec![0; frame.len()];
        for round in 0..10 {
            frame[round * 1000] ^= 0xFF;
            for flip in [true, false] {
                segment.write_rows(Rows { flip, ..shape }, &frame, 7001).unwrap();
                back.fill(0);
                segment.read_rows(Rows { flip, ..shape }, &mut back, 7001).unwrap();
                assert!(back == frame, "round {round}");
            }
        }
        // A tight one, that is copied as one long row.
        let shape = Rows { offset: 5, row_bytes: 7001, stride: 7001, rows: 300, flip: false };
        for round in 0..10 {
            frame[round * 900] ^= 0xFF;
            segment.write_rows(shape, &frame, 7001).unwrap();
            back.fill(0);
            segment.read_rows(shape, &mut back, 7001).unwrap();
            assert!(back == frame, "round {round}");
        }
    }
}
