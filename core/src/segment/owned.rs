// SPDX-License-Identifier: MPL-2.0
//! The writer's end of a name: creates, adopts, republishes, resizes, unlinks.

use std::sync::Arc;

#[cfg(target_os = "linux")]
use super::linux::Owner;
#[cfg(target_os = "macos")]
use super::macos::Owner;
#[cfg(windows)]
use super::windows::Owner;
use super::{Segment, SegmentError, SegmentName};

/// No mapping can be longer.
const LARGEST: usize = isize::MAX as usize;

/// How to create a segment.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// POSIX permission bits of what is created, whatever the umask.
    pub mode: u32,
    /// Whether to take the name from a live producer of ours.
    pub takeover: bool,
    /// Whether a segment that another user owns may be adopted. (Unix only; the system decides on Windows.)
    pub allow_other_user: bool,
}

impl Default for CreateOptions {
    /// What CPython does: mode 0600, nobody else's.
    fn default() -> Self {
        Self { mode: 0o600, takeover: false, allow_other_user: false }
    }
}

/// How a name came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// Nothing stood there.
    Created,
    /// Another program's segment of the right size: it is written in place, and left there at the end, since some
    /// programs create the segment that they want written.
    Adopted,
    /// A segment of ours whose producer died. The same object if the size is the same: its readers see us write.
    Recovered,
    /// Taken from a live producer of ours. It finds out by [`OwnedSegment::keep_published`].
    TakenOver,
    /// Another program's segment of another size that nobody used: a new object stands in its place.
    Replaced,
}

/// What [`OwnedSegment::keep_published`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Published {
    /// The name leads to our object.
    #[default]
    Still,
    /// The name was gone. It leads to the same object again; readers noticed nothing.
    Republished,
    /// The object was lost with its name. [`OwnedSegment::segment`] is a new one, all zeros.
    Recreated,
    /// Another object stands under the name. It was not touched; a producer usually ends here.
    TakenByOther,
}

/// The writer's end of a name, held until it is dropped.
///
/// Whoever else asks for the name through this type is refused while it lives; how that is told from a producer that
/// died, and what happens to the name at the end, is each system's own:
///
/// * Linux: an exclusive lock of the object's first byte, which the kernel gives back with the process. A hidden second
///   link `.NAME.keep` marks the object as ours and keeps it alive when a Python reader takes the name away at its
///   exit. Dropping removes both, unless the object was adopted or the name leads elsewhere by then. A forked child
///   has the memory but not the lock. Only the process that created the value unlinks.
/// * macOS: shared memory there has neither locks nor second links. An existing segment of the right size is adopted;
///   any other is refused unless `takeover` is set.
/// * Windows: a mutex beside the section. A section lives as long as anybody has it open; nothing is unlinked.
#[derive(Debug)]
pub struct OwnedSegment {
    owner: Owner,
}

impl OwnedSegment {
    /// Makes `len` bytes of shared memory under `name`, or takes over what stands there; see [`Acquired`]. New memory
    /// is all zeros and reserved, so that writing it cannot fail later. It is never visible with another size.
    ///
    /// # Errors
    /// A live producer's, another user's, in use with another size, no shared memory at all, no space, a size of 0 or
    /// beyond all memory, or the system's refusal.
    pub fn create(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        possible(len)?;
        Ok(Self { owner: Owner::create(name, len, options)? })
    }

    /// The memory, mapped for reading and writing. Another one after [`OwnedSegment::resize`] and
    /// [`Published::Recreated`]; whoever keeps the old one writes where nobody looks.
    pub fn segment(&self) -> &Arc<Segment> {
        self.owner.segment()
    }

    /// How the name came to be ours.
    pub fn origin(&self) -> Acquired {
        self.owner.acquired()
    }

    /// Makes an adopted object ours: it is kept when its name is taken away, and goes at the end. For protocols whose
    /// writers all create what they write, so that nobody expects to find it later. (Linux; elsewhere what is adopted
    /// stays adopted.)
    pub fn claim(&mut self) {
        self.owner.claim();
    }

    /// Looks whether the name still leads to our object, and puts it back if it is gone. Cheap enough for every frame:
    /// one question to the system. (Linux: a name that was moved, not removed, is noticed within 32 calls.)
    ///
    /// # Errors
    /// No space for a new object, or the system's refusal.
    pub fn keep_published(&mut self) -> Result<Published, SegmentError> {
        self.owner.keep_published()
    }

    /// Puts a new object of `len` bytes under the name, which leads to one or the other at any moment. Readers of the
    /// old object keep it. (Windows: the same section if it is large enough; a larger one only when nobody else has
    /// the old one open.) With the size that it has, nothing happens.
    ///
    /// # Errors
    /// The name leads to another object by now, an adopted segment is in use, no space, an impossible
    /// size, or the system's refusal. The old object stays as it was.
    pub fn resize(&mut self, len: usize) -> Result<(), SegmentError> {
        possible(len)?;
        if len == self.segment().len() {
            return Ok(());
        }
        self.owner.resize(len)
    }
}

fn possible(len: usize) -> Result<(), SegmentError> {
    match len {
        0 => Err(SegmentError::Unsupported { what: "a segment of 0 bytes" }),
        1..=LARGEST => Ok(()),
        _ => Err(SegmentError::Unsupported { what: "a segment that fits no address space" }),
    }
}
