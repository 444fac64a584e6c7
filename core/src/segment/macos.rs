// SPDX-License-Identifier: MPL-2.0
//! The writer's end of a name on macOS, where an object is sized once, has one name, takes no locks, and does not tell
//! who uses it. So nobody can say whether its producer lives: an object of another size is refused unless a takeover
//! was asked for, and between creation and sizing the name leads to 0 bytes for a moment.

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::ftruncate;
use rustix::io::Errno;

use super::place::{Access, Place};
use super::unix::{Mapping, open_shared};
use super::{Acquired, CreateOptions, Linked, Process, Published, Segment, SegmentError, SegmentName};

/// How often a name that comes and goes is tried.
const TRIES: u32 = 10;

/// The writer's end.
#[derive(Debug)]
pub(super) struct Owner {
    segment: Arc<Segment>,
    /// What was asked for; the segment has whole pages.
    len: usize,
    place: Place,
    options: CreateOptions,
    acquired: Acquired,
    /// A forked child has this value too, and must not unlink what its parent still publishes.
    process: Process,
}

impl Owner {
    pub(super) fn create(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        let place = Place::new(name);
        let mut acquired = Acquired::Created;
        for _ in 0..TRIES {
            if let Some(segment) = make(&place, len, options)? {
                return Ok(Self::new(segment, len, place, options, acquired));
            }
            let (fd, found) = match open_shared(&place, Access::ReadWrite, options.allow_other_user) {
                Ok(opened) => opened,
                Err(SegmentError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let size = found.st_size as u64;
            if size == whole_pages(len) {
                let segment = map(&place, fd, size as usize)?;
                return Ok(Self::new(segment, len, place, options, Acquired::Adopted));
            }
            if !options.takeover {
                return Err(SegmentError::InUse { name: place.name(), size, wanted: len as u64, pids: Vec::new() });
            }
            acquired = Acquired::TakenOver;
            unlink(&place)?;
        }
        Err(SegmentError::Restless { name: place.name(), tries: TRIES })
    }

    fn new(segment: Arc<Segment>, len: usize, place: Place, options: &CreateOptions, acquired: Acquired) -> Self {
        Self { segment, len, place, options: options.clone(), acquired, process: Process::current() }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn acquired(&self) -> Acquired {
        self.acquired
    }

    /// Nobody can tell what became of the program that made it.
    pub(super) fn claim(&mut self) {}

    pub(super) fn keep_published(&mut self) -> Result<Published, SegmentError> {
        match self.segment.linked()? {
            Linked::Here => Ok(Published::Still),
            Linked::Elsewhere => Ok(Published::TakenByOther),
            Linked::Gone => match make(&self.place, self.len, &self.options)? {
                Some(segment) => {
                    self.segment = segment;
                    self.acquired = Acquired::Created;
                    Ok(Published::Recreated)
                }
                None => Ok(Published::TakenByOther),
            },
        }
    }

    pub(super) fn resize(&mut self, len: usize) -> Result<(), SegmentError> {
        match self.segment.linked()? {
            Linked::Elsewhere => return Err(SegmentError::Taken { name: self.place.name() }),
            Linked::Here if self.acquired == Acquired::Adopted => {
                let (size, wanted) = (self.segment.len() as u64, len as u64);
                return Err(SegmentError::InUse { name: self.place.name(), size, wanted, pids: Vec::new() });
            }
            Linked::Here => unlink(&self.place)?,
            Linked::Gone => {}
        }
        let segment = make(&self.place, len, &self.options)?;
        self.segment = segment.ok_or_else(|| SegmentError::Taken { name: self.place.name() })?;
        self.len = len;
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let ours = self.acquired != Acquired::Adopted && self.process.is_current();
        if ours
            && matches!(self.segment.linked(), Ok(Linked::Here))
            && let Err(error) = unlink(&self.place)
        {
            tracing::warn!(%error, "the name stays");
        }
    }
}

/// A new object, sized and mapped; `None` when the name is taken.
fn make(place: &Place, len: usize, options: &CreateOptions) -> Result<Option<Arc<Segment>>, SegmentError> {
    let fd = match place.make(options.mode) {
        Ok(fd) => fd,
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(place.failed("creation")(errno)),
    };
    let sized = ftruncate(&fd, len as u64).map_err(place.failed("ftruncate"));
    let mapped = sized.and_then(|()| map(place, fd, len));
    if mapped.is_err() {
        // The first error says more than this one could.
        let _ = place.unlink();
    }
    mapped.map(Some)
}

fn map(place: &Place, fd: OwnedFd, len: usize) -> Result<Arc<Segment>, SegmentError> {
    let len = whole_pages(len) as usize;
    Ok(Arc::new(Segment::over(Mapping::map(fd, len, true, place.clone())?)))
}

fn unlink(place: &Place) -> Result<(), SegmentError> {
    match place.unlink() {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(place.failed("unlink")(errno)),
    }
}

fn whole_pages(len: usize) -> u64 {
    len.next_multiple_of(rustix::param::page_size()) as u64
}
