// SPDX-License-Identifier: MPL-2.0
//! From the private side's rows to the wire's, in one pass.

use std::ops::Range;

use super::layout::{PIECE, Shape, piece_pixels};
use crate::frame::PixelFormat;
use crate::pixels::{self, Converter};
use crate::protocol::copy::CopyError;
use crate::segment::Segment;

/// What writing frames needs, whatever the memory.
#[derive(Debug)]
pub(in crate::protocol) struct Writer {
    pub shape: Shape,
    pub options: pixels::Options,
    converter: Converter,
    from_pixel: usize,
    wire_pixel: usize,
    /// A piece of a row on its way; empty when the pixels need no conversion.
    scratch: Box<[u8]>,
}

impl Writer {
    pub fn new(shape: Shape, wire: PixelFormat, from: PixelFormat, options: pixels::Options) -> Self {
        let converter = Converter::new(from, wire, options);
        let scratch = vec![0; if converter.is_copy() { 0 } else { PIECE }].into();
        Self { shape, options, converter, from_pixel: from.bytes(), wire_pixel: wire.bytes(), scratch }
    }

    /// Writes wire rows `part` of the frame that the private side's `rows` hold.
    pub fn write(
        &mut self,
        segment: &Segment,
        part: Range<usize>,
        rows: &[u8],
        stride: usize,
    ) -> Result<(), CopyError> {
        let shape = self.shape;
        let private_row_bytes = shape.row_bytes / self.wire_pixel * self.from_pixel;
        shape.check_buffer(private_row_bytes, stride, rows.len())?;
        if part.is_empty() {
            return Ok(());
        }
        if self.converter.is_copy() {
            let first = shape.private_rows(&part).start * stride;
            segment.write_rows(shape.wire_rows(&part), &rows[first..], stride)?;
            return Ok(());
        }
        let piece = piece_pixels(self.from_pixel, self.wire_pixel);
        segment.paced(part.len() * shape.row_bytes, |stores| {
            let run = if shape.flip { stores.run(private_row_bytes, shape.row_bytes) } else { 1 };
            for first in part.clone().step_by(run) {
                for row in (first..part.end.min(first + run)).rev() {
                    let at = shape.private_row(row) * stride;
                    if shape.flip && run == 1 {
                        // The row above is the next one.
                        pixels::warm(&rows[at.saturating_sub(stride)..at]);
                    }
                    let mut offset = shape.row_offset(row);
                    for pixels in rows[at..][..private_row_bytes].chunks(piece * self.from_pixel) {
                        let converted = &mut self.scratch[..pixels.len() / self.from_pixel * self.wire_pixel];
                        self.converter.row(pixels, converted)?;
                        segment.write_piece(stores, offset, converted)?;
                        offset += converted.len();
                    }
                }
            }
            Ok(())
        })
    }
}
