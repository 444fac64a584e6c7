// SPDX-License-Identifier: MPL-2.0
//! Powers of positive floats without branches and tables, so that loops over them become vector code.
//!
//! Coefficients are minimax (found by Remez' exchange in `f64`): their own error is near that of one `f32` operation.
//! No operation is fused, so that every processor gives the same bits.

/// Adding it rounds a float of up to 22 bits to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0; // 1.5 × 2²³

/// log₂ `x`. Zero counts as 2⁻¹²⁷, and so does about what is subnormal.
#[inline(always)]
pub(super) fn log2(x: f32) -> f32 {
    // x = m × 2^steps with m from √½ to √2.
    let root = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let steps = x.to_bits().wrapping_sub(root) as i32 >> 23;
    let m = f32::from_bits(x.to_bits().wrapping_sub((steps as u32) << 23));
    // ln m = 2 artanh s, an odd series in s, and s is at most 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    steps as f32 + s * (2.885_390_4 + q * (0.961_587_84 + q * 0.595_796_5))
}

/// 2^`x` for `x` from −126 to 128; at 128 it is infinite.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    let rounded = x + ROUND;
    let scale = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let f = x - (rounded - ROUND);
    // Pairs are summed side by side, which is a shorter chain than one after the other.
    let (ones, twos) = (1.0 + f * 0.693_146_97, 0.240_222_42 + f * 0.055_507_34);
    let fours = 0.009_671_51 + f * 0.001_326_47;
    let g = f * f;
    scale * (ones + g * (twos + g * fours))
}

/// `x`^`y`, as long as that is a normal number.
#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    exp2(log2(x) * y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_and_powers_are_about_as_exact_as_floats() {
        let step = if cfg!(miri) { 40_000_001 } else { 40_001 };
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(step) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).log2();
            let error = (f64::from(log2(x)) - exact).abs();
            assert!(error <= 1.5e-7 * exact.abs().max(1.0), "log2 {x}: {} for {exact}", log2(x));
        }
        for i in (-126_000..=127_000).step_by(if cfg!(miri) { 10_007 } else { 7 }) {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp2();
            assert!((f64::from(exp2(x)) / exact - 1.0).abs() < 3e-7, "exp2 {x}: {} for {exact}", exp2(x));
        }
    }

    #[test]
    fn whole_powers_of_two_are_exact() {
        for exponent in 1..=254 {
            let (power, whole) = (f32::from_bits(exponent << 23), exponent as f32 - 127.0);
            assert_eq!((exp2(whole), log2(power)), (power, whole));
        }
        assert_eq!(exp2(128.0), f32::INFINITY);
        assert_eq!(log2(0.0), -127.0);
        assert_eq!(pow(1.0, 2.4), 1.0);
    }
}
