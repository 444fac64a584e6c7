// SPDX-License-Identifier: MPL-2.0
//! What headerless bytes could be: neighbouring pixels of a picture are alike, and so are neighbouring rows, where width
//! and pixel are the right ones.

use half::f16;

use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};

/// A geometry that headerless bytes could have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// The frame; order and origin are TouchDesigner's, since nothing tells them.
    pub desc: FrameDesc,
    /// How unlike neighbours are, compared with pixels far apart: 0 for a smooth picture, about 1 for noise and for a wrong
    /// geometry. `None`: the bytes are all alike, so that nothing speaks for or against it.
    pub unlikeness: Option<f32>,
}

/// Sides that pictures have often.
const USUAL: [(u32, u32); 19] = [
    (1920, 1080),
    (1280, 720),
    (3840, 2160),
    (4096, 2160),
    (7680, 4320),
    (2560, 1440),
    (1920, 1200),
    (1280, 1280),
    (1024, 768),
    (800, 600),
    (640, 480),
    (640, 360),
    (320, 240),
    (256, 256),
    (512, 512),
    (1024, 1024),
    (2048, 2048),
    (4096, 4096),
    (1080, 1920),
];
/// Bytes of a page: where sections are seen in whole pages, up to so many bytes at the end are nobody's.
const PAGE: usize = 4096;
/// Pixels that are looked at for each candidate.
const SAMPLES: usize = 1500;
/// Sides that are believed without being usual.
const SIDES: std::ops::RangeInclusive<usize> = 16..=16_384;
/// Longest side to the other.
const ASPECT: usize = 5;
/// Below this all pixels are one colour.
const FLAT: f32 = 1e-4;

/// The likeliest geometries of `bytes`, the best first, at most `most`.
pub fn geometries(bytes: &[u8], most: usize) -> Vec<Guess> {
    let mut guesses: Vec<(f32, Guess)> = Vec::new();
    for sample in SampleType::ALL {
        for channels in [4, 3, 1, 2] {
            let Some(format) = PixelFormat::new(sample, channels, ChannelOrder::Rgba) else { continue };
            for (width, height) in sides(bytes.len(), format.bytes()) {
                let desc = FrameDesc { width, height, format, origin: Origin::BottomLeft };
                let Some(unlikeness) = unlikeness(bytes, &desc) else { continue };
                let guess = Guess { desc, unlikeness: (unlikeness >= 0.0).then_some(unlikeness) };
                guesses.push((rank(&guess), guess));
            }
        }
    }
    guesses.sort_by(|a, b| a.0.total_cmp(&b.0));
    guesses.into_iter().take(most).map(|(_, guess)| guess).collect()
}

/// Width and height that use the bytes up, and usual ones that do so but for the rest of a page.
fn sides(len: usize, pixel: usize) -> Vec<(u32, u32)> {
    let pixels = len / pixel;
    let mut sides = Vec::new();
    if len.is_multiple_of(pixel) {
        let most = pixels.isqrt();
        let pairs = (1..=most).filter(|side| pixels.is_multiple_of(*side)).map(|side| (side, pixels / side));
        let known = pairs.filter(|(a, b)| SIDES.contains(a) && SIDES.contains(b) && *b <= ASPECT * *a);
        sides.extend(known.flat_map(|(a, b)| [(b as u32, a as u32), (a as u32, b as u32)]));
    }
    let fits = |&(width, height): &(u32, u32)| {
        let needed = width as usize * height as usize * pixel;
        needed <= len && len - needed < PAGE
    };
    sides.extend(USUAL.into_iter().filter(fits));
    sides.sort_unstable();
    sides.dedup();
    sides
}

/// Smaller is better. Among equals what TouchDesigner sends most comes first.
fn rank(guess: &Guess) -> f32 {
    let PixelFormat { sample, channels, .. } = guess.desc.format;
    let usual = if USUAL.contains(&(guess.desc.width, guess.desc.height)) { 0.7 } else { 1.0 };
    // A byte order or type that is not there must explain much more than the usual one.
    let sample = match sample {
        SampleType::U8 => 1.0,
        SampleType::U16 => 1.8,
        SampleType::F16 => 1.7,
        SampleType::F32 => 1.5,
    };
    let channels = [1.05, 1.3, 1.05, 1.0][usize::from(channels.clamp(1, 4)) - 1];
    (guess.unlikeness.unwrap_or(0.0) + 0.02) * usual * sample * channels
}

/// See [`Guess::unlikeness`]; negative when everything is alike, `None` when the bytes cannot be such samples.
fn unlikeness(bytes: &[u8], desc: &FrameDesc) -> Option<f32> {
    let (width, height) = (desc.width as usize, desc.height as usize);
    let (pixel, row) = (desc.format.bytes(), desc.row_bytes());
    let (mut near, mut far) = (0.0f64, 0.0f64);
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        // xorshift: the same places each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % below.max(1)
    };
    for _ in 0..SAMPLES {
        let (x, y) = (random(width - 1), random(height - 1));
        let at = y * row + x * pixel;
        let other = random(height) * row + random(width) * pixel;
        for channel in 0..usize::from(desc.format.channels) {
            let offset = channel * desc.format.sample.bytes();
            let value = |at: usize| value(bytes, at + offset, desc.format.sample);
            let here = value(at)?;
            near += f64::from((here - value(at + pixel)?).abs() + (here - value(at + row)?).abs()) / 2.0;
            far += f64::from((here - value(other)?).abs());
        }
    }
    let samples = (SAMPLES * usize::from(desc.format.channels)) as f64;
    if (far / samples) < f64::from(FLAT) {
        return Some(-1.0);
    }
    Some((near / far) as f32)
}

/// A sample, its maximum being 1.0; `None` for what no picture has.
fn value(bytes: &[u8], at: usize, sample: SampleType) -> Option<f32> {
    let two = || Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let seen = |value: f32| (value == 0.0 || (1e-5..=64.0).contains(&value.abs())).then_some(value.clamp(-4.0, 4.0));
    match sample {
        SampleType::U8 => Some(f32::from(*bytes.get(at)?) / 255.0),
        SampleType::U16 => Some(f32::from(two()?) / 65535.0),
        SampleType::F16 => seen(f16::from_bits(two()?).to_f32()),
        SampleType::F32 => seen(f32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with slopes, an edge and colours that differ.
    fn picture(width: u32, height: u32, sample: SampleType, channels: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
                let disc = if (u - 0.4).hypot(v - 0.6) < 0.2 { 0.35 } else { 0.0 };
                let colours = [u * 0.6 + disc, v * 0.6 + disc, (1.0 - u) * 0.5 + 0.1, 1.0];
                for value in &colours[..usize::from(channels)] {
                    match sample {
                        SampleType::U8 => bytes.push((value * 255.0) as u8),
                        SampleType::U16 => bytes.extend(((value * 65535.0) as u16).to_le_bytes()),
                        SampleType::F16 => bytes.extend(f16::from_f32(*value).to_le_bytes()),
                        SampleType::F32 => bytes.extend(value.to_le_bytes()),
                    }
                }
            }
        }
        bytes
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes of arithmetic")]
    fn the_geometry_of_a_picture_is_proposed_first() {
        for (width, height) in [(320, 240), (256, 256), (200, 120), (123, 77)] {
            for (sample, channels) in [
                (SampleType::U8, 4),
                (SampleType::U8, 3),
                (SampleType::U8, 1),
                (SampleType::U16, 4),
                (SampleType::F16, 4),
                (SampleType::F32, 4),
                (SampleType::F32, 1),
            ] {
                let guesses = geometries(&picture(width, height, sample, channels), 5);
                let first = guesses.first().expect("there is a proposal").desc;
                let found = (first.width, first.height, first.format.sample, first.format.channels);
                assert_eq!(found, (width, height, sample, channels), "{guesses:#?}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes of arithmetic")]
    fn whole_pages_hide_no_usual_size() {
        let mut bytes = picture(640, 360, SampleType::U8, 3);
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let first = geometries(&bytes, 1)[0].desc;
        assert_eq!((first.width, first.height, first.format.channels), (640, 360, 3));
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes of arithmetic")]
    fn bytes_that_are_all_alike_speak_for_nothing() {
        let guesses = geometries(&vec![7; 320 * 240 * 4], 3);
        assert!(!guesses.is_empty() && guesses.iter().all(|guess| guess.unlikeness.is_none()), "{guesses:?}");
        assert_eq!(geometries(&[], 3), []);
        assert_eq!(geometries(&[1; 7], 3), []);
    }
}
