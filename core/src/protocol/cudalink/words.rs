// SPDX-License-Identifier: MPL-2.0
//! The segment's fields where they are.

use std::sync::atomic::{Ordering, fence};

use super::layout::{
    HANDLE, HEAD, MAGIC, MAGIC_VALUE, NUM_SLOTS, Places, SHUTDOWN, SLOT, SlotHandles, Stamp, TAIL, TIMESTAMP, VERSION,
    WRITE_IDX,
};
use crate::segment::{AccessError, Segment};

/// The generation: two words, since it lies 4 bytes beside what an atomic of 8 bytes needs. A reader between the two
/// stores sees a third number, which is another generation all the same, and then another one again.
pub(super) fn version(segment: &Segment) -> Result<u64, AccessError> {
    let low = segment.load_u32(VERSION.offset(), Ordering::Acquire)?;
    let high = segment.load_u32(VERSION.offset() + 4, Ordering::Acquire)?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

/// What is written step by step: a segment, or a segment whose every step is looked at.
pub(super) trait Steps {
    fn store(&self, offset: usize, value: u32, order: Ordering) -> Result<(), AccessError>;
    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError>;
}

impl Steps for Segment {
    fn store(&self, offset: usize, value: u32, order: Ordering) -> Result<(), AccessError> {
        self.store_u32(offset, value, order)
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        Segment::write(self, offset, bytes)
    }
}

fn set_version(segment: &impl Steps, version: u64) -> Result<(), AccessError> {
    segment.store(VERSION.offset() + 4, (version >> 32) as u32, Ordering::Release)?;
    segment.store(VERSION.offset(), version as u32, Ordering::Release)
}

/// The newest frame.
pub(super) fn index(segment: &Segment) -> Result<u32, AccessError> {
    // [publish] Acquire, pairs with the store in `publish`.
    segment.load_u32(WRITE_IDX.offset(), Ordering::Acquire)
}

/// Whether the producer has ended.
pub(super) fn is_over(segment: &Segment, places: Places) -> Result<bool, AccessError> {
    let mut byte = [0];
    segment.read(places.tail() + SHUTDOWN.offset(), &mut byte)?;
    Ok(byte[0] != 0)
}

/// When the newest frame was published; whatever number stands there.
pub(super) fn stamp(segment: &Segment, places: Places) -> Result<f64, AccessError> {
    let mut bytes = [0; 8];
    segment.read(places.tail() + TIMESTAMP.offset(), &mut bytes)?;
    Ok(f64::from_le_bytes(bytes))
}

/// Begins to write another generation: who attaches now finds a producer that is not ready.
pub(super) fn take_down(segment: &impl Steps) -> Result<(), AccessError> {
    segment.store(MAGIC.offset(), 0, Ordering::Release)?;
    // What follows is not seen before.
    fence(Ordering::SeqCst);
    segment.store(WRITE_IDX.offset(), 0, Ordering::Release)
}

/// Writes everything that a generation is, and then, last, its number and the magic: whoever sees one of these sees the
/// rest.
pub(super) fn announce(
    segment: &impl Steps,
    places: Places,
    handles: &[SlotHandles],
    tail: &[u8; TAIL],
    generation: u64,
) -> Result<(), AccessError> {
    take_down(segment)?;
    segment.store(NUM_SLOTS.offset(), places.slots(), Ordering::Relaxed)?;
    for (slot, handles) in (0..places.slots()).zip(handles) {
        let mut bytes = [0; SLOT];
        let (memory, event) = bytes.split_at_mut(HANDLE);
        memory.copy_from_slice(&handles.memory.0);
        if let Some(handle) = handles.event {
            event.copy_from_slice(&handle.0);
        }
        segment.write(places.slot(slot), &bytes)?;
    }
    segment.write(places.tail(), tail)?;
    // [announce] Release, pairs with a reader's look at the generation.
    fence(Ordering::Release);
    set_version(segment, generation)?;
    segment.store(MAGIC.offset(), MAGIC_VALUE, Ordering::Release)
}

/// Shows frame `index` as the newest.
pub(super) fn publish(segment: &impl Steps, places: Places, index: u32, stamp: Stamp) -> Result<(), AccessError> {
    let seconds = stamp as f64 / 1e9;
    segment.write(places.tail() + TIMESTAMP.offset(), &seconds.to_le_bytes())?;
    segment.write(places.tail() + SHUTDOWN.offset(), &[0])?;
    // [publish] Release: the stamp, and the event that was recorded, come before the count.
    segment.store(WRITE_IDX.offset(), index, Ordering::Release)
}

/// Says that the producer has ended.
pub(super) fn shut(segment: &Segment, places: Places) -> Result<(), AccessError> {
    segment.write(places.tail() + SHUTDOWN.offset(), &[1])?;
    fence(Ordering::SeqCst);
    Ok(())
}

/// Takes all handles away.
pub(super) fn clear_handles(segment: &Segment, places: Places) -> Result<(), AccessError> {
    segment.write(HEAD, &vec![0; places.tail() - HEAD])
}
