// SPDX-License-Identifier: MPL-2.0
//! An object that has its bytes, its mode and its locks before anybody can find it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, fchmod, fstat, fstatvfs, ftruncate, linkat, openat, unlink,
};
use rustix::io::{Errno, retry_on_intr};

use super::lock::{self, Byte};
use super::place::Place;
use super::process::Fd;
use super::unix::identity;
use super::{Identity, SegmentError};

/// A new object, sized, its pages reserved, its producer byte locked.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) fd: Arc<Fd>,
    pub(super) identity: Identity,
    pub(super) len: usize,
    /// A name that nobody looks for, where the file system cannot do without one.
    temporary: Option<PathBuf>,
}

impl Unnamed {
    pub(super) fn new(place: &Place, len: usize, mode: u32) -> Result<Self, SegmentError> {
        let (fd, temporary) = match nameless() {
            Ok(fd) => (fd, None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let (fd, path) = temporary(place)?;
                (fd, Some(path))
            }
            Err(errno) => return Err(place.failed("creation")(errno)),
        };
        Self::prepare(place, fd, temporary, len, mode)
    }

    fn prepare(
        place: &Place,
        fd: OwnedFd,
        temporary: Option<PathBuf>,
        len: usize,
        mode: u32,
    ) -> Result<Self, SegmentError> {
        // From here on the drop removes the temporary name.
        let mut unnamed =
            Self { fd: Arc::new(Fd::new(fd)), identity: Identity { device: 0, inode: 0 }, len, temporary };
        let fd = unnamed.fd.as_fd();
        fchmod(fd, Mode::from_raw_mode(mode & 0o777)).map_err(place.failed("fchmod"))?;
        ftruncate(fd, len as u64).map_err(|errno| no_space(place, fd, len, errno, "ftruncate"))?;
        reserve(place, fd, len)?;
        let stat = fstat(fd).map_err(place.failed("fstat"))?;
        let locked = lock::try_lock(fd, Byte::Producer);
        locked.map_err(|source| SegmentError::Os { doing: "locking", name: place.name(), source })?;
        unnamed.identity = identity(&stat);
        Ok(unnamed)
    }

    /// Gives the object a name; `EXIST` when that is taken.
    pub(super) fn link(&self, to: &Path) -> rustix::io::Result<()> {
        match &self.temporary {
            Some(from) => linkat(CWD, from, CWD, to, AtFlags::empty()),
            None => link_open(&*self.fd, to),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            // What is left of it in the worst case is a hidden file that the next producer does not mind.
            let _ = unlink(path);
        }
    }
}

/// Links an open object that has a name, or never had one.
pub(super) fn link_open(fd: &impl AsRawFd, to: &Path) -> rustix::io::Result<()> {
    linkat(CWD, descriptor(fd), CWD, to, AtFlags::SYMLINK_FOLLOW)
}

fn descriptor(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A file without a name, if it can get one later.
fn nameless() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| openat(CWD, Place::directory(), flags, Mode::RUSR | Mode::WUSR))?;
    // Without /proc it could not be linked.
    rustix::fs::lstat(descriptor(&fd))?;
    Ok(fd)
}

/// A file with a hidden name that no other process and no other call of this one uses.
fn temporary(place: &Place) -> Result<(OwnedFd, PathBuf), SegmentError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = place.hidden(&format!("{}-{number}.new", std::process::id()));
        match openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => return Ok((fd, path)),
            // Left by a process of the same number that died here.
            Err(Errno::EXIST) => continue,
            Err(Errno::NOENT) => return Err(SegmentError::Unsupported { what: "shared memory: there is no /dev/shm" }),
            Err(errno) => return Err(place.failed("creation")(errno)),
        }
    }
}

/// Makes sure that every page of the first `len` bytes exists, so that no write can fail later for want of memory.
pub(super) fn reserve(place: &Place, fd: impl AsFd, len: usize) -> Result<(), SegmentError> {
    let fd = fd.as_fd();
    match retry_on_intr(|| fallocate(fd, FallocateFlags::KEEP_SIZE, 0, len as u64)) {
        Ok(()) => Ok(()),
        // Not every file system that a test or an odd machine puts there can reserve.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(no_space(place, fd, len, errno, "fallocate")),
    }
}

fn no_space(place: &Place, fd: impl AsFd, len: usize, errno: Errno, doing: &'static str) -> SegmentError {
    if !matches!(errno, Errno::NOSPC | Errno::FBIG | Errno::NOMEM) {
        return place.failed(doing)(errno);
    }
    let available = fstatvfs(fd).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    SegmentError::NoSpace { name: place.name(), wanted: len as u64, available }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::segment::SegmentName;

    #[test]
    fn a_file_system_without_nameless_files_does_as_well() {
        let place = Place::new(&SegmentName::new(&format!("tdlink-unnamed-{}", std::process::id())).unwrap());
        let (fd, path) = temporary(&place).unwrap();
        let unnamed = Unnamed::prepare(&place, fd, Some(path.clone()), 10, 0o640).unwrap();
        unnamed.link(place.path()).unwrap();
        assert_eq!(unnamed.link(place.path()), Err(Errno::EXIST));
        drop(unnamed);
        let found = place.stat().unwrap();
        unlink(place.path()).unwrap();
        assert_eq!((found.st_size, found.st_mode & 0o7777, found.st_nlink), (10, 0o640, 1));
        assert!(!path.exists(), "the temporary name stays");
    }
}
