// SPDX-License-Identifier: MPL-2.0
//! Bytes that are right, and every kind that is not.

#[cfg(not(miri))]
use proptest::prelude::*;

use super::super::words;
use super::*;
use crate::segment::Segment;

fn description() -> Description {
    Description { width: 64, height: 48, channels: 4, format: Format::U8, flags: 0 }
}

fn handles(slots: u32) -> Vec<SlotHandles> {
    let one = |slot: u32| SlotHandles {
        memory: IpcMemHandle([0x10 + slot as u8; HANDLE]),
        event: Some(IpcEventHandle([0x20 + slot as u8; HANDLE])),
    };
    (0..slots).map(one).collect()
}

/// What a producer of ours writes.
fn written(slots: u32, description: &Description, generation: u64) -> Vec<u8> {
    let places = Places::of(slots);
    let segment = Segment::heap(places.size());
    words::announce(&segment, places, &handles(slots), &tail_of(description, false), generation).unwrap();
    let mut bytes = vec![0; places.size()];
    segment.read(0, &mut bytes).unwrap();
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The vectors of `docs/protocol/cudalink.md`.
#[test]
fn a_fresh_segment_has_these_very_bytes() {
    let tail = unhex("00 40000000 30000000 04000000 01 08 0000 00300000 0000000000000000");
    for (slots, size, tail_at) in [(1, 177, 148), (2, 305, 276), (3, 433, 404), (4, 561, 532), (10, 1329, 1300)] {
        let bytes = written(slots, &description(), 1);
        assert_eq!(bytes.len(), size);
        let head = unhex(&format!("44504943 0100000000000000 {slots:02x}000000 00000000"));
        assert_eq!(bytes[..20], head, "{slots}");
        assert_eq!(bytes[tail_at..], tail, "{slots}");
        for slot in 0..slots as usize {
            assert_eq!(bytes[20 + 128 * slot..][..64], [0x10 + slot as u8; 64]);
            assert_eq!(bytes[84 + 128 * slot..][..64], [0x20 + slot as u8; 64]);
        }
    }
}

#[test]
fn the_documented_vectors_are_these() {
    let page = include_str!("../../../../docs/protocol/cudalink.md");
    for vector in [
        "44504943 0100000000000000 03000000 00000000",
        "00 40000000 30000000 04000000 01 08 0000 00300000 0000000000000000",
    ] {
        assert!(page.contains(vector), "{vector}");
    }
    for size in [177, 305, 433, 561, 1329] {
        assert!(page.contains(&size.to_string()), "{size}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for slots in 1..=MAX_SLOTS {
        let header = parse(&written(slots, &description(), 0x1_0000_0002)).unwrap().unwrap();
        assert_eq!((header.generation, header.index, header.is_over), (0x1_0000_0002, 0, false));
        assert_eq!(header.places.slots(), slots);
        assert_eq!(header.handles, Some(handles(slots)));
        assert_eq!((header.description, header.stamp), (Some(description()), None));
    }
}

#[test]
fn every_format_and_number_of_components_crosses() {
    for format in Format::ALL {
        for channels in 1..=4 {
            for (width, height) in [(1, 1), (3, 1), (17, 5), (4095, 7), (7680, 4320)] {
                let flags = format.triple().2;
                let description = Description { width, height, channels, format, flags };
                let header = parse(&written(3, &description, 1)).unwrap().unwrap();
                assert_eq!(header.description, Some(description));
            }
        }
    }
}

#[test]
fn flags_stay_as_they_are_and_only_one_is_part_of_the_format() {
    for flags in [0, 2, 4, 6, 0x80, 0xFFFE] {
        let header = parse(&written(3, &Description { flags, ..description() }, 1)).unwrap().unwrap();
        assert_eq!(header.description, Some(Description { flags, ..description() }));
    }
    let mut bytes = written(3, &description(), 1);
    FLAGS.put(&mut bytes[404..], 0xFFFF).unwrap();
    assert_eq!(parse(&bytes), Err(LayoutError::UnknownFormat { kind: 1, bits: 8, flags: 0xFFFF }));
}

#[test]
fn another_magic_is_told_from_none() {
    let mut bytes = written(3, &description(), 1);
    MAGIC.put(&mut bytes, OLD_MAGIC).unwrap();
    assert_eq!(parse(&bytes), Err(LayoutError::OldMagic));
    MAGIC.put(&mut bytes, MAGIC_VALUE.swap_bytes()).unwrap();
    assert_eq!(parse(&bytes), Err(LayoutError::BadMagic { found: MAGIC_VALUE.swap_bytes() }));
    MAGIC.put(&mut bytes, 0).unwrap();
    assert_eq!(parse(&bytes), Ok(None), "a producer writes it last");
    MAGIC.put(&mut bytes, MAGIC_VALUE).unwrap();
    assert!(parse(&bytes).unwrap().is_some());
}

#[test]
fn a_segment_may_be_longer_and_no_byte_shorter() {
    let mut bytes = written(3, &description(), 1);
    bytes.resize(4096, 0xEE);
    assert!(parse(&bytes).unwrap().is_some(), "whole pages, as on Windows");
    assert_eq!(parse(&bytes[..432]), Err(LayoutError::TooShort { len: 432, needed: 433, slots: 3 }));
    assert_eq!(parse(&bytes[..20]), Err(LayoutError::TooShort { len: 20, needed: 433, slots: 3 }));
    for len in [0, 3, 15] {
        assert_eq!(parse(&bytes[..len]), Err(LayoutError::TooShort { len, needed: 177, slots: 0 }));
    }
}

#[test]
fn numbers_of_slots_that_nobody_writes_are_refused_before_anything_is_multiplied() {
    let mut bytes = written(10, &description(), 1);
    for found in [0, 11, 64, u32::MAX] {
        NUM_SLOTS.put(&mut bytes, found).unwrap();
        assert_eq!(parse(&bytes), Err(LayoutError::BadSlots { found }));
    }
}

#[test]
fn a_ring_with_a_handle_of_zeros_is_not_ready() {
    let mut bytes = written(3, &description(), 1);
    bytes[148..212].fill(0);
    assert_eq!(parse(&bytes).unwrap().unwrap().handles, None);
    let mut bytes = written(3, &description(), 1);
    bytes[212..276].fill(0);
    let slots = parse(&bytes).unwrap().unwrap().handles.unwrap();
    assert_eq!(slots[1].event, None, "an event of zeros is none");
    assert!(slots[0].event.is_some() && slots[2].event.is_some());
}

#[test]
fn descriptions_that_contradict_themselves_are_refused_with_their_numbers() {
    let tail = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = written(3, &description(), 1);
        change(&mut bytes[404..]);
        parse(&bytes)
    };
    for (found, zero) in [(&WIDTH, "width"), (&HEIGHT, "height"), (&NUM_COMPS, "components")] {
        let header = tail(&|tail| found.put(tail, 0).unwrap()).unwrap().unwrap();
        assert_eq!(header.description, None, "no {zero} yet");
    }
    let five = tail(&|tail| NUM_COMPS.put(tail, 5).unwrap());
    assert_eq!(five, Err(LayoutError::BadComponents { found: 5 }));
    let unknown = tail(&|tail| FORMAT_KIND.put(tail, 7).unwrap());
    assert_eq!(unknown, Err(LayoutError::UnknownFormat { kind: 7, bits: 8, flags: 0 }));
    let bits = tail(&|tail| BITS.put(tail, 0).unwrap());
    assert_eq!(bits, Err(LayoutError::UnknownFormat { kind: 1, bits: 0, flags: 0 }));
    let (width, height, channels, bytes) = (64, 48, 4, 1);
    let size = tail(&|tail| DATA_SIZE.put(tail, 12_287).unwrap());
    let bad = |found, expected, width| LayoutError::BadSize { found, expected, width, height, channels, bytes };
    assert_eq!(size, Err(bad(12_287, 12_288, width)));
    let huge = tail(&|tail| WIDTH.put(tail, u32::MAX).unwrap());
    assert_eq!(huge, Err(bad(12_288, 192 * u128::from(u32::MAX), u32::MAX)));
}

#[test]
fn a_shutdown_flag_is_whatever_is_not_zero() {
    for (value, over) in [(0, false), (1, true), (2, true), (255, true)] {
        let mut bytes = written(3, &description(), 1);
        bytes[404] = value;
        assert_eq!(parse(&bytes).unwrap().unwrap().is_over, over);
    }
}

#[test]
fn only_moments_are_stamps() {
    for none in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        assert_eq!(stamp(none), None, "{none}");
    }
    assert_eq!(stamp(1.5), Some(1_500_000_000));
    assert_eq!(stamp(12_345_678.000_000_5), Some(12_345_678_000_000_500));
}

#[test]
fn the_count_leaves_zero_out_and_slots_follow_it() {
    assert_eq!((next_index(0), next_index(1), next_index(u32::MAX - 1)), (1, 2, u32::MAX));
    assert_eq!(next_index(u32::MAX), 1);
    assert_eq!((slot_of(1, 3), slot_of(2, 3), slot_of(3, 3), slot_of(4, 3)), (0, 1, 2, 0));
    // 3 divides 2^32 − 1: three slots stay in turn, two write one twice, four leave one out.
    assert_eq!((slot_of(u32::MAX, 3), slot_of(1, 3)), (2, 0));
    assert_eq!((slot_of(u32::MAX, 2), slot_of(1, 2)), (0, 0));
    assert_eq!((slot_of(u32::MAX, 4), slot_of(1, 4)), (2, 0));
}

#[test]
fn a_frame_is_whole_while_at_most_all_but_two_slots_were_used_since() {
    for slots in 1..=MAX_SLOTS {
        for index in [1, 2, 7, 1000] {
            for ahead in 0..2 * slots {
                let whole = ahead + 2 <= slots;
                assert_eq!(still_whole(index, index + ahead, slots), whole, "{index} + {ahead} of {slots}");
            }
        }
        assert!(!still_whole(7, 6, slots) && !still_whole(7, 0, slots), "the count was set back");
    }
}

/// Both kinds of producers, simulated over the turn of the count: whenever a frame is called whole, the slot that is
/// being written is another one.
#[test]
fn no_frame_is_called_whole_whose_slot_is_written_where_the_count_goes_round() {
    let skipping = |index: u32| next_index(index);
    let plain = |index: u32| index.wrapping_add(1);
    for slots in 1..=MAX_SLOTS {
        let step: [&dyn Fn(u32) -> u32; 2] = [&skipping, &plain];
        for next in step {
            let order: Vec<u32> =
                std::iter::successors(Some(u32::MAX - 15), |&index| Some(next(index))).take(32).collect();
            for (at, &index) in order.iter().enumerate().filter(|(_, index)| **index != 0) {
                for now in at..order.len() - 1 {
                    let written = &order[at + 1..=now + 1];
                    let left_alone = written.iter().all(|&other| slot_of(other, slots) != slot_of(index, slots));
                    if still_whole(index, order[now], slots) {
                        assert!(left_alone, "{slots} slots: {index}, newest {}", order[now]);
                    }
                }
            }
        }
    }
}

#[cfg(not(miri))] // hundreds of cases
proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_right_front_does_not_make_the_rest_right(
        mut bytes in proptest::collection::vec(any::<u8>(), 177..1400),
        slots in 0..12u32,
    ) {
        MAGIC.put(&mut bytes, MAGIC_VALUE).unwrap();
        NUM_SLOTS.put(&mut bytes, slots).unwrap();
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.places.size() <= bytes.len());
            if let Some(description) = header.description {
                prop_assert!((1..=4).contains(&description.channels));
                prop_assert_eq!(description.row_bytes() * description.height as usize, description.frame_bytes() as usize);
            }
        }
    }

    #[test]
    fn whatever_is_described_is_read_back(
        width in 1..5000u32, height in 1..5000u32, channels in 1..=4u8, format in 0..7usize, flags: u16, slots in 1..=10u32,
        generation: u64,
    ) {
        let format = Format::ALL[format];
        let flags = flags & !FLAG_BFLOAT16 | format.triple().2;
        let description = Description { width, height, channels, format, flags };
        let header = parse(&written(slots, &description, generation)).unwrap().unwrap();
        prop_assert_eq!((header.description, header.generation), (Some(description), generation));
    }
}
