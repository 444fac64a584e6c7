// SPDX-License-Identifier: MPL-2.0
//! Transfer functions against the standards' own words, in `f64`.

use super::*;

fn srgb_encode(v: f64) -> f64 {
    v.signum() * if v.abs() <= 0.0031308 { 12.92 * v.abs() } else { 1.055 * v.abs().powf(1.0 / 2.4) - 0.055 }
}

fn srgb_decode(v: f64) -> f64 {
    v.signum() * if v.abs() <= 0.04045 { v.abs() / 12.92 } else { ((v.abs() + 0.055) / 1.055).powf(2.4) }
}

fn pq(nits: f64) -> f64 {
    let (m1, m2) = (0.1593017578125, 78.84375);
    let (c1, c2, c3) = (0.8359375, 18.8515625, 18.6875);
    let y = (nits.clamp(0.0, 10000.0) / 10000.0).powf(m1);
    ((c1 + c2 * y) / (1.0 + c3 * y)).powf(m2)
}

fn hlg(nits: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = nits.map(|v| v.clamp(0.0, 10000.0) / 1000.0);
    let luminance = 0.2627 * r + 0.6780 * g + 0.0593 * b;
    [r, g, b].map(|v| {
        let scene = if luminance == 0.0 { 0.0 } else { luminance.powf((1.0 - 1.2) / 1.2) * v };
        let (a, b, c) = (0.17883277, 0.28466892, 0.55991073);
        if scene <= 1.0 / 12.0 { (3.0 * scene).sqrt() } else { a * (12.0 * scene - b).ln() + c }
    })
}

fn expected(transfer: Transfer, white: f64, rgb: [f64; 3]) -> [f64; 3] {
    match transfer {
        Transfer::Passthrough => rgb,
        Transfer::LinearToSrgb => rgb.map(srgb_encode),
        Transfer::SrgbToLinear => rgb.map(srgb_decode),
        Transfer::LinearToPq => rgb.map(|v| pq(v * white)),
        Transfer::LinearToHlg => hlg(rgb.map(|v| v * white)),
    }
}

fn rgb_of(sample: SampleType) -> PixelFormat {
    PixelFormat::new(sample, 3, ChannelOrder::Rgba).unwrap()
}

/// Converts pixels to every sample type and holds them against the formulas: at most one code of 8 or 16 bits.
fn compare(sample: SampleType, transfer: Transfer, white: f32, src: &[u8]) {
    let options = Options { transfer, reference_white: white, ..Options::default() };
    let size = sample.bytes();
    for to in SampleType::ALL {
        let mut dst = vec![0; src.len() / size * to.bytes()];
        Converter::new(rgb_of(sample), rgb_of(to), options).row(src, &mut dst).unwrap();
        for (src, dst) in src.chunks(size * 3).zip(dst.chunks(to.bytes() * 3)) {
            let read: Vec<f64> = src.chunks(size).map(|v| Value::read(v, sample).float().into()).collect();
            let expected = expected(transfer, white.into(), [read[0], read[1], read[2]]);
            for (found, expected) in dst.chunks(to.bytes()).zip(expected) {
                let found = Value::read(found, to);
                let close = match found {
                    Value::Code(code, max) => {
                        (code as f64 - (expected.clamp(0.0, 1.0) * max as f64).round()).abs() <= 1.0
                    }
                    Value::Float(value) => {
                        let rounding = if to == SampleType::F16 { 2f64.powi(-11) } else { 0.0 };
                        let error = (f64::from(value) - expected).abs();
                        error <= (0.5 / 65535.0 + rounding) * expected.abs().max(1.0) || expected.abs() > 65519.0
                    }
                };
                assert!(close, "{transfer:?} {sample} to {to}: {read:?} became {found:?} instead of {expected}");
            }
        }
    }
}

#[test]
fn every_code_is_within_one_of_the_formula() {
    let grey = |v: u16, sample| Value::Code(v.into(), 255).write(sample).repeat(3);
    let eight: Vec<u8> = (0..=255).flat_map(|v| grey(v, SampleType::U8)).collect();
    let step = if cfg!(miri) { 16_381 } else { 1 };
    let sixteen: Vec<u8> = (0..=65535u16).step_by(step).flat_map(|v| v.to_le_bytes().repeat(3)).collect();
    for transfer in Transfer::ALL {
        compare(SampleType::U8, transfer, 203.0, if cfg!(miri) { &eight[..12] } else { &eight });
        compare(SampleType::U16, transfer, 203.0, &sixteen);
        compare(SampleType::U16, transfer, 10_000.0, &sixteen);
    }
}

#[test]
fn floats_dark_bright_and_negative_are_within_one_code_of_the_formula() {
    let count = if cfg!(miri) { 9 } else { 30_000 };
    let mut numbers = Numbers(5);
    let mut src = Vec::new();
    for i in 0..count {
        let sign = if i % 16 == 0 { -1.0 } else { 1.0 };
        let exponent = (numbers.next() % 50_000) as f64 / 1000.0 - 38.0; // 2⁻³⁸ to 4096
        src.extend((sign * exponent.exp2() as f32).to_le_bytes());
    }
    src.truncate(src.len() / 12 * 12);
    for transfer in Transfer::ALL {
        for white in [1.0, 100.0, 203.0, 1000.0] {
            compare(SampleType::F32, transfer, white, &src);
        }
    }
}

fn one(transfer: Transfer, white: f32, rgb: [f32; 3]) -> [f32; 3] {
    let single = rgb_of(SampleType::F32);
    let mut dst = [0; 12];
    let options = Options { transfer, reference_white: white, ..Options::default() };
    let src = rgb.map(f32::to_le_bytes).concat();
    Converter::new(single, single, options).row(&src, &mut dst).unwrap();
    let [r, g, b] = *dst.as_chunks::<4>().0 else { unreachable!() };
    [r, g, b].map(f32::from_le_bytes)
}

#[test]
fn reference_white_is_58_percent_of_pq_and_75_percent_of_hlg() {
    // ITU-R BT.2408, table 1: HDR reference white, 203 nits.
    for v in one(Transfer::LinearToPq, 203.0, [1.0; 3]) {
        assert_eq!((v * 100.0).round(), 58.0);
    }
    for v in one(Transfer::LinearToHlg, 203.0, [1.0; 3]) {
        assert_eq!((v * 100.0).round(), 75.0);
    }
    // The same table: 100 % is 1000 nits of HLG; PQ's 100 % is 10 000 nits; 100 nits are 50.8 % of PQ.
    assert!((one(Transfer::LinearToHlg, 1000.0, [1.0; 3])[0] - 1.0).abs() < 1e-6);
    assert!((one(Transfer::LinearToPq, 1000.0, [10.0; 3])[0] - 1.0).abs() < 2e-6);
    assert!((one(Transfer::LinearToPq, 100.0, [1.0; 3])[0] - 0.508_078).abs() < 1e-5);
}

#[test]
fn values_above_one_enter_unclamped_and_leave_clamped() {
    let four = one(Transfer::LinearToPq, 203.0, [4.0, 1.0, 1.0]);
    assert!((f64::from(four[0]) - pq(812.0)).abs() < 1e-5);
    assert!(four[0] > four[1]);
    assert!((one(Transfer::LinearToSrgb, 203.0, [2.0; 3])[0] - 1.353_256).abs() < 1e-5);
    let (single, codes) = (rgb_of(SampleType::F32), rgb_of(SampleType::U8));
    let mut dst = [0; 3];
    let src = [2.0f32, -2.0, f32::NAN].map(f32::to_le_bytes).concat();
    let options = Options { transfer: Transfer::LinearToSrgb, ..Options::default() };
    Converter::new(single, codes, options).row(&src, &mut dst).unwrap();
    assert_eq!(dst, [255, 0, 0]);
}

#[test]
fn what_is_no_light_is_black_or_the_brightest() {
    for transfer in [Transfer::LinearToPq, Transfer::LinearToHlg] {
        let black = one(transfer, 203.0, [0.0; 3]);
        assert!(black[0] < 0.01 / 255.0);
        assert_eq!(one(transfer, 203.0, [f32::NAN, -1.0, f32::NEG_INFINITY]), black);
        let brightest = one(transfer, 203.0, [10_000.0 / 203.0; 3]);
        let beyond = one(transfer, 203.0, [f32::INFINITY, f32::MAX, 100.0]);
        assert!(beyond.iter().zip(brightest).all(|(v, most)| (v - most).abs() < 1e-5), "{beyond:?}");
    }
    for transfer in [Transfer::LinearToSrgb, Transfer::SrgbToLinear] {
        let [plus, minus, nan] = one(transfer, 203.0, [f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
        assert!(plus == f32::INFINITY && minus == f32::NEG_INFINITY && nan.is_nan(), "{transfer:?}");
    }
}

#[test]
fn a_senseless_reference_white_is_brought_into_range() {
    let pq_of = |white| one(Transfer::LinearToPq, white, [1.0; 3])[0];
    assert_eq!(pq_of(f32::NAN), pq_of(203.0));
    assert_eq!(pq_of(-5.0), pq_of(1.0));
    assert_eq!(pq_of(f32::INFINITY), pq_of(10_000.0));
}

#[test]
fn srgb_there_and_back_is_where_it_was() {
    let (eight, single) = (rgb_of(SampleType::U8), rgb_of(SampleType::F32));
    let src: Vec<u8> = (0..=255).flat_map(|v| [v, v, v]).collect();
    let src = if cfg!(miri) { &src[..60] } else { &src[..] };
    let (mut linear, mut back) = (vec![0; src.len() * 4], vec![0; src.len()]);
    let options = |transfer| Options { transfer, ..Options::default() };
    Converter::new(eight, single, options(Transfer::SrgbToLinear)).row(src, &mut linear).unwrap();
    Converter::new(single, eight, options(Transfer::LinearToSrgb)).row(&linear, &mut back).unwrap();
    assert_eq!(back, src);
}

#[test]
fn alpha_is_divided_before_and_multiplied_after_and_never_transferred() {
    let single = PixelFormat::new(SampleType::F32, 4, ChannelOrder::Bgra).unwrap();
    let convert = |alpha| {
        let mut dst = [0; 16];
        let options = Options { alpha, transfer: Transfer::LinearToSrgb, ..Options::default() };
        let src = [0.25f32, 0.125, 0.0, 0.5].map(f32::to_le_bytes).concat();
        Converter::new(single, single, options).row(&src, &mut dst).unwrap();
        let [b, g, r, a] = *dst.as_chunks::<4>().0 else { unreachable!() };
        [b, g, r, a].map(f32::from_le_bytes)
    };
    let near = |found: [f32; 4], expected: [f64; 4]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{found:?} {expected:?}");
    };
    let curve = srgb_encode;
    near(convert(Alpha::Passthrough), [curve(0.25), curve(0.125), 0.0, 0.5]);
    near(convert(Alpha::Opaque), [curve(0.25), curve(0.125), 0.0, 1.0]);
    near(convert(Alpha::PremultipliedToStraight), [curve(0.5), curve(0.25), 0.0, 0.5]);
    near(convert(Alpha::StraightToPremultiplied), [curve(0.25) / 2.0, curve(0.125) / 2.0, 0.0, 0.5]);
}
