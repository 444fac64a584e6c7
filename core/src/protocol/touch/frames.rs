// SPDX-License-Identifier: MPL-2.0
//! Frames of a segment into a pipeline's memory, so that the segment's mutex is held for one pass over the bytes.
//!
//! A conversion that is as fast as the memory is done in that pass: from wide samples to narrow ones that is shorter than
//! a copy. Anything that takes longer is done afterwards, from private memory.

use super::formats::Pixel;
use super::layout::Header;
use crate::frame::SampleType::{F32, U8, U16};
use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat};
use crate::pixels::{Converter, Options, Packed, RowError};
use crate::protocol::copy::{CopyError, CopyThreads, FrameReader};
use crate::protocol::raw::LayoutError;
use crate::protocol::raw::layout::Shape;
use crate::segment::Segment;

/// What a receiver makes of frames.
#[derive(Debug)]
pub(super) struct Target {
    shape: Shape,
    way: Way,
    rows: RowMaker,
}

#[derive(Debug)]
enum Way {
    Direct(FrameReader),
    Staged { copier: FrameReader, bytes: Vec<u8> },
}

impl Target {
    /// Frames behind `header` become pixels of `to`. With `staged` they always lie in private memory for a moment, as
    /// on the wire.
    pub(super) fn new(
        header: &Header,
        origin: Origin,
        to: PixelFormat,
        options: Options,
        staged: bool,
        threads: CopyThreads,
    ) -> Result<Self, LayoutError> {
        let rows = RowMaker::new(header.pixel, to, options);
        let wire = rows.wire;
        let desc = FrameDesc { width: header.width, height: header.height, format: wire, origin };
        let shape = Shape::strided(desc, 0)?;
        let direct = !staged && rows.packed.is_none() && rows.converter.is_light_work();
        let way = if direct {
            Way::Direct(FrameReader::new(desc, shape.stride, to, options, threads)?)
        } else {
            let straight = FrameDesc { origin: Origin::TopLeft, ..desc };
            let copier = FrameReader::new(straight, shape.stride, wire, Options::default(), threads)?;
            Way::Staged { copier, bytes: vec![0; shape.frame_bytes()] }
        };
        Ok(Self { shape, way, rows })
    }

    /// Takes a frame whose first byte is at `offset`. This is what the mutex is held for.
    pub(super) fn copy(
        &mut self,
        segment: &Segment,
        offset: usize,
        dst: &mut [u8],
        stride: usize,
    ) -> Result<(), CopyError> {
        let row_bytes = self.shape.row_bytes;
        match &mut self.way {
            Way::Direct(reader) => reader.read(segment, (offset, row_bytes), dst, stride),
            Way::Staged { copier, bytes } => copier.read(segment, (offset, row_bytes), bytes, row_bytes),
        }
    }

    /// Whether `dst` can hold a frame.
    pub(super) fn check(&self, dst: &[u8], stride: usize) -> Result<(), CopyError> {
        Ok(self.shape.check_buffer(self.rows.out_bytes(self.shape.row_bytes), stride, dst.len())?)
    }

    /// What is left to be done when the mutex has been given back.
    pub(super) fn finish(&mut self, dst: &mut [u8], stride: usize) -> Result<(), CopyError> {
        let Way::Staged { bytes, .. } = &self.way else { return Ok(()) };
        let out = self.rows.out_bytes(self.shape.row_bytes);
        for (row, wire) in bytes.chunks_exact(self.shape.row_bytes).enumerate() {
            let at = self.shape.private_row(row) * stride;
            self.rows.make(wire, &mut dst[at..at + out])?;
        }
        Ok(())
    }

    /// The last frame as it stood on the wire, if it was staged.
    pub(super) fn wire(&self) -> Option<&[u8]> {
        match &self.way {
            Way::Direct(_) => None,
            Way::Staged { bytes, .. } => Some(bytes),
        }
    }

    /// Whether the frame at `offset` is what `frame` holds; stops at the first row that is not.
    pub(super) fn same(
        &mut self,
        segment: &Segment,
        offset: usize,
        frame: &[u8],
        stride: usize,
    ) -> Result<bool, CopyError> {
        let (row_bytes, out) = (self.shape.row_bytes, self.rows.out_bytes(self.shape.row_bytes));
        let (mut wire, mut made) = (vec![0; row_bytes], vec![0; out]);
        for row in 0..self.shape.rows {
            segment.read(offset + row * row_bytes, &mut wire)?;
            self.rows.make(&wire, &mut made)?;
            if frame[self.shape.private_row(row) * stride..][..out] != made {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Makes rows of the wire into rows of the target.
#[derive(Debug)]
struct RowMaker {
    packed: Option<Packed>,
    /// Pixels of the wire, or of as many bytes.
    wire: PixelFormat,
    /// Bytes per pixel of the wire, between, and of the target.
    bytes: [usize; 3],
    between: Vec<u8>,
    converter: Converter,
}

impl RowMaker {
    fn new(pixel: Pixel, to: PixelFormat, options: Options) -> Self {
        let (packed, wire) = match pixel {
            Pixel::Plain(format) => (None, format),
            Pixel::Packed(packed) => (Some(packed), carrier(packed)),
        };
        let bytes = [pixel.bytes(), pixel.plain().bytes(), to.bytes()];
        Self { packed, wire, bytes, between: Vec::new(), converter: Converter::new(pixel.plain(), to, options) }
    }

    /// Bytes of a row of the target, for one of the wire.
    fn out_bytes(&self, row_bytes: usize) -> usize {
        row_bytes / self.bytes[0] * self.bytes[2]
    }

    fn make(&mut self, wire: &[u8], out: &mut [u8]) -> Result<(), RowError> {
        let Some(packed) = self.packed else { return self.converter.row(wire, out) };
        self.between.resize(wire.len() / self.bytes[0] * self.bytes[1], 0);
        packed.unpack(wire, &mut self.between)?;
        self.converter.row(&self.between, out)
    }
}

/// Pixels of as many bytes that can be copied.
fn carrier(packed: Packed) -> PixelFormat {
    let (sample, channels) = match packed.bytes() {
        2 => (U8, 2),
        4 => (U8, 4),
        8 => (U16, 4),
        bytes => (F32, bytes / 4),
    };
    let channels = u8::try_from(channels).unwrap_or(PixelFormat::MAX_CHANNELS);
    PixelFormat { sample, channels, order: ChannelOrder::Rgba, fourth: crate::frame::Fourth::Alpha }
}
