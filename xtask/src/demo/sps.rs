// SPDX-License-Identifier: MPL-2.0
//! The sequence parameter set of an H.264 stream, as far as a player's refusal depends on it (ITU-T H.264, 7.3.2.1.1
//! and E.1.1).

/// What the encoder promises about every picture.
#[derive(Debug, PartialEq, Eq)]
pub struct Sps {
    /// 66 baseline, 77 main, 100 high; beyond that come the profiles that most players refuse.
    pub profile: u8,
    /// 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4.
    pub chroma_format: u32,
    pub width: u32,
    pub height: u32,
    /// Colour primaries, transfer and matrix; 1 each is BT.709.
    pub colours: Option<[u32; 3]>,
    pub full_range: bool,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    /// Exp-Golomb, unsigned: `ue(v)`.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// Exp-Golomb, signed: `se(v)`.
    fn se(&mut self) -> Option<i32> {
        let value = self.ue()?;
        let half = i32::try_from(value.div_ceil(2)).ok()?;
        Some(if value % 2 == 1 { half } else { -half })
    }
}

/// Parses a NAL unit of type 7, its first byte included; `None` if it is none or ends too early.
pub fn parse(nal: &[u8]) -> Option<Sps> {
    if nal.first()? & 0x1f != 7 {
        return None;
    }
    // 00 00 03 stands for 00 00 in front of a small byte.
    let mut bytes = Vec::with_capacity(nal.len());
    for &byte in &nal[1..] {
        if byte != 3 || !bytes.ends_with(&[0, 0]) {
            bytes.push(byte);
        }
    }
    let mut bits = Bits { bytes: &bytes, at: 0 };

    let profile = bits.bits(8)? as u8;
    bits.bits(16)?; // constraint flags, level
    bits.ue()?; // seq_parameter_set_id
    let mut chroma_format = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        chroma_format = bits.ue()?;
        if chroma_format == 3 {
            bits.bit()?; // separate_colour_plane_flag
        }
        bits.ue()?; // bit_depth_luma_minus8
        bits.ue()?; // bit_depth_chroma_minus8
        bits.bit()?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            skip_scaling_matrix(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => {
            bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.bit()?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?; // max_num_ref_frames
    bits.bit()?; // gaps_in_frame_num_value_allowed_flag
    let blocks_across = bits.ue()?.checked_add(1)?;
    let units_down = bits.ue()?.checked_add(1)?;
    let frames_only = bits.bit()?;
    if frames_only == 0 {
        bits.bit()?; // mb_adaptive_frame_field_flag
    }
    bits.bit()?; // direct_8x8_inference_flag
    let (mut cut_across, mut cut_down) = (0, 0);
    if bits.flag()? {
        let unit_x = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma_format == 1 { 2 } else { 1 } * (2 - frames_only);
        cut_across = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_x)?;
        cut_down = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_y)?;
    }
    let width = blocks_across.checked_mul(16)?.checked_sub(cut_across)?;
    let height = units_down.checked_mul(16 * (2 - frames_only))?.checked_sub(cut_down)?;

    let (mut colours, mut full_range) = (None, false);
    if bits.flag()? {
        if bits.flag()? && bits.bits(8)? == 255 {
            bits.bits(32)?; // sar_width, sar_height
        }
        if bits.flag()? {
            bits.bit()?; // overscan_appropriate_flag
        }
        if bits.flag()? {
            bits.bits(3)?; // video_format
            full_range = bits.flag()?;
            if bits.flag()? {
                colours = Some([bits.bits(8)?, bits.bits(8)?, bits.bits(8)?]);
            }
        }
    }
    Some(Sps { profile, chroma_format, width, height, colours, full_range })
}

fn skip_scaling_matrix(bits: &mut Bits, lists: u32) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parameter set as an encoder would write it, field by field.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn bits(&mut self, value: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn ue(&mut self, value: u32) -> &mut Self {
            let length = 32 - (value + 1).leading_zeros();
            self.bits(0, length - 1).bits(value + 1, length)
        }

        fn nal(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0, |byte, i| byte << 1 | u8::from(bits.get(i) == Some(&true)));
            let mut nal = vec![0x67];
            for byte in self.0.chunks(8).map(byte) {
                if byte <= 3 && nal.ends_with(&[0, 0]) {
                    nal.push(3);
                }
                nal.push(byte);
            }
            nal
        }
    }

    #[test]
    fn a_cropped_high_picture_with_bt709_tags_is_read() {
        let mut sps = Writer::default();
        sps.bits(100, 8).bits(0, 8).bits(40, 8).ue(0).ue(1).ue(0).ue(0).bits(0, 2); // high, 4:2:0, 8 bits
        sps.ue(0).ue(0).ue(2).ue(4).bits(0, 1).ue(119).ue(67).bits(0b11, 2); // 120 x 68 blocks of 16
        sps.bits(1, 1).ue(0).ue(0).ue(0).ue(4); // 8 rows cut off: 1080
        sps.bits(1, 1).bits(0, 2).bits(1, 1).bits(5, 3).bits(0, 1).bits(1, 1).bits(1, 8).bits(1, 8).bits(1, 8);
        let expected = Sps {
            profile: 100,
            chroma_format: 1,
            width: 1920,
            height: 1080,
            colours: Some([1, 1, 1]),
            full_range: false,
        };
        assert_eq!(parse(&sps.nal()), Some(expected));
    }

    #[test]
    fn high_444_is_told_from_420() {
        let mut sps = Writer::default();
        sps.bits(244, 8).bits(0, 16).ue(0).ue(3).bits(0, 1).ue(0).ue(0).bits(0, 2);
        sps.ue(0).ue(0).ue(2).ue(4).bits(0, 1).ue(79).ue(44).bits(0b11, 2).bits(0, 1).bits(0, 1).bits(1, 1);
        let found = parse(&sps.nal()).map(|sps| (sps.profile, sps.chroma_format, sps.width, sps.height, sps.colours));
        assert_eq!(found, Some((244, 3, 1280, 720, None)));
    }

    #[test]
    fn a_parameter_set_that_ends_early_is_none() {
        let mut sps = Writer::default();
        sps.bits(66, 8).bits(0, 16).ue(0).ue(0).ue(2);
        assert_eq!(parse(&sps.nal()), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x68, 0xff]), None);
    }
}
