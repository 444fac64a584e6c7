// SPDX-License-Identifier: MPL-2.0
//! Pixels whose components do not lie one after the other as a [`PixelFormat`] has them, made into such that do.

use super::RowError;
use crate::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};

/// One pixel in memory that is no [`PixelFormat`]. Little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packed {
    /// Grey, then alpha.
    GreyAlpha(SampleType),
    /// A, B, G, R.
    Abgr(SampleType),
    /// One word of 32 bits: 10 of R, the lowest, 10 of G, 10 of B, 2 of alpha, each from 0 to its maximum.
    Rgb10A2,
    /// One word of 32 bits: 11 of R, the lowest, 11 of G, 10 of B, each a float without a sign whose exponent has 5 bits.
    R11G11B10F,
}

impl Packed {
    /// Bytes per pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::GreyAlpha(sample) => 2 * sample.bytes(),
            Self::Abgr(sample) => 4 * sample.bytes(),
            Self::Rgb10A2 | Self::R11G11B10F => 4,
        }
    }

    /// What [`unpack`](Self::unpack) makes of it; no value is lost on the way. The 10 and 2 bits become the nearest of
    /// 16, the small floats halves, which have the same exponent.
    pub const fn plain(self) -> PixelFormat {
        let (sample, channels) = match self {
            Self::GreyAlpha(sample) | Self::Abgr(sample) => (sample, 4),
            Self::Rgb10A2 => (SampleType::U16, 4),
            Self::R11G11B10F => (SampleType::F16, 3),
        };
        PixelFormat { sample, channels, order: ChannelOrder::Rgba, fourth: Fourth::Alpha }
    }

    /// Makes the pixels of `src`, any whole number of them, into as many of [`plain`](Self::plain) in `dst`.
    ///
    /// # Errors
    /// [`RowError`] when `src` is not a whole number of pixels or `dst` not exactly the room for them; `dst` is untouched
    /// then.
    pub fn unpack(self, src: &[u8], dst: &mut [u8]) -> Result<(), RowError> {
        let (from, to) = (self.bytes(), self.plain().bytes());
        if !src.len().is_multiple_of(from) {
            return Err(RowError::PartialPixel { found: src.len(), pixel: from });
        }
        let pixels = src.len() / from;
        if dst.len() / to != pixels || !dst.len().is_multiple_of(to) {
            let expected = pixels.saturating_mul(to);
            return Err(RowError::DestinationLength { found: dst.len(), expected, pixels });
        }
        let pixels = src.chunks_exact(from).zip(dst.chunks_exact_mut(to));
        match self {
            Self::GreyAlpha(sample) => pixels.for_each(|(src, dst)| {
                let (grey, alpha) = src.split_at(sample.bytes());
                dst.chunks_exact_mut(sample.bytes()).for_each(|to| to.copy_from_slice(grey));
                dst[3 * sample.bytes()..].copy_from_slice(alpha);
            }),
            Self::Abgr(sample) => pixels.for_each(|(src, dst)| {
                let components = src.chunks_exact(sample.bytes()).rev();
                components.zip(dst.chunks_exact_mut(sample.bytes())).for_each(|(from, to)| to.copy_from_slice(from));
            }),
            Self::Rgb10A2 => words(src, dst, |word| {
                let ten = |shift: u32| ((word >> shift & 0x3FF) * 65535 + 511) / 1023;
                [ten(0), ten(10), ten(20), (word >> 30) * 21845]
            }),
            Self::R11G11B10F => {
                words(src, dst, |word| [(word & 0x7FF) << 4, (word >> 11 & 0x7FF) << 4, word >> 22 << 5])
            }
        }
        Ok(())
    }
}

/// Each word of `src` to components of 16 bits.
fn words<const N: usize>(src: &[u8], dst: &mut [u8], f: impl Fn(u32) -> [u32; N]) {
    let (src, dst) = (src.as_chunks::<4>().0, dst.as_chunks_mut::<2>().0);
    for (word, pixel) in src.iter().zip(dst.chunks_exact_mut(N)) {
        for (component, to) in f(u32::from_le_bytes(*word)).into_iter().zip(pixel) {
            *to = (component as u16).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn unpack(packed: Packed, src: &[u8]) -> Vec<u8> {
        let mut dst = vec![0xEE; src.len() / packed.bytes() * packed.plain().bytes()];
        packed.unpack(src, &mut dst).unwrap();
        dst
    }

    #[test]
    fn grey_becomes_three_colours_and_alpha_stays() {
        assert_eq!(unpack(Packed::GreyAlpha(SampleType::U8), &[7, 9, 1, 2]), [7, 7, 7, 9, 1, 1, 1, 2]);
        assert_eq!(unpack(Packed::GreyAlpha(SampleType::U16), &[7, 8, 9, 1]), [7, 8, 7, 8, 7, 8, 9, 1]);
    }

    #[test]
    fn what_stands_backwards_is_turned_round() {
        assert_eq!(unpack(Packed::Abgr(SampleType::U8), &[1, 2, 3, 4]), [4, 3, 2, 1]);
        assert_eq!(unpack(Packed::Abgr(SampleType::U16), &[1, 2, 3, 4, 5, 6, 7, 8]), [7, 8, 5, 6, 3, 4, 1, 2]);
    }

    #[test]
    fn ten_bits_become_the_nearest_sixteen() {
        for v in 0..1024u32 {
            let found = unpack(Packed::Rgb10A2, &(v | (1023 - v) << 10 | 512 << 20 | (v % 4) << 30).to_le_bytes());
            let found: Vec<f64> =
                found.as_chunks().0.iter().map(|sample| f64::from(u16::from_le_bytes(*sample)) / 65535.0).collect();
            let wanted = [v, 1023 - v, 512].map(|v| f64::from(v) / 1023.0);
            for (found, wanted) in found.iter().zip(wanted.into_iter().chain([f64::from(v % 4) / 3.0])) {
                assert!((found - wanted).abs() <= 0.5 / 65535.0, "{v}: {found}, not {wanted}");
            }
        }
    }

    /// By the definition of the format: (1 + m / 2^bits) · 2^(e − 15), or m / 2^bits · 2^−14 where e is 0.
    fn small_float(code: u32, bits: u32) -> f32 {
        let (e, m) = ((code >> bits) as i32, (code & ((1 << bits) - 1)) as f32 / (1 << bits) as f32);
        match e {
            0 => m * 2f32.powi(-14),
            31 if m == 0.0 => f32::INFINITY,
            31 => f32::NAN,
            e => (1.0 + m) * 2f32.powi(e - 15),
        }
    }

    #[test]
    fn small_floats_keep_their_value() {
        for code in 0..2048u32 {
            let blue = code / 2;
            let found = unpack(Packed::R11G11B10F, &(code | (2047 - code) << 11 | blue << 22).to_le_bytes());
            let found: Vec<f32> =
                found.as_chunks().0.iter().map(|sample| f16::from_le_bytes(*sample).to_f32()).collect();
            let wanted = [small_float(code, 6), small_float(2047 - code, 6), small_float(blue, 5)];
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(*found == wanted || (found.is_nan() && wanted.is_nan()), "{code}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn rows_that_do_not_match_are_refused() {
        let mut dst = [0; 8];
        assert!(matches!(Packed::Rgb10A2.unpack(&[0; 5], &mut dst), Err(RowError::PartialPixel { .. })));
        assert!(matches!(Packed::Rgb10A2.unpack(&[0; 8], &mut dst), Err(RowError::DestinationLength { .. })));
        assert_eq!(Packed::Rgb10A2.unpack(&[0; 4], &mut dst), Ok(()));
    }
}
