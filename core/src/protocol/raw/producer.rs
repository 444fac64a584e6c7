// SPDX-License-Identifier: MPL-2.0
//! The end that writes.

use thiserror::Error;

use super::layout::{BufferError, LayoutError, PIECE, RawLayout, Shape, piece_pixels};
use crate::frame::PixelFormat;
use crate::pixels::{self, Converter, RowError};
use crate::segment::{
    AccessError, Acquired, CreateOptions, OwnedSegment, Published, Segment, SegmentError, SegmentName,
};

/// Why a frame could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The description is not a frame.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The frame's own memory is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The segment's bytes cannot be written. After [`AccessError::Truncated`] the name must be created again.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Writes frames under a name. Dropping it gives the name back.
///
/// The newest frame overwrites the last one in place, rows in ascending order of address: a reader that looks meanwhile
/// sees parts of both. Raw bytes have nothing to prevent it with.
#[derive(Debug)]
pub struct Producer {
    owned: OwnedSegment,
    writer: Writer,
}

impl Producer {
    /// Makes a segment of exactly [`RawLayout::bytes`] under `name`, or takes over what stands there (see
    /// [`Acquired`]). Frames to come have pixels of `from`; they are converted to the layout's under `pixels`.
    ///
    /// # Errors
    /// No frame, or the segment's own: see [`OwnedSegment::create`].
    pub fn create(
        name: &SegmentName,
        layout: RawLayout,
        from: PixelFormat,
        pixels: pixels::Options,
        options: &CreateOptions,
    ) -> Result<Self, ProduceError> {
        let writer = Writer::new(layout, from, pixels)?;
        let owned = OwnedSegment::create(name, writer.shape.needed, options)?;
        Ok(Self { owned, writer })
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.owned.origin()
    }

    /// Writes one frame: `rows` holds the layout's width × height pixels of `from`, top row first, rows `stride` bytes
    /// apart. Flip, conversion and copy are one pass; nothing is allocated.
    ///
    /// # Errors
    /// `rows` too small, or another program cut the segment short.
    pub fn write(&mut self, rows: &[u8], stride: usize) -> Result<(), ProduceError> {
        self.writer.write(self.owned.segment(), rows, stride)
    }

    /// Makes sure that the name still leads to our memory; call it before each frame, it is cheap. Where it answers
    /// [`Published::Recreated`], the next frame goes to the new memory.
    ///
    /// # Errors
    /// See [`OwnedSegment::keep_published`].
    pub fn tend(&mut self) -> Result<Published, ProduceError> {
        Ok(self.owned.keep_published()?)
    }

    /// Offers frames of another description from now on, under the same name: see [`OwnedSegment::resize`].
    ///
    /// # Errors
    /// No frame, or the segment's own. The old description stays in force then.
    pub fn set_layout(&mut self, layout: RawLayout, from: PixelFormat) -> Result<(), ProduceError> {
        let writer = Writer::new(layout, from, self.writer.options)?;
        self.owned.resize(writer.shape.needed)?;
        self.writer = writer;
        Ok(())
    }
}

/// What writing one frame needs, whatever the memory.
#[derive(Debug)]
struct Writer {
    shape: Shape,
    options: pixels::Options,
    converter: Converter,
    from_pixel: usize,
    wire_pixel: usize,
    /// A piece of a row on its way; empty when the pixels need no conversion.
    scratch: Box<[u8]>,
}

impl Writer {
    fn new(layout: RawLayout, from: PixelFormat, options: pixels::Options) -> Result<Self, LayoutError> {
        let (shape, wire) = (layout.shape()?, layout.desc.format);
        let converter = Converter::new(from, wire, options);
        let scratch = vec![0; if converter.is_copy() { 0 } else { PIECE }].into();
        Ok(Self { shape, options, converter, from_pixel: from.bytes(), wire_pixel: wire.bytes(), scratch })
    }

    fn write(&mut self, segment: &Segment, rows: &[u8], stride: usize) -> Result<(), ProduceError> {
        let shape = self.shape;
        let private_row_bytes = shape.row_bytes / self.wire_pixel * self.from_pixel;
        shape.check_buffer(private_row_bytes, stride, rows.len())?;
        if self.converter.is_copy() {
            segment.write_rows(shape.wire_rows(&(0..shape.rows)), rows, stride)?;
            return Ok(());
        }
        let piece = piece_pixels(self.from_pixel, self.wire_pixel);
        for row in 0..shape.rows {
            let private = &rows[shape.private_row(row) * stride..][..private_row_bytes];
            let mut offset = shape.row_offset(row);
            for pixels in private.chunks(piece * self.from_pixel) {
                let converted = &mut self.scratch[..pixels.len() / self.from_pixel * self.wire_pixel];
                self.converter.row(pixels, converted)?;
                segment.write(offset, converted)?;
                offset += converted.len();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChannelOrder, FrameDesc, Origin, SampleType};

    fn format(channels: u8, order: ChannelOrder) -> PixelFormat {
        PixelFormat::new(SampleType::U8, channels, order).unwrap()
    }

    fn written(layout: RawLayout, from: PixelFormat, rows: &[u8], stride: usize) -> Vec<u8> {
        let segment = Segment::heap(layout.bytes().unwrap());
        Writer::new(layout, from, pixels::Options::default()).unwrap().write(&segment, rows, stride).unwrap();
        let mut bytes = vec![0; segment.len()];
        segment.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_frame_goes_upside_down_behind_foreign_bytes() {
        let wire = format(3, ChannelOrder::Rgba);
        let desc = FrameDesc { width: 2, height: 2, format: wire, origin: Origin::BottomLeft };
        let rows = [1, 2, 3, 4, 5, 6, 0, 0, 11, 12, 13, 14, 15, 16];
        let bytes = written(RawLayout { desc, offset: 3 }, wire, &rows, 8);
        assert_eq!(bytes, [0, 0, 0, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_row_longer_than_the_scratch_is_converted_whole() {
        let width = if cfg!(miri) { PIECE as u32 / 4 + 3 } else { 40_000 };
        for origin in [Origin::TopLeft, Origin::BottomLeft] {
            let desc = FrameDesc { width, height: 2, format: format(4, ChannelOrder::Rgba), origin };
            let pixels: Vec<[u8; 4]> = (0..width * 2).map(|i| [i as u8, (i >> 8) as u8, 7, (i >> 3) as u8]).collect();
            let bytes = written(
                RawLayout { desc, offset: 0 },
                format(4, ChannelOrder::Bgra),
                pixels.as_flattened(),
                width as usize * 4,
            );
            let (top, bottom) = pixels.split_at(width as usize);
            let order = if origin == Origin::TopLeft { [top, bottom] } else { [bottom, top] };
            let expected: Vec<u8> = order.concat().iter().flat_map(|&[b, g, r, a]| [r, g, b, a]).collect();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_frame_in_too_little_memory_is_refused_before_the_first_byte() {
        let desc = FrameDesc { width: 2, height: 3, format: format(4, ChannelOrder::Rgba), origin: Origin::TopLeft };
        let segment = Segment::heap(24);
        for from in [format(4, ChannelOrder::Rgba), format(4, ChannelOrder::Bgra)] {
            let mut writer = Writer::new(RawLayout { desc, offset: 0 }, from, pixels::Options::default()).unwrap();
            let error = writer.write(&segment, &[9; 23], 8).unwrap_err();
            let expected = BufferError { rows: 3, row_bytes: 8, stride: 8, len: 23 };
            assert!(matches!(error, ProduceError::Buffer(found) if found == expected), "{error}");
        }
        let mut bytes = [1; 24];
        segment.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 24]);
    }
}
