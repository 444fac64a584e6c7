// SPDX-License-Identifier: MPL-2.0
//! From the wire's rows to the private side's, in one pass.

use std::ops::Range;

use super::layout::{BufferError, PIECE, Shape, piece_pixels};
use crate::frame::PixelFormat;
use crate::pixels::{self, Converter};
use crate::protocol::copy::CopyError;
use crate::segment::{Segment, Stores};

/// Copies rows of the wire to the private side.
#[derive(Debug)]
pub(in crate::protocol) struct Reader {
    pub shape: Shape,
    pub wire: PixelFormat,
    converter: Converter,
    to_pixel: usize,
    /// A piece of a row on its way.
    scratch: Box<[u8]>,
    /// The same piece as pixels of the private side, to be compared or streamed.
    converted: Box<[u8]>,
}

impl Reader {
    pub fn new(shape: Shape, wire: PixelFormat, to: PixelFormat, options: pixels::Options) -> Self {
        let converter = Converter::new(wire, to, options);
        let to_pixel = to.bytes();
        let converted = vec![0; piece_pixels(wire.bytes(), to_pixel) * to_pixel].into();
        Self { shape, wire, converter, to_pixel, scratch: vec![0; PIECE].into(), converted }
    }

    fn private_row_bytes(&self) -> usize {
        self.shape.row_bytes / self.wire.bytes() * self.to_pixel
    }

    pub fn check(&self, dst: &[u8], stride: usize) -> Result<(), BufferError> {
        self.shape.check_buffer(self.private_row_bytes(), stride, dst.len())
    }

    /// Whether the wire, converted, is what `frame` holds; stops at the first piece that is not.
    pub fn same(&mut self, segment: &Segment, frame: &[u8], stride: usize) -> Result<bool, CopyError> {
        let wire = self.wire.bytes();
        let piece = self.converted.len();
        for row in 0..self.shape.rows {
            let mut offset = self.shape.row_offset(row);
            let private = &frame[self.shape.private_row(row) * stride..][..self.private_row_bytes()];
            for expected in private.chunks(piece) {
                let bytes = &mut self.scratch[..expected.len() / self.to_pixel * wire];
                segment.read(offset, bytes)?;
                let found = if self.converter.is_copy() {
                    &*bytes
                } else {
                    let found = &mut self.converted[..expected.len()];
                    self.converter.row(bytes, found)?;
                    &*found
                };
                if found != expected {
                    return Ok(false);
                }
                offset += bytes.len();
            }
        }
        Ok(true)
    }

    /// Copies wire rows `rows`, in ascending order of address, to where they belong in the frame `dst`.
    pub fn copy(
        &mut self,
        segment: &Segment,
        rows: Range<usize>,
        dst: &mut [u8],
        stride: usize,
    ) -> Result<(), CopyError> {
        self.copy_into(segment, rows, dst, stride, 0)
    }

    /// The same into a part of a frame: `dst` begins with the private side's row `top`.
    pub fn copy_into(
        &mut self,
        segment: &Segment,
        rows: Range<usize>,
        dst: &mut [u8],
        stride: usize,
        top: usize,
    ) -> Result<(), CopyError> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.converter.is_copy() {
            let first = (self.shape.private_rows(&rows).start - top) * stride;
            segment.read_rows(self.shape.wire_rows(&rows), &mut dst[first..], stride)?;
            return Ok(());
        }
        let bytes = rows.len() * self.private_row_bytes();
        segment.paced(bytes, |stores| self.convert(segment, rows, (dst, stride, top), stores))
    }

    /// What is not a plain copy.
    fn convert(
        &mut self,
        segment: &Segment,
        rows: Range<usize>,
        (dst, stride, top): (&mut [u8], usize, usize),
        stores: Stores,
    ) -> Result<(), CopyError> {
        let wire = self.wire.bytes();
        let piece = piece_pixels(wire, self.to_pixel);
        for row in rows {
            let mut offset = self.shape.row_offset(row);
            let at = (self.shape.private_row(row) - top) * stride;
            if self.shape.flip && stores == Stores::Cached {
                // The row above is the next one.
                pixels::warm(&dst[at.saturating_sub(stride)..at]);
            }
            let private = &mut dst[at..][..self.private_row_bytes()];
            for place in private.chunks_mut(piece * self.to_pixel) {
                let bytes = &mut self.scratch[..place.len() / self.to_pixel * wire];
                segment.read(offset, bytes)?;
                match stores {
                    Stores::Cached => self.converter.row(bytes, place)?,
                    Stores::Streamed => {
                        let converted = &mut self.converted[..place.len()];
                        self.converter.row(bytes, converted)?;
                        stores.put(converted, place);
                    }
                }
                offset += bytes.len();
            }
        }
        Ok(())
    }

    /// Puts `bytes`, whole pixels of the wire that stand at `offset` in the frame, where they belong in `dst`.
    pub fn patch(&mut self, offset: usize, mut bytes: &[u8], dst: &mut [u8], stride: usize) -> Result<(), CopyError> {
        let (mut row, mut column) = (offset / self.shape.row_bytes, offset % self.shape.row_bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.shape.row_bytes - column));
            let at = self.shape.private_row(row) * stride + column / self.wire.bytes() * self.to_pixel;
            let len = now.len() / self.wire.bytes() * self.to_pixel;
            self.converter.row(now, &mut dst[at..at + len])?;
            (bytes, row, column) = (later, row + 1, 0);
        }
        Ok(())
    }
}
