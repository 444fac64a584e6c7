// SPDX-License-Identifier: MPL-2.0
//! The end that reads.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::field::Empty;

use super::chase::{Chase, Chased, Wire};
use super::front::{Front, Line, STOPPED};
use super::layout::{BufferError, LayoutError, RawLayout};
use super::news::News;
use super::reader::Reader;
use crate::frame::{FrameDesc, PixelFormat};
use crate::pixels::{self, RowError};
use crate::protocol::copy::CopyError;
use crate::segment::{AccessError, Identity, Linked, OpenOptions, Segment, SegmentError, SegmentName};

/// Why there is no frame.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The description is not a frame.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The segment is too small for the frame.
    #[error("shared memory {name:?} has {found} bytes, a frame of {desc} needs {needed}")]
    WrongSize {
        /// The name.
        name: String,
        /// Bytes it has.
        found: usize,
        /// Bytes the layout needs, foreign ones in front included.
        needed: usize,
        /// The frame that was expected.
        desc: FrameDesc,
    },
    /// The name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The segment's bytes cannot be read. After [`AccessError::Truncated`] this consumer is of no more use: attach
    /// again.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The memory for the frame is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

impl From<CopyError> for ConsumeError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Buffer(error) => Self::Buffer(error),
            CopyError::Access(error) => Self::Access(error),
            CopyError::Row(error) => Self::Row(error),
        }
    }
}

/// What a glance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing new since the last frame that was read whole.
    Same,
    /// There is news, or there was no frame yet.
    Changed,
}

/// Whether a frame can be read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// A frame read now is whole, as far as can be told, without waiting for the writer.
    Now,
    /// The writer is in it. Look again after this long.
    In(Duration),
}

/// What became of one attempt to read a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRead {
    /// Whether the memory now holds one frame. If not, it holds parts of several: repeat the last frame instead, and
    /// try again.
    pub whole: bool,
    /// How many copies were given up because the writer was in them.
    pub torn_attempts: u32,
    /// Whether anything was seen to change since the last frame that was read whole.
    pub changed: bool,
}

/// Whether the name still leads to what this consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Here,
    /// Another object stands under the name: attach again.
    Elsewhere,
    /// Nothing stands under the name. The memory lives as long as somebody maps it.
    Gone,
    /// Somebody cut the object short: attach again.
    Shrunk {
        /// Bytes it has now.
        found: usize,
        /// Bytes the layout needs.
        needed: usize,
    },
}

/// Reads frames from a name that somebody writes to without asking.
///
/// Nothing in raw bytes tells when a frame is complete. [`read`](Self::read) looks at a few places of the picture before
/// and after its copy, and infers from what has changed, and when, whether the writer was in it;
/// `docs/adr/0005-raw-tearing.md` says what that can promise. It knows the more, the more often it looks: between two
/// reads, call [`look`](Self::look) now and then, and once shortly before the next.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    segment: Arc<Segment>,
    reader: Reader,
    front: Front,
    chase: Chase,
    /// Reads in a row that found the writer in the frame.
    failed: u8,
    /// Chases in a row that gave no frame.
    vain: u8,
    news: News,
    /// Reads of late that met the writer: up by one; down by three for each time that it was seen to rest.
    met: u8,
    /// When it moved last before the rest that was counted last.
    rested: Duration,
    /// Whether something moved since the last whole frame, or there was none.
    fresh: bool,
    /// When the last whole frame was read.
    last: Option<Duration>,
    clock: Instant,
    #[cfg(windows)]
    idle: Option<super::idle::Idle>,
}

impl Consumer {
    /// Opens what stands under `name` for reading. Frames become pixels of `to`, converted under `pixels`. A segment
    /// larger than the layout needs is read from its start.
    ///
    /// # Errors
    /// No frame, a segment that is too small, or the segment's own: see [`Segment::open`].
    pub fn attach(
        name: &SegmentName,
        layout: RawLayout,
        to: PixelFormat,
        pixels: pixels::Options,
        open: OpenOptions,
    ) -> Result<Self, ConsumeError> {
        let _span = tracing::debug_span!("attach", protocol = "raw", %name, frame = %layout.desc).entered();
        layout.shape()?;
        let consumer = Self::over(name.as_str(), Arc::new(Segment::open(name, open)?), layout, to, pixels)?;
        #[cfg(windows)]
        let consumer = {
            let idle = super::idle::Idle::new(name.clone(), consumer.reader.shape.needed);
            Self { idle: Some(idle), ..consumer }
        };
        Ok(consumer)
    }

    pub(super) fn over(
        name: &str,
        segment: Arc<Segment>,
        layout: RawLayout,
        to: PixelFormat,
        pixels: pixels::Options,
    ) -> Result<Self, ConsumeError> {
        let shape = layout.shape()?;
        let (found, needed) = (segment.len(), shape.needed);
        if found < needed {
            return Err(ConsumeError::WrongSize { name: name.to_owned(), found, needed, desc: layout.desc });
        }
        let mut front = Front::new(shape.frame_bytes());
        front.learn(|at, bytes| segment.read(shape.offset + at, bytes))?;
        Ok(Self {
            name: name.to_owned(),
            reader: Reader::new(shape, layout.desc.format, to, pixels),
            // A writer that is seen to write is not known to rest until it was seen to.
            met: RESTLESS,
            rested: Duration::MAX,
            front,
            chase: Chase::new(shape.frame_bytes(), shape.rows, layout.desc.format.bytes()),
            failed: 0,
            vain: 0,
            news: News::new(shape.frame_bytes()),
            segment,
            fresh: true,
            last: None,
            clock: Instant::now(),
            #[cfg(windows)]
            idle: None,
        })
    }

    /// Gives pixels of `to` from now on.
    pub fn set_target(&mut self, to: PixelFormat, pixels: pixels::Options) {
        self.reader = Reader::new(self.reader.shape, self.reader.wire, to, pixels);
    }

    /// A glance for news, cheap enough for every millisecond: some 300 cache lines and 16 KiB are looked at.
    ///
    /// Most changes are seen at once. Any change that stays is seen after ⌈bytes / 16 KiB⌉ looks (a 4K RGBA frame: 2025)
    /// if the last frame was the first for 100 ms, or if as many looks have been taken since.
    ///
    /// Windows: after a second without news the section is let go of, so that its sender can make it anew, and opened for
    /// a look ten times a second.
    ///
    /// # Errors
    /// The memory was cut short, or cannot be opened any more.
    pub fn look(&mut self) -> Result<Look, ConsumeError> {
        #[cfg(windows)]
        if let Some(idle) = &mut self.idle {
            match idle.turn(self.clock.elapsed())? {
                super::idle::Turn::Look => {}
                super::idle::Turn::LookAt(segment) => self.segment = segment,
                super::idle::Turn::Away => return Ok(Look::Same),
            }
            let look = self.look_at_memory()?;
            let now = self.clock.elapsed();
            if self.idle.as_mut().is_some_and(|idle| idle.looked(now, look == Look::Changed)) {
                self.segment = Arc::new(Segment::nothing());
            }
            return Ok(look);
        }
        self.look_at_memory()
    }

    fn look_at_memory(&mut self) -> Result<Look, ConsumeError> {
        let (segment, offset) = (&self.segment, self.reader.shape.offset);
        let read = |at: usize, bytes: &mut [u8]| segment.read(offset + at, bytes);
        self.front.look(self.clock.elapsed(), read)?;
        self.fresh |= self.front.is_news();
        if !self.fresh {
            self.fresh = self.news.scout(read)? || self.news.patrol(read)?;
        }
        Ok(if self.fresh { Look::Changed } else { Look::Same })
    }

    /// Whether the writer has finished what [`look`](Self::look) saw begin. Otherwise, how long to wait before asking
    /// again.
    ///
    /// # Errors
    /// The memory was cut short.
    pub fn settled(&mut self) -> Result<Settled, ConsumeError> {
        if self.failed >= CHASED {
            return Ok(Settled::Now);
        }
        self.glance()?;
        let now = self.clock.elapsed();
        let still = self.front.still(now);
        if still >= REST && !self.front.is_half(now) {
            return Ok(Settled::Now);
        }
        Ok(Settled::In(REST.saturating_sub(still).max(MOMENT)))
    }

    /// Reads the frame into `dst`, top row first, rows `stride` bytes apart. Flip, conversion and copy are one pass;
    /// nothing is allocated.
    ///
    /// A frame is copied when nothing has moved for a millisecond, and is whole when nothing moves until the copy is
    /// done. It waits for such a moment no longer than 5 ms, and copies four times at most.
    ///
    /// A writer that reads keep meeting is followed instead, for five of its frames or 60 ms at most (20 ms before its
    /// pace is known): each part of the frame is copied when it has certainly been written and not yet been written
    /// again. After four such reads without a frame, eight wait for a rest again.
    ///
    /// # Errors
    /// `dst` too small, or the memory was cut short.
    pub fn read(&mut self, dst: &mut [u8], stride: usize) -> Result<FrameRead, ConsumeError> {
        let (name, bytes) = (self.name.as_str(), dst.len());
        let span = tracing::trace_span!("copy", name, bytes, whole = Empty, torn = Empty).entered();
        let read = self.read_whole(dst, stride)?;
        span.record("whole", read.whole).record("torn", read.torn_attempts);
        Ok(read)
    }

    fn read_whole(&mut self, dst: &mut [u8], stride: usize) -> Result<FrameRead, ConsumeError> {
        self.reader.check(dst, stride)?;
        #[cfg(windows)]
        self.back()?;
        self.look()?;
        let mut torn_attempts = 0;
        if self.failed >= CHASED {
            let Self { segment, reader, clock, chase, .. } = self;
            let chased = chase.read(&mut Live { segment, reader, dst, stride, clock: *clock })?;
            self.fresh = true;
            // Whatever rest it seems to take, it may have been stopped anywhere.
            self.met = 2 * RESTLESS;
            self.vain = if chased == Chased::Whole { 0 } else { self.vain + 1 };
            self.failed = match chased {
                // One that keeps a pace, and was met for as long as a busy machine kept it or us from running, rests
                // between its frames: nobody who chases it finds out.
                Chased::Rests | Chased::Torn if self.vain >= VAIN => 0,
                Chased::Rests => self.failed - 1,
                Chased::Torn | Chased::Whole => 2 * CHASED,
            };
            self.vain %= VAIN;
            match chased {
                Chased::Whole => return Ok(FrameRead { whole: true, torn_attempts, changed: true }),
                Chased::Torn => return Ok(FrameRead { whole: false, torn_attempts: 1, changed: true }),
                Chased::Rests => torn_attempts = 1,
            }
            self.glance()?;
        }
        let deadline = self.clock.elapsed() + PATIENCE;
        loop {
            let changed = self.fresh;
            let rests = self.wait_for_rest(deadline)?;
            if rests && self.copy(dst, stride)? {
                self.failed = 0;
                self.fresh = self.front.is_news();
                self.remember()?;
                return Ok(FrameRead { whole: true, torn_attempts, changed });
            }
            torn_attempts += 1;
            self.fresh = true;
            if torn_attempts >= ATTEMPTS || self.clock.elapsed() >= deadline {
                // One that rests and is not yet believed to is not to be chased for that.
                if rests || self.front.still(self.clock.elapsed()) < LONG_REST {
                    self.failed = (self.failed + 1).min(2 * CHASED);
                }
                self.met = (self.met + 1).min(2 * RESTLESS);
                return Ok(FrameRead { whole: false, torn_attempts, changed: true });
            }
        }
    }

    /// Waits until the writer rests. Whether it does.
    fn wait_for_rest(&mut self, deadline: Duration) -> Result<bool, ConsumeError> {
        // One that hardly ever rests may have been stopped anywhere: it takes long to believe that it rests.
        loop {
            let now = self.clock.elapsed();
            if self.front.still(now) >= LONG_REST && self.rested != self.front.moved() && !self.front.is_half(now) {
                self.rested = self.front.moved();
                self.met = self.met.saturating_sub(3);
            }
            let restless = self.met >= RESTLESS && !self.front.moved().is_zero();
            let rest = if restless { STOPPED } else { REST };
            let same = !restless && !self.front.is_news();
            if (self.front.still(now) >= rest || same) && !self.front.is_half(now) {
                return Ok(true);
            }
            if now >= deadline {
                return Ok(false);
            }
            std::thread::sleep(MOMENT);
            self.glance()?;
        }
    }

    /// Copies the frame. Whether nothing has moved meanwhile.
    fn copy(&mut self, dst: &mut [u8], stride: usize) -> Result<bool, ConsumeError> {
        let rows = 0..self.reader.shape.rows;
        let before = self.glance()?;
        self.reader.copy(&self.segment, rows, dst, stride)?;
        let after = self.glance()?;
        if before || after {
            return Ok(false);
        }
        self.front.whole();
        Ok(true)
    }

    /// Looks at the sites alone. Whether any has changed.
    fn glance(&mut self) -> Result<bool, ConsumeError> {
        let (segment, offset) = (&self.segment, self.reader.shape.offset);
        let read = |at: usize, bytes: &mut [u8]| segment.read(offset + at, bytes);
        let changed = self.front.look(self.clock.elapsed(), read)?;
        self.fresh |= changed;
        Ok(changed)
    }

    /// What stands there now is no news any more.
    fn remember(&mut self) -> Result<(), ConsumeError> {
        let now = self.clock.elapsed();
        let (segment, offset) = (&self.segment, self.reader.shape.offset);
        let read = |at: usize, bytes: &mut [u8]| segment.read(offset + at, bytes);
        self.news.take(read)?;
        if self.last.is_none_or(|last| now.saturating_sub(last) >= SLOW) {
            self.news.patrol_all(read)?;
        }
        self.last = Some(now);
        Ok(())
    }

    /// Whether the frame is, byte for byte, what `frame` holds (top row first, rows `stride` bytes apart): where nothing
    /// moves, about as cheap as a copy, and nothing needs to be written.
    ///
    /// # Errors
    /// `frame` too small, or the memory was cut short.
    pub fn same_as(&mut self, frame: &[u8], stride: usize) -> Result<bool, ConsumeError> {
        self.reader.check(frame, stride)?;
        #[cfg(windows)]
        if self.idle.as_ref().is_some_and(super::idle::Idle::is_away) {
            // It was let go of because nothing changed.
            return Ok(true);
        }
        Ok(self.reader.same(&self.segment, frame, stride)?)
    }

    /// Opens the section again if it was let go of.
    #[cfg(windows)]
    fn back(&mut self) -> Result<(), ConsumeError> {
        let now = self.clock.elapsed();
        let Some(idle) = self.idle.as_mut().filter(|idle| idle.is_away()) else { return Ok(()) };
        self.segment = idle.back(now)?;
        Ok(())
    }

    /// Bytes of the segment, foreign ones in front and spare ones behind included.
    pub fn segment_len(&self) -> usize {
        self.segment.len()
    }

    /// Which object this reads.
    pub fn identity(&self) -> Identity {
        self.segment.identity()
    }

    /// As if reads had met the writer again and again.
    #[cfg(test)]
    pub(super) fn after_a_hiccup(&mut self) {
        (self.failed, self.met) = (CHASED, RESTLESS);
    }

    /// Whether the name still leads to this memory, and the memory is still long enough.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn standing(&mut self) -> Result<Standing, ConsumeError> {
        #[cfg(windows)]
        if let Some(idle) = self.idle.as_ref().filter(|idle| idle.is_away()) {
            return Ok(if idle.is_gone() { Standing::Gone } else { Standing::Here });
        }
        let (found, needed) = (self.segment.current_len()?, self.reader.shape.needed);
        if found < needed {
            return Ok(Standing::Shrunk { found, needed });
        }
        Ok(match self.segment.linked()? {
            Linked::Here => Standing::Here,
            Linked::Elsewhere => Standing::Elsewhere,
            Linked::Gone => Standing::Gone,
        })
    }
}

/// After so many reads in a row that found the writer in the frame, it is chased.
const CHASED: u8 = 8;
/// After so many chases in a row without a frame, the writer is given the chance to be seen at rest.
const VAIN: u8 = 4;
/// Copies of one read.
const ATTEMPTS: u32 = 4;
/// A writer that has not moved for so long is not in the middle of a frame, unless it was stopped there.
const REST: Duration = Duration::from_millis(1);
/// Longest wait for a writer to rest.
const PATIENCE: Duration = Duration::from_millis(5);
/// A rest that is no pause for breath.
const LONG_REST: Duration = Duration::from_millis(3);
/// Reads that met the writer, and three less for each long rest, before it is taken for one that hardly ever rests.
const RESTLESS: u8 = 6;
/// Pause between two looks for the writer.
const MOMENT: Duration = Duration::from_micros(100);
/// Frames farther apart than this are remembered whole; there is time for it.
const SLOW: Duration = Duration::from_millis(100);

/// A chase's view of one read.
struct Live<'a> {
    segment: &'a Segment,
    reader: &'a mut Reader,
    dst: &'a mut [u8],
    stride: usize,
    clock: Instant,
}

impl Wire for Live<'_> {
    type Error = ConsumeError;

    fn now(&mut self) -> Duration {
        self.clock.elapsed()
    }

    fn sample(&mut self, offset: usize, bytes: &mut [u8]) -> Result<(), ConsumeError> {
        Ok(self.segment.read(self.reader.shape.offset + offset, bytes)?)
    }

    fn foreign(&mut self, bytes: &mut Line) -> Result<(), ConsumeError> {
        let len = self.reader.shape.offset.min(bytes.len());
        Ok(self.segment.read(0, &mut bytes[..len])?)
    }

    fn copy(&mut self, rows: Range<usize>) -> Result<(), ConsumeError> {
        Ok(self.reader.copy(self.segment, rows, self.dst, self.stride)?)
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) -> Result<(), ConsumeError> {
        Ok(self.reader.patch(offset, bytes, self.dst, self.stride)?)
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
