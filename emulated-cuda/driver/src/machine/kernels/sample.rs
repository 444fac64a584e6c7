// SPDX-License-Identifier: MPL-2.0
//! Numbers as they stand in memory, and their values: 1.0 is the greatest code of an integer.

/// Type of a component on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    U8,
    U16,
    F16,
    F32,
    Bf16,
}

impl Sample {
    pub fn numbered(number: u32) -> Option<Self> {
        [Self::U8, Self::U16, Self::F16, Self::F32, Self::Bf16].get(number as usize).copied()
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The value of the sample at the beginning of `bytes`.
    pub fn read(self, bytes: &[u8]) -> Option<f64> {
        let short = || Some(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?));
        Some(match self {
            Self::U8 => f64::from(*bytes.first()?) / 255.0,
            Self::U16 => f64::from(short()?) / 65535.0,
            Self::F16 => from_half(short()?),
            Self::Bf16 => f64::from(f32::from_bits(u32::from(short()?) << 16)),
            Self::F32 => f64::from(f32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)),
        })
    }

    /// Appends the sample that is nearest to `value`. None for bfloat16, which is only read.
    pub fn write(self, value: f64, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::U8 => to.push(code(value, 255) as u8),
            Self::U16 => to.extend((code(value, 65535) as u16).to_le_bytes()),
            Self::F16 => to.extend(to_half(value as f32).to_le_bytes()),
            Self::F32 => to.extend((value as f32).to_le_bytes()),
            Self::Bf16 => return None,
        }
        Some(())
    }
}

/// `value` from 0 to `most`; what is no number is 0.
pub fn within(value: f64, most: f64) -> f64 {
    if value > 0.0 { value.min(most) } else { 0.0 }
}

/// The code nearest to `value` of 0 to `most`, ties to even, of a product that is a single; what is no number is 0.
pub fn code(value: f64, most: u32) -> u32 {
    let value = within(value, 1.0) as f32;
    (value * most as f32).round_ties_even() as u32
}

/// IEEE 754 binary16.
fn from_half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// To nearest, ties to even.
fn to_half(value: f32) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = f64::from(value.abs());
    sign | if size.is_nan() {
        0x7e00
    } else if size >= 65520.0 {
        0x7c00
    } else if size < 2f64.powi(-14) {
        // Of the smallest step; the next number up is the first that is not subnormal.
        (size * 2f64.powi(24)).round_ties_even() as u16
    } else {
        let exponent = size.log2().floor() as i32;
        // A logarithm may be off by the last bit at a power of two.
        let exponent = if size < 2f64.powi(exponent) { exponent - 1 } else { exponent };
        let steps = (size * 2f64.powi(10 - exponent)).round_ties_even() as u16;
        // 2048 steps are the next exponent's first.
        ((exponent + 14) as u16) * 1024 + steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_the_standard_says() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (1, 2f64.powi(-24)), (0x0400, 2f64.powi(-14))]
        {
            assert_eq!((from_half(bits), to_half(value as f32)), (value, bits));
        }
        for bits in 0..=0xffffu16 {
            let value = from_half(bits);
            assert!(value.is_nan() || to_half(value as f32) == bits, "{bits:04x}");
        }
        // Ties: 1 + 2^-11 lies between 1 and the next one, 1 + 3 * 2^-11 between the next and the one after.
        assert_eq!((to_half(1.000_488_3), to_half(1.001_464_8)), (0x3c00, 0x3c02));
        assert_eq!((to_half(65519.9), to_half(65520.0)), (0x7bff, 0x7c00));
    }

    #[test]
    fn codes_are_the_nearest_and_what_is_no_number_is_none() {
        assert_eq!((code(0.5, 255), code(1.5, 255), code(f64::NAN, 255), code(-1.0, 255)), (128, 255, 0, 0));
        for wide in 0..=65535u32 {
            let narrow = code(f64::from(wide) / 65535.0, 255);
            assert_eq!(narrow, (wide + 128) / 257, "{wide}");
        }
    }
}
