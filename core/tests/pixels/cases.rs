// SPDX-License-Identifier: MPL-2.0
//! What is converted: every pair of formats, sizes and pitches of all kinds, every option.

use tdlink_core::frame::SampleType;
use tdlink_core::pixels::{
    Alpha, ChromaSite, Components, Conversion, Direction, FrameConverter, Gamut, Matrix, Options, Picture, Plane,
    PlaneMut, PlaneSize, Range, Transfer, Wire, WireSample, Yuv,
};

/// What bytes are where no pixel was written.
pub const UNTOUCHED: u8 = 0xEE;

/// A frame of bytes, to be converted.
pub struct Case {
    pub conversion: Conversion,
    pub width: usize,
    pub height: usize,
    pub src: Vec<Vec<u8>>,
    pub src_pitch: [usize; 2],
    pub dst_pitch: [usize; 2],
    /// Of addresses, after multiples of 64.
    pub at: [usize; 2],
}

/// SplitMix64: the same numbers on every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() >> 8) as usize % all.len()]
    }

    /// Mostly from 0 to 1, else what a float can be besides.
    fn float(&mut self) -> f32 {
        let odd = [f32::NAN, f32::INFINITY, -f32::INFINITY, 1e-40, -0.0, -0.25, 1.0, 1.5, 3.0e5, f32::MAX, 0.5, 0.0];
        let unit = (self.next() >> 40) as f32 / (1 << 24) as f32;
        if self.next().is_multiple_of(8) { self.of(&odd) } else { unit }
    }

    fn samples(&mut self, sample: WireSample, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < bytes {
            match sample {
                WireSample::U8 | WireSample::U16 => out.extend(self.next().to_le_bytes()),
                WireSample::F32 => out.extend(self.float().to_le_bytes()),
                WireSample::Bf16 => out.extend(&self.float().to_le_bytes()[2..]),
                WireSample::F16 => out.extend(half::f16::from_f32(self.float()).to_le_bytes()),
            }
        }
        out.truncate(bytes);
        out
    }
}

/// Every picture there is.
pub fn pictures() -> Vec<Picture> {
    use Picture::{Bgr, Bgra, Bgrx, Nv12, P010, Rgb, Rgb10A2, Rgba, Rgbx};
    let mut all = vec![Rgba, Bgra, Rgbx, Bgrx, Rgb, Bgr, Rgb10A2];
    for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
        for range in [Range::Limited, Range::Full] {
            for site in ChromaSite::ALL {
                let yuv = Yuv { matrix, range, site };
                all.extend([Nv12(yuv), P010(yuv)]);
            }
        }
    }
    all
}

/// Every conversion there is, with no option.
pub fn conversions() -> Vec<Conversion> {
    let mut all = Vec::new();
    for sample in WireSample::ALL {
        for components in Components::ALL {
            let wire = Wire { sample, components };
            for picture in pictures() {
                all.push(Conversion::to_picture(wire, picture));
                all.extend(Conversion::to_wire(picture, wire).ok());
            }
        }
    }
    all
}

/// Every set of options.
fn options() -> Vec<Options> {
    let mut all = Vec::new();
    for alpha in Alpha::ALL {
        for transfer in Transfer::ALL {
            for gamut in [Gamut::Passthrough, Gamut::Bt709ToBt2020] {
                let reference_white = if all.len() % 2 == 0 { 203.0 } else { 1000.0 };
                all.push(Options { alpha, transfer, reference_white, gamut });
            }
        }
    }
    all
}

/// Every conversion, with sizes, pitches and addresses of all kinds: without a transfer, which all of us compute to the
/// same bits.
pub fn exact() -> Vec<Case> {
    let mut numbers = Numbers(1);
    let plain = |options: &Options| options.transfer == Transfer::Passthrough;
    let some: Vec<_> = options().into_iter().filter(plain).collect();
    let mut all = Vec::new();
    for conversion in conversions() {
        all.push(Case::new(conversion, &mut numbers));
        let lit = conversion.with(numbers.of(&some));
        all.push(Case::new(lit, &mut numbers));
    }
    all
}

/// Each set of options that has a transfer, with conversions that take turns.
pub fn transferred() -> Vec<Case> {
    let mut numbers = Numbers(2);
    let conversions = conversions();
    let mut all = Vec::new();
    for options in options().into_iter().filter(|options| options.transfer != Transfer::Passthrough) {
        for _ in 0..60 {
            let conversion = numbers.of(&conversions).with(options);
            all.push(Case::new(conversion, &mut numbers));
        }
    }
    all
}

impl Case {
    fn new(conversion: Conversion, numbers: &mut Numbers) -> Self {
        let width = numbers.of(&[1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 257]);
        let height = numbers.of(&[1, 2, 3, 4, 5]);
        let conversion = conversion.flipped(numbers.next().is_multiple_of(2));
        let (src, dst) = conversion.planes(width, height);
        let mut pitch = |plane: Option<PlaneSize>| match plane {
            None => 0,
            Some(PlaneSize { row_bytes, align, .. }) => {
                let padded =
                    [row_bytes, row_bytes.next_multiple_of(64), row_bytes + align, row_bytes.next_multiple_of(4)];
                numbers.of(&padded).next_multiple_of(align)
            }
        };
        let (src_pitch, dst_pitch) = (src.map(&mut pitch), dst.map(&mut pitch));
        let [src_align, dst_align] = [src, dst].map(|planes| planes.iter().flatten().map(|plane| plane.align).max());
        let at = [src_align, dst_align].map(|align| numbers.of(&[0, 0, 1, 4, 8]) * align.unwrap_or(1));
        let sample = match conversion.direction() {
            Direction::ToPicture => conversion.wire().sample,
            Direction::ToWire => WireSample::U8,
        };
        let sizes = lengths(src, src_pitch);
        let src = sizes.into_iter().filter(|size| *size > 0).map(|size| numbers.samples(sample, size)).collect();
        Self { conversion, width, height, src, src_pitch, dst_pitch, at }
    }

    pub fn dst_lengths(&self) -> [usize; 2] {
        lengths(self.conversion.planes(self.width, self.height).1, self.dst_pitch)
    }

    /// What the processor makes of it: planes of the destination, one after the other.
    pub fn converted(&self) -> Vec<u8> {
        let [first, second] = self.dst_lengths();
        let mut out = vec![UNTOUCHED; first + second];
        let (one, two) = out.split_at_mut(first);
        let src: Vec<_> = self.src.iter().zip(self.src_pitch).map(|(bytes, pitch)| Plane { bytes, pitch }).collect();
        let mut dst = vec![PlaneMut { bytes: one, pitch: self.dst_pitch[0] }];
        if second > 0 {
            dst.push(PlaneMut { bytes: two, pitch: self.dst_pitch[1] });
        }
        FrameConverter::new(&self.conversion, self.width, self.height).convert(&src, &mut dst).unwrap();
        out
    }
}

fn lengths(planes: [Option<PlaneSize>; 2], pitches: [usize; 2]) -> [usize; 2] {
    let [(a, b), (c, d)] = [(planes[0], pitches[0]), (planes[1], pitches[1])];
    [(a, b), (c, d)].map(|(plane, pitch)| plane.map_or(0, |plane| (plane.rows - 1) * pitch + plane.row_bytes))
}

/// Samples of a wire that is written.
fn written(case: &Case) -> Option<SampleType> {
    (case.conversion.direction() == Direction::ToWire).then(|| case.conversion.wire().sample.plain())?
}

/// Numbers that a destination holds, as far as pixels of `case` have any.
fn numbers(case: &Case, bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    match (written(case), case.conversion.picture()) {
        (Some(SampleType::F32), _) => words.map(f32::from_bits).collect(),
        (Some(SampleType::F16), _) => pairs.map(|bits| half::f16::from_bits(bits).to_f32()).collect(),
        (Some(SampleType::U16), _) => pairs.map(f32::from).collect(),
        (Some(SampleType::U8), _) => bytes.iter().copied().map(f32::from).collect(),
        (None, Picture::P010(_)) => pairs.map(|bits| f32::from(bits >> 6)).collect(),
        (None, Picture::Rgb10A2) => {
            words.flat_map(|word| [0, 10, 20, 30].map(|shift| (word >> shift & 1023) as f32)).collect()
        }
        (None, _) => bytes.iter().copied().map(f32::from).collect(),
    }
}

/// Checks that all numbers are within one code, or the same but for what two powers may differ by.
pub fn near(case: &Case, theirs: &[u8]) {
    let ours = case.converted();
    assert_eq!(ours.len(), theirs.len());
    let (ours, theirs) = (numbers(case, &ours), numbers(case, theirs));
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let room = match written(case) {
            Some(SampleType::F32) => 2e-5 * theirs.abs().max(1.0),
            // One half further, or two that round apart.
            Some(SampleType::F16) => 1e-3 * theirs.abs() + 2e-5,
            _ => 1.0,
        };
        let near = (ours - theirs).abs() <= room || ours == theirs || (ours.is_nan() && theirs.is_nan());
        assert!(near, "{}: number {at} is {ours}, not {theirs}", describe(case));
    }
}

/// Checks that all bits are the same.
pub fn same(case: &Case, theirs: &[u8]) {
    let ours = case.converted();
    if ours != *theirs {
        let differ = |at: &usize| ours[*at] != theirs[*at];
        let at = (0..ours.len()).find(differ).unwrap_or(ours.len());
        let number = (0..ours.len()).filter(differ).count();
        panic!("{}: {number} bytes differ, byte {at} is {}, not {}", describe(case), ours[at], theirs[at]);
    }
}

fn describe(case: &Case) -> String {
    let Case { conversion, width, height, src_pitch, dst_pitch, at, .. } = case;
    format!("{conversion:?}, {width}×{height}, pitches {src_pitch:?} {dst_pitch:?}, addresses {at:?}")
}
