// SPDX-License-Identifier: MPL-2.0
//! The converter against a second, slow implementation that knows only the meaning.

mod frames;
mod transfer;

use proptest::prelude::*;

use super::*;

/// SplitMix64: the same numbers on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One sample: for floats mostly of 0..1, otherwise anything that a float can be.
    fn sample(&mut self, sample: SampleType) -> Vec<u8> {
        const ODD: [f32; 14] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e-40,
            -1e-40,
            f32::MIN_POSITIVE,
            6e-8,
            -0.0,
            -0.25,
            1.0,
            1.5,
            3.0e5,
            f32::MAX,
            0.5,
        ];
        let random = self.next();
        let unit = (random >> 40) as f32 / (1 << 24) as f32;
        let float = match random % 8 {
            0 => ODD[(random >> 8) as usize % ODD.len()],
            1 => f32::from_bits((random >> 32) as u32),
            _ => unit,
        };
        match sample {
            SampleType::U8 => vec![random as u8],
            SampleType::U16 => (random as u16).to_le_bytes().to_vec(),
            SampleType::F16 if random.is_multiple_of(8) => ((random >> 16) as u16).to_le_bytes().to_vec(),
            SampleType::F16 => half_from(float).to_le_bytes().to_vec(),
            SampleType::F32 => float.to_le_bytes().to_vec(),
        }
    }

    fn row(&mut self, format: PixelFormat, width: usize) -> Vec<u8> {
        (0..width * usize::from(format.channels)).flat_map(|_| self.sample(format.sample)).collect()
    }
}

/// IEEE 754 binary16 as a number, from its definition.
fn number_of_half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (u64::from(bits >> 10 & 31), f64::from(bits & 1023));
    // Not `powi`, which need not be exact.
    let two_to = |exponent: u64| f64::from_bits((exponent + 1023 - 15) << 52);
    sign * match exponent {
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        0 => mantissa / 1024.0 * two_to(1),
        _ => (1.0 + mantissa / 1024.0) * two_to(exponent),
    }
}

/// The half nearest to `value`, ties to even: by looking for it among all of them.
fn half_from(value: f32) -> u16 {
    let sign = ((value.to_bits() >> 31) as u16) << 15;
    let value = f64::from(value.abs());
    if value.is_nan() {
        return sign | 0x7e00;
    }
    // Positive halves are ordered as their bits; what would be the next after the largest is 65536.
    let (mut low, mut high) = (0u16, 0x7c00u16);
    let number = |bits: u16| if bits == 0x7c00 { 65536.0 } else { number_of_half(bits) };
    while high - low > 1 {
        let middle = low.midpoint(high);
        if number(middle) <= value { low = middle } else { high = middle }
    }
    let (below, above) = (value - number(low), number(high) - value);
    let up = above < below || (above == below && low % 2 == 1);
    sign | if up { high } else { low }
}

/// A component: a code with its maximum, or a float.
#[derive(Debug, Clone, Copy)]
enum Value {
    Code(u64, u64),
    Float(f32),
}

impl Value {
    fn read(bytes: &[u8], sample: SampleType) -> Self {
        match (sample, bytes) {
            (SampleType::U8, &[a]) => Self::Code(a.into(), 255),
            (SampleType::U16, &[a, b]) => Self::Code(u16::from_le_bytes([a, b]).into(), 65535),
            (SampleType::F16, &[a, b]) => Self::Float(number_of_half(u16::from_le_bytes([a, b])) as f32),
            (SampleType::F32, &[a, b, c, d]) => Self::Float(f32::from_le_bytes([a, b, c, d])),
            _ => unreachable!("{} bytes of {sample}", bytes.len()),
        }
    }

    fn float(self) -> f32 {
        match self {
            Self::Code(code, max) => (code as f64 / max as f64) as f32,
            Self::Float(value) => value,
        }
    }

    fn code(self, to: u64) -> u64 {
        match self {
            Self::Code(code, max) => (2 * code * to + max) / (2 * max),
            Self::Float(value) if value.is_nan() => 0,
            Self::Float(value) => (value.clamp(0.0, 1.0) * to as f32).round_ties_even() as u64,
        }
    }

    fn write(self, sample: SampleType) -> Vec<u8> {
        match sample {
            SampleType::U8 => vec![self.code(255) as u8],
            SampleType::U16 => (self.code(65535) as u16).to_le_bytes().to_vec(),
            SampleType::F16 => half_from(self.float()).to_le_bytes().to_vec(),
            SampleType::F32 => self.float().to_le_bytes().to_vec(),
        }
    }
}

/// What a row becomes, one pixel after the other.
fn reference(from: PixelFormat, to: PixelFormat, options: Options, src: &[u8]) -> Vec<u8> {
    const ZERO: Value = Value::Code(0, 255);
    const MAX: Value = Value::Code(255, 255);
    let mut dst = Vec::new();
    for pixel in src.chunks(from.bytes()) {
        let read: Vec<_> = pixel.chunks(from.sample.bytes()).map(|v| Value::read(v, from.sample)).collect();
        let [mut r, mut g, mut b, mut a] = match read[..] {
            [v] => [v, v, v, MAX],
            [r, g] => [r, g, ZERO, MAX],
            [r, g, b] => [r, g, b, MAX],
            [r, g, b, a] => [r, g, b, a],
            _ => unreachable!(),
        };
        if from.order == ChannelOrder::Bgra && from.channels >= 3 {
            (r, b) = (b, r);
        }
        if from.fourth == Fourth::Padding {
            a = MAX;
        }
        let each = |f: &dyn Fn(f32, f32) -> f32| [r, g, b].map(|v| Value::Float(f(v.float(), a.float())));
        match options.alpha {
            Alpha::Passthrough => {}
            Alpha::Opaque => a = MAX,
            _ if from.channels < 4 || from.fourth == Fourth::Padding => {}
            Alpha::PremultipliedToStraight => [r, g, b] = each(&|v, a| if a > 0.0 { v / a } else { 0.0 }),
            Alpha::StraightToPremultiplied => [r, g, b] = each(&|v, a| v * a),
        }
        if to.fourth == Fourth::Padding {
            a = MAX;
        }
        if to.order == ChannelOrder::Bgra && to.channels >= 3 {
            (r, b) = (b, r);
        }
        for value in &[r, g, b, a][..usize::from(to.channels)] {
            dst.extend(value.write(to.sample));
        }
    }
    dst
}

/// Every format there is.
fn formats() -> Vec<PixelFormat> {
    let mut all = Vec::new();
    for sample in SampleType::ALL {
        for channels in 1..=4 {
            for order in [ChannelOrder::Rgba, ChannelOrder::Bgra] {
                let format = PixelFormat::new(sample, channels, order).unwrap();
                all.push(format);
                if channels == 4 {
                    all.push(PixelFormat { fourth: Fourth::Padding, ..format });
                }
            }
        }
    }
    all
}

/// Every pair of formats; under Miri, which is slow, each `few`th.
fn pairs(few: usize) -> impl Iterator<Item = (PixelFormat, PixelFormat)> {
    let all = formats().into_iter().flat_map(|from| formats().into_iter().map(move |to| (from, to)));
    all.step_by(if cfg!(miri) { few } else { 1 })
}

/// Every set of instructions that this machine could be dispatched to.
fn levels() -> Vec<Level> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    {
        use fearless_simd::Simd;
        let better = [best.as_sse4_2().map(Simd::level), best.as_avx2().map(Simd::level)];
        [Level::baseline(), best].into_iter().chain(better.into_iter().flatten()).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![best]
}

/// Any NaN is as good as any other.
fn same(sample: SampleType, a: &[u8], b: &[u8]) -> bool {
    let nan = |v: &[u8]| matches!(Value::read(v, sample), Value::Float(v) if v.is_nan());
    let size = sample.bytes();
    a.len() == b.len() && a.chunks(size).zip(b.chunks(size)).all(|(a, b)| a == b || (nan(a) && nan(b)))
}

fn check(from: PixelFormat, to: PixelFormat, options: Options, src: &[u8]) {
    let (pixels, bytes) = (src.len() / from.bytes(), to.bytes());
    let expected = reference(from, to, options, src);
    let mut converter = Converter::new(from, to, options);
    for level in levels() {
        let mut dst = vec![0x5a; pixels * bytes];
        converter.level = level;
        converter.row(src, &mut dst).unwrap();
        if !same(to.sample, &expected, &dst) {
            let pixel = |row: &[u8], at: usize, size: usize| row[at * size..][..size].to_vec();
            let at = (0..pixels).find(|at| pixel(&expected, *at, bytes) != pixel(&dst, *at, bytes)).unwrap();
            panic!(
                "{from} to {to}, {:?}, {level:?}: pixel {at} of {pixels}, {:?}, became {:?} instead of {:?}",
                options.alpha,
                pixel(src, at, from.bytes()),
                pixel(&dst, at, bytes),
                pixel(&expected, at, bytes)
            );
        }
    }
}

#[test]
fn every_pair_of_formats_converts_as_its_meaning_says() {
    let mut numbers = Numbers(1);
    for (i, (from, to)) in pairs(67).enumerate() {
        let wide = if cfg!(miri) || i % 7 != 0 { 9 } else { 1921 };
        let widths = if cfg!(miri) { &[3, 17][..] } else { &[1, 3, 17, 257, wide] };
        for width in widths {
            check(from, to, Options::default(), &numbers.row(from, *width));
        }
    }
}

#[test]
fn alpha_is_filled_divided_and_multiplied_as_its_meaning_says() {
    let mut numbers = Numbers(2);
    for (from, to) in pairs(101) {
        let src = numbers.row(from, if cfg!(miri) { 5 } else { 259 });
        for alpha in [Alpha::Opaque, Alpha::PremultipliedToStraight, Alpha::StraightToPremultiplied] {
            check(from, to, Options { alpha, ..Options::default() }, &src);
        }
    }
}

#[test]
fn eight_bit_premultiplication_is_the_nearest_code() {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    let options = Options { alpha: Alpha::StraightToPremultiplied, ..Options::default() };
    let mut converter = Converter::new(format, format, options);
    for alpha in (0..=255).step_by(if cfg!(miri) { 51 } else { 1 }) {
        let src: Vec<u8> = (0..=255).flat_map(|v| [v, 255 - v, v, alpha]).collect();
        let mut dst = vec![0; 1024];
        converter.row(&src, &mut dst).unwrap();
        for (src, dst) in src.chunks(4).zip(dst.chunks(4)) {
            let expected = |v: u8| ((2 * u32::from(v) * u32::from(alpha) + 255) / 510) as u8;
            assert_eq!(dst, [expected(src[0]), expected(src[1]), expected(src[2]), alpha]);
        }
    }
}

#[test]
fn a_copy_is_what_leaves_every_byte_as_it_is() {
    let every = [Alpha::Passthrough, Alpha::Opaque, Alpha::PremultipliedToStraight, Alpha::StraightToPremultiplied];
    let mut numbers = Numbers(3);
    for (from, to) in pairs(149) {
        // No two components are the same, none is maximum, and no 16-bit code is twice the same byte.
        let value = |i: u8| match from.sample {
            SampleType::U8 => Value::Code(i.into(), 255),
            SampleType::U16 => Value::Code(u64::from(i) * 257 + 1, 65535),
            SampleType::F16 | SampleType::F32 => Value::Float(f32::from(i) / 250.0),
        };
        let src: Vec<u8> = (0..12 * from.channels).flat_map(|i| value(i).write(from.sample)).collect();
        for alpha in every {
            let options = Options { alpha, ..Options::default() };
            let mut converter = Converter::new(from, to, options);
            assert_eq!(converter.is_copy(), reference(from, to, options, &src) == src, "{from} to {to}, {alpha:?}");
            if converter.is_copy() {
                let src = numbers.row(from, 33);
                let mut dst = vec![0; src.len()];
                converter.row(&src, &mut dst).unwrap();
                assert_eq!(dst, src, "{from} to {to}, {alpha:?}");
            }
        }
    }
}

#[test]
fn half_and_quarter_codes_have_known_values() {
    let rgba = |sample| PixelFormat::new(sample, 4, ChannelOrder::Rgba).unwrap();
    let convert = |from, to, src: &[u8]| {
        let mut dst = vec![0; src.len() / rgba(from).bytes() * rgba(to).bytes()];
        Converter::new(rgba(from), rgba(to), Options::default()).row(src, &mut dst).unwrap();
        dst
    };
    let halves = [0x3800u16, 0x3400, 0x3c00, 0x7e00].map(u16::to_le_bytes).concat(); // 0.5, 0.25, 1, NaN
    assert_eq!(convert(SampleType::F16, SampleType::U8, &halves), [128, 64, 255, 0]);
    let codes = convert(SampleType::F16, SampleType::U16, &halves);
    assert_eq!(codes, [32768u16, 16384, 65535, 0].map(u16::to_le_bytes).concat());
    let floats = convert(SampleType::U8, SampleType::F32, &[0, 51, 128, 255]);
    assert_eq!(floats, [0.0f32, 0.2, 128.0 / 255.0, 1.0].map(f32::to_le_bytes).concat());
    let wide = [128u16, 129, 32896, 65407].map(u16::to_le_bytes).concat();
    assert_eq!(convert(SampleType::U16, SampleType::U8, &wide), [0, 1, 128, 255]);
}

#[test]
fn half_to_single_and_back_loses_nothing() {
    let half = PixelFormat::new(SampleType::F16, 1, ChannelOrder::Rgba).unwrap();
    let single = PixelFormat::new(SampleType::F32, 1, ChannelOrder::Rgba).unwrap();
    let step = if cfg!(miri) { 1023 } else { 1 };
    let src: Vec<u8> = (0..=u16::MAX).step_by(step).flat_map(u16::to_le_bytes).collect();
    let (mut wide, mut back) = (vec![0; src.len() * 2], vec![0; src.len()]);
    Converter::new(half, single, Options::default()).row(&src, &mut wide).unwrap();
    Converter::new(single, half, Options::default()).row(&wide, &mut back).unwrap();
    assert!(same(SampleType::F16, &src, &back));
}

#[test]
fn a_row_of_the_wrong_length_is_refused_and_nothing_is_written() {
    let from = PixelFormat::new(SampleType::U16, 3, ChannelOrder::Rgba).unwrap();
    let to = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
    let mut converter = Converter::new(from, to, Options::default());
    let mut dst = [7; 8];
    assert_eq!(converter.row(&[0; 13], &mut dst), Err(RowError::PartialPixel { found: 13, pixel: 6 }));
    let error = RowError::DestinationLength { found: 8, expected: 12, pixels: 3 };
    assert_eq!(converter.row(&[0; 18], &mut dst), Err(error));
    assert_eq!(error.to_string(), "the destination row has 8 bytes, but 3 pixels take 12");
    let error = RowError::DestinationLength { found: 7, expected: 4, pixels: 1 };
    assert_eq!(converter.row(&[0; 6], &mut dst[..7]), Err(error));
    assert_eq!(dst, [7; 8]);
    assert_eq!(converter.row(&[], &mut []), Ok(()));
}

#[test]
fn a_row_allocates_nothing() {
    let mut numbers = Numbers(4);
    for (from, to) in pairs(61) {
        let src = numbers.row(from, if cfg!(miri) { 3 } else { 300 });
        for transfer in Transfer::ALL {
            let mut dst = vec![0; src.len() / from.bytes() * to.bytes()];
            let mut converter = Converter::new(from, to, Options { transfer, ..Options::default() });
            let counted = allocation_counter::measure(|| converter.row(&src, &mut dst).unwrap());
            assert_eq!(counted.count_total, 0, "{from} to {to}, {transfer:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn pieces_of_a_row_become_what_the_row_becomes_on_any_processor(
        from in prop::sample::select(formats()),
        to in prop::sample::select(formats()),
        alpha in prop::sample::select(vec![Alpha::Passthrough, Alpha::Opaque, Alpha::StraightToPremultiplied]),
        transfer in prop::sample::select(Transfer::ALL.to_vec()),
        seed: u64,
        width in 1..600usize,
        piece in 1..300usize,
    ) {
        let width = if cfg!(miri) { width % 20 + 1 } else { width };
        let src = Numbers(seed).row(from, width);
        let mut converter = Converter::new(from, to, Options { alpha, transfer, ..Options::default() });
        let mut whole = vec![0; width * to.bytes()];
        converter.row(&src, &mut whole).unwrap();
        let mut pieces = vec![0xff; width * to.bytes()];
        for (src, dst) in src.chunks(piece * from.bytes()).zip(pieces.chunks_mut(piece * to.bytes())) {
            converter.row(src, dst).unwrap();
        }
        prop_assert!(same(to.sample, &whole, &pieces));
        for level in levels() {
            converter.level = level;
            converter.row(&src, &mut pieces).unwrap();
            prop_assert!(same(to.sample, &whole, &pieces), "{:?}", level);
        }
    }
}
