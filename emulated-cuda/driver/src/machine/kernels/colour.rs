// SPDX-License-Identifier: MPL-2.0
//! Alpha, primaries, transfer and Y'CbCr of one pixel, by the formulas of their standards.

use super::sample::within;

/// R, G, B, alpha.
pub type Pixel = [f64; 4];

/// What happens to a pixel between two forms.
#[derive(Clone, Copy, Debug)]
pub struct Light {
    /// 0 kept, 1 opaque, 2 colour divided by it, 3 colour multiplied by it.
    pub alpha: u32,
    /// 0 none, 1 linear to sRGB, 2 back, 3 linear to PQ, 4 linear to HLG.
    pub transfer: u32,
    /// Nits of 1.0.
    pub white: f64,
    /// Primaries of BT.709 become those of BT.2020.
    pub widen: bool,
}

impl Light {
    pub fn apply(&self, pixel: Pixel, has_alpha: bool) -> Pixel {
        let [r, g, b, a] = pixel;
        let mut colour = [r, g, b];
        if self.alpha == 2 && has_alpha {
            colour = colour.map(|v| if a > 0.0 { v / a } else { 0.0 });
        }
        if self.widen && self.transfer != 2 {
            colour = bt2020_of_bt709(colour);
        }
        colour = match self.transfer {
            1 => colour.map(|v| v.signum() * srgb_of_linear(v.abs())),
            2 => colour.map(|v| v.signum() * linear_of_srgb(v.abs())),
            3 => colour.map(|v| pq_of_nits(nits(v, self.white))),
            4 => hlg_of_nits(colour.map(|v| nits(v, self.white))),
            _ => colour,
        };
        if self.widen && self.transfer == 2 {
            colour = bt2020_of_bt709(colour);
        }
        if self.alpha == 3 && has_alpha {
            colour = colour.map(|v| v * a);
        }
        let [r, g, b] = colour;
        [r, g, b, if self.alpha == 1 { 1.0 } else { a }]
    }
}

/// Light of a display has bounds, and what is no number is dark.
fn nits(value: f64, white: f64) -> f64 {
    within(value * white, 10_000.0)
}

/// ITU-R BT.2087.
fn bt2020_of_bt709([r, g, b]: [f64; 3]) -> [f64; 3] {
    [0.6274 * r + 0.3293 * g + 0.0433 * b, 0.0691 * r + 0.9195 * g + 0.0114 * b, 0.0164 * r + 0.0880 * g + 0.8956 * b]
}

/// IEC 61966-2-1.
fn srgb_of_linear(v: f64) -> f64 {
    if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }
}

/// IEC 61966-2-1.
fn linear_of_srgb(v: f64) -> f64 {
    if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// SMPTE ST 2084.
fn pq_of_nits(nits: f64) -> f64 {
    const M1: f64 = 2610.0 / 16384.0;
    const M2: f64 = 2523.0 / 4096.0 * 128.0;
    const C1: f64 = 3424.0 / 4096.0;
    const C2: f64 = 2413.0 / 4096.0 * 32.0;
    const C3: f64 = 2392.0 / 4096.0 * 32.0;
    let power = (nits / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// ITU-R BT.2100 for a display of 1000 nits: the inverse OOTF with a gamma of 1.2, then the OETF.
fn hlg_of_nits(nits: [f64; 3]) -> [f64; 3] {
    const A: f64 = 0.178_832_77;
    const B: f64 = 1.0 - 4.0 * A;
    let c = 0.5 - A * (4.0 * A).ln();
    let display = nits.map(|v| v / 1000.0);
    let luminance = 0.2627 * display[0] + 0.6780 * display[1] + 0.0593 * display[2];
    let gain = if luminance > 0.0 { luminance.powf(1.0 / 1.2 - 1.0) } else { 0.0 };
    display.map(|v| {
        let scene = v * gain;
        if scene <= 1.0 / 12.0 { (3.0 * scene).sqrt() } else { A * (12.0 * scene - B).ln() + c }
    })
}

/// How Y' is weighed, and which codes it and Cb and Cr have.
#[derive(Clone, Copy, Debug)]
pub struct Luma {
    red: f64,
    blue: f64,
    full: bool,
    bits: u32,
}

impl Luma {
    /// `matrix`: 0 BT.601, 1 BT.709, 2 BT.2020.
    pub fn new(matrix: u32, full: bool, bits: u32) -> Option<Self> {
        let (red, blue) = [(0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)].get(matrix as usize).copied()?;
        Some(Self { red, blue, full, bits })
    }

    /// Black, codes from it to white, and codes of Cb and Cr from their least to their greatest.
    fn spans(&self) -> (f64, f64, f64) {
        let unit = f64::from(1u32 << (self.bits - 8));
        if self.full {
            let most = f64::from((1u32 << self.bits) - 1);
            return (0.0, most, most);
        }
        (16.0 * unit, 219.0 * unit, 224.0 * unit)
    }

    /// The code of Cb and Cr that is no colour.
    fn middle(&self) -> f64 {
        f64::from(1u32 << (self.bits - 1))
    }

    fn weigh(&self, [r, g, b]: [f64; 3]) -> f64 {
        self.red * r + (1.0 - self.red - self.blue) * g + self.blue * b
    }

    fn nearest(&self, code: f64) -> u32 {
        code.round_ties_even().clamp(0.0, f64::from((1u32 << self.bits) - 1)) as u32
    }

    pub fn luma(&self, colour: [f64; 3]) -> u32 {
        let (black, span, _) = self.spans();
        self.nearest(black + span * self.weigh(colour))
    }

    /// Cb and Cr.
    pub fn chroma(&self, colour: [f64; 3]) -> [u32; 2] {
        let ((_, _, span), luma) = (self.spans(), self.weigh(colour));
        let difference = |value: f64, weight: f64| (value - luma) / (2.0 * (1.0 - weight));
        [difference(colour[2], self.blue), difference(colour[0], self.red)]
            .map(|value| self.nearest(self.middle() + span * value))
    }

    /// Cb and Cr may be between codes.
    pub fn colour(&self, luma: u32, [cb, cr]: [f64; 2]) -> [f64; 3] {
        let (black, span, chroma_span) = self.spans();
        let luma = (f64::from(luma) - black) / span;
        let [cb, cr] = [cb, cr].map(|code| (code - self.middle()) / chroma_span);
        let (red, blue) = (luma + 2.0 * (1.0 - self.red) * cr, luma + 2.0 * (1.0 - self.blue) * cb);
        let green = (luma - self.red * red - self.blue * blue) / (1.0 - self.red - self.blue);
        [red, green, blue]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_those_that_reports_give() {
        // ITU-R BT.2408: reference white is 58 % of PQ and 75 % of HLG.
        assert!((pq_of_nits(203.0) - 0.58).abs() < 0.001 && (pq_of_nits(10_000.0) - 1.0).abs() < 1e-9);
        assert!((hlg_of_nits([203.0; 3])[0] - 0.75).abs() < 0.001 && (hlg_of_nits([1000.0; 3])[0] - 1.0).abs() < 1e-6);
        assert!((linear_of_srgb(srgb_of_linear(0.3)) - 0.3).abs() < 1e-9);
    }

    #[test]
    fn codes_are_those_of_the_recommendations() {
        let narrow = Luma::new(1, false, 8).unwrap();
        assert_eq!((narrow.luma([0.0; 3]), narrow.luma([1.0; 3]), narrow.chroma([0.5; 3])), (16, 235, [128, 128]));
        assert_eq!((narrow.chroma([0.0, 0.0, 1.0])[0], narrow.chroma([1.0, 0.0, 0.0])[1]), (240, 240));
        let deep = Luma::new(2, false, 10).unwrap();
        assert_eq!((deep.luma([0.0; 3]), deep.luma([1.0; 3]), deep.chroma([0.5; 3])), (64, 940, [512, 512]));
        let full = Luma::new(0, true, 10).unwrap();
        assert_eq!((full.luma([0.0; 3]), full.luma([1.0; 3])), (0, 1023));
        let back = narrow.colour(narrow.luma([1.0, 0.0, 0.5]), narrow.chroma([1.0, 0.0, 0.5]).map(f64::from));
        assert!(back.iter().zip([1.0, 0.0, 0.5]).all(|(found, wanted)| (found - wanted).abs() < 0.01), "{back:?}");
    }
}
