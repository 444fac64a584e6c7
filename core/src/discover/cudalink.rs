// SPDX-License-Identifier: MPL-2.0
//! cuda-link's segments, told by their magic. No CUDA driver is asked for anything.

use std::time::Duration;

use super::{Detail, Found, State};
use crate::frame::{FrameDesc, Origin};
use crate::protocol::cudalink::LayoutError;
use crate::protocol::cudalink::layout::{self, Header, Places};
use crate::segment::{Segment, monotonic_ns};

/// What cuda-link's segment says.
pub type CudaLink = Header;

/// Most bytes that a segment of it has.
const MOST: usize = Places::of(layout::MAX_SLOTS).size();

/// Says what stands in `segment` if it is cuda-link's.
pub(super) fn look(segment: &Segment, found: &mut Found) {
    let mut bytes = vec![0; segment.len().min(MOST)];
    if let Err(error) = segment.read(0, &mut bytes) {
        found.trouble.push(format!("It cannot be read: {error}."));
        return;
    }
    match layout::parse(&bytes) {
        Ok(Some(header)) => describe(header, found),
        // Nothing written yet, or not of that kind at all.
        Ok(None) | Err(LayoutError::BadMagic { .. }) => state_of_bytes(found),
        Err(LayoutError::TooShort { .. }) if layout::check_magic(&bytes) != Ok(true) => state_of_bytes(found),
        Err(error) => {
            found.detail = Detail::CudaLink(None);
            found.trouble.push(format!("cuda-link's segment cannot be read: {error}."));
        }
    }
}

/// Bytes without a header: only a lock of ours tells something.
fn state_of_bytes(found: &mut Found) {
    if found.owned == Some(true) {
        found.state = State::Live;
    }
}

fn describe(header: Header, found: &mut Found) {
    if let Some(description) = header.description {
        // cuda-link says nothing of where row 0 stands; TouchDesigner's is the bottom.
        let origin = Origin::BottomLeft;
        let (width, height) = (description.width, description.height);
        found.frame = description.pixel_format(None).map(|format| FrameDesc { width, height, format, origin });
        found.pixels = Some(description.to_string());
    } else {
        found.trouble.push("Its producer has not said yet what its frames are.".into());
    }
    if header.handles.is_none() {
        found.trouble.push("Its producer has not announced its memory yet.".into());
    }
    if header.places.slots() == 1 {
        found.trouble.push("It has one slot, which nobody can read while it is written; 2 to 10 work.".into());
    }
    found.age = header.stamp.and_then(|stamp| monotonic_ns().checked_sub(stamp)).map(Duration::from_nanos);
    found.state = match found.owned {
        _ if header.is_over => State::Stale,
        _ if header.index == 0 => State::Live,
        _ => found.live_or_stalled(),
    };
    found.detail = Detail::CudaLink(Some(Box::new(header)));
}
