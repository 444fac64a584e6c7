// SPDX-License-Identifier: MPL-2.0
//! The front of a control segment that somebody else wrote: it is either refused, or every number of it can be used
//! without a further look.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::protocol::control::Description;
use tdlink_core::protocol::control::layout::{HEADER_BYTES, Header, SEGMENT_BYTES};

fuzz_target!(|input: &[u8]| {
    let mut bytes = vec![0; HEADER_BYTES];
    let len = input.len().min(HEADER_BYTES);
    bytes[..len].copy_from_slice(&input[..len]);
    // As it stands, and as a segment that is shorter than its header says.
    for segment_len in [SEGMENT_BYTES, HEADER_BYTES] {
        let Ok(header) = Header::parse(&bytes, segment_len) else { continue };
        let Ok(description) = Description::parse(&bytes, &header) else { continue };
        let (spec, pixels) = (&description.spec, &description.pixels);
        assert!((1..=16).contains(&pixels.slots), "{pixels:?}");
        let frame = spec.frame_bytes(spec.stride).expect("it fits an address");
        assert!(spec.stride as usize >= spec.desc.row_bytes() && frame as u64 <= pixels.frame_size);
        for slot in 0..pixels.slots {
            let end = description.slot_offset(slot) as u64 + pixels.frame_size;
            assert!(end <= pixels.size, "slot {slot} ends at {end} of {pixels:?}");
        }
        assert!(spec.framerate.den > 0 && spec.max_framerate.den > 0 && spec.pixel_aspect.den > 0);
    }
});
