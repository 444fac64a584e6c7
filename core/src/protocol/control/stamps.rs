// SPDX-License-Identifier: MPL-2.0
//! What is said about one frame, beside its pixels.

use super::description::Description;
use super::layout::{
    FLAG_DISCONT, FLAG_GAP, FLAG_PTS_ON_CLOCK, LayoutError, SLOT_BYTES, SLOT_DURATION, SLOT_FLAGS, SLOT_OFFSET,
    SLOT_PAYLOAD, SLOT_PTS, SLOT_PUBLISHED, SLOT_STRIDE, bad,
};
use crate::field::Field;

/// How a missing number is written.
const NONE: u64 = u64::MAX;

/// What a producer says about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamps {
    /// Presentation time in ns: running time + base time of the pipeline.
    pub pts: Option<u64>,
    /// Whether `pts` is of the monotonic clock, so that it compares with the publication time.
    pub pts_on_clock: bool,
    /// Duration in ns.
    pub duration: Option<u64>,
    /// The producer's own frame number.
    pub offset: Option<u64>,
    /// Something was lost before this frame.
    pub discont: bool,
    /// The frame repeats the one before.
    pub gap: bool,
    /// Bytes from one row of pixels to the next, if not the description's.
    pub stride: Option<u32>,
}

/// What a consumer learns about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Counts the producer's frames; goes on across generations and restarts.
    pub sequence: u64,
    /// What the producer said; the stride is always there.
    pub stamps: Stamps,
    /// Bytes from one row of pixels to the next.
    pub stride: u32,
    /// Bytes of the frame, at most what a slot can hold.
    pub payload: usize,
    /// When it was published, in ns of the monotonic clock.
    pub published: u64,
}

impl FrameInfo {
    pub(super) fn new(sequence: u64, stamps: Stamps, description: &Description, now: u64) -> Result<Self, LayoutError> {
        let spec = &description.spec;
        let stride = stamps.stride.unwrap_or(spec.stride);
        spec.check_stride(stride)?;
        let payload = spec.frame_bytes(stride).unwrap_or(usize::MAX);
        if payload as u64 > description.pixels.frame_size {
            return Err(bad("the stride", stride, "makes frames larger than a slot"));
        }
        Ok(Self { sequence, stamps: Stamps { stride: Some(stride), ..stamps }, stride, payload, published: now })
    }

    /// Everything of a slot's entry but its sequence word.
    pub(super) fn put(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let stamps = &self.stamps;
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(stamps.pts_on_clock, FLAG_PTS_ON_CLOCK)
            | flag(stamps.discont, FLAG_DISCONT)
            | flag(stamps.gap, FLAG_GAP);
        for (field, value) in [
            (SLOT_PTS, stamps.pts.unwrap_or(NONE)),
            (SLOT_DURATION, stamps.duration.unwrap_or(NONE)),
            (SLOT_PUBLISHED, self.published),
            (SLOT_PAYLOAD, self.payload as u64),
            (SLOT_OFFSET, stamps.offset.unwrap_or(NONE)),
        ] {
            let _ = field.put(&mut bytes, value);
        }
        let _ = SLOT_STRIDE.put(&mut bytes, self.stride);
        let _ = SLOT_FLAGS.put(&mut bytes, flags);
        bytes
    }

    /// Reads an entry, a private copy. What it says may be of another frame as long as the slot was not looked at
    /// again; but it fits the description in any case.
    pub(super) fn parse(
        bytes: &[u8; SLOT_BYTES],
        sequence: u64,
        description: &Description,
    ) -> Result<Self, LayoutError> {
        let long = |field: Field<u64>| field.get(bytes).unwrap_or(NONE);
        let word = |field: Field<u32>| field.get(bytes).unwrap_or(0);
        let some = |value| (value != NONE).then_some(value);
        let flags = word(SLOT_FLAGS);
        let stamps = Stamps {
            pts: some(long(SLOT_PTS)),
            pts_on_clock: flags & FLAG_PTS_ON_CLOCK != 0,
            duration: some(long(SLOT_DURATION)),
            offset: some(long(SLOT_OFFSET)),
            discont: flags & FLAG_DISCONT != 0,
            gap: flags & FLAG_GAP != 0,
            stride: Some(word(SLOT_STRIDE)),
        };
        let info = Self::new(sequence, stamps, description, long(SLOT_PUBLISHED))?;
        let payload = long(SLOT_PAYLOAD);
        if payload > description.pixels.frame_size {
            return Err(bad("the size of a frame", payload, "is more than a slot holds"));
        }
        if payload < info.payload as u64 {
            return Err(bad("the size of a frame", payload, "is less than its rows take"));
        }
        Ok(Self { payload: payload as usize, ..info })
    }
}
