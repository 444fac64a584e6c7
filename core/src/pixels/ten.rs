// SPDX-License-Identifier: MPL-2.0
//! Words of 32 bits with ten bits for each colour and two of alpha, made of pixels of R, G, B, A and into such.

use fearless_simd::{Level, dispatch};

use super::float::limit;

/// As in `float`: adding it rounds, ties to even.
const ROUND: f32 = 8_388_608.0;

/// The `f32` nearest to v / 1023.
#[inline(always)]
fn unit10(v: u32) -> f32 {
    // As with 8 and 16 bits, two products are the quotient (a test compares all codes).
    let v = v as f32;
    v * (1.0 / 1024.0) + v * (1.0 / (1024.0 * 1023.0))
}

#[inline(always)]
fn word([r, g, b, a]: [u32; 4]) -> [u8; 4] {
    (r | g << 10 | b << 20 | a << 30).to_le_bytes()
}

#[inline(always)]
fn parts(word: [u8; 4]) -> [u32; 4] {
    let word = u32::from_le_bytes(word);
    [word & 1023, word >> 10 & 1023, word >> 20 & 1023, word >> 30]
}

/// u16: the nearest of ten and of two bits.
pub(super) fn pack_u16(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[[u8; 8]], dst: &mut [[u8; 4]]) {
        for (src, dst) in src.iter().zip(dst) {
            let &[r0, r1, g0, g1, b0, b1, a0, a1] = src;
            let nearest = |low, high, max| (u32::from(u16::from_le_bytes([low, high])) * max + 32767) / 65535;
            *dst = word([nearest(r0, r1, 1023), nearest(g0, g1, 1023), nearest(b0, b1, 1023), nearest(a0, a1, 3)]);
        }
    }
    dispatch!(level, _simd => kernel(src.as_chunks().0, dst.as_chunks_mut().0));
}

/// f32, as floats become integers.
pub(super) fn pack_f32(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[[u8; 16]], dst: &mut [[u8; 4]]) {
        for (src, dst) in src.iter().zip(dst) {
            let mut codes = [0; 4];
            for ((code, sample), max) in codes.iter_mut().zip(src.as_chunks::<4>().0).zip([1023.0, 1023.0, 1023.0, 3.0])
            {
                *code = (limit(f32::from_le_bytes(*sample), 0.0, 1.0) * max + ROUND).to_bits() & 1023;
            }
            *dst = word(codes);
        }
    }
    dispatch!(level, _simd => kernel(src.as_chunks().0, dst.as_chunks_mut().0));
}

/// The nearest u8.
pub(super) fn unpack_u8(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[[u8; 4]], dst: &mut [[u8; 4]]) {
        for (src, dst) in src.iter().zip(dst) {
            let [r, g, b, a] = parts(*src);
            let nearest = |v| ((v * 255 + 511) / 1023) as u8;
            *dst = [nearest(r), nearest(g), nearest(b), (a * 85) as u8];
        }
    }
    dispatch!(level, _simd => kernel(src.as_chunks().0, dst.as_chunks_mut().0));
}

/// The nearest f32.
pub(super) fn unpack_f32(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[[u8; 4]], dst: &mut [[[u8; 4]; 4]]) {
        for (src, dst) in src.iter().zip(dst) {
            let [r, g, b, a] = parts(*src);
            *dst = [unit10(r), unit10(g), unit10(b), a as f32 / 3.0].map(f32::to_le_bytes);
        }
    }
    dispatch!(level, _simd => kernel(src.as_chunks().0, dst.as_chunks_mut::<4>().0.as_chunks_mut().0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_products_are_the_quotient_for_every_code_of_ten_bits() {
        for v in 0..1024 {
            assert_eq!(unit10(v), v as f32 / 1023.0, "{v}");
        }
    }

    #[test]
    fn ten_bits_survive_floats_and_sixteen_bits() {
        for v in 0..1024u32 {
            let src = word([v, 1023 - v, v / 2, v % 4]);
            let (mut floats, mut codes, mut back) = ([0; 16], [0; 8], [0; 4]);
            unpack_f32(Level::new(), &src, &mut floats);
            pack_f32(Level::new(), &floats, &mut back);
            assert_eq!(back, src);
            super::super::Packed::Rgb10A2.unpack(&src, &mut codes).unwrap();
            pack_u16(Level::new(), &codes, &mut back);
            assert_eq!(back, src);
        }
    }

    #[test]
    fn all_codes_go_to_the_nearest_and_none_lies_between_two() {
        let near = |code: u32, max: u32, found: u32, to: u32| {
            let distance = (i64::from(code) * i64::from(to) - i64::from(found) * i64::from(max)).abs();
            assert!(2 * distance < i64::from(max), "{code} of {max} became {found} of {to}");
        };
        for v in 0..1024u32 {
            let mut eight = [0; 4];
            unpack_u8(Level::new(), &word([v, 0, 1023, v % 4]), &mut eight);
            near(v, 1023, eight[0].into(), 255);
            assert_eq!(eight[1..], [0, 255, (v % 4 * 85) as u8]);
        }
        for v in (0..=65535u16).step_by(if cfg!(miri) { 251 } else { 1 }) {
            let [low, high] = v.to_le_bytes();
            let mut packed = [0; 4];
            pack_u16(Level::new(), &[low, high, 0, 0, 255, 255, low, high], &mut packed);
            let [r, g, b, a] = parts(packed);
            near(v.into(), 65535, r, 1023);
            near(v.into(), 65535, a, 3);
            assert_eq!((g, b), (0, 1023));
        }
    }
}
