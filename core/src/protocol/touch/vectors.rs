// SPDX-License-Identifier: MPL-2.0
//! `docs/protocol/touch.md` shows bytes and tables; these tests hold them to the code. And: whatever a peer writes.

use proptest::prelude::*;

use super::formats::{gl_pixel, vulkan_number, vulkan_pixel};
use super::*;
use crate::frame::SampleType::{F16, F32, U8, U16};
use crate::frame::{ChannelOrder, PixelFormat, SampleType};
use crate::pixels::Packed;

const PAGE: &str = include_str!("../../../../docs/protocol/touch.md");

/// The bytes of the page's code block that follows `heading`.
fn block(heading: &str) -> Vec<u8> {
    let (_, after) = PAGE.split_once(heading).unwrap_or_else(|| panic!("{heading:?} is on the page"));
    let text = after.split("```").nth(1).expect("a code block follows").trim_start_matches("text");
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('×') {
            Some((byte, times)) => {
                let times: usize = times.parse().expect("a number of bytes");
                bytes.extend(std::iter::repeat_n(hex(byte), times));
            }
            None => bytes.push(hex(word)),
        }
    }
    bytes
}

fn hex(text: &str) -> u8 {
    u8::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text:?} is a byte"))
}

fn plain(sample: SampleType, channels: u8, order: ChannelOrder) -> Pixel {
    Pixel::Plain(PixelFormat::new(sample, channels, order).unwrap())
}

fn bgra8() -> Pixel {
    plain(U8, 4, ChannelOrder::Bgra)
}

/// Both ways: what is written is the vector, what is read of it was written.
fn assert_vector(heading: &str, header: &Header) {
    let bytes = block(heading);
    assert_eq!(header.encode().unwrap(), bytes, "{heading}");
    assert_eq!(Header::parse(&bytes, header.total_bytes()), Ok(*header), "{heading}");
    let needed = header.total_bytes();
    let short = HeaderError::TooSmall { needed, mapped: needed - 1 };
    assert_eq!(Header::parse(&bytes, needed - 1), Err(short), "{heading}");
}

#[test]
fn headers_are_the_bytes_on_the_page() {
    let square = [1.0, 1.0];
    let gl = Header::new(HeaderKind::Gl, (640, 480), bgra8(), square, Colour::SRGB).unwrap();
    assert_eq!((gl.data_offset, gl.data_bytes, gl.colour), (40, 640 * 480 * 4, None));
    assert_vector("GL, 640 × 480, BGRA, 8 bits", &gl);
    let v1 = Header::new(HeaderKind::VulkanV1, (640, 480), bgra8(), square, Colour::SRGB).unwrap();
    assert_eq!((v1.data_offset, v1.data_bytes, v1.colour), (48, 640 * 480 * 4, None));
    assert_vector("Vulkan, version 1, 640 × 480, BGRA, 8 bits", &v1);
    let linear = Colour { primaries: Colour::REC709, transfer: Colour::LINEAR };
    let rgba32f = plain(F32, 4, ChannelOrder::Rgba);
    let v2 = Header::new(HeaderKind::VulkanV2, (1920, 1080), rgba32f, square, linear).unwrap();
    assert_eq!((v2.data_offset, v2.data_bytes, v2.colour), (56, 1920 * 1080 * 16, Some(linear)));
    assert_vector("Vulkan, version 2, 1920 × 1080, RGBA, 32 bits float", &v2);
}

#[test]
fn samples_of_a_chop_are_told_by_name() {
    let bytes = block("Two channels of a CHOP");
    assert_eq!(bytes.len(), 36);
    let error = Header::parse(&bytes, 4848).unwrap_err();
    assert_eq!(error, HeaderError::Chop);
    assert!(error.to_string().contains("Shared Mem Out CHOP"), "{error}");
}

#[test]
fn info_segments_are_the_bytes_on_the_page() {
    let postfix = Postfix::new("abcdefghijklmnopqrstuvwxyzabcde").unwrap();
    let info = Info { version: 2, supported: true, postfix, detach: false };
    let bytes = block("Windows, `supported`, with a postfix");
    assert_eq!(bytes.len(), INFO_BYTES);
    assert_eq!(info.encode(InfoLayout::Utf16), bytes);
    assert_eq!(Info::parse(&bytes, InfoLayout::Utf16), Ok(info.clone()));

    let bytes = block("macOS, `supported`, without one");
    assert_eq!(bytes.len(), 44);
    let bare = Info { postfix: Postfix::default(), ..info };
    assert_eq!(bare.encode(InfoLayout::Bytes), bytes);
    assert_eq!(Info::parse(&bytes, InfoLayout::Bytes), Ok(bare.clone()));
    for layout in [InfoLayout::Utf16, InfoLayout::Bytes] {
        let gone = Info { detach: true, ..bare.clone() };
        let mut bytes = gone.encode(layout);
        assert_eq!(bytes[layout.detach()], 1);
        assert_eq!(Info::parse(&bytes, layout), Ok(gone));
        // The first version has no such flag.
        bytes[4] = 1;
        assert!(!Info::parse(&bytes, layout).unwrap().detach);
    }
}

#[test]
fn every_number_of_the_page_is_the_pixel_that_it_says() {
    let mut rows = 0;
    for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [numbers, name, bytes] = cells[..] else { continue };
        for number in numbers.split(", ") {
            let digits = number.trim_matches('`');
            let number = match digits.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
                None => digits.parse().unwrap(),
            };
            let pixel = vulkan_pixel(number).unwrap_or_else(|| panic!("{number} is known"));
            assert_eq!(pixel, named(name), "{line}");
            assert_eq!(pixel.bytes().to_string(), bytes, "{line}");
            rows += 1;
        }
    }
    assert_eq!(rows, 25, "all numbers are on the page");
    for unknown in [0, 8, 10, 29, 38, 123, 0xF0000, 0xF0009, u32::MAX] {
        assert_eq!(vulkan_pixel(unknown), None, "{unknown}");
    }
}

/// The pixel of a name on the page.
fn named(name: &str) -> Pixel {
    let (what, sample) = name.rsplit_once(' ').unwrap();
    let sample = match sample {
        "u8" => U8,
        "u16" => U16,
        "f16" => F16,
        "f32" => F32,
        "10-10-10-2" => return Pixel::Packed(Packed::Rgb10A2),
        "11-11-10" => return Pixel::Packed(Packed::R11G11B10F),
        other => panic!("{other:?} is no sample"),
    };
    match what {
        "R" | "A" => plain(sample, 1, ChannelOrder::Rgba),
        "R G" => plain(sample, 2, ChannelOrder::Rgba),
        "R G B A" => plain(sample, 4, ChannelOrder::Rgba),
        "B G R A" => plain(sample, 4, ChannelOrder::Bgra),
        "Y A" => Pixel::Packed(Packed::GreyAlpha(sample)),
        other => panic!("{other:?} are no components"),
    }
}

#[test]
fn every_format_and_type_of_gl_is_known() {
    let bytes = [(0x1401, 1), (0x1403, 2), (0x1406, 4), (0x140B, 2)];
    let components = [
        (0x1903, 1),
        (0x8227, 2),
        (0x1907, 3),
        (0x1908, 4),
        (0x190A, 2),
        (0x1906, 1),
        (0x1909, 1),
        (0x80E0, 3),
        (0x80E1, 4),
        (0x8000, 4),
    ];
    for (format, components) in components {
        for (kind, size) in bytes {
            let pixel = gl_pixel(format, kind).unwrap_or_else(|| panic!("{format:#x} {kind:#x} is known"));
            assert_eq!(pixel.bytes(), components * size, "{format:#x} {kind:#x}");
        }
    }
    assert_eq!((gl_pixel(0x1908, 0x1404), gl_pixel(0x1902, 0x1401)), (None, None));
}

#[test]
fn what_has_a_number_is_read_as_what_was_written() {
    for sample in SampleType::ALL {
        for channels in 1..=4 {
            for order in [ChannelOrder::Rgba, ChannelOrder::Bgra] {
                let pixel = plain(sample, channels, order);
                let known = channels != 3 && (order == ChannelOrder::Rgba || (channels, sample) == (4, U8));
                assert_eq!(vulkan_number(pixel).is_some(), known, "{pixel:?}");
                for kind in [HeaderKind::Gl, HeaderKind::VulkanV1, HeaderKind::VulkanV2] {
                    let header = Header::new(kind, (3, 5), pixel, [4.0, 3.0], Colour::SRGB);
                    assert_eq!(header.is_ok(), known, "{pixel:?}");
                    let Ok(header) = header else { continue };
                    let bytes = header.encode().unwrap();
                    assert_eq!(Header::parse(&bytes, header.total_bytes()), Ok(header));
                }
            }
        }
    }
}

/// A header of 640 × 480 with `value` at `offset`.
fn altered(kind: HeaderKind, offset: usize, value: &[u8]) -> Result<Header, HeaderError> {
    let header = Header::new(kind, (640, 480), bgra8(), [1.0, 1.0], Colour::SRGB).unwrap();
    let mut bytes = header.encode().unwrap();
    bytes[offset..offset + value.len()].copy_from_slice(value);
    Header::parse(&bytes, header.total_bytes() + 100)
}

#[test]
fn each_number_that_cannot_be_is_told() {
    use HeaderKind::{Gl, VulkanV1, VulkanV2};
    let word = |value: i32| value.to_le_bytes();
    assert_eq!(altered(VulkanV1, 0, &word(0)), Err(HeaderError::NotWritten));
    assert_eq!(altered(VulkanV1, 0, &word(7)), Err(HeaderError::Magic { found: 7 }));
    for kind in [Gl, VulkanV1] {
        assert_eq!(altered(kind, 4, &word(0)), Err(HeaderError::Version { found: 0 }));
        assert_eq!(altered(kind, 8, &word(0)), Err(HeaderError::Sides { width: 0, height: 480 }));
        assert_eq!(altered(kind, 8, &word(-1)), Err(HeaderError::Sides { width: -1, height: 480 }));
        assert_eq!(altered(kind, 12, &word(32769)), Err(HeaderError::Sides { width: 640, height: 32769 }));
        assert!(matches!(
            altered(kind, 8, &word(32768)),
            Err(HeaderError::TooSmall { .. } | HeaderError::DataSize { .. })
        ));
    }
    assert_eq!(altered(VulkanV1, 24, &word(45)), Err(HeaderError::Format { number: 45 }));
    assert!(HeaderError::Format { number: 45 }.to_string().contains("45"));
    assert_eq!(altered(Gl, 24, &word(1)), Err(HeaderError::GlFormat { format: 1, kind: 0x1401 }));
    assert_eq!(altered(VulkanV1, 40, &word(47)), Err(HeaderError::DataOffset { found: 47, least: 48 }));
    assert_eq!(altered(VulkanV1, 40, &word(-48)), Err(HeaderError::DataOffset { found: -48, least: 48 }));
    assert_eq!(altered(Gl, 36, &word(39)), Err(HeaderError::DataOffset { found: 39, least: 40 }));
    let needed = 640 * 480 * 4;
    let said = needed as i64 - 1;
    assert_eq!(altered(VulkanV1, 32, &said.to_le_bytes()), Err(HeaderError::DataSize { said, needed }));
    assert_eq!(altered(VulkanV1, 32, &(-1i64).to_le_bytes()), Err(HeaderError::DataSize { said: -1, needed }));
    let beyond = HeaderError::TooSmall { needed: needed + i32::MAX as usize, mapped: needed + 148 };
    assert_eq!(altered(VulkanV1, 40, &word(i32::MAX)), Err(beyond));
    // What may be otherwise.
    assert_eq!(altered(VulkanV1, 4, &word(9)).unwrap().colour, None, "no colours in front of byte 48");
    assert_eq!(altered(VulkanV2, 4, &word(1)).unwrap().colour, None, "no colours in version 1");
    let distant = altered(VulkanV1, 40, &word(148)).unwrap();
    assert_eq!((distant.data_offset, distant.encode().unwrap().len()), (148, 48), "the header is no longer for that");
    assert_eq!(altered(VulkanV2, 44, &word(77)).unwrap().colour, Some(Colour { primaries: 77, transfer: 1 }));
    assert_eq!(Header::parse(&[], 0), Err(HeaderError::Short { mapped: 0 }));
    let v1 = block("Vulkan, version 1, 640 × 480");
    assert!(v1.iter().enumerate().all(|(end, _)| end >= 44 || Header::parse(&v1[..end], 1 << 30).is_err()));
}

#[test]
fn a_postfix_that_is_no_text_is_told() {
    let good = Info { postfix: Postfix::new("abc").unwrap(), ..Info::fresh() }.encode(InfoLayout::Utf16);
    let with = |offset: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        Info::parse(&bytes, InfoLayout::Utf16)
    };
    assert_eq!(with(10, &[1; 64]), Err(InfoError::Postfix), "it has no end");
    assert_eq!(with(10, &[0, 0xD8]), Err(InfoError::Postfix), "half of a character");
    assert_eq!(with(0, &[0; 4]), Err(InfoError::Magic { found: 0 }));
    assert_eq!(with(4, &[0; 4]), Err(InfoError::Version { found: 0 }));
    for end in 0..good.len() {
        assert!(Info::parse(&good[..end], InfoLayout::Utf16).is_err() || end == 75, "{end} bytes");
    }
    assert_eq!(Postfix::new(&"a".repeat(32)), None);
    assert_eq!(Postfix::new("a\0b"), None);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        // Miri has no files.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_stands_there_is_a_header_of_mapped_bytes_or_an_error(
        magic in prop_oneof![Just(0xE95D_F673u32), Just(0xD95E_F835), any::<u32>()],
        mut front in proptest::collection::vec(any::<u8>(), 0..80),
        width in prop_oneof![1..40i32, any::<i32>()],
        height in prop_oneof![1..40i32, any::<i32>()],
        format in prop_oneof![Just(44u32), Just(37), Just(0x1908), Just(109), any::<u32>()],
        offset in prop_oneof![40..60i32, any::<i32>()],
        mapped in prop_oneof![0..10_000usize, any::<usize>()],
    ) {
        let mut put = |at: usize, value: [u8; 4]| {
            if let Some(room) = front.get_mut(at..at + 4) {
                room.copy_from_slice(&value);
            }
        };
        put(0, magic.to_le_bytes());
        put(8, width.to_le_bytes());
        put(12, height.to_le_bytes());
        put(24, format.to_le_bytes());
        put(28, 0x1401u32.to_le_bytes());
        put(36, offset.to_le_bytes());
        put(40, offset.to_le_bytes());
        if let Ok(header) = Header::parse(&front, mapped) {
            prop_assert!(header.total_bytes() <= mapped);
            prop_assert!((1..=32768).contains(&header.width) && (1..=32768).contains(&header.height));
            prop_assert_eq!(header.data_bytes, (header.width * header.height) as usize * header.pixel.bytes());
            prop_assert!(header.data_offset >= 40);
        }
    }

    #[test]
    fn what_is_said_of_a_segment_comes_back(
        version in 2..9i32, supported: bool, detach: bool, letters in "[a-z]{0,31}",
    ) {
        let info = Info { version, supported, detach, postfix: Postfix::new(&letters).unwrap() };
        for layout in [InfoLayout::Utf16, InfoLayout::Bytes] {
            let bytes = info.encode(layout);
            prop_assert_eq!(bytes.len(), layout.bytes());
            prop_assert_eq!(Info::parse(&bytes, layout), Ok(info.clone()));
        }
    }

    #[test]
    fn whatever_stands_there_is_an_info_segment_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
        let mut bytes = bytes;
        for magic in [false, true] {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&[0xba, 0x34, 0xed, 0x56, 2, 0, 0, 0]);
            }
            for layout in [InfoLayout::Utf16, InfoLayout::Bytes] {
                if let Ok(info) = Info::parse(&bytes, layout) {
                    prop_assert!(info.postfix.to_string().encode_utf16().count() <= Postfix::LENGTH);
                }
            }
        }
    }
}
