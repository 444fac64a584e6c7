// SPDX-License-Identifier: MPL-2.0
//! Whole frames between wires and pictures on the processor.

use std::fmt;

use thiserror::Error;

use super::conversion::{Components, Conversion, Direction, Picture, PlaneSize, Wire};
use super::light::Light;
use super::yuv::Coder;
use super::{Alpha, Converter, Options, PIECE, Packed, RowError, ten};
use crate::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};

/// Rows of a plane that are read.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// From the first byte of the first row on.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub pitch: usize,
}

/// Rows of a plane that are written.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// From the first byte of the first row on.
    pub bytes: &'a mut [u8],
    /// Bytes from one row to the next.
    pub pitch: usize,
}

/// Why a frame was not converted. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Another number of planes than the format has.
    #[error("{found} planes are given where the format has {wanted}")]
    Planes {
        /// Planes that are given.
        found: usize,
        /// Planes that the format has.
        wanted: usize,
    },
    /// The rows do not fit their memory.
    #[error("{rows} rows of {row_bytes} bytes, {pitch} bytes apart, do not fit {len} bytes of memory")]
    Plane {
        /// Rows.
        rows: usize,
        /// Bytes of a row.
        row_bytes: usize,
        /// Bytes from one row to the next.
        pitch: usize,
        /// Bytes of memory.
        len: usize,
    },
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// What is done to pixels of a source before the converter can read them.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Plain,
    /// bfloat16 to `f32`, and then grey and alpha to four components, or not.
    Bf16 {
        grey_alpha: bool,
    },
    GreyAlpha(SampleType),
    /// Ten bits to the nearest of these samples.
    Ten(SampleType),
}

/// What is done to pixels that the converter has written.
#[derive(Debug, Clone, Copy)]
enum Writing {
    Plain,
    /// The first and the fourth component stay.
    GreyAlpha(SampleType),
    /// These samples to ten bits.
    Ten(SampleType),
}

/// Bytes of a pixel of four `f32`.
const WIDE: usize = 16;

/// Does a [`Conversion`] on the processor.
///
/// Build it once: it owns its scratch memory, 28 KiB, and [`convert`](Self::convert) allocates nothing.
pub struct FrameConverter {
    conversion: Conversion,
    width: usize,
    height: usize,
    stages: Stages,
    coder: Option<Coder>,
    /// Two pieces of rows as four `f32` a pixel, for luma and chroma, behind the pixel before each.
    rows: [Vec<u8>; 2],
}

/// What happens to pixels one after the other.
struct Stages {
    reading: Reading,
    converter: Converter,
    writing: Writing,
    /// Pieces between two stages.
    scratch: [Vec<u8>; 3],
}

impl FrameConverter {
    /// For frames of this size.
    pub fn new(conversion: &Conversion, width: usize, height: usize) -> Self {
        let options = conversion.options();
        let (wire, wire_format) = (conversion.wire(), plain(conversion.wire()));
        let (picture, picture_format) = (conversion.picture(), packed(conversion.picture()));
        let four = |sample, fourth| PixelFormat { sample, channels: 4, order: ChannelOrder::Rgba, fourth };
        let integer = wire.sample.plain().filter(|sample| !sample.is_float());
        let (reading, from, to, writing) = match conversion.direction() {
            Direction::ToPicture => {
                let reading = match (wire.sample.plain(), wire.components) {
                    (None, components) => Reading::Bf16 { grey_alpha: components == Components::GreyAlpha },
                    (Some(sample), Components::GreyAlpha) => Reading::GreyAlpha(sample),
                    _ => Reading::Plain,
                };
                let exact = integer.is_some() && !is_lit(wire_format.has_alpha(), options);
                let ten = if exact { SampleType::U16 } else { SampleType::F32 };
                match (picture_format, picture) {
                    (Some(format), _) => (reading, wire_format, format, Writing::Plain),
                    (None, Picture::Rgb10A2) => (reading, wire_format, four(ten, Fourth::Alpha), Writing::Ten(ten)),
                    (None, _) => (reading, wire_format, four(SampleType::F32, Fourth::Alpha), Writing::Plain),
                }
            }
            Direction::ToWire => {
                let writing = match wire.components {
                    Components::GreyAlpha => Writing::GreyAlpha(wire_format.sample),
                    _ => Writing::Plain,
                };
                let ten = integer.filter(|_| !is_lit(true, options)).unwrap_or(SampleType::F32);
                match (picture_format, picture) {
                    (Some(format), _) => (Reading::Plain, format, wire_format, writing),
                    (None, Picture::Rgb10A2) => (Reading::Ten(ten), four(ten, Fourth::Alpha), wire_format, writing),
                    (None, _) => (Reading::Plain, four(SampleType::F32, Fourth::Padding), wire_format, writing),
                }
            }
        };
        let coder = picture.yuv().map(|yuv| Coder::new(yuv, matches!(picture, Picture::P010(_))));
        let converter = Converter::new(from, to, options);
        let piece = || vec![0; PIECE * WIDE];
        let behind = || vec![0; WIDE + PIECE * WIDE];
        let (rows, scratch) = ([behind(), behind()], [piece(), piece(), piece()]);
        let stages = Stages { reading, converter, writing, scratch };
        Self { conversion: *conversion, width, height, stages, coder, rows }
    }

    /// Makes `dst` of `src`; each is one plane, or luma and chroma. Bytes between rows stay as they are.
    ///
    /// # Errors
    /// [`FrameError`] when the planes are not those of a frame of this size.
    pub fn convert(&mut self, src: &[Plane<'_>], dst: &mut [PlaneMut<'_>]) -> Result<(), FrameError> {
        let (wanted_src, wanted_dst) = self.conversion.planes(self.width, self.height);
        check(src.iter().map(|plane| (plane.bytes.len(), plane.pitch)), wanted_src)?;
        check(dst.iter().map(|plane| (plane.bytes.len(), plane.pitch)), wanted_dst)?;
        match (src, dst, self.coder, self.conversion.direction()) {
            ([src], [dst], ..) => self.packed(src, dst),
            ([src], [luma, chroma], Some(coder), Direction::ToPicture) => self.encode(coder, src, luma, chroma),
            ([luma, chroma], [dst], Some(coder), Direction::ToWire) => self.decode(coder, luma, chroma, dst),
            // `check` has compared the numbers of planes.
            _ => Ok(()),
        }
    }

    fn wire_row(&self, row: usize) -> usize {
        if self.conversion.flips() { self.height - 1 - row } else { row }
    }

    fn packed(&mut self, src: &Plane<'_>, dst: &mut PlaneMut<'_>) -> Result<(), FrameError> {
        let ([Some(from), _], [Some(to), _]) = self.conversion.planes(self.width, self.height) else { return Ok(()) };
        for row in 0..self.height {
            // Which side is turned round makes no difference.
            let from = row_of(src, row, from);
            let turned = self.wire_row(row);
            if self.conversion.flips() && turned > 0 {
                super::warm(row_mut(dst, turned - 1, to));
            }
            self.stages.row(self.width, from, row_mut(dst, turned, to))?;
        }
        Ok(())
    }

    fn encode(
        &mut self,
        coder: Coder,
        src: &Plane<'_>,
        luma: &mut PlaneMut<'_>,
        chroma: &mut PlaneMut<'_>,
    ) -> Result<(), FrameError> {
        let ([Some(from), _], [Some(luma_size), Some(chroma_size)]) = self.conversion.planes(self.width, self.height)
        else {
            return Ok(());
        };
        let (level, pixel) = (self.stages.converter.level, self.conversion.wire().pixel_bytes());
        let code = luma_size.row_bytes / self.width;
        for pair in 0..chroma_size.rows {
            let (upper, lower) = (2 * pair, (2 * pair + 1).min(self.height - 1));
            let chroma = row_mut(chroma, pair, chroma_size);
            for (at, chroma) in chroma.chunks_mut(PIECE * code).enumerate() {
                let pixels = PIECE.min(self.width - at * PIECE);
                for (row, rgba) in [upper, lower].into_iter().zip(&mut self.rows) {
                    rgba.copy_within(PIECE * WIDE.., 0);
                    let wire_row = if self.conversion.flips() { self.height - 1 - row } else { row };
                    let src = &row_of(src, wire_row, from)[at * PIECE * pixel..][..pixels * pixel];
                    let luma = &mut row_mut(luma, row, luma_size)[at * PIECE * code..][..pixels * code];
                    self.stages.piece(src, pixel, &mut rgba[WIDE..][..pixels * WIDE])?;
                    if at == 0 {
                        rgba.copy_within(WIDE..2 * WIDE, 0);
                    }
                    coder.luma(level, &rgba[WIDE..][..pixels * WIDE], luma);
                }
                let [upper, lower] = self.rows.each_ref().map(|row| &row[..WIDE + pixels * WIDE]);
                coder.chroma(level, upper, lower, chroma);
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        coder: Coder,
        luma: &Plane<'_>,
        chroma: &Plane<'_>,
        dst: &mut PlaneMut<'_>,
    ) -> Result<(), FrameError> {
        let ([Some(luma_size), Some(chroma_size)], [Some(to), _]) = self.conversion.planes(self.width, self.height)
        else {
            return Ok(());
        };
        let (level, pixel) = (self.stages.converter.level, self.conversion.wire().pixel_bytes());
        let size = PIECE * (luma_size.row_bytes / self.width);
        for row in 0..self.height {
            let luma = row_of(luma, row, luma_size).chunks(size);
            let chroma = row_of(chroma, row / 2, chroma_size);
            let dst = row_mut(dst, self.wire_row(row), to).chunks_mut(PIECE * pixel);
            for (at, (luma, dst)) in luma.zip(dst).enumerate() {
                let rgba = &mut self.rows[0][..dst.len() / pixel * WIDE];
                coder.colours(level, luma, &chroma[at * size..], rgba);
                self.stages.piece(rgba, WIDE, dst)?;
            }
        }
        Ok(())
    }
}

impl Stages {
    /// A row of `width` pixels.
    fn row(&mut self, width: usize, src: &[u8], dst: &mut [u8]) -> Result<(), RowError> {
        if let (Reading::Plain, Writing::Plain) = (self.reading, self.writing) {
            return self.converter.row(src, dst);
        }
        let (from, to) = (src.len() / width, dst.len() / width);
        for (src, dst) in src.chunks(from * PIECE).zip(dst.chunks_mut(to * PIECE)) {
            self.piece(src, from, dst)?;
        }
        Ok(())
    }

    /// At most [`PIECE`] pixels, of `pixel` bytes each.
    fn piece(&mut self, src: &[u8], pixel: usize, dst: &mut [u8]) -> Result<(), RowError> {
        let pixels = src.len() / pixel;
        let level = self.converter.level;
        let [wide, read, written] = &mut self.scratch;
        let (from, to) = (self.converter.from.bytes() * pixels, self.converter.to.bytes() * pixels);
        let src = match self.reading {
            Reading::Plain => src,
            Reading::GreyAlpha(sample) => {
                Packed::GreyAlpha(sample).unpack(src, &mut read[..from])?;
                &read[..from]
            }
            Reading::Bf16 { grey_alpha } => {
                let wide = &mut wide[..src.len() * 2];
                for (half, wide) in src.as_chunks::<2>().0.iter().zip(wide.as_chunks_mut().0) {
                    *wide = [0, 0, half[0], half[1]];
                }
                if grey_alpha {
                    Packed::GreyAlpha(SampleType::F32).unpack(wide, &mut read[..from])?;
                    &read[..from]
                } else {
                    wide
                }
            }
            Reading::Ten(sample) => {
                let read = &mut read[..from];
                match sample {
                    SampleType::U8 => ten::unpack_u8(level, src, read),
                    SampleType::U16 => Packed::Rgb10A2.unpack(src, read)?,
                    _ => ten::unpack_f32(level, src, read),
                }
                read
            }
        };
        let written = &mut written[..to];
        match self.writing {
            Writing::Plain => self.converter.row(src, dst)?,
            Writing::GreyAlpha(sample) => {
                self.converter.row(src, written)?;
                let size = sample.bytes();
                for (four, two) in written.chunks_exact(4 * size).zip(dst.chunks_exact_mut(2 * size)) {
                    two[..size].copy_from_slice(&four[..size]);
                    two[size..].copy_from_slice(&four[3 * size..]);
                }
            }
            Writing::Ten(sample) => {
                self.converter.row(src, written)?;
                if sample == SampleType::F32 {
                    ten::pack_f32(level, written, dst);
                } else {
                    ten::pack_u16(level, written, dst);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FrameConverter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameConverter")
            .field("conversion", &self.conversion)
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// Whether values change on their way.
fn is_lit(has_alpha: bool, options: Options) -> bool {
    Light::new(if has_alpha { options.alpha } else { Alpha::Passthrough }, options).is_some()
}

/// What the converter reads or writes for a wire.
fn plain(wire: Wire) -> PixelFormat {
    use ChannelOrder::{Bgra, Rgba};
    let (channels, order, fourth) = match wire.components {
        Components::Grey => (1, Rgba, Fourth::Alpha),
        Components::RedGreen => (2, Rgba, Fourth::Alpha),
        Components::Rgb => (3, Rgba, Fourth::Alpha),
        Components::Bgr => (3, Bgra, Fourth::Alpha),
        Components::GreyAlpha | Components::Rgba => (4, Rgba, Fourth::Alpha),
        Components::Bgra => (4, Bgra, Fourth::Alpha),
        Components::Rgbx => (4, Rgba, Fourth::Padding),
        Components::Bgrx => (4, Bgra, Fourth::Padding),
    };
    PixelFormat { sample: wire.sample.plain().unwrap_or(SampleType::F32), channels, order, fourth }
}

/// Pictures whose pixels are such.
fn packed(picture: Picture) -> Option<PixelFormat> {
    use ChannelOrder::{Bgra, Rgba};
    let (channels, order, fourth) = match picture {
        Picture::Rgba => (4, Rgba, Fourth::Alpha),
        Picture::Bgra => (4, Bgra, Fourth::Alpha),
        Picture::Rgbx => (4, Rgba, Fourth::Padding),
        Picture::Bgrx => (4, Bgra, Fourth::Padding),
        Picture::Rgb => (3, Rgba, Fourth::Alpha),
        Picture::Bgr => (3, Bgra, Fourth::Alpha),
        Picture::Rgb10A2 | Picture::Nv12(_) | Picture::P010(_) => return None,
    };
    Some(PixelFormat { sample: SampleType::U8, channels, order, fourth })
}

/// Checks lengths and pitches of planes.
fn check(
    found: impl ExactSizeIterator<Item = (usize, usize)>,
    wanted: [Option<PlaneSize>; 2],
) -> Result<(), FrameError> {
    let number = wanted.iter().flatten().count();
    if found.len() != number {
        return Err(FrameError::Planes { found: found.len(), wanted: number });
    }
    for ((len, pitch), &PlaneSize { row_bytes, rows, .. }) in found.zip(wanted.iter().flatten()) {
        let span = rows.saturating_sub(1).checked_mul(pitch).and_then(|before| before.checked_add(row_bytes));
        let apart = pitch >= row_bytes || rows == 1;
        if span.is_none_or(|span| span > len) || !apart || rows == 0 || row_bytes == 0 {
            return Err(FrameError::Plane { rows, row_bytes, pitch, len });
        }
    }
    Ok(())
}

fn row_of<'a>(plane: &Plane<'a>, row: usize, size: PlaneSize) -> &'a [u8] {
    &plane.bytes[row * plane.pitch..][..size.row_bytes]
}

fn row_mut<'a>(plane: &'a mut PlaneMut<'_>, row: usize, size: PlaneSize) -> &'a mut [u8] {
    &mut plane.bytes[row * plane.pitch..][..size.row_bytes]
}
