// SPDX-License-Identifier: MPL-2.0
//! A named object that lives as long as anybody has it open, as Windows keeps all of its own.
//!
//! Nobody owns such a name: whoever makes the object first has made it, everybody else opens it or is refused, and the
//! name goes with the last who has it. TouchDesigner's Shared Mem TOPs count on that.
//!
//! Linux has no such names, so holders show themselves: each shares a lock of byte 2^40 + 1 of the object (`F_OFD_SETLK`,
//! which the kernel takes back with the process), and one that closes it and finds itself alone removes the name. What a
//! process that was killed left behind is removed by whoever meets it next. A program that keeps the object open without
//! that lock counts too, as far as `/proc` shows it.

#[cfg(target_os = "linux")]
pub(super) mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(target_os = "macos")]
use macos as os;
#[cfg(windows)]
use windows as os;

use super::{CreateOptions, OpenOptions, Segment, SegmentError, SegmentName};

/// What an opened object is mapped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One holder's end of such an object, until it is dropped.
#[derive(Debug)]
pub struct Section {
    os: os::Section,
}

impl Section {
    /// Makes `len` zeroed bytes under `name`, mapped for writing. `options.takeover` has no meaning here.
    ///
    /// # Errors
    /// [`SegmentError::Exists`] when anybody has an object of that name, no space, or the system's refusal. macOS: not
    /// supported.
    pub fn create(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        if len == 0 {
            return Err(SegmentError::Unsupported { what: "a section of 0 bytes" });
        }
        Ok(Self { os: os::Section::create(name, len, options)? })
    }

    /// Opens what stands under `name`. Linux: that needs the permission to write it, whatever `access` is wanted.
    ///
    /// # Errors
    /// Nobody has such an object, access denied, another user's, 0 bytes, or the system's refusal. macOS: not supported.
    pub fn open(name: &SegmentName, access: Access, options: &OpenOptions) -> Result<Self, SegmentError> {
        Ok(Self { os: os::Section::open(name, access, options)? })
    }

    /// The memory. (Windows: in whole pages.)
    pub fn segment(&self) -> &Segment {
        self.os.segment()
    }
}

#[cfg(all(test, not(miri), not(target_os = "macos")))]
mod tests;
