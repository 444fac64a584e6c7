// SPDX-License-Identifier: MPL-2.0
//! Where a name stands on Linux: a file of `/dev/shm`, as glibc's and musl's `shm_open` have it, with hidden links of
//! ours beside it.

use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, Stat, lstat, openat};
use rustix::io::{Errno, Result, retry_on_intr};

use super::{SegmentError, SegmentName};

/// One name of the shared memory directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    name: SegmentName,
}

/// What an opened object may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

impl Place {
    pub(super) fn new(name: &SegmentName) -> Self {
        Self { path: Self::directory().join(name.as_str()), name: name.clone() }
    }

    pub(super) fn name(&self) -> String {
        self.name.as_str().to_owned()
    }

    /// Where all names stand.
    pub(super) fn directory() -> &'static Path {
        Path::new("/dev/shm")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A hidden link beside the name: `.NAME.role`.
    pub(super) fn hidden(&self, role: &str) -> PathBuf {
        Self::directory().join(format!(".{}.{role}", self.name))
    }

    /// Opens what stands under the name.
    pub(super) fn open(&self, access: Access) -> Result<OwnedFd> {
        open(&self.path, access)
    }

    /// What stands under the name, be it a symbolic link.
    pub(super) fn stat(&self) -> Result<Stat> {
        lstat(&self.path)
    }

    /// Says a refusal of the system in a segment's words.
    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> SegmentError + use<'_> {
        move |errno| match errno {
            Errno::NOENT => SegmentError::NotFound { name: self.name() },
            Errno::ACCESS | Errno::PERM => SegmentError::AccessDenied { name: self.name(), source: errno.into() },
            errno => SegmentError::Os { doing, name: self.name(), source: errno.into() },
        }
    }
}

/// Opens an object, never through a symbolic link, and without waiting for a FIFO's other end.
pub(super) fn open(path: &Path, access: Access) -> Result<OwnedFd> {
    let access = match access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    retry_on_intr(|| openat(CWD, path, flags, Mode::empty()))
}
