// SPDX-License-Identifier: MPL-2.0
//! Pixel conversion in one pass: rows of one [`PixelFormat`] become rows of another.
//!
//! # Meaning
//!
//! A source pixel becomes (R, G, B, A), alpha and transfer are applied, and the destination pixel is made of the
//! result.
//!
//! * **Reading.** One channel is grey: R = G = B. Two channels are R and G, and B is 0. Without an alpha component,
//!   and where the fourth component is padding, A is maximum.
//! * **Writing.** One channel is R; two are R and G; three are R, G and B. Padding is written as maximum.
//! * **Samples.** Maximum is 255, 65535 or 1.0.
//!   * u8 to u16 is v × 257; u16 to u8 is the integer nearest to v / 257.
//!   * Integer to float is the `f32` nearest to v / maximum, and that rounded to `f16` where halves are asked for.
//!   * Float to integer: NaN is 0, then clamp to 0..=1, times maximum in `f32`, round to nearest, ties to even.
//!   * Float to float is IEEE 754 rounding to nearest, ties to even, without clamping: NaN stays NaN (a signalling one
//!     may become quiet), and values outside 0..=1 stay.
//! * **Alpha** and **transfer** are computed in `f32` on values where maximum is 1.0, in this order: division by
//!   alpha, transfer (and primaries) of R, G and B, multiplication by alpha or filling of alpha. Alpha itself has no transfer, and
//!   nothing is clamped before the destination's own conversion, so values above 1.0 enter a transfer as they are.
//!   A source without alpha is opaque: alpha division and multiplication leave it as it is.
//!
//! With neither alpha nor transfer, integer to integer is exact and never goes through floats.
//!
//! # Pictures
//!
//! A [`Conversion`] goes between a [`Wire`] and a [`Picture`], frame by frame, on the processor or on a GPU. What is said
//! above holds; further, with every operation in `f32`, none fused, in the order that the parentheses give, and constants
//! the `f32` nearest to what is written:
//!
//! * **Rows.** Row y of the picture is row y of the wire, or row height − 1 − y where it is flipped. Chroma belongs to the
//!   picture's rows.
//! * **bfloat16** is the `f32` whose upper half it is.
//! * **Grey and alpha** on a wire is R = G = B and alpha; it is written from R and alpha.
//! * **Ten bits.** Maximum is 1023, and 3 for alpha. Between integers the result is the nearest integer (there are no ties:
//!   65535, 1023 and 255 are odd). To floats it is the `f32` nearest to v / 1023 or v / 3.
//! * **Primaries** ([`Gamut`]): each row of the matrix is (k₁ R + k₂ G) + k₃ B, before the transfer, or after it where that
//!   makes linear light.
//! * **To luma and chroma.** R, G and B are limited to 0..=1, NaN to 0, and alpha is not looked at any more. For each pixel
//!   Y = (k_R R + k_G G) + k_B B. For each 2 × 2 pixels of the picture, of which a last column or row is doubled, each
//!   colour is averaged, of that Y as above ([`ChromaSite`] says how), then
//!   Cb = (B − Y) × 1/(2 (1 − k_B)) and Cr = (R − Y) × 1/(2 (1 − k_R)).
//!   A code is Y × span + black, or C × span + middle, limited to 0..=maximum, and rounded to nearest, ties to even.
//! * **From luma and chroma.** Y = (code − black) × 1/span, C = (code − middle) × 1/span; each pixel has the chroma that
//!   [`ChromaSite`] gives it. R = Y + 2 (1 − k_R) × Cr, B = Y + 2 (1 − k_B) × Cb,
//!   G = (Y − 2 k_B (1 − k_B) / k_G × Cb) − 2 k_R (1 − k_R) / k_G × Cr. Nothing is limited before the transfer.
//! * **Where chroma stands** ([`ChromaSite`]). In the middle of its 2 × 2 pixels: the average is
//!   ((upper left + upper right) + (lower left + lower right)) × 0.25, and all four have the same chroma coming back. On the
//!   left: with the pixel before the left one, which in the first column is the left one again, each row's sum is
//!   (before + right) + (left + left), and the average is (upper sum + lower sum) × 0.125; coming back, the left pixels
//!   have that chroma, and the right ones (it + the next) × 0.5, or the same in the last two columns.
//!
//! | | black | span of Y | middle | span of C | maximum |
//! | --- | --- | --- | --- | --- | --- |
//! | 8 bits, limited | 16 | 219 | 128 | 224 | 255 |
//! | 8 bits, full | 0 | 255 | 128 | 255 | 255 |
//! | 10 bits, limited | 64 | 876 | 512 | 896 | 1023 |
//! | 10 bits, full | 0 | 1023 | 512 | 1023 | 1023 |
//!
//! Ten bits of luma and chroma are the upper ones of 16; the lower six are written as 0 and never read.
//!
//! # Speed
//!
//! One row call looks at each pixel once, in pieces of a few kilobytes that stay in the first-level cache, and
//! allocates nothing. Vector instructions are chosen when the program runs.
//!
//! ```
//! use tdlink_core::frame::{ChannelOrder, PixelFormat, SampleType};
//! use tdlink_core::pixels::{Converter, Options};
//!
//! let rgba = PixelFormat::new(SampleType::F32, 4, ChannelOrder::Rgba).unwrap();
//! let bgra = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
//! let mut converter = Converter::new(rgba, bgra, Options::default());
//!
//! let pixel: Vec<u8> = [1.5f32, 0.5, f32::NAN, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let mut out = [0; 4];
//! converter.row(&pixel, &mut out)?;
//! assert_eq!(out, [0, 128, 255, 255]); // B, G, R, A: NaN is 0, 127.5 goes to the even neighbour, 1.5 is clamped
//! # Ok::<(), tdlink_core::pixels::RowError>(())
//! ```

mod conversion;
mod float;
mod frames;
mod integer;
mod light;
mod packed;
mod power;
mod shuffle;
mod ten;
#[cfg(test)]
mod tests;
mod yuv;

use std::fmt;

use fearless_simd::Level;

use crate::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};
pub use conversion::{
    ChromaSite, Components, Conversion, ConversionError, Direction, Matrix, Picture, PlaneSize, Range, Wire,
    WireSample, Yuv,
};
pub use frames::{FrameConverter, FrameError, Plane, PlaneMut};
use light::Light;
pub use packed::Packed;
use shuffle::Shuffle;

/// What happens to alpha on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Alpha {
    /// Alpha and colour stay as they are.
    #[default]
    Passthrough = 0,
    /// Alpha becomes maximum; colour stays as it is.
    Opaque = 1,
    /// Colour is divided by alpha where alpha is above 0, and is 0 elsewhere. Alpha stays as it is.
    PremultipliedToStraight = 2,
    /// Colour is multiplied by alpha. Alpha stays as it is.
    StraightToPremultiplied = 3,
}

impl Alpha {
    /// Each of them.
    pub const ALL: [Self; 4] =
        [Self::Passthrough, Self::Opaque, Self::PremultipliedToStraight, Self::StraightToPremultiplied];
}

/// What happens to colour on the way: to R, G and B, never to alpha.
///
/// `LinearToPq` and `LinearToHlg` take linear light of the display with BT.2020 primaries: 1.0 is
/// [`Options::reference_white`] nits. NaN and negative light are 0, and light above 10 000 nits is 10 000 nits.
/// [`Options::gamut`] makes those of BT.709.
///
/// Results differ from the formulas by less than one code of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Transfer {
    /// Colour stays as it is.
    #[default]
    Passthrough = 0,
    /// Linear light to sRGB (IEC 61966-2-1): 12.92 v up to 0.0031308, then 1.055 v^(1/2.4) − 0.055.
    /// The curve goes on above 1, and negative values mirror positive ones.
    LinearToSrgb = 1,
    /// sRGB to linear light (IEC 61966-2-1): v / 12.92 up to 0.04045, then ((v + 0.055) / 1.055)^2.4.
    /// The curve goes on above 1, and negative values mirror positive ones.
    SrgbToLinear = 2,
    /// Linear display light to PQ, the inverse EOTF of SMPTE ST 2084 (and ITU-R BT.2100):
    /// ((c₁ + c₂ Y^m₁) / (1 + c₃ Y^m₁))^m₂ with Y in units of 10 000 nits. 203 nits is 58 % of the signal.
    LinearToPq = 3,
    /// Linear display light to HLG (ARIB STD-B67, ITU-R BT.2100) for a display with a peak of 1000 nits, no black
    /// lift, and so a system gamma of 1.2.
    ///
    /// First the inverse OOTF gives scene light: with F in units of 1000 nits and Y = 0.2627 R + 0.6780 G + 0.0593 B of
    /// F, E = F Y^(1/1.2 − 1). Then the OETF: √(3 E) up to 1/12, then a ln(12 E − b) + c. 203 nits of grey is 75 % of
    /// the signal, 1000 nits is 100 %; brighter light gives more than 1, which integers clamp.
    LinearToHlg = 4,
}

impl Transfer {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Passthrough, Self::LinearToSrgb, Self::SrgbToLinear, Self::LinearToPq, Self::LinearToHlg];
}

/// What happens to the primaries on the way.
///
/// It is done to linear light: before the transfer, and after [`Transfer::SrgbToLinear`], which makes light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Gamut {
    /// They stay what they are.
    #[default]
    Passthrough = 0,
    /// Light of BT.709 (and sRGB) primaries becomes light of BT.2020 primaries, by the matrix of ITU-R BT.2087: R is
    /// 0.6274 R + 0.3293 G + 0.0433 B, G is 0.0691 R + 0.9195 G + 0.0114 B, B is 0.0164 R + 0.0880 G + 0.8956 B.
    Bt709ToBt2020 = 1,
}

/// What a conversion does besides changing the format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What happens to alpha.
    pub alpha: Alpha,
    /// What happens to colour.
    pub transfer: Transfer,
    /// Luminance of linear 1.0 in cd/m² (nits), for PQ and HLG. Taken as between 1 and 10 000; NaN as
    /// [`REFERENCE_WHITE`](Self::REFERENCE_WHITE).
    pub reference_white: f32,
    /// What happens to the primaries.
    pub gamut: Gamut,
}

impl Options {
    /// Luminance of HDR reference white in cd/m² (nits) that ITU-R BT.2408 gives.
    pub const REFERENCE_WHITE: f32 = 203.0;

    /// Luminance of linear 1.0 as it is used.
    pub(crate) fn white(&self) -> f32 {
        let white = if self.reference_white.is_nan() { Self::REFERENCE_WHITE } else { self.reference_white };
        white.clamp(1.0, light::PQ_PEAK)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            alpha: Alpha::default(),
            transfer: Transfer::default(),
            reference_white: Self::REFERENCE_WHITE,
            gamut: Gamut::default(),
        }
    }
}

/// Why a row was not converted. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The source ends within a pixel.
    #[error("the source row has {found} bytes, which is not a whole number of pixels of {pixel} bytes")]
    PartialPixel {
        /// Bytes in the source row.
        found: usize,
        /// Bytes per source pixel.
        pixel: usize,
    },
    /// The destination does not have room for exactly the pixels of the source.
    #[error("the destination row has {found} bytes, but {pixels} pixels take {expected}")]
    DestinationLength {
        /// Bytes in the destination row.
        found: usize,
        /// Bytes that the source's pixels take there.
        expected: usize,
        /// Pixels in the source row.
        pixels: usize,
    },
}

/// Pixels that are converted at a time where there is a stop on the way. All scratch memory together is 8 KiB.
const PIECE: usize = 256;

/// Components of a piece.
const SAMPLES: usize = PIECE * PixelFormat::MAX_CHANNELS as usize;

/// Pixels between two stages of a conversion.
struct Scratch {
    /// In the source's or destination's layout.
    bytes: [u8; SAMPLES * 4],
    /// Components as floats.
    floats: [f32; SAMPLES],
}

/// The stages of a conversion.
enum Plan {
    Copy,
    Shuffle(Shuffle),
    Samples,
    ShuffleThenSamples(Shuffle),
    SamplesThenShuffle(Shuffle),
    Light { before: Option<Shuffle>, light: Light, after: Option<Shuffle> },
}

/// Converts rows of pixels from one format to another.
///
/// Build it once per pair of formats: it owns its scratch memory, 8 KiB, and [`row`](Self::row) allocates nothing.
pub struct Converter {
    from: PixelFormat,
    to: PixelFormat,
    options: Options,
    plan: Plan,
    level: Level,
    scratch: Box<Scratch>,
}

impl Converter {
    /// A converter from pixels of `from` to pixels of `to`. Every pair of formats converts.
    pub fn new(from: PixelFormat, to: PixelFormat, options: Options) -> Self {
        let scratch = Scratch { bytes: [0; SAMPLES * 4], floats: [0.0; SAMPLES] };
        let plan = Plan::new(from, to, options);
        Self { from, to, options, plan, level: Level::new(), scratch: Box::new(scratch) }
    }

    /// Whether the bytes that come out are always the bytes that go in, so that a plain copy does the same.
    pub fn is_copy(&self) -> bool {
        matches!(self.plan, Plan::Copy)
    }

    /// Whether it takes about as long as a copy of the bytes that are read and written: alpha and transfer stay as they
    /// are.
    pub fn is_light_work(&self) -> bool {
        !matches!(self.plan, Plan::Light { .. })
    }

    /// Converts the pixels of `src`, any whole number of them, to as many in `dst`.
    ///
    /// A row may be converted in pieces: the result is the same.
    ///
    /// # Errors
    ///
    /// [`RowError`] when `src` is not a whole number of pixels or `dst` not exactly the room for them; `dst` is
    /// untouched then.
    pub fn row(&mut self, src: &[u8], dst: &mut [u8]) -> Result<(), RowError> {
        let (src_pixel, dst_pixel) = (self.from.bytes(), self.to.bytes());
        if !src.len().is_multiple_of(src_pixel) {
            return Err(RowError::PartialPixel { found: src.len(), pixel: src_pixel });
        }
        let pixels = src.len() / src_pixel;
        if dst.len() / dst_pixel != pixels || !dst.len().is_multiple_of(dst_pixel) {
            let expected = pixels.saturating_mul(dst_pixel);
            return Err(RowError::DestinationLength { found: dst.len(), expected, pixels });
        }
        let (level, from, to) = (self.level, self.from.sample, self.to.sample);
        let Scratch { bytes, floats } = &mut *self.scratch;
        let pieces = src.chunks(src_pixel * PIECE).zip(dst.chunks_mut(dst_pixel * PIECE));
        match &self.plan {
            Plan::Copy => dst.copy_from_slice(src),
            Plan::Shuffle(shuffle) => shuffle.run(level, src, dst),
            Plan::Samples => convert_samples(level, from, to, src, dst),
            Plan::ShuffleThenSamples(shuffle) => {
                for (src, dst) in pieces {
                    let between = &mut bytes[..dst.len() / to.bytes() * from.bytes()];
                    shuffle.run(level, src, between);
                    convert_samples(level, from, to, between, dst);
                }
            }
            Plan::SamplesThenShuffle(shuffle) => {
                for (src, dst) in pieces {
                    let between = &mut bytes[..src.len() / from.bytes() * to.bytes()];
                    convert_samples(level, from, to, src, between);
                    shuffle.run(level, between, dst);
                }
            }
            Plan::Light { before, light, after } => {
                for (src, dst) in pieces {
                    let pixels = src.len() / src_pixel;
                    let rgba = &mut floats[..pixels * 4];
                    match before {
                        None => float::to_f32(level, from, src, rgba),
                        Some(shuffle) => {
                            let between = &mut bytes[..pixels * 4 * from.bytes()];
                            shuffle.run(level, src, between);
                            float::to_f32(level, from, between, rgba);
                        }
                    }
                    light.apply(level, rgba.as_chunks_mut::<4>().0);
                    match after {
                        None => float::from_f32(level, to, rgba, dst),
                        Some(shuffle) => {
                            let between = &mut bytes[..pixels * 4 * to.bytes()];
                            float::from_f32(level, to, rgba, between);
                            shuffle.run(level, between, dst);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Plan {
    fn new(from: PixelFormat, to: PixelFormat, options: Options) -> Self {
        let opaque = options.alpha == Alpha::Opaque;
        let alpha = if from.has_alpha() { options.alpha } else { Alpha::Passthrough };
        if let Some(light) = Light::new(alpha, options) {
            let (order, fourth) = (ChannelOrder::Rgba, Fourth::Alpha);
            let read = PixelFormat { sample: from.sample, channels: 4, order, fourth };
            let written = PixelFormat { sample: to.sample, ..read };
            let before = Shuffle::new(from, read, false);
            let after = Shuffle::new(written, to, opaque);
            return Self::Light { before, light, after };
        }
        // Components are moved where they are narrower.
        match (from.sample == to.sample, from.sample.bytes() < to.sample.bytes()) {
            (true, _) => Shuffle::new(from, to, opaque).map_or(Self::Copy, Self::Shuffle),
            (false, true) => {
                let between = PixelFormat { sample: from.sample, ..to };
                Shuffle::new(from, between, opaque).map_or(Self::Samples, Self::ShuffleThenSamples)
            }
            (false, false) => {
                let between = PixelFormat { sample: to.sample, ..from };
                Shuffle::new(between, to, opaque).map_or(Self::Samples, Self::SamplesThenShuffle)
            }
        }
    }
}

/// Brings the start of the row that comes after the next into the caches. It changes nothing.
///
/// Worth a call before each row where rows are read or written from the last to the first, as a flip does: the processor
/// foresees that it goes on upwards, and would wait for memory at the start of each row.
pub fn warm(row: &[u8]) {
    const LINE: usize = 64;
    const LINES: usize = 16; // 8 are too few to cover the wait, and all of them take longer than they save
    let read = row.iter().step_by(LINE).take(LINES).fold(0, |all, byte| all ^ byte);
    std::hint::black_box(read);
}

/// Converts samples one by one, as many as `src` and `dst` both hold.
fn convert_samples(level: Level, from: SampleType, to: SampleType, src: &[u8], dst: &mut [u8]) {
    use SampleType::{F16, F32, U8, U16};
    match (from, to) {
        (U8, U16) => integer::widen(level, src, dst),
        (U16, U8) => integer::narrow(level, src, dst),
        (U8, F16) => float::u8_to_f16(level, src, dst),
        (U8, F32) => float::u8_to_f32(level, src, dst),
        (U16, F16) => float::u16_to_f16(level, src, dst),
        (U16, F32) => float::u16_to_f32(level, src, dst),
        (F16, U8) => float::f16_to_u8(level, src, dst),
        (F16, U16) => float::f16_to_u16(level, src, dst),
        (F16, F32) => float::f16_to_f32(level, src, dst),
        (F32, U8) => float::f32_to_u8(level, src, dst),
        (F32, U16) => float::f32_to_u16(level, src, dst),
        (F32, F16) => float::f32_to_f16(level, src, dst),
        (U8, U8) | (U16, U16) | (F16, F16) | (F32, F32) => dst.copy_from_slice(src),
    }
}
