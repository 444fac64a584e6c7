// SPDX-License-Identifier: MPL-2.0
//! Sections of Linux: files of `/dev/shm` whose holders share a lock; see the parent module.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fs::unlink;
use rustix::io::Errno;

use crate::segment::holders::used_by_others;
use crate::segment::lock::{self, Byte};
use crate::segment::place::{Access as Opening, Place};
use crate::segment::process::Fd;
use crate::segment::section::Access;
use crate::segment::unix::{Mapping, identity, open_shared};
use crate::segment::unnamed::Unnamed;
use crate::segment::{CreateOptions, Identity, OpenOptions, Process, Segment, SegmentError, SegmentName};

/// How often a name that keeps changing is looked at again, a millisecond apart.
const TRIES: u32 = 1000;

#[derive(Debug)]
pub(super) struct Section {
    /// Unmapped before the object is given up.
    segment: Segment,
    _held: Held,
}

impl Section {
    pub(super) fn create(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        let held = Held::create(name, len, options)?;
        held.ok_or_else(|| SegmentError::Exists { name: name.as_str().to_owned() })?.map(Access::ReadWrite)
    }

    pub(super) fn open(name: &SegmentName, access: Access, options: &OpenOptions) -> Result<Self, SegmentError> {
        Held::open(name, options.allow_other_user)?.map(access)
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }
}

/// An object that is held open: its name stays as long as this value.
#[derive(Debug)]
pub(in crate::segment) struct Held {
    fd: Arc<Fd>,
    identity: Identity,
    len: usize,
    place: Place,
    /// A forked child has this value too, and holds nothing.
    process: Process,
}

impl Held {
    /// A new object; `None` when somebody has one of that name.
    pub(in crate::segment) fn create(
        name: &SegmentName,
        len: usize,
        options: &CreateOptions,
    ) -> Result<Option<Self>, SegmentError> {
        let place = Place::new(name);
        let new = Unnamed::new(&place, len, options.mode)?;
        let held = Self::over(Arc::clone(&new.fd), new.identity, len, &place);
        // It has no name yet, so nobody can be in the way.
        held.share()?;
        for _ in 0..TRIES {
            match new.link(place.path()) {
                Ok(()) => return Ok(Some(held)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(place.failed("link")(errno)),
            }
            match Self::look(&place, options.allow_other_user) {
                Ok(Found::Held(_)) => return Ok(None),
                Ok(Found::Nobody(left)) => left.remove_if_unused(),
                Ok(Found::Changing) => thread::sleep(Duration::from_millis(1)),
                Err(SegmentError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SegmentError::Restless { name: place.name(), tries: TRIES })
    }

    /// What somebody has under the name.
    pub(in crate::segment) fn open(name: &SegmentName, allow_other_user: bool) -> Result<Self, SegmentError> {
        let place = Place::new(name);
        for _ in 0..TRIES {
            match Self::look(&place, allow_other_user)? {
                Found::Held(held) => return Ok(held),
                Found::Nobody(left) => left.remove_if_unused(),
                Found::Changing => thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(SegmentError::Restless { name: place.name(), tries: TRIES })
    }

    fn look(place: &Place, allow_other_user: bool) -> Result<Found, SegmentError> {
        let (fd, stat) = open_shared(place, Opening::ReadWrite, allow_other_user)?;
        let len = stat.st_size as usize;
        let object = Self::over(Arc::new(Fd::new(fd)), identity(&stat), len, place);
        let others = lock::is_locked(&object.fd, Byte::Holder).map_err(object.failed("asking for holders"))?;
        if !others && !used_by_others(object.identity) {
            return Ok(Found::Nobody(object));
        }
        // Whoever removes the name has the byte alone for a moment; the name goes before the lock does.
        if !object.share()? || !object.is_at_its_name() {
            return Ok(Found::Changing);
        }
        Ok(Found::Held(object))
    }

    fn over(fd: Arc<Fd>, identity: Identity, len: usize, place: &Place) -> Self {
        Self { fd, identity, len, place: place.clone(), process: Process::current() }
    }

    /// The open object, for its owner's locks and words.
    pub(in crate::segment) fn fd(&self) -> &Fd {
        &self.fd
    }

    pub(in crate::segment) fn failed(&self, doing: &'static str) -> impl Fn(std::io::Error) -> SegmentError + use<'_> {
        move |source| SegmentError::Os { doing, name: self.place.name(), source }
    }

    fn share(&self) -> Result<bool, SegmentError> {
        lock::try_share(&self.fd, Byte::Holder).map_err(self.failed("locking"))
    }

    fn is_at_its_name(&self) -> bool {
        self.place.stat().is_ok_and(|found| identity(&found) == self.identity)
    }

    /// Removes the name if it leads here and nobody else has the object.
    fn remove_if_unused(&self) {
        if !lock::try_lock(&self.fd, Byte::Holder).unwrap_or(false) {
            return;
        }
        if self.is_at_its_name()
            && !used_by_others(self.identity)
            && let Err(errno) = unlink(self.place.path())
            && errno != Errno::NOENT
        {
            tracing::warn!(name = self.place.name(), %errno, "unlinking failed");
        }
        if let Err(error) = lock::unlock(&self.fd, Byte::Holder) {
            tracing::warn!(name = self.place.name(), %error, "unlocking failed");
        }
    }

    fn map(self, access: Access) -> Result<Section, SegmentError> {
        if self.len == 0 {
            return Err(SegmentError::Empty { name: self.place.name() });
        }
        let writable = access == Access::ReadWrite;
        let mapping = Mapping::map_held(&self.fd, self.len, writable, self.place.clone())?;
        Ok(Section { segment: Segment::over(mapping), _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        // First out of the others' way: of two who close at once, the later one must find itself alone.
        if let Err(error) = lock::unlock(&self.fd, Byte::Holder) {
            tracing::warn!(name = self.place.name(), %error, "unlocking failed");
        }
        self.remove_if_unused();
    }
}

/// What a look at a name has found.
enum Found {
    /// An object that somebody else has, too.
    Held(Held),
    /// An object that nobody has any more.
    Nobody(Held),
    /// A name on its way to another object, or to none.
    Changing,
}
