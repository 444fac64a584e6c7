// SPDX-License-Identifier: MPL-2.0
//! Control segments and pixels of a ring on Linux: files of `/dev/shm` with locks; see the parent module.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, Mode, fchmod, fstat, lstat, rename, unlink};
use rustix::io::Errno;

use crate::segment::holders::{Ignore, holders, locker};
use crate::segment::lock::{self, Byte};
use crate::segment::place::{Access, Place};
use crate::segment::process::Fd;
use crate::segment::unix::{Mapping, identity, open_shared};
use crate::segment::unnamed::{Unnamed, reserve};
use crate::segment::{
    Acquired, CreateOptions, Identity, Linked, OpenOptions, Process, Segment, SegmentError, SegmentName,
};

/// A link that exists to be renamed over the name.
const SWAP: &str = "swap";

/// Beyond all numbers that a producer of ours reaches.
const LAST_GENERATION: u64 = 1 << 48;

/// How often a name that keeps changing is looked at again, a millisecond apart.
const TRIES: u32 = 1000;

#[derive(Debug)]
pub(super) struct Control {
    segment: Arc<Segment>,
    file: File,
    /// A forked child has this value too, and must not remove what its parent uses.
    process: Process,
}

/// An open object and the name that it was found under.
#[derive(Debug)]
struct File {
    fd: Arc<Fd>,
    identity: Identity,
    place: Place,
}

impl Control {
    pub(super) fn produce(
        name: &SegmentName,
        len: usize,
        options: &CreateOptions,
    ) -> Result<(Self, Acquired), SegmentError> {
        let place = Place::new(&name.control());
        for _ in 0..TRIES {
            if let Some((file, acquired)) = attempt(&place, len, options)? {
                file.remove_swap();
                let control = Self::over(file, len)?;
                return Ok((control, acquired));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(SegmentError::Restless { name: place.name(), tries: TRIES })
    }

    pub(super) fn open(name: &SegmentName, options: &OpenOptions) -> Result<Self, SegmentError> {
        let place = Place::new(&name.control());
        let (fd, found) = open_shared(&place, Access::ReadWrite, options.allow_other_user)?;
        if found.st_size == 0 {
            return Err(SegmentError::Empty { name: place.name() });
        }
        let len = found.st_size as usize;
        Self::over(File { fd: Arc::new(Fd::new(fd)), identity: identity(&found), place }, len)
    }

    fn over(file: File, len: usize) -> Result<Self, SegmentError> {
        let mapping = Mapping::map_locked(&file.fd, len, file.place.clone())?;
        Ok(Self { segment: Arc::new(Segment::over(mapping)), file, process: Process::current() })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn try_claim_row(&self, row: u32) -> Result<bool, SegmentError> {
        self.file.try_lock(byte(row))
    }

    pub(super) fn release_row(&self, row: u32) {
        self.release(byte(row));
    }

    /// Whether the name leads here and nobody is about to change that.
    pub(super) fn is_settled(&self) -> Result<bool, SegmentError> {
        Ok(!self.file.is_locked(Byte::Name)? && self.file.is_at(self.file.place.path()))
    }

    pub(super) fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        self.file.is_locked(byte(row))
    }

    pub(super) fn has_producer(&self) -> Result<bool, SegmentError> {
        self.file.is_locked(Byte::Producer)
    }

    pub(super) fn release_producer(&self) {
        self.release(Byte::Producer);
    }

    /// A forked child would give back what is its parent's.
    fn release(&self, byte: Byte) {
        if self.process.is_current() {
            self.file.unlock(byte);
        }
    }

    pub(super) fn linked(&self) -> Result<Linked, SegmentError> {
        self.segment.linked()
    }

    pub(super) fn remove_if_unused(&self, clean: impl FnOnce()) -> bool {
        if !self.process.is_current() || !lock::try_lock_all(&self.file.fd).unwrap_or(false) {
            return false;
        }
        let ours = self.file.is_at(self.file.place.path());
        if ours {
            clean();
            remove(self.file.place.path());
        }
        if let Err(error) = lock::unlock_all(&self.file.fd) {
            tracing::warn!(name = self.file.place.name(), %error, "unlocking failed");
        }
        ours
    }
}

fn byte(row: u32) -> Byte {
    Byte::Row(row as u8)
}

impl File {
    fn of(new: &Unnamed, place: &Place) -> Self {
        Self { fd: Arc::clone(&new.fd), identity: new.identity, place: place.clone() }
    }

    fn is_at(&self, path: &Path) -> bool {
        lstat(path).is_ok_and(|found| identity(&found) == self.identity)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(std::io::Error) -> SegmentError + use<'_> {
        move |source| SegmentError::Os { doing, name: self.place.name(), source }
    }

    fn try_lock(&self, byte: Byte) -> Result<bool, SegmentError> {
        lock::try_lock(&self.fd, byte).map_err(self.failed("locking"))
    }

    fn is_locked(&self, byte: Byte) -> Result<bool, SegmentError> {
        lock::is_locked(&self.fd, byte).map_err(self.failed("asking for a lock"))
    }

    fn unlock(&self, byte: Byte) {
        if let Err(error) = lock::unlock(&self.fd, byte) {
            tracing::warn!(name = self.place.name(), %error, "unlocking failed");
        }
    }

    /// Removes the link that a taker left who died over it.
    fn remove_swap(&self) {
        let swap = self.place.hidden(SWAP);
        // A taker that lives holds this byte of the object that the name leads to.
        if lstat(&swap).is_ok() && self.try_lock(Byte::Name).unwrap_or(false) {
            remove(&swap);
            self.unlock(Byte::Name);
        }
    }
}

/// One look at the name, and the step that it calls for; `None` when the name changed meanwhile.
fn attempt(place: &Place, len: usize, options: &CreateOptions) -> Result<Option<(File, Acquired)>, SegmentError> {
    let (fd, found) = match open_shared(place, Access::ReadWrite, options.allow_other_user) {
        Ok(opened) => opened,
        Err(SegmentError::NotFound { .. }) => return create(place, len, options),
        Err(error) => return Err(error),
    };
    let file = File { fd: Arc::new(Fd::new(fd)), identity: identity(&found), place: place.clone() };
    let locked = file.try_lock(Byte::Producer)?;
    // Somebody may be just removing or replacing it, and have it locked for that. In this order: the name goes before
    // the lock does.
    if !locked && file.is_locked(Byte::Name)? {
        return Ok(None);
    }
    // Only now is it certain that nobody removes it in between.
    if !file.is_at(place.path()) {
        return Ok(None);
    }
    if !locked && !options.takeover {
        let pid = locker(file.identity, Byte::Producer);
        return Err(SegmentError::LiveProducer { name: place.name(), pid });
    }
    if !locked {
        return replace(&file, len, options);
    }
    let size = fstat(&file.fd).map_err(place.failed("fstat"))?.st_size as u64;
    if size == len as u64 {
        fchmod(&file.fd, Mode::from_raw_mode(options.mode & 0o777)).map_err(place.failed("fchmod"))?;
        reserve(place, &file.fd, len)?;
        return Ok(Some((file, Acquired::Recovered)));
    }
    if !lock::try_lock_all(&file.fd).map_err(file.failed("locking"))? {
        let pids = holders(file.identity, Ignore::default());
        return Err(SegmentError::InUse { name: place.name(), size, wanted: len as u64, pids });
    }
    if file.is_at(place.path()) {
        remove(place.path());
    }
    Ok(None)
}

/// Nothing stands under the name.
fn create(place: &Place, len: usize, options: &CreateOptions) -> Result<Option<(File, Acquired)>, SegmentError> {
    let new = Unnamed::new(place, len, options.mode)?;
    match new.link(place.path()) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(place.failed("link")(errno)),
    }
    let file = File::of(&new, place);
    file.unlock(Byte::Name);
    Ok(Some((file, Acquired::Created)))
}

/// Puts a new object in the place of `old`, whose producer lives.
fn replace(old: &File, len: usize, options: &CreateOptions) -> Result<Option<(File, Acquired)>, SegmentError> {
    let place = &old.place;
    if !old.try_lock(Byte::Name)? {
        return Ok(None);
    }
    if !old.is_at(place.path()) {
        return Ok(None);
    }
    let new = Unnamed::new(place, len, options.mode)?;
    let swap = place.hidden(SWAP);
    // Whoever left it is dead, since we hold the name byte.
    remove(&swap);
    new.link(&swap).map_err(place.failed("link"))?;
    if let Err(errno) = rename(&swap, place.path()) {
        remove(&swap);
        return Err(place.failed("rename")(errno));
    }
    let file = File::of(&new, place);
    file.unlock(Byte::Name);
    Ok(Some((file, Acquired::TakenOver)))
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
        let above = generations(name).map(|(generation, _)| generation + 1).max().unwrap_or(0);
        let mut generation = from.max(above);
        let mut place = Place::new(&name.pixels(generation));
        let new = Unnamed::new(&place, len, options.mode)?;
        loop {
            match new.link(place.path()) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    generation += 1;
                    place = Place::new(&name.pixels(generation));
                }
                Err(errno) => return Err(place.failed("link")(errno)),
            }
        }
        let mapping = Mapping::map_locked(&new.fd, len, place.clone()).inspect_err(|_| remove(place.path()))?;
        let segment = Arc::new(Segment::over(mapping));
        Ok((Self { segment, place, process: Process::current() }, generation))
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if self.process.is_current() && matches!(self.segment.linked(), Ok(Linked::Here)) {
            remove(self.place.path());
        }
    }
}

pub(super) fn remove_pixels(name: &SegmentName, except: Option<u64>) {
    for (generation, path) in generations(name) {
        if Some(generation) != except {
            remove_file(&path);
        }
    }
}

/// The generations of `name` whose memory has a name, and where. Numbers that no producer of ours reaches are other
/// people's.
fn generations(name: &SegmentName) -> impl Iterator<Item = (u64, PathBuf)> {
    fs::read_dir(Place::directory()).into_iter().flatten().flatten().filter_map(|entry| {
        let generation = entry.file_name().to_str().and_then(|file| name.generation_of(file))?;
        (generation <= LAST_GENERATION).then(|| (generation, entry.path()))
    })
}

fn remove_file(path: &Path) {
    if lstat(path).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile) {
        remove(path);
    }
}

fn remove(path: &Path) {
    if let Err(errno) = unlink(path)
        && errno != Errno::NOENT
    {
        tracing::warn!(path = %path.display(), %errno, "unlinking failed");
    }
}
