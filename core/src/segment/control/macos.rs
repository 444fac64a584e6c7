// SPDX-License-Identifier: MPL-2.0
//! Control segments and pixels of a ring on macOS.
//!
//! Shared memory objects take no locks there and have no numbers, so a file stands for each control segment:
//! `/tmp/tdlink-UID/NAME.tdlink`, in a folder that only the user can enter. The locks are that file's, and whether it is
//! still the same file tells whether the object is still the same. An object goes before its file does, and comes after
//! it: whoever opens the file first and finds the file in its place afterwards has the object that belongs to it.
//!
//! Objects cannot be listed. What a producer of a ring leaves that dies stays until the machine starts again, but for
//! its control segment. Names of pixels must have at most 30 bytes: `NAME.tdlink.1`.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, ftruncate, lstat, openat, rename, unlink};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::segment::lock::{self, Byte};
use crate::segment::place::{Access, Place};
use crate::segment::process::Fd;
use crate::segment::unix::{Mapping, open_shared};
use crate::segment::{Acquired, CreateOptions, Linked, OpenOptions, Process, Segment, SegmentError, SegmentName};

/// How often a name that keeps changing is looked at again, a millisecond apart.
const TRIES: u32 = 1000;
/// Most generations whose memory still has its name.
const GENERATIONS: u64 = 1000;

#[derive(Debug)]
pub(super) struct Control {
    segment: Arc<Segment>,
    place: Place,
    file: File,
    /// A forked child has this value too, and must not remove what its parent uses.
    process: Process,
}

/// The open file that stands for a control segment.
#[derive(Debug)]
struct File {
    fd: Arc<Fd>,
    number: (u64, u64),
    path: PathBuf,
}

impl Control {
    pub(super) fn produce(
        name: &SegmentName,
        len: usize,
        options: &CreateOptions,
    ) -> Result<(Self, Acquired), SegmentError> {
        let place = Place::new(&name.control());
        let path = path_of(&place)?;
        for _ in 0..TRIES {
            let file = File::open(&place, path.clone(), OFlags::CREATE)?;
            let locked = file.try_lock(&place, Byte::Producer)?;
            // Whoever removes or replaces it has it locked for that, and the name goes before the lock does.
            if !locked && file.is_locked(&place, Byte::Name)? || !file.is_there() {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            if locked {
                let (segment, acquired) = object(&place, len, options)?;
                return Ok((Self { segment, place, file, process: Process::current() }, acquired));
            }
            if !options.takeover {
                return Err(SegmentError::LiveProducer { name: place.name(), pid: None });
            }
            if !file.try_lock(&place, Byte::Name)? || !file.is_there() {
                continue;
            }
            remove_object(&place);
            let file = replace(&place, &path)?;
            let (segment, _) = object(&place, len, options)?;
            return Ok((Self { segment, place, file, process: Process::current() }, Acquired::TakenOver));
        }
        Err(SegmentError::Restless { name: place.name(), tries: TRIES })
    }

    pub(super) fn open(name: &SegmentName, options: &OpenOptions) -> Result<Self, SegmentError> {
        let place = Place::new(&name.control());
        let file = File::open(&place, path_of(&place)?, OFlags::empty())?;
        let (fd, found) = open_shared(&place, Access::ReadWrite, options.allow_other_user)?;
        if found.st_size == 0 {
            return Err(SegmentError::Empty { name: place.name() });
        }
        let segment = map(&place, fd, found.st_size as usize)?;
        Ok(Self { segment, place, file, process: Process::current() })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn try_claim_row(&self, row: u32) -> Result<bool, SegmentError> {
        self.file.try_lock(&self.place, Byte::Row(row as u8))
    }

    pub(super) fn release_row(&self, row: u32) {
        self.release(Byte::Row(row as u8));
    }

    pub(super) fn is_settled(&self) -> Result<bool, SegmentError> {
        Ok(!self.file.is_locked(&self.place, Byte::Name)? && self.file.is_there())
    }

    pub(super) fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        self.file.is_locked(&self.place, Byte::Row(row as u8))
    }

    pub(super) fn has_producer(&self) -> Result<bool, SegmentError> {
        self.file.is_locked(&self.place, Byte::Producer)
    }

    pub(super) fn release_producer(&self) {
        self.release(Byte::Producer);
    }

    fn release(&self, byte: Byte) {
        if self.process.is_current()
            && let Err(error) = lock::unlock(&self.file.fd, byte)
        {
            tracing::warn!(name = self.place.name(), %error, "unlocking failed");
        }
    }

    pub(super) fn linked(&self) -> Result<Linked, SegmentError> {
        if self.file.is_there() {
            return self.segment.linked();
        }
        Ok(if lstat(&self.file.path).is_ok() { Linked::Elsewhere } else { Linked::Gone })
    }

    pub(super) fn remove_if_unused(&self, clean: impl FnOnce()) -> bool {
        if !self.process.is_current() || !lock::try_lock_all(&self.file.fd).unwrap_or(false) {
            return false;
        }
        let ours = self.file.is_there();
        if ours {
            clean();
            remove_object(&self.place);
            remove(&self.file.path);
        }
        if let Err(error) = lock::unlock_all(&self.file.fd) {
            tracing::warn!(name = self.place.name(), %error, "unlocking failed");
        }
        ours
    }
}

impl File {
    fn open(place: &Place, path: PathBuf, also: OFlags) -> Result<Self, SegmentError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | also;
        let fd = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).map_err(place.failed("opening the lock file"))?;
        Self::over(place, fd, path)
    }

    fn over(place: &Place, fd: OwnedFd, path: PathBuf) -> Result<Self, SegmentError> {
        let found = fstat(&fd).map_err(place.failed("fstat"))?;
        Ok(Self { fd: Arc::new(Fd::new(fd)), number: (found.st_dev as u64, found.st_ino), path })
    }

    /// Whether the path leads to this file.
    fn is_there(&self) -> bool {
        lstat(&self.path).is_ok_and(|found| (found.st_dev as u64, found.st_ino) == self.number)
    }

    fn try_lock(&self, place: &Place, byte: Byte) -> Result<bool, SegmentError> {
        let failed = |source| SegmentError::Os { doing: "locking", name: place.name(), source };
        lock::try_lock(&self.fd, byte).map_err(failed)
    }

    fn is_locked(&self, place: &Place, byte: Byte) -> Result<bool, SegmentError> {
        let failed = |source| SegmentError::Os { doing: "asking for a lock", name: place.name(), source };
        lock::is_locked(&self.fd, byte).map_err(failed)
    }
}

/// A new file in the place of one whose producer lives, locked. Its name byte is held.
fn replace(place: &Place, path: &Path) -> Result<File, SegmentError> {
    let next = path.with_extension("next");
    // Whoever left it is dead, since we hold the name byte.
    remove(&next);
    let mut file = File::open(place, next.clone(), OFlags::CREATE | OFlags::EXCL)?;
    file.try_lock(place, Byte::Producer)?;
    rename(&next, path).map_err(place.failed("rename"))?;
    file.path = path.to_owned();
    Ok(file)
}

/// Where the file of a control segment is, in a folder that is there and ours alone.
fn path_of(place: &Place) -> Result<PathBuf, SegmentError> {
    let user = geteuid().as_raw();
    let folder = PathBuf::from(format!("/tmp/tdlink-{user}"));
    let failed = |source| SegmentError::Os { doing: "making the folder for locks", name: place.name(), source };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o022 != 0 {
        let found = format!("{} that others can change", folder.display());
        return Err(SegmentError::NotShared { name: place.name(), found });
    }
    Ok(folder.join(place.name()))
}

/// The object beside a file whose producer byte is held: the one that is there, or a new one.
fn object(place: &Place, len: usize, options: &CreateOptions) -> Result<(Arc<Segment>, Acquired), SegmentError> {
    if let Some(segment) = make(place, len, options)? {
        return Ok((segment, Acquired::Created));
    }
    let (fd, found) = open_shared(place, Access::ReadWrite, options.allow_other_user)?;
    if found.st_size as usize == whole_pages(len) {
        return Ok((map(place, fd, len)?, Acquired::Recovered));
    }
    remove_object(place);
    let made = make(place, len, options)?;
    made.map(|segment| (segment, Acquired::Created))
        .ok_or_else(|| SegmentError::Restless { name: place.name(), tries: 1 })
}

/// A new object; `None` when there is one. Nobody looks for one that is 0 bytes long: its file says when it is ready.
fn make(place: &Place, len: usize, options: &CreateOptions) -> Result<Option<Arc<Segment>>, SegmentError> {
    let fd = match place.make(options.mode) {
        Ok(fd) => fd,
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(place.failed("creation")(errno)),
    };
    let sized = ftruncate(&fd, len as u64).map_err(place.failed("ftruncate"));
    let mapped = sized.and_then(|()| map(place, fd, len));
    if mapped.is_err() {
        remove_object(place);
    }
    mapped.map(Some)
}

fn map(place: &Place, fd: OwnedFd, len: usize) -> Result<Arc<Segment>, SegmentError> {
    Ok(Arc::new(Segment::over(Mapping::map(fd, whole_pages(len), true, place.clone())?)))
}

fn whole_pages(len: usize) -> usize {
    len.next_multiple_of(rustix::param::page_size())
}

fn remove_object(place: &Place) {
    if let Err(errno) = place.unlink()
        && errno != Errno::NOENT
    {
        tracing::warn!(name = place.name(), %errno, "unlinking failed");
    }
}

fn remove(path: &Path) {
    if let Err(errno) = unlink(path)
        && errno != Errno::NOENT
    {
        tracing::warn!(path = %path.display(), %errno, "unlinking failed");
    }
}

#[derive(Debug)]
pub(super) struct Pixels {
    segment: Arc<Segment>,
    place: Place,
    process: Process,
}

impl Pixels {
    pub(super) fn create(
        name: &SegmentName,
        from: u64,
        len: usize,
        options: &CreateOptions,
    ) -> Result<(Self, u64), SegmentError> {
        for generation in from..from.saturating_add(GENERATIONS) {
            let place = Place::new(&name.pixels(generation));
            if let Some(segment) = make(&place, len, options)? {
                return Ok((Self { segment, place, process: Process::current() }, generation));
            }
        }
        Err(SegmentError::Restless { name: name.as_str().to_owned(), tries: GENERATIONS as u32 })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if self.process.is_current() {
            remove_object(&self.place);
        }
    }
}

/// Objects cannot be listed.
pub(super) fn remove_pixels(_: &SegmentName, _: Option<u64>) {}
