// SPDX-License-Identifier: MPL-2.0
//! POSIX shared memory: opening an object and mapping it.

use std::ptr::{self, NonNull};
#[cfg(target_os = "linux")]
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::guard::Watch;
#[cfg(target_os = "linux")]
use super::lock::{self, Byte};
use super::place::{Access, Place};
#[cfg(target_os = "linux")]
use super::process::Fd;
use super::{Identity, Linked, OpenOptions, SegmentError, SegmentName};

/// What an object was opened by.
#[derive(Debug)]
enum Handle {
    Plain(OwnedFd),
    /// Shared with whoever has locks by it.
    #[cfg(target_os = "linux")]
    Locked(Arc<Fd>),
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd) => fd.as_fd(),
            #[cfg(target_os = "linux")]
            Self::Locked(fd) => fd.as_fd(),
        }
    }
}

/// One object, mapped whole.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
    identity: Identity,
    /// Kept to ask for the object's size.
    fd: Handle,
    place: Place,
    /// Ends before the mapping does.
    watch: Option<Watch>,
}

impl Mapping {
    /// Opens and maps what stands under `name`, read-only.
    pub(super) fn open(name: &SegmentName, options: &OpenOptions) -> Result<Self, SegmentError> {
        let place = Place::new(name);
        let (fd, stat) = open_shared(&place, Access::Read, options.allow_other_user)?;
        if stat.st_size == 0 {
            return Err(SegmentError::Empty { name: place.name() });
        }
        Self::map(fd, stat.st_size as usize, false, place)
    }

    /// Maps the first `len` bytes of the object behind `fd`.
    pub(super) fn map(fd: OwnedFd, len: usize, writable: bool, place: Place) -> Result<Self, SegmentError> {
        Self::by(Handle::Plain(fd), None, len, writable, place)
    }

    /// Maps the first `len` bytes of the object behind `fd`, for writing, without prolonging the locks that it carries.
    #[cfg(target_os = "linux")]
    pub(super) fn map_locked(fd: &Arc<Fd>, len: usize, place: Place) -> Result<Self, SegmentError> {
        Self::map_held(fd, len, true, place)
    }

    /// The same for reading, or for writing too.
    #[cfg(target_os = "linux")]
    pub(super) fn map_held(fd: &Arc<Fd>, len: usize, writable: bool, place: Place) -> Result<Self, SegmentError> {
        let unlocked = match fd.unlocked() {
            Ok(unlocked) => Some(unlocked),
            Err(errno) => {
                tracing::debug!(name = place.name(), %errno, "a forked child will keep the locks by its mapping");
                None
            }
        };
        Self::by(Handle::Locked(Arc::clone(fd)), unlocked, len, writable, place)
    }

    /// `by`: the open object that is mapped, if not that of `fd`.
    fn by(fd: Handle, by: Option<OwnedFd>, len: usize, writable: bool, place: Place) -> Result<Self, SegmentError> {
        let identity = of_mapping(&fstat(&fd).map_err(place.failed("fstat"))?);
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let object = by.as_ref().map_or(fd.as_fd(), OwnedFd::as_fd);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anybody has.
        let base = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, object, 0) };
        let base = base.map_err(|errno| place.failed("mmap")(errno))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| place.failed("mmap")(Errno::NOMEM))?;
        let mut mapping = Self { base, len, writable, identity, fd, place, watch: None };
        let watch = Watch::new(base.as_ptr() as usize, len);
        let name = mapping.place.name();
        mapping.watch = Some(watch.map_err(|source| SegmentError::Os { doing: "watching", name, source })?);
        Ok(mapping)
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
        self.identity
    }

    pub(super) fn linked(&self) -> Result<Linked, SegmentError> {
        match self.place.stat() {
            Ok(stat) if self.shows(&stat) => Ok(Linked::Here),
            Ok(_) => Ok(Linked::Elsewhere),
            Err(Errno::NOENT) => Ok(Linked::Gone),
            Err(errno) => Err(self.place.failed("stat")(errno)),
        }
    }

    #[cfg(not(target_os = "macos"))]
    fn shows(&self, stat: &Stat) -> bool {
        identity(stat) == self.identity
    }

    /// Objects have no inode here, so another one of the same size is taken for this one.
    #[cfg(target_os = "macos")]
    fn shows(&self, stat: &Stat) -> bool {
        let rounded = (stat.st_size as usize).next_multiple_of(rustix::param::page_size());
        rounded == self.len.next_multiple_of(rustix::param::page_size())
    }

    /// Asked of the object itself, whatever its name has become.
    #[cfg(target_os = "linux")]
    pub(super) fn has_owner(&self, _: &SegmentName) -> Result<bool, SegmentError> {
        self.is_locked(Byte::Producer)
    }

    /// No row of a control segment has a number above 255.
    #[cfg(target_os = "linux")]
    pub(super) fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        u8::try_from(row).map_or(Ok(false), |row| self.is_locked(Byte::Row(row)))
    }

    #[cfg(not(target_os = "macos"))]
    fn is_locked(&self, byte: Byte) -> Result<bool, SegmentError> {
        let locked = lock::is_locked(&self.fd, byte);
        let name = || self.place.name();
        locked.map_err(|source| SegmentError::Os { doing: "asking for the lock", name: name(), source })
    }

    /// Shared memory has no locks there.
    #[cfg(target_os = "macos")]
    pub(super) fn has_owner(&self, _: &SegmentName) -> Result<bool, SegmentError> {
        Ok(false)
    }

    pub(super) fn current_len(&self) -> Result<usize, SegmentError> {
        let stat = fstat(&self.fd).map_err(self.place.failed("fstat"))?;
        Ok(stat.st_size as usize)
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::is_cut)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.watch = None;
        // SAFETY: the mapping is ours alone, and nobody keeps a pointer into it beyond the segment that drops it.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        if let Err(errno) = unmapped {
            tracing::error!(name = self.place.name(), %errno, "unmapping failed");
        }
    }
}

#[cfg(not(target_os = "macos"))]
pub(super) fn identity(stat: &Stat) -> Identity {
    Identity { device: stat.st_dev, inode: stat.st_ino }
}

#[cfg(not(target_os = "macos"))]
use identity as of_mapping;

/// Objects have no inode here: every mapping is told from every other, though it may show the same object.
#[cfg(target_os = "macos")]
fn of_mapping(_: &Stat) -> Identity {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    Identity { device: 0, inode: NUMBERS.fetch_add(1, Ordering::Relaxed) }
}

/// Opens the object under a name, having made sure that it is shared memory and whose it is.
pub(super) fn open_shared(
    place: &Place,
    access: Access,
    allow_other_user: bool,
) -> Result<(OwnedFd, Stat), SegmentError> {
    let fd = match place.open(access) {
        Ok(fd) => fd,
        Err(errno) => {
            // What stands there says more than the errno of opening it.
            if let Ok(stat) = place.stat() {
                check(place, &stat, allow_other_user)?;
            }
            return Err(place.failed("open")(errno));
        }
    };
    let stat = fstat(&fd).map_err(place.failed("fstat"))?;
    check(place, &stat, allow_other_user)?;
    Ok((fd, stat))
}

fn check(place: &Place, stat: &Stat, allow_other_user: bool) -> Result<(), SegmentError> {
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Symlink => Some("a symbolic link"),
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        // Where shared memory is no file, it has no file's type.
        _ if cfg!(target_os = "macos") => None,
        _ => Some("something unknown"),
    };
    if let Some(found) = found {
        return Err(SegmentError::NotShared { name: place.name(), found: found.to_owned() });
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() && !allow_other_user {
        return Err(SegmentError::OtherUser { name: place.name(), uid: stat.st_uid });
    }
    Ok(())
}
