// SPDX-License-Identifier: MPL-2.0
//! Frames between private memory and a segment, in one pass: flip, conversion and copy, by one thread or several.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use super::raw::layout::Shape;
use super::raw::reader::Reader;
use super::raw::writer::Writer;
use super::raw::{BufferError, LayoutError, RawLayout};
use crate::frame::{FrameDesc, PixelFormat};
use crate::pixels::{self, RowError};
use crate::segment::{AccessError, Segment};

/// Frames from this size on are worth a second thread: below it, waking one costs what it saves.
const WORTH_THREADS: usize = 4 << 20;

/// Why a frame was not copied, or not all of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The private memory is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The segment's bytes cannot be had.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Threads that copy large frames together. They are started for the first frame that is large enough.
#[derive(Debug, Clone)]
pub struct CopyThreads(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    number: usize,
    /// Inside: `None` where the system gives no threads.
    pool: OnceLock<Option<rayon_core::ThreadPool>>,
}

impl Default for CopyThreads {
    /// The caller's own.
    fn default() -> Self {
        Self::new(1)
    }
}

impl CopyThreads {
    /// `wish` threads, 0 for as many as help: two where there are two processors or more, since one thread does not
    /// reach what the memory gives and two nearly do. Where the system gives no threads, the caller's own does it.
    pub fn new(wish: u32) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let number = if wish == 0 { processors.min(2) } else { wish as usize };
        Self(Arc::new(Threads { number, pool: OnceLock::new() }))
    }

    fn pool(&self) -> Option<&rayon_core::ThreadPool> {
        let named = |n| format!("tdlink-copy-{n}");
        let start = || rayon_core::ThreadPoolBuilder::new().num_threads(self.0.number).thread_name(named).build();
        let pool = self.0.pool.get_or_init(|| {
            start().inspect_err(|error| tracing::warn!(%error, "frames are copied by one thread")).ok()
        });
        pool.as_ref()
    }

    /// How many copy a frame of `bytes` bytes.
    fn number(&self, bytes: usize) -> usize {
        if self.0.number < 2 || bytes < WORTH_THREADS {
            return 1;
        }
        self.pool().map_or(1, |_| self.0.number)
    }

    /// Runs `work` for each of `lanes`, at the same time if there is more than one.
    fn run<L: Send>(
        &self,
        lanes: &mut [L],
        work: &(impl Fn(&mut L) -> Result<(), CopyError> + Sync),
    ) -> Result<(), CopyError> {
        match lanes {
            [only] => work(only),
            lanes => match self.pool() {
                Some(pool) => pool.install(|| halve(lanes, work)),
                None => lanes.iter_mut().try_for_each(work),
            },
        }
    }
}

fn halve<L: Send>(lanes: &mut [L], work: &(impl Fn(&mut L) -> Result<(), CopyError> + Sync)) -> Result<(), CopyError> {
    if lanes.len() < 2 {
        return lanes.iter_mut().try_for_each(work);
    }
    let (low, high) = lanes.split_at_mut(lanes.len() / 2);
    let (low, high) = rayon_core::join(|| halve(low, work), || halve(high, work));
    low.and(high)
}

/// Rows `lane` of `lanes` parts of `rows`.
fn part(rows: usize, lane: usize, lanes: usize) -> Range<usize> {
    rows * lane / lanes..rows * (lane + 1) / lanes
}

/// Writes frames of one description into segments.
#[derive(Debug)]
pub struct FrameWriter {
    lanes: Vec<(usize, Writer)>,
    threads: CopyThreads,
}

impl FrameWriter {
    /// Frames of `from` pixels, that become `desc` on the wire with rows `stride` bytes apart.
    ///
    /// # Errors
    /// No frame.
    pub fn new(
        desc: FrameDesc,
        stride: usize,
        from: PixelFormat,
        options: pixels::Options,
        threads: CopyThreads,
    ) -> Result<Self, LayoutError> {
        let shape = Shape::strided(desc, stride)?;
        Ok(Self::of(shape, desc.format, from, options, threads))
    }

    pub(super) fn of(
        shape: Shape,
        wire: PixelFormat,
        from: PixelFormat,
        options: pixels::Options,
        threads: CopyThreads,
    ) -> Self {
        let number = threads.number(shape.frame_bytes());
        let lanes = (0..number).map(|lane| (lane, Writer::new(shape, wire, from, options))).collect();
        Self { lanes, threads }
    }

    /// Bytes of a frame on the wire, from the first row's first byte to the last row's last.
    pub fn frame_bytes(&self) -> usize {
        self.lanes[0].1.shape.frame_bytes()
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.lanes[0].1.shape
    }

    pub(super) fn options(&self) -> pixels::Options {
        self.lanes[0].1.options
    }

    pub(super) fn threads(&self) -> CopyThreads {
        self.threads.clone()
    }

    /// Writes a frame whose first wire row begins at `offset`. `rows`: top row first, rows `stride` bytes apart. Nothing
    /// is allocated.
    ///
    /// # Errors
    /// `rows` too small, or the segment's bytes cannot be written.
    pub fn write(&mut self, segment: &Segment, offset: usize, rows: &[u8], stride: usize) -> Result<(), CopyError> {
        let (height, number) = (self.lanes[0].1.shape.rows, self.lanes.len());
        self.threads.run(&mut self.lanes, &|(lane, writer)| {
            writer.shape.offset = offset;
            writer.write(segment, part(height, *lane, number), rows, stride)
        })
    }
}

/// Reads frames of one description out of segments.
#[derive(Debug)]
pub struct FrameReader {
    readers: Vec<Reader>,
    threads: CopyThreads,
}

impl FrameReader {
    /// Frames that are `desc` on the wire, with rows `stride` bytes apart, and become `to` pixels.
    ///
    /// # Errors
    /// No frame.
    pub fn new(
        desc: FrameDesc,
        stride: usize,
        to: PixelFormat,
        options: pixels::Options,
        threads: CopyThreads,
    ) -> Result<Self, LayoutError> {
        let shape = Shape::strided(desc, stride)?;
        let number = threads.number(shape.frame_bytes());
        let readers = (0..number).map(|_| Reader::new(shape, desc.format, to, options)).collect();
        Ok(Self { readers, threads })
    }

    /// Reads a frame whose first wire row begins at `offset`, rows `wire_stride` bytes apart, into `dst`: top row
    /// first, rows `stride` bytes apart. Nothing is allocated but by the number of threads.
    ///
    /// # Errors
    /// `dst` too small, or the segment's bytes cannot be read.
    pub fn read(
        &mut self,
        segment: &Segment,
        (offset, wire_stride): (usize, usize),
        dst: &mut [u8],
        stride: usize,
    ) -> Result<(), CopyError> {
        let number = self.readers.len();
        for reader in &mut self.readers {
            (reader.shape.offset, reader.shape.stride) = (offset, wire_stride);
            reader.check(dst, stride)?;
        }
        let Shape { rows, flip, .. } = self.readers[0].shape;
        if let [reader] = self.readers.as_mut_slice() {
            return reader.copy(segment, 0..rows, dst, stride);
        }
        // Each lane gets its own rows of `dst`, top lane first; on the wire those may be the last.
        let mut rest = dst;
        let mut lanes = Vec::with_capacity(number);
        for (lane, reader) in self.readers.iter_mut().enumerate() {
            let private = part(rows, lane, number);
            let wire = if flip { rows - private.end..rows - private.start } else { private.clone() };
            let end = if lane + 1 == number { rest.len() } else { private.len() * stride };
            let (own, others) = std::mem::take(&mut rest).split_at_mut(end);
            rest = others;
            lanes.push((reader, wire, private.start, own));
        }
        self.threads
            .run(&mut lanes, &|(reader, wire, first, own)| reader.copy_into(segment, wire.clone(), own, stride, *first))
    }
}

impl RawLayout {
    /// What writes frames of this layout.
    pub(super) fn writer(
        &self,
        from: PixelFormat,
        options: pixels::Options,
        threads: CopyThreads,
    ) -> Result<FrameWriter, LayoutError> {
        Ok(FrameWriter::of(self.shape()?, self.desc.format, from, options, threads))
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
