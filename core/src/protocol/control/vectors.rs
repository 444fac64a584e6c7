// SPDX-License-Identifier: MPL-2.0
//! `docs/protocol/control.md` shows bytes and tables; these tests hold them to the code.

use std::sync::Arc;

use super::description::{AlphaMode, Colorimetry, Description, FrameSpec, Pixels, Ratio, field as description_field};
use super::layout::*;
use super::ring::{self, Newest, Word, Words};
use super::stamps::{FrameInfo, Stamps};
use super::words::SegmentWords;
use crate::field::Field;
use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use crate::segment::{Identity, Segment};
use crate::sync::Ordering::Relaxed;

const PAGE: &str = include_str!("../../../../docs/protocol/control.md");
const GENERATION: u32 = 7;

fn description() -> Description {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
    let desc = FrameDesc { width: 1920, height: 1080, format, origin: Origin::TopLeft };
    let mut spec = FrameSpec::packed(desc);
    spec.framerate = Ratio { num: 60000, den: 1001 };
    spec.alpha = AlphaMode::Premultiplied;
    spec.colorimetry = Colorimetry::SRGB;
    spec.caps = "video/x-raw, format=(string)BGRA".to_owned();
    let pixels = Pixels {
        name: "cam1.tdlink.7".to_owned(),
        size: 4 * 8_306_688,
        identity: Identity { device: 26, inode: 4242 },
        slots: 4,
        slot_offset: 0,
        slot_stride: 8_306_688,
        frame_size: 8_306_688,
    };
    Description { spec, pixels, pid: 77, started: 1_700_000_000_000_000_000 }
}

/// The segment of the page, as the code writes it.
fn segment() -> Vec<u8> {
    let segment = Arc::new(Segment::heap(SEGMENT_BYTES));
    let words = SegmentWords::new(Arc::clone(&segment), Tables::OURS);
    let description = description();
    let mut header = [0; HEADER_BYTES];
    Header::put(&mut header, false);
    // The page is Linux's.
    CLOCK.put(&mut header, 1).unwrap();
    MAGIC.put(&mut header, MAGIC_VALUE).unwrap();
    let (front, caps) = header.split_at_mut(OUR_CAPS_OFFSET);
    description.put(&mut front[OUR_DESCRIPTION_OFFSET..][..OUR_DESCRIPTION_BYTES], caps);
    segment.write(0, &header).unwrap();
    words.store(Word::Newest, Newest { sequence: 4, slot: None }.pack(), Relaxed);
    ring::end_edition(&words, u64::from(GENERATION) * 2);

    let stamps = Stamps {
        pts: Some(1_000_000_000),
        pts_on_clock: true,
        duration: Some(16_683_840),
        offset: Some(41),
        discont: true,
        ..Stamps::default()
    };
    let info = FrameInfo::new(5, stamps, &description, 2_000_000_000).unwrap();
    let entry = info.put();
    segment.write(Tables::OURS.slot(2, SLOT_PTS), &entry[SLOT_PTS.offset()..]).unwrap();

    words.store(Word::Claim(1), 2 << 32, Relaxed);
    let (count, taken) = ring::claim(&words, 1, 2);
    assert_eq!((count, taken), (3, 3));
    ring::set_taken(&words, 1, 4);
    ring::grant(&words, 1, count, 2);
    ring::publish(&words, 2, 5);
    assert_eq!(ring::lease(&words, 1, count, GENERATION, 2, 5), ring::Leased::Yes);

    let mut bytes = vec![0; SEGMENT_BYTES];
    segment.read(0, &mut bytes).unwrap();
    bytes
}

/// The bytes that the page shows.
fn shown() -> Vec<u8> {
    let (_, block) = PAGE.split_once("```hex segment\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut bytes = vec![0; SEGMENT_BYTES];
    for line in block.lines() {
        let (offset, rest) = line.split_once(": ").unwrap();
        let (hex, _) = rest.split_once(" | ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (at, byte) in hex.split(' ').enumerate() {
            bytes[offset + at] = u8::from_str_radix(byte, 16).unwrap();
        }
    }
    bytes
}

#[test]
fn the_page_shows_the_bytes_that_are_written() {
    let (written, shown) = (segment(), shown());
    let differs = (0..SEGMENT_BYTES).find(|&at| written[at] != shown[at]);
    let line = |bytes: &[u8], at: usize| format!("{:02x?}", &bytes[at & !7..(at & !7) + 8]);
    if let Some(at) = differs {
        panic!("at {:04x} {} is written, {} is shown", at & !7, line(&written, at), line(&shown, at));
    }
}

#[test]
fn the_bytes_that_the_page_shows_are_read() {
    let bytes = shown();
    let header = Header::parse(&bytes[..HEADER_BYTES], SEGMENT_BYTES).unwrap();
    assert_eq!((header.lossless, header.tables), (false, Tables::OURS));
    assert_eq!(Description::parse(&bytes[..HEADER_BYTES], &header), Ok(description()));
}

#[test]
fn the_tables_of_the_page_say_where_the_fields_are() {
    fn long(name: &str, field: Field<u64>) -> String {
        format!("| {} | u64 | `{name}` |", field.offset())
    }
    fn word(name: &str, field: Field<u32>) -> String {
        format!("| {} | u32 | `{name}` |", field.offset())
    }
    macro_rules! rows {
        ($kind:ident: $($field:ident)*) => { vec![$($kind(stringify!($field), $field)),*] };
    }
    use description_field as d;
    let part = |from: &str, to: &str| {
        let (_, rest) = PAGE.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let header = [
        rows!(long: MAGIC REQUIRED OPTIONAL NEWEST EDITION),
        rows!(word: VERSION HEADER_SIZE SEGMENT_SIZE CLOCK SLOTS_OFFSET SLOTS_STRIDE SLOTS_COUNT ROWS_OFFSET ROWS_STRIDE
            ROWS_COUNT DESCRIPTION_OFFSET DESCRIPTION_SIZE CAPS_OFFSET CAPS_CAPACITY STATE WAKE PRODUCER_WAITING FREED),
    ];
    let slots = [
        rows!(long: SLOT_SEQUENCE SLOT_PTS SLOT_DURATION SLOT_PUBLISHED SLOT_PAYLOAD SLOT_OFFSET),
        rows!(word: SLOT_STRIDE SLOT_FLAGS),
    ];
    let rows = [rows!(long: ROW_CLAIM ROW_LEASE ROW_TAKEN ROW_SINCE ROW_GRANT), rows!(word: ROW_WAITING ROW_PID)];
    let description = [
        vec![
            long("PIXELS_SIZE", d::PIXELS_SIZE),
            long("PIXELS_DEVICE", d::PIXELS_DEVICE),
            long("PIXELS_INODE", d::PIXELS_INODE),
            long("SLOT_OFFSET", d::SLOT_OFFSET),
            long("SLOT_STRIDE", d::SLOT_STRIDE),
            long("FRAME_SIZE", d::FRAME_SIZE),
            long("STARTED", d::STARTED),
        ],
        vec![
            word("SLOTS", d::SLOTS),
            word("STRIDE", d::STRIDE),
            word("WIDTH", d::WIDTH),
            word("HEIGHT", d::HEIGHT),
            word("SAMPLE", d::SAMPLE),
            word("CHANNELS", d::CHANNELS),
            word("ORDER", d::ORDER),
            word("FOURTH", d::FOURTH),
            word("ORIGIN", d::ORIGIN),
            word("ALPHA", d::ALPHA),
            word("RATE", d::RATE),
            word("RATE_PER", d::RATE_PER),
            word("MAX_RATE", d::MAX_RATE),
            word("MAX_RATE_PER", d::MAX_RATE_PER),
            word("PIXEL_WIDTH", d::PIXEL_WIDTH),
            word("PIXEL_HEIGHT", d::PIXEL_HEIGHT),
            word("RANGE", d::RANGE),
            word("MATRIX", d::MATRIX),
            word("TRANSFER", d::TRANSFER),
            word("PRIMARIES", d::PRIMARIES),
            word("CAPS_LEN", d::CAPS_LEN),
            word("NAME_LEN", d::NAME_LEN),
            word("PID", d::PID),
            format!("| {} | text | `NAME` |", d::NAME),
        ],
    ];
    for (from, to, tables) in [
        ("## The control segment", "### Description", header),
        ("### Description", "### Slots", description),
        ("### Slots", "### Rows", slots),
        ("### Rows", "## Versions", rows),
    ] {
        let part = part(from, to);
        let expected = tables.concat();
        for row in &expected {
            assert!(part.contains(row.as_str()), "{from}: no {row}");
        }
        let there = part.lines().filter(|line| line.starts_with("| ") && line.contains("| `")).count();
        assert_eq!(there, expected.len(), "{from}: a row too many or too few");
    }
}
