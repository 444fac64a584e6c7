// SPDX-License-Identifier: MPL-2.0
//! Luma and chroma of pixels of R, G, B, A, and back. [The module](super) says which operations in which order.

use fearless_simd::{Level, dispatch};

use super::float::limit;
use super::{ChromaSite, Matrix, Range, Yuv};

/// As in `float`: adding it rounds, ties to even.
const ROUND: f32 = 8_388_608.0;
/// Pixels that are taken apart into planes at a time, since only loops over planes become vector code.
const BLOCK: usize = 32;

/// How colour becomes luma and chroma, and codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coder {
    red: f32,
    green: f32,
    blue: f32,
    /// 2 (1 − k_B) and 2 (1 − k_R).
    cb: f32,
    cr: f32,
    per_cb: f32,
    per_cr: f32,
    /// What of Cb and Cr is in green.
    green_cb: f32,
    green_cr: f32,
    black: f32,
    luma: f32,
    middle: f32,
    chroma: f32,
    max: f32,
    ten: bool,
    left: bool,
}

/// Colours of pixels, each in its plane.
struct Block {
    r: [f32; BLOCK],
    g: [f32; BLOCK],
    b: [f32; BLOCK],
}

impl Coder {
    /// `ten`: ten bits, the upper ones of 16, else 8.
    pub(super) fn new(yuv: Yuv, ten: bool) -> Self {
        let (red, green, blue): (f64, f64, f64) = match yuv.matrix {
            Matrix::Bt601 => (0.299, 0.587, 0.114),
            Matrix::Bt709 => (0.2126, 0.7152, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.6780, 0.0593),
        };
        let (cb, cr) = (2.0 * (1.0 - blue), 2.0 * (1.0 - red));
        let (times, max) = if ten { (4.0, 1023.0) } else { (1.0, 255.0) };
        let (black, luma, chroma) = match yuv.range {
            Range::Limited => (16.0 * times, 219.0 * times, 224.0 * times),
            Range::Full => (0.0, max, max),
        };
        Self {
            red: red as f32,
            green: green as f32,
            blue: blue as f32,
            cb: cb as f32,
            cr: cr as f32,
            per_cb: (1.0 / cb) as f32,
            per_cr: (1.0 / cr) as f32,
            green_cb: (blue * cb / green) as f32,
            green_cr: (red * cr / green) as f32,
            black,
            luma,
            middle: 128.0 * times,
            chroma,
            max,
            ten,
            left: yuv.site == ChromaSite::Left,
        }
    }

    /// Bytes per code.
    const fn code(&self) -> usize {
        if self.ten { 2 } else { 1 }
    }

    #[inline(always)]
    fn luma_of(&self, r: f32, g: f32, b: f32) -> f32 {
        (self.red * r + self.green * g) + self.blue * b
    }

    /// Luma of pixels of four `f32`.
    pub(super) fn luma(&self, level: Level, pixels: &[u8], luma: &mut [u8]) {
        #[inline(always)]
        fn kernel(coder: &Coder, pixels: &[u8], luma: &mut [u8]) {
            for (pixels, luma) in pixels.chunks(BLOCK * 16).zip(luma.chunks_mut(BLOCK * coder.code())) {
                let Block { r, g, b } = Block::read(pixels);
                let mut codes = [0; BLOCK];
                for i in 0..BLOCK {
                    codes[i] = coder.quantise(coder.luma_of(r[i], g[i], b[i]) * coder.luma + coder.black);
                }
                coder.write(&codes, luma);
            }
        }
        dispatch!(level, _simd => kernel(self, pixels, luma));
    }

    /// Chroma of two rows of as many pixels of four `f32`, behind the pixel before them. The last of an odd number is its
    /// own neighbour.
    pub(super) fn chroma(&self, level: Level, upper: &[u8], lower: &[u8], chroma: &mut [u8]) {
        #[inline(always)]
        fn kernel(coder: &Coder, upper: &[u8], lower: &[u8], chroma: &mut [u8]) {
            let ([mut upper_before, mut lower_before], pixels) =
                ([upper, lower].map(before), [upper, lower].map(behind));
            let rows = pixels[0].chunks(BLOCK * 16).zip(pixels[1].chunks(BLOCK * 16));
            for ((upper, lower), chroma) in rows.zip(chroma.chunks_mut(BLOCK * coder.code())) {
                let (upper, lower) = (Block::read(upper), Block::read(lower));
                let [r, g, b] = if coder.left {
                    let averages = [
                        around(upper_before[0], &upper.r, lower_before[0], &lower.r),
                        around(upper_before[1], &upper.g, lower_before[1], &lower.g),
                        around(upper_before[2], &upper.b, lower_before[2], &lower.b),
                    ];
                    (upper_before, lower_before) = (upper.last(), lower.last());
                    averages
                } else {
                    [average(&upper.r, &lower.r), average(&upper.g, &lower.g), average(&upper.b, &lower.b)]
                };
                let mut codes = [0; BLOCK];
                for i in 0..BLOCK / 2 {
                    let y = coder.luma_of(r[i], g[i], b[i]);
                    codes[2 * i] = coder.quantise((b[i] - y) * coder.per_cb * coder.chroma + coder.middle);
                    codes[2 * i + 1] = coder.quantise((r[i] - y) * coder.per_cr * coder.chroma + coder.middle);
                }
                coder.write(&codes, chroma);
            }
        }
        dispatch!(level, _simd => kernel(self, upper, lower, chroma));
    }

    /// Pixels of four `f32`, the fourth being 1, of luma and the chroma that belongs to it. Behind that may come the
    /// chroma of the next two pixels.
    pub(super) fn colours(&self, level: Level, luma: &[u8], chroma: &[u8], pixels: &mut [u8]) {
        #[inline(always)]
        fn kernel(coder: &Coder, luma: &[u8], chroma: &[u8], pixels: &mut [u8]) {
            let size = BLOCK * coder.code();
            let (per_luma, per_chroma) = (1.0 / coder.luma, 1.0 / coder.chroma);
            let blocks = luma.chunks(size).zip(pixels.chunks_mut(BLOCK * 16));
            for (block, (luma, pixels)) in blocks.enumerate() {
                let chroma = chroma.get(block * size..).unwrap_or_default();
                let (luma, codes) = (coder.read::<BLOCK>(luma), coder.read::<{ BLOCK + 2 }>(chroma));
                let known = (chroma.len() / coder.code()).min(BLOCK + 2);
                let mut c = [0.0; BLOCK + 2];
                for i in 0..BLOCK + 2 {
                    c[i] = (codes[i] - coder.middle) * per_chroma;
                }
                for i in known.max(2)..BLOCK + 2 {
                    c[i] = c[i - 2];
                }
                let (mut cb, mut cr) = ([0.0; BLOCK], [0.0; BLOCK]);
                for i in (0..BLOCK).step_by(2) {
                    (cb[i], cr[i]) = (c[i], c[i + 1]);
                    (cb[i + 1], cr[i + 1]) = match coder.left {
                        true => ((c[i] + c[i + 2]) * 0.5, (c[i + 1] + c[i + 3]) * 0.5),
                        false => (c[i], c[i + 1]),
                    };
                }
                let (mut r, mut g, mut b) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
                for i in 0..BLOCK {
                    let y = (luma[i] - coder.black) * per_luma;
                    r[i] = y + coder.cr * cr[i];
                    g[i] = (y - coder.green_cb * cb[i]) - coder.green_cr * cr[i];
                    b[i] = y + coder.cb * cb[i];
                }
                let mut block = [[[0; 4]; 4]; BLOCK];
                for (i, pixel) in block.iter_mut().enumerate() {
                    *pixel = [r[i], g[i], b[i], 1.0].map(f32::to_le_bytes);
                }
                pixels.copy_from_slice(&block.as_flattened().as_flattened()[..pixels.len()]);
            }
        }
        dispatch!(level, _simd => kernel(self, luma, chroma, pixels));
    }

    #[inline(always)]
    fn quantise(&self, code: f32) -> u16 {
        (limit(code, 0.0, self.max) + ROUND).to_bits() as u16
    }

    #[inline(always)]
    fn write(&self, codes: &[u16; BLOCK], to: &mut [u8]) {
        if self.ten {
            to.as_chunks_mut().0.iter_mut().zip(codes).for_each(|(to, code)| *to = (code << 6).to_le_bytes());
        } else {
            to.iter_mut().zip(codes).for_each(|(to, code)| *to = *code as u8);
        }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, from: &[u8]) -> [f32; N] {
        let mut codes = [0.0; N];
        if self.ten {
            let from = from.as_chunks().0.iter();
            codes.iter_mut().zip(from).for_each(|(code, from)| *code = f32::from(u16::from_le_bytes(*from) >> 6));
        } else {
            codes.iter_mut().zip(from).for_each(|(code, from)| *code = f32::from(*from));
        }
        codes
    }
}

impl Block {
    /// Colours within 0 and 1. Where pixels end, the last one goes on.
    #[inline(always)]
    fn read(pixels: &[u8]) -> Self {
        let pixels = pixels.as_chunks::<4>().0.as_chunks::<4>().0;
        if let Some(block) = pixels.first_chunk() {
            return Self::whole(block);
        }
        let mut block = [[[0; 4]; 4]; BLOCK];
        block[..pixels.len()].copy_from_slice(pixels);
        if let Some(last) = pixels.last() {
            block[pixels.len()] = *last;
        }
        Self::whole(&block)
    }

    /// The length of a constant makes vector code of it.
    #[inline(always)]
    fn whole(pixels: &[[[u8; 4]; 4]; BLOCK]) -> Self {
        let mut block = Self { r: [0.0; BLOCK], g: [0.0; BLOCK], b: [0.0; BLOCK] };
        for (i, [r, g, b, _]) in pixels.iter().enumerate() {
            (block.r[i], block.g[i], block.b[i]) = (colour(*r), colour(*g), colour(*b));
        }
        block
    }

    #[inline(always)]
    fn last(&self) -> [f32; 3] {
        [self.r[BLOCK - 1], self.g[BLOCK - 1], self.b[BLOCK - 1]]
    }
}

/// Within 0 and 1.
#[inline(always)]
fn colour(sample: [u8; 4]) -> f32 {
    limit(f32::from_le_bytes(sample), 0.0, 1.0)
}

/// The colour of the first pixel of a row.
#[inline(always)]
fn before(row: &[u8]) -> [f32; 3] {
    match row.as_chunks::<4>().0 {
        [r, g, b, ..] => [colour(*r), colour(*g), colour(*b)],
        _ => [0.0; 3],
    }
}

/// The pixels behind it.
#[inline(always)]
fn behind(row: &[u8]) -> &[u8] {
    row.get(16..).unwrap_or_default()
}

/// Averages of two rows around the pixels with even numbers.
#[inline(always)]
fn around(upper_before: f32, upper: &[f32; BLOCK], lower_before: f32, lower: &[f32; BLOCK]) -> [f32; BLOCK / 2] {
    let mut average = [0.0; BLOCK / 2];
    for (i, average) in average.iter_mut().enumerate() {
        let sum = |before: f32, row: &[f32; BLOCK]| {
            let before = if i == 0 { before } else { row[2 * i - 1] };
            (before + row[2 * i + 1]) + (row[2 * i] + row[2 * i])
        };
        *average = (sum(upper_before, upper) + sum(lower_before, lower)) * 0.125;
    }
    average
}

/// Averages of 2 × 2.
#[inline(always)]
fn average(upper: &[f32; BLOCK], lower: &[f32; BLOCK]) -> [f32; BLOCK / 2] {
    let mut average = [0.0; BLOCK / 2];
    let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    for (average, ([a, b], [c, d])) in average.iter_mut().zip(pairs) {
        *average = ((a + b) + (c + d)) * 0.25;
    }
    average
}
