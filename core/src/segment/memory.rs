// SPDX-License-Identifier: MPL-2.0
//! A part of a segment that somebody else's code may look at: what a slot of a ring is to a framework's memory.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{AccessError, Segment};

/// Bytes between two touches: no system has smaller pages.
const PAGE: usize = 4096;

/// `len` bytes of a segment at an address that stays, mapped for as long as this value or a clone of it lives.
///
/// It says where the bytes are and nothing about who may touch them when: that is the protocol's, and following a
/// pointer is the caller's own unsafe code. Another program that cuts the object short turns the pages into zeros (see
/// the truncation guard); [`SlotMemory::check`] tells.
#[derive(Debug, Clone)]
pub struct SlotMemory {
    segment: Arc<Segment>,
    offset: usize,
    len: usize,
}

impl SlotMemory {
    /// `len` bytes from `offset` of `segment`.
    ///
    /// # Errors
    /// They are not all mapped.
    pub fn new(segment: Arc<Segment>, offset: usize, len: usize) -> Result<Self, AccessError> {
        segment.at(offset, len)?;
        Ok(Self { segment, offset, len })
    }

    /// The segment, for checked access.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// First byte within the segment.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte. Reads of [`SlotMemory::len`] bytes from here stay within the mapping as long as this
    /// value lives. Other programs may write them at any time unless the protocol says otherwise.
    pub fn as_ptr(&self) -> *const u8 {
        self.first().as_ptr()
    }

    /// The same for writing; `None` where the mapping is read-only.
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        self.segment.is_writable().then(|| self.first().as_ptr())
    }

    /// Whether the bytes were there until now.
    ///
    /// # Errors
    /// Another program cut the object short: what was read since may be zeros.
    pub fn check(&self) -> Result<(), AccessError> {
        self.segment.whole()
    }

    fn first(&self) -> NonNull<u8> {
        // SAFETY: `new` proved that `offset` lies within the mapping, or at its end.
        unsafe { self.segment.base.add(self.offset) }
    }
}

impl Segment {
    /// Has every page in this process's page table, so that no frame pays for it later.
    ///
    /// # Errors
    /// Truncated.
    pub fn populate(&self) -> Result<(), AccessError> {
        #[cfg(all(target_os = "linux", not(miri)))]
        if self.populate_at_once() {
            return Ok(());
        }
        for offset in (0..self.len).step_by(PAGE) {
            if self.writable && self.len - offset >= 4 {
                // Adds nothing, and is a write for the page table.
                self.fetch_add_u32(offset, 0, Ordering::Relaxed)?;
            } else {
                self.read(offset, &mut [0])?;
            }
        }
        Ok(())
    }

    /// One call for all pages, since Linux 5.14; false when it was refused.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn populate_at_once(&self) -> bool {
        use rustix::mm::{Advice, madvise};

        #[cfg(any(test, feature = "test-util"))]
        if matches!(self.backing, super::Backing::Heap(_)) {
            return false;
        }
        let advice = if self.writable { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
        // SAFETY: the range is our mapping; populating it changes no byte.
        unsafe { madvise(self.base.as_ptr().cast(), self.len, advice) }.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_lies_within_its_segment() {
        let segment = Arc::new(Segment::heap(100));
        let slot = SlotMemory::new(Arc::clone(&segment), 60, 40).unwrap();
        assert_eq!(slot.as_ptr() as usize - segment.base.as_ptr() as usize, 60);
        assert_eq!((slot.offset(), slot.len(), slot.is_empty()), (60, 40, false));
        assert!(slot.as_mut_ptr().is_some());
        assert!(SlotMemory::new(Arc::clone(&segment), 61, 40).is_err());
        assert!(SlotMemory::new(segment, usize::MAX, 2).is_err());
    }

    #[test]
    fn populating_changes_no_byte() {
        let segment = Segment::heap(3 * PAGE + 2);
        segment.write(PAGE - 1, &[1, 2, 3]).unwrap();
        segment.write(3 * PAGE, &[4, 5]).unwrap();
        segment.populate().unwrap();
        let mut bytes = [0; 3];
        segment.read(PAGE - 1, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3]);
        segment.read(3 * PAGE, &mut bytes[..2]).unwrap();
        assert_eq!(bytes[..2], [4, 5]);
    }
}
