// SPDX-License-Identifier: MPL-2.0
//! What stands where, to the byte; and what of it makes sense.
//!
//! All fields are little-endian and packed. Behind the head there are two handles for each slot, behind these the tail,
//! most of whose fields lie at odd offsets: they are copied, never used in place.

use thiserror::Error;

use super::format::{Description, Format};
use crate::cuda::{IpcEventHandle, IpcMemHandle};
use crate::field::Field;

/// "DPIC" in memory.
pub const MAGIC_VALUE: u32 = 0x4349_5044;
/// What stood there before 1.0.0, when the tail had other fields.
pub const OLD_MAGIC: u32 = 0x4349_5043;
/// Most slots that every reader takes.
pub const MAX_SLOTS: u32 = 10;

/// [`MAGIC_VALUE`].
pub const MAGIC: Field<u32> = Field::at(0);
/// Counts generations: who sees another one looks at everything anew. Not 8-aligned: two words, the low one written last.
pub const VERSION: Field<u64> = Field::at(4);
/// Number of slots.
pub const NUM_SLOTS: Field<u32> = Field::at(12);
/// Frames published in this generation; 0 = none. Used as an atomic.
pub const WRITE_IDX: Field<u32> = Field::at(16);
/// First byte of the slots.
pub const HEAD: usize = 20;
/// Bytes of a handle.
pub const HANDLE: usize = 64;
/// Bytes of a slot: the memory's handle, then the event's.
pub const SLOT: usize = 2 * HANDLE;
/// Bytes of the tail.
pub const TAIL: usize = 29;

/// 0 alive, anything else ended. Offsets from here on are the tail's.
pub const SHUTDOWN: Field<u8> = Field::at(0);
/// Pixels of a row.
pub const WIDTH: Field<u32> = Field::at(1);
/// Rows.
pub const HEIGHT: Field<u32> = Field::at(5);
/// Components of a pixel.
pub const NUM_COMPS: Field<u32> = Field::at(9);
/// 0 signed, 1 unsigned, 2 float: CUDA's channel format kinds.
pub const FORMAT_KIND: Field<u8> = Field::at(13);
/// Bits of a component.
pub const BITS: Field<u8> = Field::at(14);
/// See [`FLAG_BFLOAT16`] and its neighbours.
pub const FLAGS: Field<u16> = Field::at(15);
/// Bytes of a frame, tight.
pub const DATA_SIZE: Field<u32> = Field::at(17);
/// Seconds of the producer's monotonic clock at the last publication.
pub const TIMESTAMP: Field<f64> = Field::at(21);

/// 16-bit floats are bfloat16.
pub const FLAG_BFLOAT16: u16 = 1;
/// Two components are grey and alpha, not red and green.
pub const FLAG_MONO_ALPHA: u16 = 2;
/// Four 8-bit components are B G R A.
pub const FLAG_BGRA: u16 = 4;

const _: () = {
    assert!(MAGIC.end() == VERSION.offset());
    assert!(VERSION.end() == NUM_SLOTS.offset());
    assert!(NUM_SLOTS.end() == WRITE_IDX.offset());
    assert!(WRITE_IDX.end() == HEAD);
    assert!(WRITE_IDX.offset().is_multiple_of(align_of::<u32>())); // it is used as an atomic
    assert!(VERSION.offset().is_multiple_of(align_of::<u32>())); // its halves are
    assert!(SHUTDOWN.end() == WIDTH.offset());
    assert!(WIDTH.end() == HEIGHT.offset());
    assert!(HEIGHT.end() == NUM_COMPS.offset());
    assert!(NUM_COMPS.end() == FORMAT_KIND.offset());
    assert!(FORMAT_KIND.end() == BITS.offset());
    assert!(BITS.end() == FLAGS.offset());
    assert!(FLAGS.end() == DATA_SIZE.offset());
    assert!(DATA_SIZE.end() == TIMESTAMP.offset());
    assert!(TIMESTAMP.end() == TAIL);
    assert!(Places::of(3).size() == 433);
    assert!(Places::of(1).size() == 177 && Places::of(MAX_SLOTS).size() == 1329);
};

/// Where things are with so many slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    slots: u32,
}

impl Places {
    /// With `slots` slots; [`MAX_SLOTS`] at most, so no sum overflows.
    pub const fn of(slots: u32) -> Self {
        assert!(slots >= 1 && slots <= MAX_SLOTS);
        Self { slots }
    }

    /// Number of slots.
    pub const fn slots(self) -> u32 {
        self.slots
    }

    /// First byte of a slot: its memory's handle; [`HANDLE`] bytes further its event's.
    pub const fn slot(self, slot: u32) -> usize {
        HEAD + SLOT * slot as usize
    }

    /// First byte of the tail.
    pub const fn tail(self) -> usize {
        self.slot(self.slots)
    }

    /// Bytes of the segment.
    pub const fn size(self) -> usize {
        self.tail() + TAIL
    }
}

/// Handles of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotHandles {
    /// The memory's.
    pub memory: IpcMemHandle,
    /// The event's; `None`, all zeros on the wire: nothing orders the slot's two users.
    pub event: Option<IpcEventHandle>,
}

/// Why a segment cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The segment ends before its contents do.
    #[error("{len} bytes, but {slots} slots need {needed}")]
    TooShort {
        /// Bytes there are.
        len: usize,
        /// Bytes needed.
        needed: usize,
        /// Slots it says; 0 when not even the head is there.
        slots: u32,
    },
    /// It is no cuda-link segment.
    #[error("its magic is {found:#010x}, a cuda-link segment's is {MAGIC_VALUE:#010x}")]
    BadMagic {
        /// What stands there.
        found: u32,
    },
    /// It is one of before 1.0.0.
    #[error("it was written by a cuda-link older than 1.0.0, whose layout is another one; update the sending side")]
    OldMagic,
    /// A number of slots that nobody writes.
    #[error("it says {found} slots; 1 to {MAX_SLOTS} can be")]
    BadSlots {
        /// What it says.
        found: u32,
    },
    /// A combination that names no format.
    #[error("it says kind {kind}, {bits} bits, flags {flags:#06x}, which no known format has")]
    UnknownFormat {
        /// Kind of number.
        kind: u8,
        /// Bits.
        bits: u8,
        /// Flags.
        flags: u16,
    },
    /// Too many components.
    #[error("it says {found} components per pixel; 1 to 4 can be")]
    BadComponents {
        /// What it says.
        found: u32,
    },
    /// Size and description contradict each other.
    #[error(
        "it says {found} bytes per frame, but {width}×{height} pixels of {channels} × {bytes} bytes are {expected}"
    )]
    BadSize {
        /// What it says.
        found: u32,
        /// What it would have to say.
        expected: u128,
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Components.
        channels: u32,
        /// Bytes of a component.
        bytes: usize,
    },
}

/// What a segment says, if it makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The generation.
    pub generation: u64,
    /// Where things are.
    pub places: Places,
    /// Newest frame; 0: none yet.
    pub index: u32,
    /// Whether the producer has ended.
    pub is_over: bool,
    /// Handles of each slot; `None` while one of the memory handles is all zeros: the producer is not ready yet.
    pub handles: Option<Vec<SlotHandles>>,
    /// What the frames are; `None` while a dimension is 0.
    pub description: Option<Description>,
    /// When the newest frame was published; `None` for 0, and for what is no time.
    pub stamp: Option<Stamp>,
}

/// A moment of the producer's monotonic clock, in nanoseconds.
pub type Stamp = u64;

/// The magic of a segment of at least [`HEAD`] bytes, and what it stands for: `Ok(false)` when it is 0, which a producer
/// writes last.
pub fn check_magic(bytes: &[u8]) -> Result<bool, LayoutError> {
    let short = LayoutError::TooShort { len: bytes.len(), needed: Places::of(1).size(), slots: 0 };
    match MAGIC.get(bytes).ok_or(short)? {
        MAGIC_VALUE => Ok(true),
        0 => Ok(false),
        OLD_MAGIC => Err(LayoutError::OldMagic),
        found => Err(LayoutError::BadMagic { found }),
    }
}

/// Where things are in a segment of `len` bytes whose head says `slots` slots.
pub fn check_slots(slots: u32, len: usize) -> Result<Places, LayoutError> {
    if !(1..=MAX_SLOTS).contains(&slots) {
        return Err(LayoutError::BadSlots { found: slots });
    }
    let places = Places::of(slots);
    let needed = places.size();
    if len < needed { Err(LayoutError::TooShort { len, needed, slots }) } else { Ok(places) }
}

/// Reads a segment's contents. `bytes` is a private copy; what is behind them (whole pages) is nobody's. `Ok(None)`: the
/// magic is 0, somebody is about to write.
///
/// # Errors
/// What stands there cannot be.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, LayoutError> {
    let short = LayoutError::TooShort { len: bytes.len(), needed: Places::of(1).size(), slots: 0 };
    let slots = NUM_SLOTS.get(bytes).ok_or(short)?;
    if !check_magic(bytes)? {
        return Ok(None);
    }
    let places = check_slots(slots, bytes.len())?;
    let tail = bytes.get(places.tail()..).ok_or(short)?;
    Ok(Some(Header {
        generation: VERSION.get(bytes).ok_or(short)?,
        places,
        index: WRITE_IDX.get(bytes).ok_or(short)?,
        is_over: SHUTDOWN.get(tail).ok_or(short)? != 0,
        handles: (0..slots).map(|slot| handles(bytes, places.slot(slot))).collect(),
        description: description(tail)?,
        stamp: TIMESTAMP.get(tail).and_then(stamp),
    }))
}

fn handles(bytes: &[u8], offset: usize) -> Option<SlotHandles> {
    let handle = |offset: usize| -> Option<[u8; HANDLE]> {
        let raw: [u8; HANDLE] = bytes.get(offset..offset + HANDLE)?.try_into().ok()?;
        raw.iter().any(|&byte| byte != 0).then_some(raw)
    };
    let memory = IpcMemHandle(handle(offset)?);
    Some(SlotHandles { memory, event: handle(offset + HANDLE).map(IpcEventHandle) })
}

fn description(tail: &[u8]) -> Result<Option<Description>, LayoutError> {
    let fields = || -> Option<(u32, u32, u32, u8, u8, u16, u32)> {
        Some((
            WIDTH.get(tail)?,
            HEIGHT.get(tail)?,
            NUM_COMPS.get(tail)?,
            FORMAT_KIND.get(tail)?,
            BITS.get(tail)?,
            FLAGS.get(tail)?,
            DATA_SIZE.get(tail)?,
        ))
    };
    let Some((width, height, channels, kind, bits, flags, found)) = fields() else { return Ok(None) };
    if width == 0 || height == 0 || channels == 0 {
        return Ok(None);
    }
    let format = Format::of(kind, bits, flags).ok_or(LayoutError::UnknownFormat { kind, bits, flags })?;
    if channels > 4 {
        return Err(LayoutError::BadComponents { found: channels });
    }
    let bytes = format.bytes();
    let expected = u128::from(width) * u128::from(height) * u128::from(channels) * bytes as u128;
    if u128::from(found) != expected {
        return Err(LayoutError::BadSize { found, expected, width, height, channels, bytes });
    }
    Ok(Some(Description { width, height, channels: channels as u8, format, flags }))
}

/// Nanoseconds of a stamp in seconds. 0 means that nobody stamped; what is no moment means the same.
pub(super) fn stamp(seconds: f64) -> Option<Stamp> {
    const LONGEST: f64 = (u64::MAX / 2) as f64 / 1e9;
    (seconds > 0.0 && seconds < LONGEST).then_some((seconds * 1e9) as u64)
}

/// The tail's first bytes: the shutdown flag and everything that describes frames, with stamp 0.
pub fn tail_of(description: &Description, is_over: bool) -> [u8; TAIL] {
    let mut tail = [0; TAIL];
    let (kind, bits, flag) = description.format.triple();
    // The array is exactly as long as the fields.
    let _ = SHUTDOWN.put(&mut tail, u8::from(is_over));
    let _ = WIDTH.put(&mut tail, description.width);
    let _ = HEIGHT.put(&mut tail, description.height);
    let _ = NUM_COMPS.put(&mut tail, u32::from(description.channels));
    let _ = FORMAT_KIND.put(&mut tail, kind);
    let _ = BITS.put(&mut tail, bits);
    let _ = FLAGS.put(&mut tail, description.flags & !FLAG_BFLOAT16 | flag);
    let _ = DATA_SIZE.put(&mut tail, description.frame_bytes());
    tail
}

/// The index after `index`: 0 means "no frame", so it is left out when the count goes round.
pub const fn next_index(index: u32) -> u32 {
    match index.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// The slot of frame `index`, which is not 0.
pub const fn slot_of(index: u32, slots: u32) -> u32 {
    index.wrapping_sub(1) % slots
}

/// Whether frame `index` was left alone while `newest` became the newest frame. The producer may be writing the frame
/// after that already: with n slots at most n − 2 newer ones may be out.
///
/// Where the count goes round, producers differ (ours leave 0 out, others do not), so a slot counts as reused if either
/// would reuse it.
pub fn still_whole(index: u32, newest: u32, slots: u32) -> bool {
    let own = slot_of(index, slots);
    let ahead = newest.wrapping_sub(index);
    if ahead >= slots {
        // Or the count was set back.
        return false;
    }
    // The frames that came, and the one that is being written.
    let mut other = index;
    for _ in 0..=ahead {
        other = other.wrapping_add(1);
        // 0: of a producer that does not leave it out; the others are at 1 by then.
        if slot_of(other, slots) == own || other == 0 && slot_of(1, slots) == own {
            return false;
        }
    }
    true
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
