// SPDX-License-Identifier: MPL-2.0
//! Taking the names of a control segment, and removing what a dead producer left under them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ProduceError;
use super::description::{Description, FrameSpec, Pixels};
use super::layout::{FREED, HEADER_BYTES, Header, LayoutError, SEGMENT_BYTES, Tables, WAKE};
use super::offer::Shared;
use super::producer::ProducerOptions;
use super::words::SegmentWords;
use crate::segment::{Acquired, Bell, ControlSegment, CreateOptions, Identity, OwnedSegment, Segment, SegmentName};

/// Takes the control segment, and makes its words sound where another program or version left others.
pub(super) fn take_control(name: &SegmentName, options: &ProducerOptions) -> Result<(Shared, Acquired), ProduceError> {
    let (control, acquired) = ControlSegment::produce(name, SEGMENT_BYTES, &options.create)?;
    let segment = Arc::clone(control.segment());
    segment.populate()?;
    let mut bytes = [0; HEADER_BYTES];
    segment.read(0, &mut bytes)?;
    match Header::parse(&bytes, SEGMENT_BYTES) {
        Ok(header) => {
            // A producer of one slot goes on with the very object, for readers that only know the raw bytes.
            if options.slots > 1
                && header.tables == Tables::OURS
                && let Ok(left) = Description::parse(&bytes, &header)
            {
                remove_raw(name, &left);
            }
        }
        Err(LayoutError::NotReady) => {}
        Err(_) => segment.write(0, &[0; SEGMENT_BYTES])?,
    }
    let words = SegmentWords::new(Arc::clone(&segment), Tables::OURS);
    let control_name = name.control();
    let news = Arc::new(Bell::new(&control_name, Arc::clone(&segment), WAKE.offset())?);
    let freed = Arc::new(Bell::new(&control_name, segment, FREED.offset())?);
    Ok((Shared { control, words, news, freed }, acquired))
}

/// Removes the raw segment that a producer of one slot left when it died. Only for whoever has the control segment.
pub(super) fn remove_raw(name: &SegmentName, left: &Description) {
    if left.pixels.name != name.as_str() {
        return;
    }
    let Ok(found) = Segment::open(name, Default::default()) else { return };
    if wire_identity(&found) != left.pixels.identity {
        return;
    }
    // Who reads the raw bytes only waits for a producer that comes back to them.
    #[cfg(target_os = "linux")]
    if crate::segment::used_by_others(found.identity()) {
        return;
    }
    let len = found.len();
    drop(found);
    // A producer of the same size takes what is ours and dead, and leaves nothing at its end.
    if let Err(error) = OwnedSegment::create(name, len, &CreateOptions::default()) {
        tracing::debug!(%error, "the raw segment stays");
    }
}

/// How an object is told on the wire: names are enough where objects have no numbers.
pub(super) fn wire_identity(segment: &Segment) -> Identity {
    if cfg!(target_os = "linux") { segment.identity() } else { Identity { device: 0, inode: 0 } }
}

pub(super) fn describe(spec: FrameSpec, pixels: Pixels) -> Description {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Description { spec, pixels, pid: std::process::id(), started: now.as_nanos() as u64 }
}
