// SPDX-License-Identifier: MPL-2.0
//! Named shared memory: what CPython's `SharedMemory`, TouchDesigner and we find under one name.
//!
//! Two rules hold for every byte of a [`Segment`]:
//!
//! * **No reference into shared memory leaves this module.** Another program may change the bytes at any time, so
//!   there are only copies ([`Segment::read`], [`Segment::write`], [`Segment::read_rows`], [`Segment::write_rows`])
//!   and atomic words ([`Segment::load_u32`] and its like).
//! * **Every access is checked**, in one function, against the bytes that are mapped.
//!
//! A copy of bytes that another program is writing can be torn; only a protocol can tell. A segment that another
//! program cuts short is an error of the access that meets it ([`AccessError::Truncated`]), not a signal.

mod bell;
mod clock;
mod control;
mod error;
#[cfg(unix)]
mod guard;
#[cfg(any(test, feature = "test-util"))]
mod heap;
#[cfg(target_os = "linux")]
mod holders;
mod interrupt;
#[cfg(windows)]
mod job;
#[cfg(target_os = "linux")]
mod linux;
mod listing;
#[cfg(unix)]
mod lock;
#[cfg(target_os = "macos")]
mod macos;
mod memory;
mod mutex;
mod name;
mod owned;
#[cfg(unix)]
#[cfg_attr(target_os = "macos", path = "macos/place.rs")]
mod place;
mod process;
mod program;
mod rows;
mod section;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "linux")]
mod unnamed;
pub mod wait;
#[cfg(all(test, loom))]
mod watched;
#[cfg(windows)]
mod windows;
mod words;

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
compile_error!("named shared memory is written for Linux, macOS and Windows");

use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

pub use bell::{Bell, SLEEPERS};
pub use clock::{monotonic_ns, monotonic_ns_at};
pub use control::{ControlSegment, MAX_ROWS, PixelSegment, RowClaim, remove_pixels};
pub use error::{AccessError, SegmentError};
#[cfg(target_os = "linux")]
pub(crate) use holders::{producer_among, used_by_others, users};
pub use interrupt::interrupt;
#[cfg(windows)]
pub use interrupt::{has_console, hear_interrupts};
#[cfg(windows)]
pub use job::Job;
#[cfg(all(windows, any(test, feature = "test-util")))]
pub use listing::session_objects;
pub use listing::{Listed, control_names, live_names, nearest, sort_by_nearness};
pub(crate) use listing::{is_generation, listed};
pub use memory::SlotMemory;
pub use mutex::{Locked, NamedMutex};
pub use name::{MAX_NAME_BYTES, NameError, SegmentName};
pub use owned::{Acquired, CreateOptions, OwnedSegment, Published};
pub(crate) use process::Process;
pub use program::program_name;
#[cfg(unix)]
pub use program::user_id;
pub use rows::Rows;
pub(crate) use rows::Stores;
pub use section::{Access, Section};
#[cfg(unix)]
use unix as os;
#[cfg(all(test, loom))]
pub(crate) use watched::Watched;
#[cfg(windows)]
use windows as os;

/// Where all names stand.
#[cfg(target_os = "linux")]
pub(crate) fn directory() -> &'static std::path::Path {
    place::Place::directory()
}

/// Which object a mapping shows: on Linux equal for two mappings of one object. Elsewhere objects cannot be told apart,
/// and every mapping of a process has an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Linux: the device. Elsewhere 0.
    pub device: u64,
    /// Linux: the inode. Elsewhere the mapping's number.
    pub inode: u64,
}

/// Where a segment's name leads now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// To this very object.
    Here,
    /// To another object: who opens the name now sees that one.
    Elsewhere,
    /// Nowhere.
    Gone,
}

/// How to open a segment.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Whether a segment that another user owns will do. (Unix only; the system decides on Windows.)
    pub allow_other_user: bool,
}

/// One mapping of one shared memory object.
///
/// It stays whatever becomes of the name; ask [`Segment::linked`]. A forked child has the mapping too.
#[derive(Debug)]
pub struct Segment {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    pace: rows::Pace,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Os(os::Mapping),
    #[cfg(any(test, feature = "test-util"))]
    Heap(heap::Heap),
}

// SAFETY: the memory belongs to no thread; it is unmapped once, by the drop of `backing`.
unsafe impl Send for Segment {}
// SAFETY: methods take copies and atomics only, as if every other user of the memory were another program.
unsafe impl Sync for Segment {}

impl Segment {
    /// Maps the whole object under `name` for reading. It needs no permission to write.
    ///
    /// # Errors
    /// Nothing there, access denied, another user's, 0 bytes, no shared memory object at all, or the system's refusal.
    pub fn open(name: &SegmentName, options: OpenOptions) -> Result<Self, SegmentError> {
        Ok(Self::over(os::Mapping::open(name, &options)?))
    }

    fn over(mapping: os::Mapping) -> Self {
        let (base, len, writable) = (mapping.base(), mapping.len(), mapping.is_writable());
        Self { base, len, writable, pace: rows::Pace::default(), backing: Backing::Os(mapping) }
    }

    /// No memory, in place of some that is let go of.
    #[cfg(windows)]
    pub(crate) fn nothing() -> Self {
        Self::over(os::Mapping::none())
    }

    /// `len` zeroed bytes of private memory with a segment's methods, aligned to 64 bytes.
    #[cfg(any(test, feature = "test-util"))]
    pub fn heap(len: usize) -> Self {
        let heap = heap::Heap::new(len);
        Self { base: heap.base(), len, writable: true, pace: rows::Pace::default(), backing: Backing::Heap(heap) }
    }

    /// Bytes mapped: the object's size when it was mapped, on Windows and macOS rounded up to whole pages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether writes are possible.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Which object this is.
    pub fn identity(&self) -> Identity {
        match &self.backing {
            Backing::Os(mapping) => mapping.identity(),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(heap) => Identity { device: 0, inode: heap.number() },
        }
    }

    /// Whether the name still leads to this object.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn linked(&self) -> Result<Linked, SegmentError> {
        match &self.backing {
            Backing::Os(mapping) => mapping.linked(),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(_) => Ok(Linked::Here),
        }
    }

    /// Whether an [`OwnedSegment`] under `name`, by which this was opened, is held by a process that lives. Other programs'
    /// producers have none, and macOS does not tell: false.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn has_owner(&self, name: &SegmentName) -> Result<bool, SegmentError> {
        match &self.backing {
            Backing::Os(mapping) => mapping.has_owner(name),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(_) => Ok(false),
        }
    }

    /// Whether a consumer of ours that lives holds row `row` of this control segment. Asked without permission to write.
    ///
    /// # Errors
    /// The system cannot tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        match &self.backing {
            Backing::Os(mapping) => mapping.row_is_claimed(row),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(_) => Ok(false),
        }
    }

    /// Bytes that the object has now. A peer may have cut it short or grown it since it was mapped.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn current_len(&self) -> Result<usize, SegmentError> {
        match &self.backing {
            Backing::Os(mapping) => mapping.current_len(),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(_) => Ok(self.len),
        }
    }

    /// Copies `dst.len()` bytes from `offset`. Another program may be writing them: the copy can be torn.
    ///
    /// # Errors
    /// Out of bounds, truncated.
    pub fn read(&self, offset: usize, dst: &mut [u8]) -> Result<(), AccessError> {
        let src = self.at(offset, dst.len())?;
        // SAFETY: `at` proved that the bytes are mapped; `dst`, being private memory, cannot overlap them.
        unsafe { rows::copy_out(src.as_ptr(), dst.as_mut_ptr(), dst.len()) };
        self.whole()
    }

    /// Copies `src` to `offset`.
    ///
    /// # Errors
    /// Out of bounds, read-only, truncated.
    pub fn write(&self, offset: usize, src: &[u8]) -> Result<(), AccessError> {
        self.writable()?;
        let dst = self.at(offset, src.len())?;
        // SAFETY: `at` proved that the bytes are mapped, `writable` that they may be written; `src`, being private
        // memory, cannot overlap them.
        unsafe { rows::copy_in(src.as_ptr(), dst.as_ptr(), src.len()) };
        self.whole()
    }

    /// Copies `rows` into `dst`, whose rows lie `dst_stride` bytes apart. Bytes of `dst` between rows are left alone.
    ///
    /// # Errors
    /// Out of bounds, overlapping rows, `dst` too small, truncated.
    pub fn read_rows(&self, rows: Rows, dst: &mut [u8], dst_stride: usize) -> Result<(), AccessError> {
        rows.fits_buffer(dst_stride, dst.len())?;
        let src = self.at(rows.offset, rows.span(rows.stride)?)?;
        // SAFETY: `at` proved that the segment's rows are mapped, `fits_buffer` that `dst` holds its own.
        unsafe { rows::rows_out(&rows, src.as_ptr(), dst.as_mut_ptr(), dst_stride, &self.pace) };
        self.whole()
    }

    /// Copies rows of `src`, which lie `src_stride` bytes apart, to `rows`. Bytes between rows are left alone.
    ///
    /// # Errors
    /// Out of bounds, overlapping rows, `src` too small, read-only, truncated.
    pub fn write_rows(&self, rows: Rows, src: &[u8], src_stride: usize) -> Result<(), AccessError> {
        self.writable()?;
        rows.fits_buffer(src_stride, src.len())?;
        let dst = self.at(rows.offset, rows.span(rows.stride)?)?;
        // SAFETY: `at` proved that the segment's rows are mapped, `writable` that they may be written, `fits_buffer`
        // that `src` holds its own.
        unsafe { rows::rows_in(&rows, src.as_ptr(), src_stride, dst.as_ptr(), &self.pace) };
        self.whole()
    }

    /// Whether all memory was there until now. (Unix: and that this thread survives if it is not there any more.)
    ///
    /// # Errors
    /// Another program cut the object short.
    pub fn check(&self) -> Result<(), AccessError> {
        #[cfg(unix)]
        if !cfg!(miri) {
            guard::let_through();
        }
        self.whole()
    }

    /// Where the mapping starts, as the system's lists of mappings say it.
    #[cfg(target_os = "linux")]
    fn address(&self) -> usize {
        self.base.as_ptr() as usize
    }

    /// The one place where bounds are checked: `len` bytes from `offset` are mapped.
    fn at(&self, offset: usize, len: usize) -> Result<NonNull<u8>, AccessError> {
        #[cfg(unix)]
        if !cfg!(miri) {
            guard::let_through();
        }
        match offset.checked_add(len) {
            // SAFETY: `offset` is at most the length of the mapping.
            Some(end) if end <= self.len => Ok(unsafe { self.base.add(offset) }),
            _ => Err(AccessError::OutOfBounds { offset, len, segment_len: self.len }),
        }
    }

    fn writable(&self) -> Result<(), AccessError> {
        if self.writable { Ok(()) } else { Err(AccessError::ReadOnly) }
    }

    /// Asked after an access: whether the memory was there.
    fn whole(&self) -> Result<(), AccessError> {
        // The look comes after the access.
        fence(Ordering::Acquire);
        let lost = match &self.backing {
            Backing::Os(mapping) => mapping.is_truncated(),
            #[cfg(any(test, feature = "test-util"))]
            Backing::Heap(_) => false,
        };
        if lost { Err(AccessError::Truncated { segment_len: self.len }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
