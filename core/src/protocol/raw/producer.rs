// SPDX-License-Identifier: MPL-2.0
//! The end that writes.

use thiserror::Error;

use super::layout::{BufferError, LayoutError, RawLayout};
use crate::frame::PixelFormat;
use crate::pixels::{self, RowError};
use crate::protocol::copy::{CopyError, CopyThreads, FrameWriter};
use crate::segment::{AccessError, Acquired, CreateOptions, OwnedSegment, Published, SegmentError, SegmentName};

/// Why a frame could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The description is not a frame.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The frame's own memory is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The segment's bytes cannot be written. After [`AccessError::Truncated`] the name must be created again.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

impl From<CopyError> for ProduceError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Buffer(error) => Self::Buffer(error),
            CopyError::Access(error) => Self::Access(error),
            CopyError::Row(error) => Self::Row(error),
        }
    }
}

/// Writes frames under a name. Dropping it gives the name back.
///
/// The newest frame overwrites the last one in place, rows in ascending order of address: a reader that looks meanwhile
/// sees parts of both. Raw bytes have nothing to prevent it with.
#[derive(Debug)]
pub struct Producer {
    name: SegmentName,
    owned: OwnedSegment,
    /// Where frames begin.
    offset: usize,
    writer: FrameWriter,
}

impl Producer {
    /// Makes a segment of exactly [`RawLayout::bytes`] under `name`, or takes over what stands there (see
    /// [`Acquired`]). Frames to come have pixels of `from`; they are converted to the layout's under `pixels`,
    /// large ones by several `threads`.
    ///
    /// # Errors
    /// No frame, or the segment's own: see [`OwnedSegment::create`].
    pub fn create(
        name: &SegmentName,
        layout: RawLayout,
        from: PixelFormat,
        pixels: pixels::Options,
        options: &CreateOptions,
        threads: CopyThreads,
    ) -> Result<Self, ProduceError> {
        let _span = tracing::debug_span!("attach", protocol = "raw", %name, frame = %layout.desc).entered();
        let writer = layout.writer(from, pixels, threads)?;
        let owned = OwnedSegment::create(name, writer.shape().needed, options)?;
        Ok(Self { name: name.clone(), owned, offset: layout.offset, writer })
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.owned.origin()
    }

    /// Writes one frame: `rows` holds the layout's width × height pixels of `from`, top row first, rows `stride` bytes
    /// apart. Flip, conversion and copy are one pass; nothing is allocated.
    ///
    /// # Errors
    /// `rows` too small, or another program cut the segment short.
    pub fn write(&mut self, rows: &[u8], stride: usize) -> Result<(), ProduceError> {
        let _span = tracing::trace_span!("copy", name = %self.name, bytes = rows.len()).entered();
        Ok(self.writer.write(self.owned.segment(), self.offset, rows, stride)?)
    }

    /// Makes sure that the name still leads to our memory; call it before each frame, it is cheap. Where it answers
    /// [`Published::Recreated`], the next frame goes to the new memory.
    ///
    /// # Errors
    /// See [`OwnedSegment::keep_published`].
    pub fn tend(&mut self) -> Result<Published, ProduceError> {
        Ok(self.owned.keep_published()?)
    }

    /// Offers frames of another description from now on, under the same name: see [`OwnedSegment::resize`].
    ///
    /// # Errors
    /// No frame, or the segment's own. The old description stays in force then.
    pub fn set_layout(&mut self, layout: RawLayout, from: PixelFormat) -> Result<(), ProduceError> {
        let _span = tracing::debug_span!("resize", name = %self.name, frame = %layout.desc).entered();
        let writer = layout.writer(from, self.writer.options(), self.writer.threads())?;
        self.owned.resize(writer.shape().needed)?;
        (self.writer, self.offset) = (writer, layout.offset);
        Ok(())
    }
}
