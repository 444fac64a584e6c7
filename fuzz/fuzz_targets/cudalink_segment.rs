// SPDX-License-Identifier: MPL-2.0
//! A cuda-link segment that somebody else wrote, and goes on writing under a consumer: it is either refused, or every
//! number of it can be used without a further look.
#![no_main]

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use tdlink_core::protocol::cudalink::layout::{MAX_SLOTS, Places, parse};
use tdlink_core::protocol::cudalink::{Interrupt, Watch};
use tdlink_core::segment::{OpenOptions, Segment, SegmentName};

static NAME: LazyLock<SegmentName> = LazyLock::new(|| SegmentName::new("tdlink-fuzz").expect("a name"));

/// Bytes of one change: where, and what.
const CHANGE: usize = 2 + 4;

fn check(bytes: &[u8]) {
    let Ok(Some(header)) = parse(bytes) else { return };
    assert!((1..=MAX_SLOTS).contains(&header.places.slots()) && header.places.size() <= bytes.len());
    assert!(header.handles.is_none_or(|handles| handles.len() == header.places.slots() as usize));
    let Some(description) = header.description else { return };
    assert!((1..=4).contains(&description.channels) && description.width > 0 && description.height > 0);
    assert_eq!(description.row_bytes() * description.height as usize, description.frame_bytes() as usize);
}

fuzz_target!(|input: &[u8]| {
    // The front is a segment, what is left are changes that are made to it one by one.
    let (front, changes) = input.split_at(input.len().min(Places::of(3).size()));
    check(front);
    let segment = Arc::new(Segment::heap(Places::of(MAX_SLOTS).size()));
    segment.write(0, front).expect("it fits");
    let mut watch = Watch::over(&NAME, &OpenOptions::default(), Arc::clone(&segment), Interrupt::new()).ok();
    for change in changes.chunks_exact(CHANGE).take(64) {
        let at = u16::from_le_bytes([change[0], change[1]]) as usize % (segment.len() - 4);
        segment.write(at, &change[2..]).expect("it fits");
        let Some(watching) = &mut watch else {
            watch = Watch::over(&NAME, &OpenOptions::default(), Arc::clone(&segment), Interrupt::new()).ok();
            continue;
        };
        if watching.wait_newer(Some(Instant::now())).is_err() {
            watch = None;
            continue;
        }
        let header = watching.header();
        assert!(header.handles.is_some() && header.description.is_some());
        let slots = header.places.slots();
        if let Ok(Some(frame)) = watching.take() {
            assert!(frame.index != 0 && frame.slot < slots);
            let _ = watching.still_whole(&frame);
        }
    }
});
