// SPDX-License-Identifier: MPL-2.0
//! Where the bytes stand: `offset` foreign bytes, then rows without padding. Nothing else.

use std::ops::Range;

use thiserror::Error;

use crate::frame::{FrameDesc, Origin};
use crate::segment::Rows;

/// A frame of raw bytes in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLayout {
    /// The frame on the wire: size, pixels, where its first row stands in the picture.
    pub desc: FrameDesc,
    /// Bytes in front of the frame that belong to somebody else.
    pub offset: usize,
}

/// Why a description is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// It has no pixel.
    #[error("a frame of {width}×{height} has no pixel; both sides must be at least 1")]
    NoPixels {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Its size does not fit an address.
    #[error("a frame of {desc} behind {offset} bytes does not fit an address")]
    TooLarge {
        /// The frame.
        desc: FrameDesc,
        /// Bytes in front of it.
        offset: usize,
    },
}

/// Why a private buffer cannot hold a frame. Nothing was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{rows} rows of {row_bytes} bytes, {stride} bytes apart, do not fit a buffer of {len} bytes")]
pub struct BufferError {
    /// Rows of the frame.
    pub rows: usize,
    /// Bytes of one row.
    pub row_bytes: usize,
    /// Bytes from one row's start to the next one's.
    pub stride: usize,
    /// Bytes of the buffer.
    pub len: usize,
}

impl RawLayout {
    /// Bytes that a segment needs: `offset` + width × height × channels × bytes per sample. `None` when that does not
    /// fit a `usize`.
    pub fn bytes(&self) -> Option<usize> {
        self.desc.bytes()?.checked_add(self.offset)
    }

    /// The same in numbers that need no further check.
    pub(in crate::protocol) fn shape(&self) -> Result<Shape, LayoutError> {
        let desc = self.desc;
        let (width, height) = (desc.width, desc.height);
        if width == 0 || height == 0 {
            return Err(LayoutError::NoPixels { width, height });
        }
        let needed = self.bytes().ok_or(LayoutError::TooLarge { desc, offset: self.offset })?;
        let flip = desc.origin == Origin::BottomLeft;
        let row_bytes = desc.row_bytes();
        Ok(Shape { offset: self.offset, row_bytes, stride: row_bytes, rows: height as usize, flip, needed })
    }
}

/// A layout whose sums were checked: every row of it lies within `needed` bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::protocol) struct Shape {
    pub offset: usize,
    pub row_bytes: usize,
    /// Bytes from one row on the wire to the next; raw bytes have no padding.
    pub stride: usize,
    pub rows: usize,
    /// Whether the wire's first row is the private side's last.
    pub flip: bool,
    /// Bytes that a segment must have.
    pub needed: usize,
}

impl Shape {
    /// A frame from the first byte on, with rows `stride` bytes apart.
    pub fn strided(desc: FrameDesc, stride: usize) -> Result<Self, LayoutError> {
        let packed = RawLayout { desc, offset: 0 }.shape()?;
        let before = (packed.rows - 1).checked_mul(stride.max(packed.row_bytes));
        let needed = before.and_then(|before| before.checked_add(packed.row_bytes));
        let needed = needed.ok_or(LayoutError::TooLarge { desc, offset: 0 })?;
        Ok(Self { stride: stride.max(packed.row_bytes), needed, ..packed })
    }

    /// Bytes of the frame alone.
    pub fn frame_bytes(&self) -> usize {
        (self.rows - 1) * self.stride + self.row_bytes
    }

    /// First byte of wire row `row` in the segment.
    pub fn row_offset(&self, row: usize) -> usize {
        self.offset + row * self.stride
    }

    /// The private side's row for wire row `row`.
    pub fn private_row(&self, row: usize) -> usize {
        if self.flip { self.rows - 1 - row } else { row }
    }

    /// The private side's rows for the wire's.
    pub fn private_rows(&self, wire: &Range<usize>) -> Range<usize> {
        if self.flip { self.rows - wire.end..self.rows - wire.start } else { wire.clone() }
    }

    /// The segment's side of a straight copy.
    pub fn wire_rows(&self, wire: &Range<usize>) -> Rows {
        Rows {
            offset: self.row_offset(wire.start),
            row_bytes: self.row_bytes,
            stride: self.stride,
            rows: wire.len(),
            flip: self.flip,
        }
    }

    /// Checks a private buffer whose rows have `row_bytes` bytes.
    pub fn check_buffer(&self, row_bytes: usize, stride: usize, len: usize) -> Result<(), BufferError> {
        let needed = (self.rows - 1).checked_mul(stride).and_then(|before| before.checked_add(row_bytes));
        match needed {
            Some(needed) if needed <= len && (stride >= row_bytes || self.rows == 1) => Ok(()),
            _ => Err(BufferError { rows: self.rows, row_bytes, stride, len }),
        }
    }
}

/// Bytes of scratch for a piece of a row, on either side of a conversion: it and its result stay in the first-level
/// cache.
pub(in crate::protocol) const PIECE: usize = 4 * 1024;

/// Pixels of a piece, for pixels of `a` bytes on one side and `b` on the other.
pub(super) fn piece_pixels(a: usize, b: usize) -> usize {
    PIECE / a.max(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChannelOrder, PixelFormat, SampleType};

    fn layout(width: u32, height: u32, offset: usize, origin: Origin) -> RawLayout {
        let format = PixelFormat::new(SampleType::U16, 3, ChannelOrder::Rgba).unwrap();
        RawLayout { desc: FrameDesc { width, height, format, origin }, offset }
    }

    #[test]
    fn a_segment_needs_the_offset_and_every_pixel() {
        assert_eq!(layout(17, 5, 64, Origin::TopLeft).bytes(), Some(64 + 17 * 5 * 6));
        assert_eq!(layout(1, 1, usize::MAX, Origin::TopLeft).bytes(), None);
    }

    #[test]
    fn what_is_no_frame_is_told_with_its_numbers() {
        let none = layout(0, 7, 0, Origin::TopLeft).shape().unwrap_err();
        assert_eq!(none, LayoutError::NoPixels { width: 0, height: 7 });
        let error = layout(1, 1, usize::MAX, Origin::TopLeft).shape().unwrap_err();
        assert!(error.to_string().contains("1×1 u16×3 rgb behind 18446744073709551615 bytes"), "{error}");
    }

    #[test]
    fn a_bottom_left_frame_stands_on_its_head() {
        let up = layout(2, 5, 8, Origin::TopLeft).shape().unwrap();
        let down = layout(2, 5, 8, Origin::BottomLeft).shape().unwrap();
        assert_eq!((up.private_row(0), down.private_row(0), down.private_row(4)), (0, 4, 0));
        assert_eq!((up.private_rows(&(1..3)), down.private_rows(&(1..3))), (1..3, 2..4));
        assert_eq!(down.row_offset(2), 8 + 2 * 12);
        assert_eq!(down.frame_bytes(), 60);
    }

    #[test]
    fn a_buffer_must_hold_the_last_row_but_not_its_padding() {
        let shape = layout(2, 5, 0, Origin::TopLeft).shape().unwrap();
        assert_eq!(shape.check_buffer(12, 16, 4 * 16 + 12), Ok(()));
        let short = BufferError { rows: 5, row_bytes: 12, stride: 16, len: 75 };
        assert_eq!(shape.check_buffer(12, 16, 75), Err(short));
        assert!(shape.check_buffer(12, 11, 1000).is_err());
        assert!(shape.check_buffer(12, usize::MAX, 1000).is_err());
    }
}
