// SPDX-License-Identifier: MPL-2.0
//! Pictures that differ in every row and with every number, and carry that number in their first pixel.

use gst_video::{VideoFormat, VideoInfo};

/// Bytes of a pixel.
fn pixel(info: &VideoInfo) -> usize {
    info.comp_pstride(0) as usize
}

/// Where a padding byte stands in a pixel, if one does.
fn padding(info: &VideoInfo) -> Option<usize> {
    matches!(info.format(), VideoFormat::Rgbx | VideoFormat::Bgrx).then_some(3)
}

/// Picture `number`, tightly packed, the top row first. The number stands in the three first bytes.
pub fn picture(info: &VideoInfo, number: u32) -> Vec<u8> {
    let pixel = pixel(info);
    let row_bytes = info.width() as usize * pixel;
    let height = info.height() as usize;
    let mut seed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut row: Vec<u8> = (0..row_bytes)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .collect();
    if let Some(padding) = padding(info) {
        row.iter_mut().skip(padding).step_by(4).for_each(|byte| *byte = 255);
    }
    let mut picture = Vec::with_capacity(row_bytes * height);
    for y in 0..height as u32 {
        // Its number and its place: no row is another one's, nor another picture's.
        let mark = if y == 0 { number } else { number.wrapping_mul(31).wrapping_add(y) };
        row[..3].copy_from_slice(&mark.to_le_bytes()[..3]);
        picture.extend_from_slice(&row);
    }
    picture
}

/// The number of a picture.
pub fn number_of(picture: &[u8]) -> u32 {
    u32::from_le_bytes([picture[0], picture[1], picture[2], 0])
}

/// The number of a picture, all of which must be as it was made.
pub fn whole_number(info: &VideoInfo, found: &[u8]) -> u32 {
    let number = number_of(found);
    let made = picture(info, number);
    assert_eq!(found.len(), made.len(), "{info:?}");
    let row = info.width() as usize * pixel(info);
    let wrong: Vec<_> =
        found.chunks(row).zip(made.chunks(row)).enumerate().filter(|(_, (a, b))| a != b).map(|(y, _)| y).collect();
    let head = |bytes: &[u8]| format!("{:02x?}", &bytes[..row.min(16)]);
    assert!(
        wrong.is_empty(),
        "{} of {} rows of picture {number} are wrong, the first is {:?}: {} and not {}",
        wrong.len(),
        info.height(),
        wrong.first(),
        head(&found[wrong[0] * row..]),
        head(&made[wrong[0] * row..])
    );
    number
}
