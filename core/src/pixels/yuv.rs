// SPDX-License-Identifier: MPL-2.0
//! Luma and chroma of pixels of R, G, B, A, and back. [The module](super) says which operations in which order.

use fearless_simd::{Level, dispatch};

use super::float::limit;
use super::{Matrix, Range, Yuv};

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

    /// Chroma of two rows of as many pixels of four `f32`. The last of an odd number is its own neighbour.
    pub(super) fn chroma(&self, level: Level, upper: &[u8], lower: &[u8], chroma: &mut [u8]) {
        #[inline(always)]
        fn kernel(coder: &Coder, upper: &[u8], lower: &[u8], chroma: &mut [u8]) {
            let rows = upper.chunks(BLOCK * 16).zip(lower.chunks(BLOCK * 16));
            for ((upper, lower), chroma) in rows.zip(chroma.chunks_mut(BLOCK * coder.code())) {
                let (upper, lower) = (Block::read(upper), Block::read(lower));
                let r = average(&upper.r, &lower.r);
                let g = average(&upper.g, &lower.g);
                let b = average(&upper.b, &lower.b);
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

    /// Pixels of four `f32`, the fourth being 1, of luma and the chroma that belongs to it.
    pub(super) fn colours(&self, level: Level, luma: &[u8], chroma: &[u8], pixels: &mut [u8]) {
        #[inline(always)]
        fn kernel(coder: &Coder, luma: &[u8], chroma: &[u8], pixels: &mut [u8]) {
            let size = BLOCK * coder.code();
            let (per_luma, per_chroma) = (1.0 / coder.luma, 1.0 / coder.chroma);
            let planes = luma.chunks(size).zip(chroma.chunks(size));
            for ((luma, chroma), pixels) in planes.zip(pixels.chunks_mut(BLOCK * 16)) {
                let (luma, chroma) = (coder.read(luma), coder.read(chroma));
                let (mut r, mut g, mut b) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
                for i in 0..BLOCK {
                    let y = (luma[i] - coder.black) * per_luma;
                    let cb = (chroma[i & !1] - coder.middle) * per_chroma;
                    let cr = (chroma[i | 1] - coder.middle) * per_chroma;
                    r[i] = y + coder.cr * cr;
                    g[i] = (y - coder.green_cb * cb) - coder.green_cr * cr;
                    b[i] = y + coder.cb * cb;
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
    fn read(&self, from: &[u8]) -> [f32; BLOCK] {
        let mut codes = [0.0; BLOCK];
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
        let colour = |sample| limit(f32::from_le_bytes(sample), 0.0, 1.0);
        for (i, [r, g, b, _]) in pixels.iter().enumerate() {
            (block.r[i], block.g[i], block.b[i]) = (colour(*r), colour(*g), colour(*b));
        }
        block
    }
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
