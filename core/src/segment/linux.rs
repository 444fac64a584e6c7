// SPDX-License-Identifier: MPL-2.0
//! The writer's end of a name on Linux.
//!
//! Four paths matter: the name, and beside it `.NAME.keep`, the second link of the producer's object; `.NAME.next`, the
//! first link of an object that is about to be published; `.NAME.swap`, a link that exists to be renamed over the name.
//!
//! * An object under the name is **ours** when `keep` or `next` leads to it too.
//! * Its producer is **alive** when its first byte is locked. A new object is locked before it has any name.
//! * Whoever publishes an object has `next`, which nobody else can link meanwhile. Whoever takes a name from an object
//!   holds that object's name byte, and looks again after locking. Whoever removes a dead object's link holds that
//!   object's producer byte.
//!
//! A crash between any two steps leaves links that the next producer recognises by these rules.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fd::AsRawFd;
use rustix::fs::{FileType, Mode, Stat, fchmod, fstat, lstat, rename, unlink};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::holders::{Ignore, holders, locker};
use super::lock::{self, Byte};
use super::place::{self, Access, Place};
use super::process::Fd;
use super::unix::{Mapping, identity, open_shared};
use super::unnamed::{Unnamed, link_open, reserve};
use super::{Acquired, CreateOptions, Identity, Process, Published, Segment, SegmentError, SegmentName};

/// The second link of a producer's object.
const KEEP: &str = "keep";
/// The first link of an object that is about to be published.
const NEXT: &str = "next";
/// A link that is renamed over the name at once.
const SWAP: &str = "swap";

/// Calls of `keep_published` from one look at the name itself to the next.
const LOOK_EVERY: u32 = 32;

/// How often a name that keeps changing is looked at again, a millisecond apart.
const TRIES: u32 = 1000;

/// An open object that is locked, or about to be.
#[derive(Debug, Clone)]
struct Object {
    fd: Arc<Fd>,
    identity: Identity,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Owner {
    segment: Arc<Segment>,
    object: Object,
    place: Place,
    options: CreateOptions,
    acquired: Acquired,
    /// A forked child has this value too, and must not unlink what its parent still publishes.
    process: Process,
    /// Calls of `keep_published` since the name was looked at.
    turn: u32,
}

impl Owner {
    pub(super) fn create(name: &SegmentName, len: usize, options: &CreateOptions) -> Result<Self, SegmentError> {
        let place = Place::new(name);
        let (object, acquired) = settle(&place, || attempt(&place, len, options))?;
        remove_leftovers(&place, &object);
        let segment = match map(&place, &object, len) {
            Ok(segment) => segment,
            Err(error) => {
                give_up(&place, &object, acquired);
                return Err(error);
            }
        };
        let process = Process::current();
        Ok(Self { segment, object, place, options: options.clone(), acquired, process, turn: 0 })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn acquired(&self) -> Acquired {
        self.acquired
    }

    pub(super) fn claim(&mut self) {
        if self.acquired == Acquired::Adopted {
            self.mark();
            self.acquired = Acquired::Recovered;
        }
    }

    pub(super) fn keep_published(&mut self) -> Result<Published, SegmentError> {
        if self.has_its_links() {
            return Ok(Published::Still);
        }
        if let Some(published) = self.look()? {
            return Ok(published);
        }
        let place = self.place.clone();
        settle(&place, || {
            if let Some(published) = self.look()? {
                return Ok(Some(published));
            }
            if self.acquired != Acquired::Adopted {
                match link_open(&*self.object.fd, place.path()) {
                    Ok(()) => return Ok(Some(Published::Republished)),
                    Err(Errno::EXIST) => return Ok(None),
                    // An object without any link cannot get one again.
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(place.failed("link")(errno)),
                }
            }
            let new = Unnamed::new(&place, self.segment.len(), self.options.mode)?;
            Ok(self.publish(&new, Acquired::Created)?.then_some(Published::Recreated))
        })
    }

    /// Whether the object has as many links as we gave it: whoever takes one away, or puts another object in its
    /// place, changes that. Costs half of a look at the name; that one has its turn for the sake of who moves names.
    fn has_its_links(&mut self) -> bool {
        self.turn = (self.turn + 1) % LOOK_EVERY;
        let links = if self.acquired == Acquired::Adopted { 1 } else { 2 };
        self.turn != 0 && fstat(&self.object.fd).is_ok_and(|found| found.st_nlink == links)
    }

    /// What stands under the name, if anything does.
    fn look(&self) -> Result<Option<Published>, SegmentError> {
        match self.place.stat() {
            Ok(found) if identity(&found) == self.object.identity => {
                if found.st_nlink < 2 && self.acquired != Acquired::Adopted {
                    self.mark();
                }
                Ok(Some(Published::Still))
            }
            Ok(_) => Ok(Some(Published::TakenByOther)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.place.failed("stat")(errno)),
        }
    }

    pub(super) fn resize(&mut self, len: usize) -> Result<(), SegmentError> {
        if self.acquired == Acquired::Adopted {
            let mapping = self.segment.address();
            let ignore = Ignore { fd: Some(self.object.number()), mapping: Some(mapping) };
            unused(&self.place, &self.object, len, self.segment.len() as u64, ignore)?;
        }
        let place = self.place.clone();
        let new = Unnamed::new(&place, len, self.options.mode)?;
        settle(&place, || match self.look()? {
            Some(Published::TakenByOther) => Err(SegmentError::Taken { name: place.name() }),
            _ => Ok(self.publish(&new, Acquired::Replaced)?.then_some(())),
        })
    }

    /// Puts `new` in the place of our object, which a guest has `acquired` by that; false when the name changed
    /// meanwhile.
    fn publish(&mut self, new: &Unnamed, acquired: Acquired) -> Result<bool, SegmentError> {
        // Mapped first: afterwards nothing can fail.
        let object = Object::of(new);
        let segment = map(&self.place, &object, new.len)?;
        if !publish(&self.place, Some(&self.object), new)? {
            return Ok(false);
        }
        self.object.release(&self.place, Byte::Producer);
        self.segment = segment;
        self.object = object;
        if self.acquired == Acquired::Adopted {
            self.acquired = acquired;
        }
        Ok(true)
    }

    /// Puts the second link back, should it be gone.
    fn mark(&self) {
        match link_open(&*self.object.fd, &self.place.hidden(KEEP)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => tracing::warn!(name = self.place.name(), %errno, "the hidden link cannot be put back"),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.process.is_current() {
            give_up(&self.place, &self.object, self.acquired);
        }
    }
}

impl Object {
    fn of(new: &Unnamed) -> Self {
        Self { fd: Arc::clone(&new.fd), identity: new.identity }
    }

    fn number(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Whether `path` leads to this object.
    fn is_at(&self, path: &Path) -> bool {
        lstat(path).is_ok_and(|found| identity(&found) == self.identity)
    }

    fn try_lock(&self, place: &Place, byte: Byte) -> Result<bool, SegmentError> {
        let locked = lock::try_lock(&self.fd, byte);
        locked.map_err(|source| SegmentError::Os { doing: "locking", name: place.name(), source })
    }

    fn release(&self, place: &Place, byte: Byte) {
        if let Err(error) = lock::unlock(&self.fd, byte) {
            tracing::warn!(name = place.name(), %error, "unlocking failed");
        }
    }
}

/// The name byte of an object, held.
struct NameHeld<'a> {
    place: &'a Place,
    object: &'a Object,
}

impl<'a> NameHeld<'a> {
    fn try_hold(place: &'a Place, object: &'a Object) -> Result<Option<Self>, SegmentError> {
        Ok(object.try_lock(place, Byte::Name)?.then_some(Self { place, object }))
    }
}

impl Drop for NameHeld<'_> {
    fn drop(&mut self) {
        self.object.release(self.place, Byte::Name);
    }
}

/// Repeats `look` until it sees a name that stays as it is; `None` means that it changed meanwhile.
fn settle<T>(place: &Place, mut look: impl FnMut() -> Result<Option<T>, SegmentError>) -> Result<T, SegmentError> {
    for _ in 0..TRIES {
        if let Some(settled) = look()? {
            return Ok(settled);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(SegmentError::Restless { name: place.name(), tries: TRIES })
}

/// One look at a name, and the step that it calls for.
fn attempt(place: &Place, len: usize, options: &CreateOptions) -> Result<Option<(Object, Acquired)>, SegmentError> {
    match open_shared(place, Access::ReadWrite, options.allow_other_user) {
        Ok((fd, found)) => {
            existing(place, Object { fd: Arc::new(Fd::new(fd)), identity: identity(&found) }, len, options)
        }
        Err(SegmentError::NotFound { .. }) => match open_hidden(place, KEEP)? {
            Some(object) => nameless(place, object, len, options),
            None => put(place, None, len, options, Acquired::Created),
        },
        Err(error) => Err(error),
    }
}

/// `object` stands under the name.
fn existing(
    place: &Place,
    object: Object,
    len: usize,
    options: &CreateOptions,
) -> Result<Option<(Object, Acquired)>, SegmentError> {
    let locked = object.try_lock(place, Byte::Producer)?;
    // Only now is it certain that no producer unlinks it in between.
    if !object.is_at(place.path()) {
        return Ok(None);
    }
    if !locked {
        return from_live(place, &object, len, options);
    }
    let found = fstat(&object.fd).map_err(place.failed("fstat"))?;
    let size = found.st_size as u64;
    let next = place.hidden(NEXT);
    if object.is_at(&next) {
        // Its producer died before the last step of publishing it.
        rename(&next, place.hidden(KEEP)).map_err(place.failed("rename"))?;
    }
    let ours = object.is_at(&place.hidden(KEEP));
    if ours && size == len as u64 {
        renew(place, &object, len, options)?;
        return Ok(Some((object, Acquired::Recovered)));
    }
    if ours {
        return put(place, Some(&object), len, options, Acquired::Recovered);
    }
    if found.st_nlink != 1 {
        let found = format!("a file with {} names", found.st_nlink);
        return Err(SegmentError::NotShared { name: place.name(), found });
    }
    if size == len as u64 {
        reserve(place, &object.fd, len)?;
        return Ok(Some((object, Acquired::Adopted)));
    }
    unused(place, &object, len, size, Ignore { fd: Some(object.number()), mapping: None })?;
    put(place, Some(&object), len, options, Acquired::Replaced)
}

/// Nothing stands under the name, but `object` is what a producer of ours had there. Should that have changed, the
/// steps below find out.
fn nameless(
    place: &Place,
    object: Object,
    len: usize,
    options: &CreateOptions,
) -> Result<Option<(Object, Acquired)>, SegmentError> {
    if !object.try_lock(place, Byte::Producer)? {
        return from_live(place, &object, len, options);
    }
    let found = fstat(&object.fd).map_err(place.failed("fstat"))?;
    if found.st_size as u64 != len as u64 {
        return put(place, Some(&object), len, options, Acquired::Recovered);
    }
    renew(place, &object, len, options)?;
    match link_open(&*object.fd, place.path()) {
        Ok(()) => Ok(Some((object, Acquired::Recovered))),
        // There is a name again, or the object has no link left.
        Err(Errno::EXIST | Errno::NOENT) => Ok(None),
        Err(errno) => Err(place.failed("link")(errno)),
    }
}

/// A live producer has `object`.
fn from_live(
    place: &Place,
    object: &Object,
    len: usize,
    options: &CreateOptions,
) -> Result<Option<(Object, Acquired)>, SegmentError> {
    if !options.takeover {
        let pid = locker(object.identity, Byte::Producer);
        return Err(SegmentError::LiveProducer { name: place.name(), pid });
    }
    put(place, Some(object), len, options, Acquired::TakenOver)
}

/// Makes a dead producer's object as good as new, but for its bytes: readers go on seeing the last frame.
fn renew(place: &Place, object: &Object, len: usize, options: &CreateOptions) -> Result<(), SegmentError> {
    fchmod(&object.fd, Mode::from_raw_mode(options.mode & 0o777)).map_err(place.failed("fchmod"))?;
    reserve(place, &object.fd, len)
}

/// Refuses to replace what somebody uses.
fn unused(place: &Place, object: &Object, wanted: usize, size: u64, ignore: Ignore) -> Result<(), SegmentError> {
    let pids = holders(object.identity, ignore);
    if pids.is_empty() {
        return Ok(());
    }
    Err(SegmentError::InUse { name: place.name(), size, wanted: wanted as u64, pids })
}

/// Publishes a new object where nothing stands, or `over` does.
fn put(
    place: &Place,
    over: Option<&Object>,
    len: usize,
    options: &CreateOptions,
    acquired: Acquired,
) -> Result<Option<(Object, Acquired)>, SegmentError> {
    let new = Unnamed::new(place, len, options.mode)?;
    Ok(publish(place, over, &new)?.then(|| (Object::of(&new), acquired)))
}

/// Gives `new` the name, where nothing stands or `over` does; false when that changed meanwhile. At any moment the name
/// leads to one of them, and each of them can be told for ours.
fn publish(place: &Place, over: Option<&Object>, new: &Unnamed) -> Result<bool, SegmentError> {
    let _held = match over {
        Some(object) => match NameHeld::try_hold(place, object)? {
            Some(held) => Some(held),
            None => return Ok(false),
        },
        None => None,
    };
    let object = Object::of(new);
    let (keep, next, swap) = (place.hidden(KEEP), place.hidden(NEXT), place.hidden(SWAP));
    sound(place, KEEP)?;
    if !link_hidden(place, new, NEXT)? {
        return Ok(false);
    }
    let named = match place.stat() {
        Ok(found) if over.is_some_and(|over| identity(&found) == over.identity) => link_hidden(place, new, SWAP)
            .and_then(|linked| match linked {
                true => rename(&swap, place.path()).map(|()| true).map_err(place.failed("rename")),
                false => Ok(false),
            }),
        Ok(_) => Ok(false),
        // A live producer whose name was taken away has it nonetheless.
        Err(Errno::NOENT) if !over.is_some_and(|over| over.is_at(&keep)) && !is_dead(place, KEEP) => Ok(false),
        Err(Errno::NOENT) => match new.link(place.path()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(place.failed("link")(errno)),
        },
        Err(errno) => Err(place.failed("stat")(errno)),
    };
    if !matches!(named, Ok(true)) {
        unlink_if(&object, &swap);
        unlink_if(&object, &next);
        return named;
    }
    if let Err(errno) = rename(&next, &keep) {
        unlink_if(&object, place.path());
        unlink_if(&object, &next);
        return Err(place.failed("rename")(errno));
    }
    Ok(true)
}

/// Links `new` under a hidden name; false when a live producer has that.
fn link_hidden(place: &Place, new: &Unnamed, role: &str) -> Result<bool, SegmentError> {
    let path = place.hidden(role);
    for _ in 0..2 {
        match new.link(&path) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(place.failed("link")(errno)),
        }
        if !remove_dead(place, role)? {
            return Ok(false);
        }
    }
    Ok(false)
}

/// What stands under a hidden name: a file of ours or nothing, or the name is of no use.
fn sound(place: &Place, role: &str) -> Result<(), SegmentError> {
    match lstat(place.hidden(role)) {
        Ok(found) => judge(place, role, &found),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(place.failed("stat")(errno)),
    }
}

fn judge(place: &Place, role: &str, found: &Stat) -> Result<(), SegmentError> {
    let name = || place.hidden(role).display().to_string();
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(SegmentError::NotShared { name: name(), found: "something that is not ours".to_owned() });
    }
    // Another user could have us recover what they planted. No option allows that.
    if found.st_uid != geteuid().as_raw() {
        return Err(SegmentError::OtherUser { name: name(), uid: found.st_uid });
    }
    Ok(())
}

/// Opens what stands under a hidden name.
fn open_hidden(place: &Place, role: &str) -> Result<Option<Object>, SegmentError> {
    sound(place, role)?;
    match place::open(&place.hidden(role), Access::ReadWrite) {
        Ok(fd) => {
            let found = fstat(&fd).map_err(place.failed("fstat"))?;
            judge(place, role, &found)?;
            Ok(Some(Object { fd: Arc::new(Fd::new(fd)), identity: identity(&found) }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(place.failed("opening the hidden link")(errno)),
    }
}

/// Removes a hidden link whose producer is dead; false when it lives.
fn remove_dead(place: &Place, role: &str) -> Result<bool, SegmentError> {
    let Some(object) = open_hidden(place, role)? else { return Ok(true) };
    let dead = object.try_lock(place, Byte::Producer)?;
    if dead {
        // Nobody else removes it while we hold the lock, so it is still this one or was removed before.
        unlink_if(&object, &place.hidden(role));
    }
    Ok(dead)
}

/// Whether nobody living has a hidden name; nobody at all has it afterwards.
fn is_dead(place: &Place, role: &str) -> bool {
    remove_dead(place, role).unwrap_or_else(|error| {
        tracing::debug!(%error, role, "a hidden link stays");
        false
    })
}

/// Removes what dead producers left beside the name.
fn remove_leftovers(place: &Place, object: &Object) {
    for role in [NEXT, SWAP, KEEP] {
        if object.is_at(&place.hidden(role)) {
            continue;
        }
        is_dead(place, role);
    }
}

/// Unlinks `path` if it leads to `object`, whose links only we change now.
fn unlink_if(object: &Object, path: &Path) {
    if object.is_at(path)
        && let Err(errno) = unlink(path)
        && errno != Errno::NOENT
    {
        tracing::warn!(path = %path.display(), %errno, "unlinking failed");
    }
}

/// Ends a producer: the name goes, unless it leads elsewhere or the object was there before; the lock goes.
fn give_up(place: &Place, object: &Object, acquired: Acquired) {
    if acquired != Acquired::Adopted {
        match settle(place, || NameHeld::try_hold(place, object)) {
            Ok(_held) => {
                unlink_if(object, place.path());
                unlink_if(object, &place.hidden(KEEP));
            }
            Err(error) => tracing::warn!(%error, "the name stays"),
        }
    }
    object.release(place, Byte::Producer);
}

fn map(place: &Place, object: &Object, len: usize) -> Result<Arc<Segment>, SegmentError> {
    Ok(Arc::new(Segment::over(Mapping::map_locked(&object.fd, len, place.clone())?)))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_neither_unlinks_nor_unlocks_what_its_parent_publishes() {
        let name = SegmentName::new(&format!("tdlink-fork-{}", std::process::id())).unwrap();
        let options = CreateOptions::default();
        let mut owner = Some(Owner::create(&name, 10, &options).unwrap());
        // SAFETY: the child calls what only calls the kernel, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(owner.take());
            // SAFETY: nothing of the parent's is left to be ended.
            unsafe { libc::_exit(0) };
        }
        let mut status = -1;
        // SAFETY: `status` outlives the call.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        assert_eq!(owner.as_mut().unwrap().keep_published().unwrap(), Published::Still);
        assert!(matches!(Owner::create(&name, 10, &options), Err(SegmentError::LiveProducer { .. })));
        drop(owner);
        assert_eq!(Owner::create(&name, 10, &options).unwrap().acquired(), Acquired::Created);
    }
}
