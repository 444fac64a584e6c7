// SPDX-License-Identifier: MPL-2.0
//! Alpha, transfer functions and primaries, on pixels of R, G, B, A where maximum is 1.0.

use fearless_simd::{Level, dispatch};

use super::float::limit;
use super::power::{log2, pow};
use super::{Alpha, Gamut, Options, Transfer};

/// Luminance of a full PQ signal, and the most that either HDR signal is given, in nits.
pub(super) const PQ_PEAK: f32 = 10_000.0;
/// Luminance of the display that HLG's reference signal is for, in nits.
const HLG_PEAK: f32 = 1000.0;

/// Alpha, primaries and transfer in their order.
pub(super) struct Light {
    divide: bool,
    /// Primaries before the transfer.
    before: bool,
    transfer: Transfer,
    /// Primaries after it.
    after: bool,
    multiply: bool,
    /// Luminance of linear 1.0 in nits.
    white: f32,
}

impl Light {
    /// `None` when values stay as they are.
    pub(super) fn new(alpha: Alpha, options: Options) -> Option<Self> {
        let (transfer, white) = (options.transfer, options.white());
        let widened = options.gamut == Gamut::Bt709ToBt2020;
        let after = widened && transfer == Transfer::SrgbToLinear;
        let before = widened && !after;
        let divide = alpha == Alpha::PremultipliedToStraight;
        let multiply = alpha == Alpha::StraightToPremultiplied;
        let any = divide || multiply || widened || transfer != Transfer::Passthrough;
        any.then_some(Self { divide, before, transfer, after, multiply, white })
    }

    pub(super) fn apply(&self, level: Level, pixels: &mut [[f32; 4]]) {
        if self.divide {
            dispatch!(level, _simd => each(pixels, divide));
        }
        if self.before {
            dispatch!(level, _simd => each(pixels, widen));
        }
        match self.transfer {
            Transfer::Passthrough => {}
            Transfer::LinearToSrgb => dispatch!(level, _simd => each(pixels, |p| colours(p, srgb_from_linear))),
            Transfer::SrgbToLinear => dispatch!(level, _simd => each(pixels, |p| colours(p, linear_from_srgb))),
            Transfer::LinearToPq => {
                let scale = self.white / PQ_PEAK;
                dispatch!(level, _simd => each(pixels, |p| colours(p, |v| pq_from_light(v * scale))));
            }
            Transfer::LinearToHlg => {
                let scale = self.white / HLG_PEAK;
                dispatch!(level, _simd => each(pixels, |p| hlg_from_light(p, scale)));
            }
        }
        if self.after {
            dispatch!(level, _simd => each(pixels, widen));
        }
        if self.multiply {
            dispatch!(level, _simd => each(pixels, |[r, g, b, a]| [r * a, g * a, b * a, a]));
        }
    }
}

/// Pixels that are taken apart into planes at a time, since only loops over planes become vector code.
const BLOCK: usize = 32;

#[inline(always)]
fn each(pixels: &mut [[f32; 4]], f: impl Fn([f32; 4]) -> [f32; 4]) {
    let (blocks, rest) = pixels.as_chunks_mut();
    for block in blocks {
        each_of_block(block, &f);
    }
    let mut block = [[0.0; 4]; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    each_of_block(&mut block, &f);
    rest.copy_from_slice(&block[..rest.len()]);
}

#[inline(always)]
fn each_of_block(pixels: &mut [[f32; 4]; BLOCK], f: impl Fn([f32; 4]) -> [f32; 4]) {
    let (mut r, mut g, mut b, mut a) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        [r[i], g[i], b[i], a[i]] = pixels[i];
    }
    for i in 0..BLOCK {
        [r[i], g[i], b[i], a[i]] = f([r[i], g[i], b[i], a[i]]);
    }
    for i in 0..BLOCK {
        pixels[i] = [r[i], g[i], b[i], a[i]];
    }
}

#[inline(always)]
fn colours([r, g, b, a]: [f32; 4], f: impl Fn(f32) -> f32) -> [f32; 4] {
    [f(r), f(g), f(b), a]
}

#[inline(always)]
fn divide([r, g, b, a]: [f32; 4]) -> [f32; 4] {
    colours([r, g, b, a], |v| if a > 0.0 { v / a } else { 0.0 })
}

/// ITU-R BT.2087: light of BT.709 primaries as light of BT.2020 primaries.
#[inline(always)]
fn widen([r, g, b, a]: [f32; 4]) -> [f32; 4] {
    let row = |kr: f32, kg: f32, kb: f32| (kr * r + kg * g) + kb * b;
    [row(0.6274, 0.3293, 0.0433), row(0.0691, 0.9195, 0.0114), row(0.0164, 0.0880, 0.8956), a]
}

/// IEC 61966-2-1.
#[inline(always)]
fn srgb_from_linear(v: f32) -> f32 {
    let positive = v.abs();
    let power = 1.055 * pow(positive, 1.0 / 2.4) - 0.055;
    let power = if positive < f32::INFINITY { power } else { positive };
    if positive > 0.003_130_8 { power.copysign(v) } else { v * 12.92 }
}

/// IEC 61966-2-1.
#[inline(always)]
fn linear_from_srgb(v: f32) -> f32 {
    let positive = v.abs();
    // The power of the limit is infinite already.
    let power = pow(limit((positive + 0.055) * (1.0 / 1.055), 0.0, 1.2e16), 2.4);
    if positive > 0.040_45 { power.copysign(v) } else { v * (1.0 / 12.92) }
}

/// SMPTE ST 2084, inverse EOTF; `light` in units of 10 000 nits.
///
/// Two powers, one of them the 79th, are slow, and exact only with more digits than `f32` has. A ratio of polynomials of
/// the fourth root follows the formula within 1.7e-6, a ninth of a 16-bit code. Its coefficients are a least-squares
/// fit in `f64`, reweighted (Lawson) until the greatest error was least, with the formula's own value at 0.
#[inline(always)]
fn pq_from_light(light: f32) -> f32 {
    let w = limit(light, 0.0, 1.0).sqrt().sqrt();
    let above = 4.399_693 + w * (2_050.783 + w * (2_838.055_3 + w * 35.462_708));
    let below = 729.651_6 + w * (2_476.276_9 + w * 1_672.474_4);
    let (above, below) = (0.009_382_73 + w * above, 49.314_35 + w * below);
    (7.309_559e-7 + w * above) / (1.0 + w * below)
}

/// ITU-R BT.2100: inverse OOTF for a system gamma of 1.2, then OETF. `scale` makes units of the display's peak.
#[inline(always)]
fn hlg_from_light([r, g, b, a]: [f32; 4], scale: f32) -> [f32; 4] {
    const A: f32 = 0.178_832_77;
    const B: f32 = 1.0 - 4.0 * A;
    const C: f32 = 0.559_910_7; // 0.5 − A ln 4A
    let [r, g, b] = [r, g, b].map(|v| limit(v * scale, 0.0, PQ_PEAK / HLG_PEAK));
    let luminance = 0.2627 * r + 0.6780 * g + 0.0593 * b;
    let gain = pow(luminance, 1.0 / 1.2 - 1.0);
    colours([r, g, b, a], |v| {
        let scene = v * gain;
        let bright = A * std::f32::consts::LN_2 * log2(12.0 * scene - B) + C;
        if scene > 1.0 / 12.0 { bright } else { (scene * 3.0).sqrt() }
    })
}
