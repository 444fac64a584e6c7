// SPDX-License-Identifier: MPL-2.0
//! The end that writes: what a Shared Mem Out TOP does.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tracing::field::{Empty, debug};

use super::error::ProduceError;
use super::formats::Pixel;
use super::info::{Info, Postfix, VERSION_VALUE};
use super::layout::{Colour, Header, HeaderKind};
use super::link::InfoSegment;
use super::names::TouchNames;
use crate::frame::{FrameDesc, PixelFormat};
use crate::pixels::Options;
use crate::protocol::copy::{CopyThreads, FrameWriter};
use crate::protocol::raw::LayoutError;
use crate::segment::wait::{Waiter, Woken};
use crate::segment::{Acquired, CreateOptions, NamedMutex, Process, Section, SegmentError, SegmentName};

/// How long a name may be in the way before that is an error: receivers of a sender that died let go of it by then, which
/// takes 1.5 s of silence and up to 2 s until they all do.
const NAME_PATIENCE: Duration = Duration::from_millis(4500);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for the info segment's mutex, which is held for microseconds.
const INFO_PATIENCE: Duration = Duration::from_millis(500);
/// Longest wait for the pixels' mutex: then the frame is dropped.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);
/// Names that are tried when the pixels get a new one.
const POSTFIXES: u32 = 16;

/// How frames are offered.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// The header.
    pub header: HeaderKind,
    /// Width and height of a pixel.
    pub aspect: [f32; 2],
    /// For [`HeaderKind::VulkanV2`].
    pub colour: Colour,
    /// How objects are made. `takeover`: go on under a name that another sender may have.
    pub create: CreateOptions,
    /// What copies large frames.
    pub threads: CopyThreads,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It is there.
    Frame,
    /// Somebody had the mutex for too long: it is dropped.
    Locked,
}

/// Writes frames for Shared Mem In TOPs. Dropping it says that the sender has gone.
#[derive(Debug)]
pub struct Producer {
    names: TouchNames,
    options: ProducerOptions,
    info: InfoSegment,
    /// `None` between two sizes, when the second could not be had.
    data: Option<Section>,
    mutex: NamedMutex,
    postfix: Postfix,
    header: Header,
    /// The header's bytes.
    front: Vec<u8>,
    writer: FrameWriter,
    acquired: Acquired,
    /// A forked child has this value too, and is no sender.
    process: Process,
    held: Duration,
}

impl Producer {
    /// Makes the objects under `names` for frames of `from` pixels that are `desc` on the wire. A name that is still held
    /// is waited for, 4.5 s at most or until `waiter` is woken. A sender that has said its end is succeeded at once.
    ///
    /// # Errors
    /// Pixels that the header has no number for; the name is held; no space; the system's refusal.
    pub fn create(
        names: &TouchNames,
        desc: FrameDesc,
        from: PixelFormat,
        options: ProducerOptions,
        waiter: &Waiter,
    ) -> Result<Self, ProduceError> {
        let _span = tracing::debug_span!("attach", protocol = "touch", name = names.typed(), frame = %desc).entered();
        let header = header_of(&desc, &options)?;
        let front = encode(&header)?;
        let writer = writer_of(desc, from, &options)?;
        let mutex = NamedMutex::new(names.mutex(), &options.create)?;
        let deadline = Instant::now() + NAME_PATIENCE;
        let (info, data, postfix, acquired) = loop {
            let fault = match begin(names, &header, &options)? {
                Begun::Sender(objects) => break *objects,
                Begun::InTheWay(object) => ProduceError::NameTaken { name: names.typed().to_owned(), object },
            };
            wait(waiter, deadline, fault)?;
        };
        let process = Process::current();
        let (data, held) = (Some(data), Duration::ZERO);
        let names = names.clone();
        Ok(Self { names, options, info, data, mutex, postfix, header, front, writer, acquired, process, held })
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.acquired
    }

    /// The header that is written.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// For how long the mutex was held by the last [`write`](Self::write) that had it.
    pub fn held(&self) -> Duration {
        self.held
    }

    /// Writes one frame: top row first, rows `stride` bytes apart.
    ///
    /// # Errors
    /// `rows` too small, the memory was cut short, or another sender has taken the name.
    pub fn write(&mut self, rows: &[u8], stride: usize) -> Result<Wrote, ProduceError> {
        let span = tracing::trace_span!("copy", name = self.names.typed(), bytes = rows.len(), came = Empty).entered();
        let wrote = self.write_rows(rows, stride)?;
        span.record("came", debug(wrote));
        Ok(wrote)
    }

    fn write_rows(&mut self, rows: &[u8], stride: usize) -> Result<Wrote, ProduceError> {
        // Without the lock: who is just writing it has taken the name from us.
        match self.info.read()? {
            Ok(info) if info.postfix == self.postfix => {}
            _ => return Err(self.taken()),
        }
        let Some(data) = &self.data else {
            let object = self.names.data(&self.postfix)?.as_str().to_owned();
            return Err(ProduceError::Resize { object });
        };
        let Some(lock) = self.mutex.lock(LOCK_PATIENCE)? else { return Ok(Wrote::Locked) };
        let began = Instant::now();
        // Whoever died over it has left what is written over now.
        data.segment().write(0, &self.front)?;
        self.writer.write(data.segment(), self.header.data_offset, rows, stride)?;
        drop(lock);
        self.held = began.elapsed();
        Ok(Wrote::Frame)
    }

    fn taken(&self) -> ProduceError {
        ProduceError::Taken { name: self.names.typed().to_owned() }
    }

    /// Offers other frames from now on. In another size that is a new object: under a new name if a receiver has said
    /// that it follows, else under the same, which is waited for as [`create`](Self::create) does.
    ///
    /// # Errors
    /// Pixels that the header has no number for; the name is held; another sender has taken it; no space.
    pub fn set_frames(
        &mut self,
        desc: FrameDesc,
        from: PixelFormat,
        (aspect, colour): ([f32; 2], Colour),
        waiter: &Waiter,
    ) -> Result<(), ProduceError> {
        let _span = tracing::debug_span!("resize", name = self.names.typed(), frame = %desc).entered();
        (self.options.aspect, self.options.colour) = (aspect, colour);
        let header = header_of(&desc, &self.options)?;
        let writer = writer_of(desc, from, &self.options)?;
        let front = encode(&header)?;
        if header.total_bytes() != self.header.total_bytes() || self.data.is_none() {
            let deadline = Instant::now() + NAME_PATIENCE;
            while let Some(object) = self.resize(&header)? {
                wait(waiter, deadline, ProduceError::Resize { object })?;
            }
        }
        (self.header, self.writer, self.front) = (header, writer, front);
        Ok(())
    }

    /// New memory, where another program has cut the old one short.
    ///
    /// # Errors
    /// The name is held, or another sender has taken it; no space.
    pub fn renew(&mut self) -> Result<(), ProduceError> {
        let header = self.header;
        match self.resize(&header)? {
            None => Ok(()),
            Some(object) => Err(ProduceError::Resize { object }),
        }
    }

    /// A new object for `header`; what is in the way, if anything is.
    fn resize(&mut self, header: &Header) -> Result<Option<String>, ProduceError> {
        let Some(locked) = self.info.lock(INFO_PATIENCE)? else { return Err(locked_out(&self.names)) };
        let mut said = match locked.read()? {
            Ok(said) if said.postfix == self.postfix => said,
            _ => {
                drop(locked);
                return Err(self.taken());
            }
        };
        if said.supported {
            let (data, postfix) = fresh_name(&self.names, header.total_bytes(), &self.options.create)?;
            said.postfix = postfix.clone();
            locked.write(&said)?;
            (self.data, self.postfix) = (Some(data), postfix);
            return Ok(None);
        }
        let name = self.names.data(&self.postfix)?;
        self.data = None;
        match Section::create(&name, header.total_bytes(), &self.options.create) {
            Ok(data) => {
                self.data = Some(data);
                Ok(None)
            }
            Err(SegmentError::Exists { .. }) => Ok(Some(name.as_str().to_owned())),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        let name = self.names.typed();
        let locked = match self.info.lock(INFO_PATIENCE) {
            Ok(Some(locked)) => locked,
            Ok(None) => return tracing::warn!(name, "receivers are not told of the end: the info mutex is locked"),
            Err(error) => return tracing::warn!(name, %error, "receivers are not told of the end"),
        };
        match locked.read() {
            // Another sender goes on in it.
            Ok(Ok(said)) if said.postfix != self.postfix => {}
            Ok(said) => {
                let said = said.unwrap_or_else(|_| Info { postfix: self.postfix.clone(), ..Info::fresh() });
                let version = said.version.max(VERSION_VALUE);
                if let Err(error) = locked.write(&Info { version, detach: true, ..said }) {
                    tracing::warn!(name, %error, "receivers are not told of the end");
                }
            }
            Err(error) => tracing::warn!(name, %error, "receivers are not told of the end"),
        }
    }
}

enum Begun {
    Sender(Box<Objects>),
    /// Somebody has this object open.
    InTheWay(String),
}

/// What a sender has.
type Objects = (InfoSegment, Section, Postfix, Acquired);

/// One attempt to become the sender.
fn begin(names: &TouchNames, header: &Header, options: &ProducerOptions) -> Result<Begun, ProduceError> {
    let in_the_way = |name: &SegmentName| Ok(Begun::InTheWay(name.as_str().to_owned()));
    let create = &options.create;
    match InfoSegment::create(names, create) {
        Ok(mut info) => {
            let locked = info.lock(INFO_PATIENCE)?.ok_or_else(|| locked_out(names))?;
            locked.write(&Info::fresh())?;
            drop(locked);
            let name = names.data(&Postfix::default())?;
            match Section::create(&name, header.total_bytes(), create) {
                Ok(data) => Ok(Begun::Sender(Box::new((info, data, Postfix::default(), Acquired::Created)))),
                // A receiver without the info segment, or one that is just closing.
                Err(SegmentError::Exists { .. }) if !create.takeover => in_the_way(&name),
                Err(SegmentError::Exists { .. }) => succeed(names, info, header, options, Acquired::TakenOver),
                Err(error) => Err(error.into()),
            }
        }
        Err(SegmentError::Exists { .. }) => {
            let info = match InfoSegment::open(names, create) {
                Ok(info) => info,
                // Gone this very moment.
                Err(SegmentError::NotFound { .. }) => return in_the_way(names.info()),
                Err(error) => return Err(error.into()),
            };
            match info.read()? {
                Ok(said) if said.detach => succeed(names, info, header, options, Acquired::Recovered),
                Ok(_) if create.takeover => succeed(names, info, header, options, Acquired::TakenOver),
                Ok(_) => in_the_way(names.info()),
                // Being written; or not what its name says.
                Err(source) if create.takeover => {
                    Err(ProduceError::Info { name: names.info().as_str().to_owned(), source })
                }
                Err(_) => in_the_way(names.info()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes on in an info segment that others hold: the pixels get a new name, which receivers follow.
fn succeed(
    names: &TouchNames,
    mut info: InfoSegment,
    header: &Header,
    options: &ProducerOptions,
    acquired: Acquired,
) -> Result<Begun, ProduceError> {
    let locked = info.lock(INFO_PATIENCE)?.ok_or_else(|| locked_out(names))?;
    let said =
        locked.read()?.map_err(|source| ProduceError::Info { name: names.info().as_str().to_owned(), source })?;
    if acquired == Acquired::Recovered && !said.detach {
        // Another one was faster.
        return Ok(Begun::InTheWay(names.info().as_str().to_owned()));
    }
    let (data, postfix) = fresh_name(names, header.total_bytes(), &options.create)?;
    let version = said.version.max(VERSION_VALUE);
    locked.write(&Info { version, supported: said.supported, postfix: postfix.clone(), detach: false })?;
    drop(locked);
    Ok(Begun::Sender(Box::new((info, data, postfix, acquired))))
}

/// An object under a name that nobody has.
fn fresh_name(names: &TouchNames, len: usize, options: &CreateOptions) -> Result<(Section, Postfix), ProduceError> {
    let mut taken = String::new();
    for _ in 0..POSTFIXES {
        let postfix = random_postfix();
        let name = names.data(&postfix)?;
        match Section::create(&name, len, options) {
            Ok(data) => return Ok((data, postfix)),
            Err(SegmentError::Exists { name }) => taken = name,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ProduceError::NameTaken { name: names.typed().to_owned(), object: taken })
}

/// 31 letters from a to z.
fn random_postfix() -> Postfix {
    // Differently seeded each time, by the system's random numbers.
    let mut letters = String::new();
    while letters.len() < Postfix::LENGTH {
        let mut bits = RandomState::new().build_hasher().finish();
        for _ in 0..8 {
            letters.push(char::from(b'a' + (bits % 26) as u8));
            bits /= 26;
        }
    }
    letters.truncate(Postfix::LENGTH);
    Postfix::new(&letters).unwrap_or_default()
}

/// Waits a moment, or says what is in the way when there has been enough of that.
fn wait(waiter: &Waiter, deadline: Instant, fault: ProduceError) -> Result<(), ProduceError> {
    let now = Instant::now();
    if now >= deadline {
        return Err(fault);
    }
    match waiter.wait_until(deadline.min(now + PAUSE)) {
        Woken::Woken => Err(ProduceError::Interrupted),
        Woken::Deadline => Ok(()),
    }
}

fn locked_out(names: &TouchNames) -> ProduceError {
    ProduceError::Locked { mutex: names.info_mutex().as_str().to_owned(), millis: INFO_PATIENCE.as_millis() }
}

fn header_of(desc: &FrameDesc, options: &ProducerOptions) -> Result<Header, ProduceError> {
    let (sides, pixel) = ((desc.width, desc.height), Pixel::Plain(desc.format));
    let header = Header::new(options.header, sides, pixel, options.aspect, options.colour)?;
    // The size has 32 bits.
    let bytes = header.total_bytes();
    if u32::try_from(bytes).is_err() {
        return Err(ProduceError::TooLarge { bytes });
    }
    Ok(header)
}

/// One pass over the bytes, conversion included: from narrow samples to wide ones that is shorter than a copy.
fn writer_of(desc: FrameDesc, from: PixelFormat, options: &ProducerOptions) -> Result<FrameWriter, LayoutError> {
    FrameWriter::new(desc, 0, from, Options::default(), options.threads.clone())
}

fn encode(header: &Header) -> Result<Vec<u8>, ProduceError> {
    let no_number = super::HeaderError::NoNumber { pixel: header.pixel.plain() };
    header.encode().ok_or(ProduceError::Header(no_number))
}
