// SPDX-License-Identifier: MPL-2.0
//! Where a name stands on macOS: nowhere that a file could be. There are `shm_open` and `shm_unlink` only.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, Stat, fstat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::shm::{self, OFlags};

use crate::segment::{SegmentError, SegmentName};

/// One name.
#[derive(Debug, Clone)]
pub(in crate::segment) struct Place {
    name: SegmentName,
}

/// What an opened object may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::segment) enum Access {
    Read,
    ReadWrite,
}

impl Place {
    pub(in crate::segment) fn new(name: &SegmentName) -> Self {
        Self { name: name.clone() }
    }

    pub(in crate::segment) fn name(&self) -> String {
        self.name.as_str().to_owned()
    }

    /// As CPython spells it.
    fn object(&self) -> String {
        format!("/{}", self.name)
    }

    pub(in crate::segment) fn open(&self, access: Access) -> Result<OwnedFd> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        retry_on_intr(|| shm::open(self.object(), flags, Mode::empty()))
    }

    /// A new object without a byte; `EXIST` when the name is taken. The umask has its say: the system lets nobody
    /// change the mode afterwards.
    pub(in crate::segment) fn make(&self, mode: u32) -> Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        retry_on_intr(|| shm::open(self.object(), flags, Mode::from_raw_mode((mode & 0o777) as _)))
    }

    pub(in crate::segment) fn unlink(&self) -> Result<()> {
        shm::unlink(self.object())
    }

    pub(in crate::segment) fn stat(&self) -> Result<Stat> {
        fstat(self.open(Access::Read)?)
    }

    /// Says a refusal of the system in a segment's words.
    pub(in crate::segment) fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> SegmentError + use<'_> {
        move |errno| match errno {
            Errno::NOENT => SegmentError::NotFound { name: self.name() },
            Errno::ACCESS | Errno::PERM => SegmentError::AccessDenied { name: self.name(), source: errno.into() },
            errno => SegmentError::Os { doing, name: self.name(), source: errno.into() },
        }
    }
}
