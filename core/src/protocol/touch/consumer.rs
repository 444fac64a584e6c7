// SPDX-License-Identifier: MPL-2.0
//! The end that reads: what a Shared Mem In TOP does.

use std::time::{Duration, Instant};

use tracing::field::{Empty, debug};

use super::error::{ConsumeError, HeaderError};
use super::frames::Target;
use super::layout::{HEADER_BYTES, Header};
use super::link::{Followed, INFO_PATIENCE, Link, not_yet};
use super::names::TouchNames;
use crate::frame::{FrameDesc, Origin, PixelFormat};
use crate::pixels::Options;
use crate::protocol::copy::CopyThreads;
use crate::protocol::raw::news::News;
use crate::segment::{AccessError, CreateOptions, Linked, NamedMutex, OpenOptions, Segment, monotonic_ns};

/// After so long without news everything is let go for a moment now and then, so that a sender that died does not live on
/// in what we hold, and its successor can make the objects anew.
const IDLE: Duration = Duration::from_millis(1500);
/// All receivers that hear nothing let go at once, by the clock that processes share: this often ...
const TOGETHER_NS: u64 = 2_000_000_000;
/// ... and for so long. If each let go at a moment of its own, two of them would keep a dead sender's objects in being for
/// each other.
const CLOSED_NS: u64 = 120_000_000;
/// Frames up to this size are remembered as a whole; of larger ones a sample is.
const SMALL: usize = 64 * 1024;

/// How a receiver behaves.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// How objects are opened.
    pub open: OpenOptions,
    /// Longest wait for a mutex.
    pub lock_timeout: Duration,
    /// What copies large frames.
    pub threads: CopyThreads,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self { open: OpenOptions::default(), lock_timeout: Duration::from_millis(20), threads: CopyThreads::default() }
    }
}

impl AttachOptions {
    /// How mutexes are made that nobody has made yet.
    pub(super) fn create(&self) -> CreateOptions {
        CreateOptions { allow_other_user: self.open.allow_other_user, ..CreateOptions::default() }
    }
}

/// What became of an attempt to read a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The memory holds one frame.
    Whole {
        /// Whether anything was seen to change since the last one.
        changed: bool,
    },
    /// Somebody had a mutex for longer than [`AttachOptions::lock_timeout`].
    Locked,
    /// The sender has made its segment anew and written nothing yet.
    NotWritten,
    /// There is nothing to read: what stands there was told to be [`Outcome::Suspect`], or everything was let go.
    Nothing,
    /// The last holder of the mutex died over it: what stands there may be parts of two frames. Said once; then it is
    /// read when it has changed, or when the sender is known to live.
    Suspect,
    /// Frames are others from now on: ask [`Consumer::header`], then [`Consumer::set_target`].
    Respec,
    /// The sender has gone; why. Everything is let go.
    Ended(String),
}

/// Whether the sender is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As far as can be told.
    Here,
    /// Not for now: everything is let go for a moment, or could not be had again yet.
    Unsure,
    /// It has said its end, or its objects have gone; why. Everything is let go.
    Ended(String),
}

/// Reads frames of a Shared Mem Out TOP, or of whoever speaks like one.
///
/// The protocol has no counter: [`look`](Self::look) compares samples without the mutex. [`read`](Self::read) holds it
/// for the copy. A frame that was written with the mutex held is whole.
#[derive(Debug)]
pub struct Consumer {
    names: TouchNames,
    options: AttachOptions,
    mutex: NamedMutex,
    /// `None` when everything was let go.
    link: Option<Link>,
    /// The header's bytes when it was last read with the mutex held.
    front: [u8; HEADER_BYTES],
    header: Header,
    origin: Origin,
    target: Target,
    news: News,
    fresh: bool,
    /// What stands there now may be torn.
    suspect: bool,
    /// When something was last seen to change.
    moved: Instant,
    held: Duration,
}

impl Consumer {
    /// Opens what a sender has made under `names`, whose row 0 stands as `origin` says (TouchDesigner's: bottom-left).
    /// Frames become pixels of the wire's own format until [`set_target`](Self::set_target).
    ///
    /// # Errors
    /// [`ConsumeError::NotYet`] without a sender that has written a frame; a picture that cannot be read; the
    /// system's refusal. Nothing stays open then.
    pub fn attach(names: &TouchNames, origin: Origin, options: AttachOptions) -> Result<Self, ConsumeError> {
        let _span = tracing::debug_span!("attach", protocol = "touch", name = names.typed()).entered();
        let link = Link::open(names, &options)?;
        let mut mutex = NamedMutex::new(names.mutex(), &options.create())?;
        let (front, parsed, abandoned) = {
            let Some(lock) = mutex.lock(options.lock_timeout)? else {
                return Err(not_yet(format!("the mutex {:?} is locked", names.mutex().as_str())));
            };
            let (front, parsed) = read_header(link.data().segment())?;
            (front, parsed, lock.was_abandoned())
        };
        let header = match parsed {
            Ok(header) => header,
            Err(error @ HeaderError::NotWritten) => return Err(not_yet(format!("{:?}: {error}", names.typed()))),
            // Half written by whoever died over it.
            Err(error) if abandoned => return Err(not_yet(format!("{:?}: {error}", names.typed()))),
            Err(source) => return Err(ConsumeError::Header { name: format!("{:?}", names.typed()), source }),
        };
        let plain = header.pixel.plain();
        let target = Target::new(&header, origin, plain, Options::default(), false, options.threads.clone())?;
        let mut consumer = Self {
            names: names.clone(),
            options,
            mutex,
            link: Some(link),
            front,
            origin,
            target,
            news: News::new(header.data_bytes),
            header,
            fresh: true,
            suspect: false,
            moved: began(),
            held: Duration::ZERO,
        };
        if abandoned {
            consumer.withhold()?;
        }
        Ok(consumer)
    }

    /// What the sender says of its frames.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The same as a frame, in the pixels that the wire's are or become first.
    pub fn desc(&self) -> FrameDesc {
        let Header { width, height, pixel, .. } = self.header;
        FrameDesc { width, height, format: pixel.plain(), origin: self.origin }
    }

    /// Gives pixels of `to` from now on, converted under `pixels`. With `keep_wire` the bytes of each frame can be had
    /// as they stand on the wire, too.
    ///
    /// # Errors
    /// No frame.
    pub fn set_target(&mut self, to: PixelFormat, pixels: Options, keep_wire: bool) -> Result<(), ConsumeError> {
        let threads = self.options.threads.clone();
        self.target = Target::new(&self.header, self.origin, to, pixels, keep_wire, threads)?;
        Ok(())
    }

    /// The last frame as it stood on the wire, if the target keeps it.
    pub fn wire(&self) -> Option<&[u8]> {
        self.target.wire()
    }

    /// For how long the mutex was held by the last [`read`](Self::read) that had it.
    pub fn held(&self) -> Duration {
        self.held
    }

    /// Whether there is news, as far as a glance tells: the header, the info segment, some 8 KiB here and there and 16
    /// KiB in turn are compared with what they were. Without the mutex: it disturbs nobody.
    ///
    /// # Errors
    /// The memory was cut short.
    pub fn look(&mut self) -> Result<bool, AccessError> {
        let Some(link) = &self.link else { return Ok(false) };
        if !self.fresh {
            let segment = link.data().segment();
            let read = |at: usize, bytes: &mut [u8]| segment.read(self.header.data_offset + at, bytes);
            // Behind a header that was never whole there may be less than behind the last one that was; without one there
            // is nothing.
            let whole = self.is_written() && self.header.total_bytes() <= segment.len();
            let changed = link.has_moved()
                || front(segment)? != self.front
                || whole && (self.news.scout(read)? || self.news.patrol(read)?);
            if changed {
                (self.fresh, self.suspect) = (true, false);
                self.moved = Instant::now();
            }
        }
        Ok(self.fresh)
    }

    /// Whether there was a header when it was last read.
    fn is_written(&self) -> bool {
        self.front[..4] != [0; 4]
    }

    /// Whether the sender is still there. After 1.5 s without news everything is closed for the first 120 ms of every
    /// second second of the monotonic clock, as every other receiver of ours does then: what a dead sender left goes with
    /// that. To be asked more often than that takes.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn standing(&mut self) -> Result<Standing, ConsumeError> {
        let name = self.names.typed().to_owned();
        let Some(link) = &self.link else {
            return if all_closed() { Ok(Standing::Unsure) } else { self.probe() };
        };
        let ended = if link.glimpse().is_some_and(|info| info.detach) {
            Some(format!("the sender of {name:?} has gone (detach)"))
        } else {
            let segment = link.data().segment();
            let (found, mapped) = (segment.current_len()?, segment.len());
            match segment.linked()? {
                _ if found < mapped => Some(format!("{name:?} was cut from {mapped} to {found} bytes")),
                Linked::Here => None,
                Linked::Elsewhere => Some(format!("another object stands under the name {name:?}")),
                Linked::Gone => Some(format!("the name {name:?} is gone")),
            }
        };
        if let Some(reason) = ended {
            self.link = None;
            return Ok(Standing::Ended(reason));
        }
        if self.fresh || self.moved.elapsed() < IDLE || !all_closed() {
            return Ok(Standing::Here);
        }
        self.link = None;
        Ok(Standing::Unsure)
    }

    /// Opens again what was let go.
    fn probe(&mut self) -> Result<Standing, ConsumeError> {
        match Link::open(&self.names, &self.options) {
            Ok(link) => {
                self.link = Some(link);
                // Somebody else has kept it in being: the sender lives, and whoever died over the mutex read.
                self.fresh |= std::mem::take(&mut self.suspect);
                Ok(Standing::Here)
            }
            Err(ConsumeError::NotYet { .. }) if self.is_locked() => Ok(Standing::Unsure),
            Err(ConsumeError::NotYet { why }) => {
                Ok(Standing::Ended(format!("the sender of {:?} has gone: {why}", self.names.typed())))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the objects are there, and only a mutex is in the way.
    fn is_locked(&self) -> bool {
        use crate::segment::{Access, Section};
        let info = Section::open(self.names.info(), Access::Read, &self.options.open);
        let read = |info: Section| {
            let mut bytes = [0; super::info::INFO_BYTES];
            info.segment().read(0, &mut bytes).ok()?;
            super::info::Info::parse(&bytes, super::info::InfoLayout::Utf16).ok()
        };
        let Some(said) = info.ok().and_then(read) else { return false };
        let data = self.names.data(&said.postfix).ok();
        !said.detach && data.is_some_and(|data| Section::open(&data, Access::Read, &self.options.open).is_ok())
    }

    /// Reads the newest frame into `dst`, top row first, rows `stride` bytes apart.
    ///
    /// # Errors
    /// `dst` too small, the memory was cut short, or the sender says something that is no picture.
    pub fn read(&mut self, dst: &mut [u8], stride: usize) -> Result<Outcome, ConsumeError> {
        let span = tracing::trace_span!("copy", name = self.names.typed(), bytes = dst.len(), came = Empty).entered();
        let outcome = self.read_rows(dst, stride)?;
        span.record("came", debug(&outcome));
        Ok(outcome)
    }

    fn read_rows(&mut self, dst: &mut [u8], stride: usize) -> Result<Outcome, ConsumeError> {
        self.target.check(dst, stride)?;
        self.look()?;
        let Self { names, options, mutex, link, news, .. } = self;
        let Some(open) = link else { return Ok(Outcome::Nothing) };
        let Some(lock) = mutex.lock(options.lock_timeout)? else { return Ok(Outcome::Locked) };
        let began = Instant::now();
        match open.follow(names, options)? {
            Followed::Same => {}
            Followed::Moved => self.fresh = true,
            Followed::Locked => {
                // The rest of the patience is spent without the pixels' mutex: TouchDesigner renders with it.
                drop(lock);
                open.await_info(options.lock_timeout.saturating_sub(INFO_PATIENCE))?;
                return Ok(Outcome::Locked);
            }
            Followed::Ended(reason) => {
                drop(lock);
                self.link = None;
                return Ok(Outcome::Ended(reason));
            }
        }
        let segment = open.data().segment();
        let abandoned = lock.was_abandoned();
        let (now, parsed) = read_header(segment)?;
        let header = match parsed {
            Ok(header) => header,
            Err(HeaderError::NotWritten) => {
                // No news until something is written: a sender that dies before that is found out by its silence.
                (self.front, self.fresh) = (now, false);
                return Ok(Outcome::NotWritten);
            }
            // Half written by whoever died over it.
            Err(_) if abandoned || self.suspect => {
                (self.front, self.fresh, self.suspect) = (now, false, true);
                return Ok(if abandoned { Outcome::Suspect } else { Outcome::Nothing });
            }
            Err(source) => return Err(ConsumeError::Header { name: format!("{:?}", names.typed()), source }),
        };
        self.front = now;
        if !describes_the_same(&header, &self.header) {
            drop(lock);
            self.adopt(header)?;
            if abandoned {
                // What the header is about may be half written.
                self.withhold()?;
            }
            return Ok(Outcome::Respec);
        }
        self.header = header;
        let read = |at: usize, bytes: &mut [u8]| segment.read(header.data_offset + at, bytes);
        if !abandoned && !self.suspect {
            self.target.copy(segment, header.data_offset, dst, stride)?;
        }
        news.take(read)?;
        if header.data_bytes <= SMALL {
            news.patrol_all(read)?;
        }
        drop(lock);
        self.held = began.elapsed();
        let changed = std::mem::take(&mut self.fresh);
        if abandoned {
            self.suspect = true;
            return Ok(Outcome::Suspect);
        }
        if self.suspect {
            return Ok(Outcome::Nothing);
        }
        self.target.finish(dst, stride)?;
        Ok(Outcome::Whole { changed })
    }

    /// What stands there now may be parts of two frames, and is no news.
    fn withhold(&mut self) -> Result<(), AccessError> {
        (self.fresh, self.suspect) = (false, true);
        let Some(link) = &self.link else { return Ok(()) };
        let segment = link.data().segment();
        self.news.take(|at, bytes| segment.read(self.header.data_offset + at, bytes))
    }

    /// Frames are others from now on.
    fn adopt(&mut self, header: Header) -> Result<(), ConsumeError> {
        self.header = header;
        self.news = News::new(header.data_bytes);
        (self.fresh, self.suspect, self.moved) = (true, false, Instant::now());
        self.set_target(header.pixel.plain(), Options::default(), false)
    }

    /// Whether the frame is, byte for byte, what `frame` holds (top row first, rows `stride` bytes apart). Looked at
    /// without the mutex. A frame that may be torn is never news.
    ///
    /// # Errors
    /// `frame` too small, or the memory was cut short.
    pub fn same_as(&mut self, frame: &[u8], stride: usize) -> Result<bool, ConsumeError> {
        self.target.check(frame, stride)?;
        let Some(link) = &self.link else { return Ok(true) };
        if self.suspect || !self.is_written() {
            return Ok(true);
        }
        Ok(self.target.same(link.data().segment(), self.header.data_offset, frame, stride)?)
    }
}

/// From when on a receiver that begins now has heard nothing. While all others have everything closed, it lets go with
/// them unless it hears something at once: else it alone would keep a dead sender's objects in being for them.
fn began() -> Instant {
    let now = Instant::now();
    if all_closed() { now.checked_sub(IDLE).unwrap_or(now) } else { now }
}

/// Whether receivers that hear nothing have everything closed just now.
fn all_closed() -> bool {
    monotonic_ns() % TOGETHER_NS < CLOSED_NS
}

/// The header's bytes, zeros behind a segment's end.
fn front(segment: &Segment) -> Result<[u8; HEADER_BYTES], AccessError> {
    let mut bytes = [0; HEADER_BYTES];
    let there = segment.len().min(HEADER_BYTES);
    segment.read(0, &mut bytes[..there])?;
    Ok(bytes)
}

type Front = ([u8; HEADER_BYTES], Result<Header, HeaderError>);

/// The header's bytes and what they say. They are looked at in the copy: a peer may change them meanwhile.
fn read_header(segment: &Segment) -> Result<Front, AccessError> {
    let bytes = front(segment)?;
    let there = segment.len().min(HEADER_BYTES);
    Ok((bytes, Header::parse(&bytes[..there], segment.len())))
}

/// Whether frames can be read on as they were.
fn describes_the_same(a: &Header, b: &Header) -> bool {
    let aspect = |header: &Header| header.aspect.map(f32::to_bits);
    (a.width, a.height, a.pixel, a.colour) == (b.width, b.height, b.pixel, b.colour) && aspect(a) == aspect(b)
}
