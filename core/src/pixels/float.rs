// SPDX-License-Identifier: MPL-2.0
//! Float samples become integers and back, halves become singles and back.

use fearless_simd::{Level, Simd, dispatch};
use half::f16;

use crate::frame::SampleType;

/// `f32` holds no fractions from here on, so adding this to a smaller value rounds it, ties to even, and leaves the
/// integer in the low bits.
const ROUND: f32 = 8_388_608.0;

/// `value` within `low` and `high`; NaN is `low`. As comparisons these are single instructions.
#[inline(always)]
pub(super) fn limit(value: f32, low: f32, high: f32) -> f32 {
    let value = if value > low { value } else { low };
    if value < high { value } else { high }
}

/// The code nearest to `value` × `max`, in the low bits. `max` is 255 or 65535.
#[inline(always)]
fn quantise(value: f32, max: f32) -> u32 {
    (limit(value, 0.0, 1.0) * max + ROUND).to_bits()
}

#[inline(always)]
fn quantise8(value: f32) -> u8 {
    quantise(value, 255.0) as u8
}

#[inline(always)]
fn quantise16(value: f32) -> [u8; 2] {
    (quantise(value, 65535.0) as u16).to_le_bytes()
}

/// The `f32` nearest to v / 255.
#[inline(always)]
fn unit8(v: u8) -> f32 {
    // 1/255 is 2⁻⁸ + 2⁻⁸/255. The first product is exact and the second far smaller, so that the sum is rounded as the
    // quotient would be (a test compares all codes), and two products cost less than a division.
    let v = f32::from(v);
    v * (1.0 / 256.0) + v * (1.0 / (256.0 * 255.0))
}

/// The `f32` nearest to v / 65535.
#[inline(always)]
fn unit16(bytes: [u8; 2]) -> f32 {
    let v = f32::from(u16::from_le_bytes(bytes));
    v * (1.0 / 65536.0) + v * (1.0 / (65536.0 * 65535.0))
}

#[inline(always)]
fn map<S: Copy, D>(src: &[S], dst: &mut [D], f: impl Fn(S) -> D) {
    for (src, dst) in src.iter().zip(dst) {
        *dst = f(*src);
    }
}

pub(super) fn u8_to_f16(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => to_halves(simd, src, dst.as_chunks_mut().0, unit8));
}

pub(super) fn u8_to_f32(level: Level, src: &[u8], dst: &mut [u8]) {
    let dst = dst.as_chunks_mut().0;
    dispatch!(level, _simd => map(src, dst, |v| unit8(v).to_le_bytes()));
}

pub(super) fn u16_to_f16(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => to_halves(simd, src.as_chunks().0, dst.as_chunks_mut().0, unit16));
}

pub(super) fn u16_to_f32(level: Level, src: &[u8], dst: &mut [u8]) {
    let (src, dst) = (src.as_chunks().0, dst.as_chunks_mut().0);
    dispatch!(level, _simd => map(src, dst, |v| unit16(v).to_le_bytes()));
}

pub(super) fn f16_to_u8(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => from_halves(simd, src.as_chunks().0, dst, quantise8));
}

pub(super) fn f16_to_u16(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => from_halves(simd, src.as_chunks().0, dst.as_chunks_mut().0, quantise16));
}

pub(super) fn f16_to_f32(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => from_halves(simd, src.as_chunks().0, dst.as_chunks_mut().0, f32::to_le_bytes));
}

pub(super) fn f32_to_u8(level: Level, src: &[u8], dst: &mut [u8]) {
    let src = src.as_chunks().0;
    dispatch!(level, _simd => map(src, dst, |v| quantise8(f32::from_le_bytes(v))));
}

pub(super) fn f32_to_u16(level: Level, src: &[u8], dst: &mut [u8]) {
    let (src, dst) = (src.as_chunks().0, dst.as_chunks_mut().0);
    dispatch!(level, _simd => map(src, dst, |v| quantise16(f32::from_le_bytes(v))));
}

pub(super) fn f32_to_f16(level: Level, src: &[u8], dst: &mut [u8]) {
    dispatch!(level, simd => to_halves(simd, src.as_chunks().0, dst.as_chunks_mut().0, f32::from_le_bytes));
}

/// Samples of any type to floats.
pub(super) fn to_f32(level: Level, from: SampleType, src: &[u8], dst: &mut [f32]) {
    match from {
        SampleType::U8 => dispatch!(level, _simd => map(src, dst, unit8)),
        SampleType::U16 => {
            let src = src.as_chunks().0;
            dispatch!(level, _simd => map(src, dst, unit16));
        }
        SampleType::F16 => dispatch!(level, simd => from_halves(simd, src.as_chunks().0, dst, |v| v)),
        SampleType::F32 => map(src.as_chunks().0, dst, f32::from_le_bytes),
    }
}

/// Floats to samples of any type.
pub(super) fn from_f32(level: Level, to: SampleType, src: &[f32], dst: &mut [u8]) {
    match to {
        SampleType::U8 => dispatch!(level, _simd => map(src, dst, quantise8)),
        SampleType::U16 => {
            let dst = dst.as_chunks_mut().0;
            dispatch!(level, _simd => map(src, dst, quantise16));
        }
        SampleType::F16 => dispatch!(level, simd => to_halves(simd, src, dst.as_chunks_mut().0, |v| v)),
        SampleType::F32 => map(src, dst.as_chunks_mut().0, f32::to_le_bytes),
    }
}

/// Halves to what `f` makes of their value.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))] // `simd` says whether there is F16C
fn from_halves<S: Simd, D>(simd: S, src: &[[u8; 2]], dst: &mut [D], f: impl Fn(f32) -> D) {
    #[cfg(target_arch = "x86_64")]
    let (src, dst) = match simd.level().as_avx2() {
        Some(avx2) => {
            let ((blocks, src), (to, dst)) = (src.as_chunks::<BLOCK>(), dst.as_chunks_mut::<BLOCK>());
            let mut wide = [0.0; BLOCK];
            for (block, to) in blocks.iter().zip(to) {
                for (eight, wide) in block.as_chunks().0.iter().zip(wide.as_chunks_mut().0) {
                    *wide = f16c::widen(avx2, eight);
                }
                map(&wide, to, &f);
            }
            (src, dst)
        }
        None => (src, dst),
    };
    map(src, dst, |v| f(f16::from_le_bytes(v).to_f32()));
}

/// What `f` says is the value of each sample, to halves.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))] // `simd` says whether there is F16C
fn to_halves<S: Simd, T: Copy>(simd: S, src: &[T], dst: &mut [[u8; 2]], f: impl Fn(T) -> f32) {
    #[cfg(target_arch = "x86_64")]
    let (src, dst) = match simd.level().as_avx2() {
        Some(avx2) => {
            let ((blocks, src), (to, dst)) = (src.as_chunks::<BLOCK>(), dst.as_chunks_mut::<BLOCK>());
            let mut wide = [0.0; BLOCK];
            for (block, to) in blocks.iter().zip(to) {
                map(block, &mut wide, &f);
                for (eight, to) in wide.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
                    f16c::narrow(avx2, *eight, to);
                }
            }
            (src, dst)
        }
        None => (src, dst),
    };
    map(src, dst, |v| f16::from_f32(f(v)).to_le_bytes());
}

/// Samples that are floats for a moment on their way from or to halves.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 64;

/// Eight halves at a time. The `half` crate knows these instructions too, but calls a function for each eight.
#[cfg(target_arch = "x86_64")]
mod f16c {
    use std::arch::x86_64::{__m128i, _MM_FROUND_TO_NEAREST_INT, _mm256_cvtph_ps, _mm256_cvtps_ph};

    use fearless_simd::prelude::*;
    use fearless_simd::x86::Avx2;
    use fearless_simd::{f32x8, u8x16};

    fearless_simd::kernel!(
        #[inline(always)]
        pub(super) fn widen(avx2: Avx2, halves: &[[u8; 2]; 8]) -> [f32; 8] {
            let halves: __m128i = u8x16::from_slice(avx2, halves.as_flattened()).into();
            let wide: f32x8<Avx2> = _mm256_cvtph_ps(halves).simd_into(avx2);
            wide.into()
        }
    );

    fearless_simd::kernel!(
        #[inline(always)]
        pub(super) fn narrow(avx2: Avx2, singles: [f32; 8], halves: &mut [[u8; 2]; 8]) {
            let singles: f32x8<Avx2> = singles.simd_into(avx2);
            let narrow: u8x16<Avx2> = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(singles.into()).simd_into(avx2);
            narrow.store_slice(halves.as_flattened_mut());
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_products_are_the_quotient_for_every_code() {
        for v in 0..=255 {
            assert_eq!(unit8(v), f32::from(v) / 255.0, "{v}");
        }
        for v in (0..=65535u16).step_by(if cfg!(miri) { 101 } else { 1 }) {
            assert_eq!(unit16(v.to_le_bytes()), f32::from(v) / 65535.0, "{v}");
        }
    }

    #[test]
    fn ties_go_to_the_even_code() {
        assert_eq!(quantise8(0.5), 128); // 127.5
        assert_eq!(quantise16(0.5), 32768u16.to_le_bytes()); // 32767.5
        let mut ties = 0;
        for code in 0..255u8 {
            let middle = f32::from(code) + 0.5;
            let value = middle / 255.0;
            if value * 255.0 == middle {
                ties += 1;
                assert_eq!(quantise8(value), code + code % 2, "{value}");
            }
        }
        assert!(ties > 200, "only {ties} products with 255 are ties");
    }

    #[test]
    fn what_is_no_colour_becomes_one() {
        let below = [f32::NAN, -f32::NAN, f32::NEG_INFINITY, f32::MIN, -1e-40, -0.0, 0.0, 1e-40, f32::MIN_POSITIVE];
        for value in below {
            assert_eq!((quantise8(value), quantise16(value)), (0, [0, 0]), "{value}");
        }
        for value in [1.0, 1.0 + f32::EPSILON, f32::MAX, f32::INFINITY] {
            assert_eq!((quantise8(value), quantise16(value)), (255, [255, 255]), "{value}");
        }
    }
}
