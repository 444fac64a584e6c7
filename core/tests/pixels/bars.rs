// SPDX-License-Identifier: MPL-2.0
//! SMPTE bars as GStreamer's videoconvert has them.
//!
//! The numbers are those of GStreamer 1.22.0, in the middle of each bar of row 40:
//!
//! ```text
//! gst-launch-1.0 videotestsrc pattern=smpte num-buffers=1 ! video/x-raw,format=RGBA,width=320,height=240 \
//!   ! videoconvert dither=none ! video/x-raw,format=FORMAT,colorimetry=COLORIMETRY ! filesink location=bars
//! ```
//!
//! Its ten bits have eight bits' worth of precision.

use tdlink_core::frame::{ChannelOrder, PixelFormat, SampleType};
use tdlink_core::pixels::{ChromaSite, Conversion, FrameConverter, Matrix, Picture, Plane, PlaneMut, Range, Yuv};

/// White, yellow, cyan, green, magenta, red, blue.
const BARS: [[u8; 3]; 7] =
    [[255, 255, 255], [255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [255, 0, 0], [0, 0, 255]];
/// Pixels of a bar, in both directions.
const SIZE: usize = 4;
const WIDTH: usize = SIZE * BARS.len();

/// Y, Cb, Cr of each bar.
type Numbers = [[u16; 3]; 7];

/// FORMAT=NV12, COLORIMETRY=bt601.
const NV12_BT601: Numbers =
    [[235, 128, 128], [210, 16, 145], [169, 165, 16], [144, 54, 34], [106, 201, 221], [81, 90, 239], [40, 239, 110]];
/// FORMAT=NV12, COLORIMETRY=bt709.
const NV12_BT709: Numbers =
    [[235, 127, 128], [219, 15, 137], [188, 152, 16], [172, 41, 26], [78, 213, 229], [62, 102, 239], [31, 239, 118]];
/// FORMAT=NV12, COLORIMETRY=bt2020.
const NV12_BT2020: Numbers =
    [[235, 128, 128], [222, 16, 136], [177, 158, 16], [164, 47, 25], [86, 208, 230], [73, 97, 239], [28, 239, 119]];
/// FORMAT=NV12, COLORIMETRY=1:3:5:1: BT.709, all codes.
const NV12_BT709_FULL: Numbers =
    [[254, 128, 128], [236, 0, 139], [200, 156, 0], [182, 29, 12], [71, 226, 243], [53, 99, 255], [17, 255, 116]];
/// FORMAT=P010_10LE, COLORIMETRY=bt709.
const P010_BT709: Numbers = [
    [943, 508, 512],
    [879, 60, 551],
    [755, 611, 64],
    [691, 164, 104],
    [315, 855, 919],
    [251, 408, 959],
    [127, 959, 472],
];
/// FORMAT=P010_10LE, COLORIMETRY=bt2020.
const P010_BT2020: Numbers = [
    [943, 512, 512],
    [891, 64, 547],
    [711, 635, 64],
    [659, 188, 100],
    [347, 835, 923],
    [295, 388, 959],
    [115, 959, 476],
];

fn wire() -> PixelFormat {
    PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap()
}

fn picture(ten: bool, matrix: Matrix, range: Range, site: ChromaSite) -> Picture {
    let yuv = Yuv { matrix, range, site };
    if ten { Picture::P010(yuv) } else { Picture::Nv12(yuv) }
}

fn bars() -> Vec<u8> {
    let row = BARS.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255].repeat(SIZE));
    row.collect::<Vec<u8>>().repeat(SIZE)
}

/// Luma and chroma of the bars, with the bytes of a code.
fn converted(picture: Picture, code: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut luma, mut chroma) = (vec![0; WIDTH * SIZE * code], vec![0; WIDTH * SIZE / 2 * code]);
    let bars = bars();
    let pitch = WIDTH * code;
    let mut planes = [PlaneMut { bytes: &mut luma, pitch }, PlaneMut { bytes: &mut chroma, pitch }];
    let mut converter = FrameConverter::new(&Conversion::to_picture(wire(), picture), WIDTH, SIZE);
    converter.convert(&[Plane { bytes: &bars, pitch: WIDTH * 4 }], &mut planes).unwrap();
    (luma, chroma)
}

#[test]
fn bars_are_within_two_codes_of_videoconverts() {
    use Matrix::{Bt601, Bt709, Bt2020};
    use Range::{Full, Limited};
    for (ten, matrix, range, numbers) in [
        (false, Bt601, Limited, NV12_BT601),
        (false, Bt709, Limited, NV12_BT709),
        (false, Bt2020, Limited, NV12_BT2020),
        (false, Bt709, Full, NV12_BT709_FULL),
        (true, Bt709, Limited, P010_BT709),
        (true, Bt2020, Limited, P010_BT2020),
    ] {
        for site in ChromaSite::ALL {
            let (picture, code) = (picture(ten, matrix, range, site), if ten { 2 } else { 1 });
            let (luma, chroma) = converted(picture, code);
            let number = |plane: &[u8], at: usize| match plane[at * code..][..code] {
                [low, high] => u16::from_le_bytes([low, high]) >> 6,
                [byte] => byte.into(),
                _ => unreachable!(),
            };
            for (bar, wanted) in numbers.iter().enumerate() {
                let at = bar * SIZE + SIZE / 2;
                let found = [number(&luma, at), number(&chroma, at), number(&chroma, at + 1)];
                for (found, wanted) in found.iter().zip(wanted) {
                    let room = if ten { 2 * 4 } else { 2 };
                    assert!(found.abs_diff(*wanted) <= room, "{picture:?}, bar {bar}: {found}, not {wanted}");
                }
            }
        }
    }
}

#[test]
fn bars_come_back_from_luma_and_chroma() {
    for ten in [false, true] {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for range in [Range::Limited, Range::Full] {
                let (picture, code) = (picture(ten, matrix, range, ChromaSite::Middle), if ten { 2 } else { 1 });
                let (luma, chroma) = converted(picture, code);
                let conversion = Conversion::to_wire(picture, wire()).unwrap();
                let (mut back, pitch) = (vec![0; WIDTH * SIZE * 4], WIDTH * code);
                let planes = [Plane { bytes: &luma, pitch }, Plane { bytes: &chroma, pitch }];
                let mut dst = [PlaneMut { bytes: &mut back, pitch: WIDTH * 4 }];
                FrameConverter::new(&conversion, WIDTH, SIZE).convert(&planes, &mut dst).unwrap();
                // Half a code of luma and of chroma, 1.9 times as many of a colour, 255 / 219 as large.
                let room = if ten { 1 } else { 2 };
                for (at, (found, wanted)) in back.iter().zip(bars()).enumerate() {
                    assert!(found.abs_diff(wanted) <= room, "{picture:?}, byte {at}: {found}, not {wanted}");
                }
            }
        }
    }
}
