// SPDX-License-Identifier: MPL-2.0
//! Pages of the system: anonymous files and their mappings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

pub const PAGE: usize = 4096;
/// What the window of a device allocation is aligned to, as the driver's blocks are.
pub const BLOCK: usize = 2 << 20;

/// Bytes of an anonymous file that this process can read and write.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory; whoever reads and writes it says how (atomics, or copies that may tear as on a device).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` bytes of `file`, which the caller knows to be that long.
    pub fn of(file: impl AsFd, len: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs none.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0) }?;
        NonNull::new(start.cast()).map(|start| Mapping { start, len }).ok_or_else(|| io::Error::other("mapped at 0"))
    }

    /// Private pages that start as zeros: pinned host memory.
    pub fn anonymous(len: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs none.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) }?;
        NonNull::new(start.cast()).map(|start| Mapping { start, len }).ok_or_else(|| io::Error::other("mapped at 0"))
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Something that both sides of a mapping agree on, at `offset`.
    pub fn view<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: the range lies inside the mapping.
        let at = unsafe { self.start.add(offset) };
        // SAFETY: `T` is `Shared`: any bytes are a valid `T`, and it changes only by atomics; it is aligned, as the
        // mapping starts on a page; and it lives as long as `self`.
        Some(unsafe { at.cast::<T>().as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of a mapping that nobody else unmaps.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// What may lie in memory that other processes write to.
///
/// # Safety
/// Only atomics, whole bytes without holes, no pointers.
pub unsafe trait Shared {}

/// Addresses that belong to nobody and that the processor cannot reach: a device pointer points into them.
#[derive(Debug)]
pub struct Window {
    start: usize,
    len: usize,
}

impl Window {
    /// `len` bytes of addresses, the first one a multiple of `alignment` (a power of two).
    pub fn new(len: usize, alignment: usize) -> io::Result<Window> {
        let len = len.next_multiple_of(PAGE);
        let room = len.checked_add(alignment).ok_or_else(|| io::Error::other("too long"))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs none.
        let at = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), flags) }?;
        let (at, start) = (at as usize, (at as usize).next_multiple_of(alignment));
        unmap(at, start - at);
        unmap(start + len, at + room - (start + len));
        Ok(Window { start, len })
    }

    pub fn start(&self) -> u64 {
        self.start as u64
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        unmap(self.start, self.len);
    }
}

/// Gives back a part of a window.
fn unmap(start: usize, len: usize) {
    if len > 0 {
        // SAFETY: only windows call this, with addresses of their own mapping that no reference points to.
        let _ = unsafe { rustix::mm::munmap(start as *mut _, len) };
    }
}

/// What an allocation's file ends with, on a page of its own.
#[repr(C)]
#[derive(Debug)]
pub struct Trailer {
    magic: AtomicU32,
    /// The owner has freed it.
    freed: AtomicU32,
}

// SAFETY: two atomics.
unsafe impl Shared for Trailer {}

const TRAILER: u32 = 0x4544_4d45;

/// The bytes of device memory, in an anonymous file: nothing is left behind when a process dies.
#[derive(Debug)]
pub struct Backing {
    file: OwnedFd,
    bytes: Mapping,
    size: usize,
}

impl Backing {
    pub fn new(size: usize) -> io::Result<Backing> {
        let room = size.checked_next_multiple_of(PAGE).and_then(|room| room.checked_add(PAGE));
        let room = room.ok_or_else(|| io::Error::other("too long"))?;
        let file = rustix::fs::memfd_create("emulated-cuda", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, room as u64)?;
        let bytes = Mapping::of(&file, room)?;
        let backing = Backing { file, bytes, size };
        backing.trailer().magic.store(TRAILER, Ordering::Release);
        Ok(backing)
    }

    /// The memory of another process, or of this one by another way. None when the file is not such memory.
    pub fn open(file: OwnedFd, size: usize) -> Option<Backing> {
        let room = size.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?;
        if usize::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()? != room {
            return None;
        }
        let bytes = Mapping::of(&file, room).ok()?;
        let backing = Backing { file, bytes, size };
        (backing.trailer().magic.load(Ordering::Acquire) == TRAILER).then_some(backing)
    }

    fn trailer(&self) -> &Trailer {
        let offset = self.size.next_multiple_of(PAGE);
        self.bytes.view(offset).unwrap_or_else(|| unreachable!("the trailer's page is part of every mapping"))
    }

    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub fn inode(&self) -> u64 {
        rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_ino)
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn is_freed(&self) -> bool {
        self.trailer().freed.load(Ordering::Acquire) != 0
    }

    pub fn mark_freed(&self) {
        self.trailer().freed.store(1, Ordering::Release);
    }

    /// The address of `len` bytes at `offset`; none past the end.
    pub fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.size {
            return None;
        }
        // SAFETY: inside the mapping, which is longer than `size`.
        Some(unsafe { self.bytes.start().add(offset) })
    }

    pub fn fill(&self, byte: u8) {
        // SAFETY: `size` bytes from the start belong to this mapping; a device's memory may be written at any time.
        unsafe { self.bytes.start().as_ptr().write_bytes(byte, self.size) }
    }
}
