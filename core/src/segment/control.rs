// SPDX-License-Identifier: MPL-2.0
//! A segment whose users the kernel knows: one producer, and the owners of numbered rows.
//!
//! A claim is held until it is given back or its process ends, however it ends; asking for one takes nothing from
//! anybody. The segment and the objects beside it go when the last of its users has gone.
//!
//! Linux: byte-range locks of the open object (`F_OFD_SETLK`): byte 0 is the producer's, byte 1 + i row i's. Who changes
//! where the name leads holds byte 2^40 of the object that it leads to; who removes the name holds all of them. After
//! locking, device and inode of the name are compared. A forked child has none of its
//! parent's claims: it can look at the memory, and must open the name anew for everything else.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

use std::sync::Arc;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(target_os = "macos")]
use macos as os;
#[cfg(windows)]
use windows as os;

use super::{Acquired, CreateOptions, Linked, OpenOptions, Segment, SegmentError, SegmentName};

/// Most rows that can be claimed.
pub const MAX_ROWS: u32 = 32;

/// What became of the wish for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowClaim {
    /// This one.
    Row(u32),
    /// Every row has its owner.
    Full,
    /// The segment is just being removed or replaced: open the name again.
    Leaving,
}

/// One user's end of a control segment, mapped for reading and writing.
#[derive(Debug)]
pub struct ControlSegment {
    os: os::Control,
}

impl ControlSegment {
    /// The producer's end of `len` bytes under `name.control()`: made, or taken over from a producer that has gone, with
    /// all that it left there. Nobody else is producer while this value lives.
    ///
    /// # Errors
    /// A live producer's (unless `options.takeover`), in use with another size, another user's, no space, or the
    /// system's refusal.
    pub fn produce(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<(Self, Acquired), SegmentError> {
        let (os, acquired) = os::Control::produce(name, len, options)?;
        Ok((Self { os }, acquired))
    }

    /// A consumer's end of what stands under `name.control()`. Nothing is claimed yet.
    ///
    /// # Errors
    /// Nothing there, another user's, access denied, or the system's refusal.
    pub fn open(name: &SegmentName, options: &OpenOptions) -> Result<Self, SegmentError> {
        Ok(Self { os: os::Control::open(name, options)? })
    }

    /// The memory.
    pub fn segment(&self) -> &Arc<Segment> {
        self.os.segment()
    }

    /// Claims the first of `rows` rows (at most [`MAX_ROWS`]) that nobody has.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn claim_row(&self, rows: u32) -> Result<RowClaim, SegmentError> {
        for row in 0..rows.min(MAX_ROWS) {
            if self.os.try_claim_row(row)? {
                return Ok(RowClaim::Row(row));
            }
        }
        // Whoever removes the segment has all rows for a moment, and the name; the name goes before the rows do.
        Ok(if self.os.is_settled()? { RowClaim::Full } else { RowClaim::Leaving })
    }

    /// Gives a row back.
    pub fn release_row(&self, row: u32) {
        self.os.release_row(row);
    }

    /// Whether another value than this one has claimed `row`, here or in another process.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        self.os.row_is_claimed(row)
    }

    /// Whether another value than this one is the producer's end, here or in another process.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn has_producer(&self) -> Result<bool, SegmentError> {
        self.os.has_producer()
    }

    /// Gives the producer's claim back.
    pub fn release_producer(&self) {
        self.os.release_producer();
    }

    /// Whether the name still leads to this segment.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn linked(&self) -> Result<Linked, SegmentError> {
        self.os.linked()
    }

    /// Removes the name, and before it whatever `clean` removes, if nobody has any claim and the name still leads here.
    /// Every user calls it last, after it gave its claim back: so the last one removes it, whoever that is.
    pub fn remove_if_unused(&self, clean: impl FnOnce()) -> bool {
        self.os.remove_if_unused(clean)
    }
}

/// The memory of one generation of a ring, under [`SegmentName::pixels`], until the value is dropped: then the name
/// goes, and the memory with the last mapping.
#[derive(Debug)]
pub struct PixelSegment {
    os: os::Pixels,
    generation: u64,
}

impl PixelSegment {
    /// Makes `len` bytes, zeroed and reserved, for the first generation from `from` on that is above every one whose
    /// memory still has its name: readers of that memory may come and must not find ours.
    ///
    /// # Errors
    /// No space, or the system's refusal.
    pub fn create(name: &SegmentName, from: u64, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        let (os, generation) = os::Pixels::create(name, from, len, options)?;
        Ok(Self { os, generation })
    }

    /// The generation that it is for.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The memory, mapped for reading and writing.
    pub fn segment(&self) -> &Arc<Segment> {
        self.os.segment()
    }
}

/// Removes the memory of all generations of `name`'s ring but `except`. For its one producer, and for whoever removes
/// the control segment. (Windows: what nobody has open is not there.)
pub fn remove_pixels(name: &SegmentName, except: Option<u64>) {
    os::remove_pixels(name, except);
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests;
