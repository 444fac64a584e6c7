// SPDX-License-Identifier: MPL-2.0
//! Integer samples of one width become integer samples of the other, exactly.

use fearless_simd::{Level, dispatch};

/// u8 to u16: v × 257, which is v in both bytes.
pub(super) fn widen(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[u8], dst: &mut [u8]) {
        for (&v, dst) in src.iter().zip(dst.as_chunks_mut::<2>().0) {
            *dst = [v, v];
        }
    }
    dispatch!(level, _simd => kernel(src, dst));
}

/// u16 to u8: the integer nearest to v / 257. There are no ties, since 257 is odd.
pub(super) fn narrow(level: Level, src: &[u8], dst: &mut [u8]) {
    #[inline(always)]
    fn kernel(src: &[u8], dst: &mut [u8]) {
        for (src, dst) in src.as_chunks::<2>().0.iter().zip(dst) {
            let v = u16::from_le_bytes(*src);
            // (v × 255/256 + 128) / 256, without leaving 16 bits; a test compares all 65536.
            *dst = ((v - (((v >> 7) + 1) >> 1) + 128) >> 8) as u8;
        }
    }
    dispatch!(level, _simd => kernel(src, dst));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_become_the_nearest_eight() {
        let codes = if cfg!(miri) { (0..=65535).step_by(97).collect::<Vec<u16>>() } else { (0..=65535).collect() };
        let src: Vec<u8> = codes.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut dst = vec![0; codes.len()];
        narrow(Level::new(), &src, &mut dst);
        for (v, found) in codes.into_iter().zip(dst) {
            let distance = (i32::from(v) - i32::from(found) * 257).abs();
            assert!(distance <= 128, "{v} became {found}");
        }
    }

    #[test]
    fn eight_bits_survive_sixteen() {
        let src: Vec<u8> = (0..=255).collect();
        let (mut wide, mut back) = (vec![0; 512], vec![0; 256]);
        widen(Level::new(), &src, &mut wide);
        assert_eq!(wide[510..], [0xff, 0xff]);
        narrow(Level::new(), &wide, &mut back);
        assert_eq!(back, src);
    }
}
