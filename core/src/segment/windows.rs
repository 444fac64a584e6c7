// SPDX-License-Identifier: MPL-2.0
//! Named sections of Windows: opening and mapping.
//!
//! Names go to the system as they are, as CPython's do, into the session's namespace. A section and its name live as
//! long as anybody has it open. Its size never changes, and everybody sees it rounded up to whole pages.

pub(super) mod claim;
pub(super) mod event;
pub(super) mod mutex;
pub(super) mod objects;
mod owner;
pub(super) mod security;

use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_COMMITMENT_LIMIT, ERROR_FILE_NOT_FOUND, ERROR_INVALID_HANDLE,
    ERROR_NOT_ENOUGH_MEMORY, HANDLE, INVALID_HANDLE_VALUE, SetLastError,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, OpenFileMappingW, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};

pub(super) use owner::Owner;
use security::CurrentUserOnly;

use super::{Identity, Linked, OpenOptions, SegmentError, SegmentName};

/// One section, mapped whole; or none, while a producer exchanges it.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    number: u64,
    opened: Option<(View, Section)>,
}

/// Kept beside the view: the name goes with the last handle, though views keep the memory.
type Section = OwnedHandle;

impl Mapping {
    /// Opens and maps what stands under `name`, read-only.
    pub(super) fn open(name: &SegmentName, _: &OpenOptions) -> Result<Self, SegmentError> {
        Self::open_for(name, FILE_MAP_READ)
    }

    /// The same for any access.
    pub(super) fn open_for(name: &SegmentName, access: FILE_MAP) -> Result<Self, SegmentError> {
        let wide = wide(name.as_str());
        // SAFETY: the name ends in 0 and outlives the call.
        let section = unsafe { OpenFileMappingW(access, 0, wide.as_ptr()) };
        let section = owned(section).map_err(|err| failed("opening", name, err))?;
        Self::over(section, access, name)
    }

    pub(super) fn over(section: OwnedHandle, access: FILE_MAP, name: &SegmentName) -> Result<Self, SegmentError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let view = View::of(&section, access).map_err(|err| failed("mapping", name, err))?;
        let len = view.len().map_err(|err| failed("VirtualQuery", name, err))?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (base, writable) = (view.base, access & FILE_MAP_WRITE != 0);
        Ok(Self { base, len, writable, number, opened: Some((view, section)) })
    }

    /// No memory at all.
    pub(super) fn none() -> Self {
        Self { base: NonNull::dangling(), len: 0, writable: true, number: 0, opened: None }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { device: 0, inode: self.number }
    }

    /// As long as we have a handle, the name leads to this section.
    pub(super) fn linked(&self) -> Result<Linked, SegmentError> {
        Ok(if self.opened.is_some() { Linked::Here } else { Linked::Gone })
    }

    pub(super) fn has_owner(&self, name: &SegmentName) -> Result<bool, SegmentError> {
        claim::Claim::exists(name)
    }

    pub(super) fn current_len(&self) -> Result<usize, SegmentError> {
        Ok(self.len)
    }

    /// Nobody can shrink a section.
    pub(super) fn is_truncated(&self) -> bool {
        false
    }
}

/// A view of a whole section, until it is dropped.
#[derive(Debug)]
struct View {
    base: NonNull<u8>,
}

impl View {
    fn of(section: &OwnedHandle, access: FILE_MAP) -> io::Result<Self> {
        // SAFETY: the handle is an open section; a new view lies where nobody has memory.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), access, 0, 0, 0) };
        NonNull::new(view.Value.cast()).map(|base| Self { base }).ok_or_else(io::Error::last_os_error)
    }

    /// Bytes of the view: the section's size in whole pages.
    fn len(&self) -> io::Result<usize> {
        let mut region = MaybeUninit::<MEMORY_BASIC_INFORMATION>::uninit();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: `region` has room for `size` bytes.
        let written = unsafe { VirtualQuery(self.base.as_ptr().cast(), region.as_mut_ptr(), size) };
        if written < size {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all of it was written.
        let region = unsafe { region.assume_init() };
        // Bytes that are only reserved cannot be read. No peer makes such sections, but a session has some.
        if region.State != MEM_COMMIT {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "its memory is reserved and not there"));
        }
        Ok(region.RegionSize)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the view is ours alone, and nobody keeps a pointer into it beyond the segment that drops it.
        let unmapped = unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.base.as_ptr().cast() }) };
        if unmapped == 0 {
            tracing::error!(error = %io::Error::last_os_error(), "unmapping failed");
        }
    }
}

/// Makes a section of `len` bytes, or opens the one that has the name: then the second value is false, and `len` says
/// nothing about its size.
pub(super) fn create_section(name: &SegmentName, len: usize) -> Result<(OwnedHandle, bool), SegmentError> {
    let security = CurrentUserOnly::new().map_err(|err| failed("making a security descriptor", name, err))?;
    let wide = wide(name.as_str());
    let (high, low) = ((len as u64 >> 32) as u32, len as u32);
    // SAFETY: no memory is touched.
    unsafe { SetLastError(0) };
    // SAFETY: the attributes and the name, which ends in 0, outlive the call.
    let section = unsafe {
        CreateFileMappingW(INVALID_HANDLE_VALUE, security.attributes(), PAGE_READWRITE, high, low, wide.as_ptr())
    };
    let said = io::Error::last_os_error();
    let existed = said.raw_os_error() == Some(ERROR_ALREADY_EXISTS as i32);
    let section = owned_or(section, said).map_err(|err| match err.raw_os_error().map(|code| code as u32) {
        Some(ERROR_COMMITMENT_LIMIT | ERROR_NOT_ENOUGH_MEMORY) => {
            SegmentError::NoSpace { name: name.as_str().to_owned(), wanted: len as u64, available: 0 }
        }
        _ => failed("creation", name, err),
    })?;
    Ok((section, !existed))
}

/// Says a refusal of the system in a segment's words.
pub(super) fn failed(doing: &'static str, name: &SegmentName, source: io::Error) -> SegmentError {
    let name = name.as_str().to_owned();
    match source.raw_os_error().map(|code| code as u32) {
        Some(ERROR_FILE_NOT_FOUND) => SegmentError::NotFound { name },
        Some(ERROR_ACCESS_DENIED) => SegmentError::AccessDenied { name, source },
        // Sections share their names with events, mutexes, timers and jobs.
        Some(ERROR_INVALID_HANDLE) => SegmentError::NotShared { name, found: "an object of another kind".to_owned() },
        _ => SegmentError::Os { doing, name, source },
    }
}

/// UTF-16, ending in 0.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The handle that a call has just returned, or the error that it left.
pub(super) fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    owned_or(handle, io::Error::last_os_error())
}

fn owned_or(handle: HANDLE, error: io::Error) -> io::Result<OwnedHandle> {
    if ptr::eq(handle, ptr::null()) {
        return Err(error);
    }
    // SAFETY: the handle was just opened, is not null, and nobody else closes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

#[cfg(test)]
mod tests;
