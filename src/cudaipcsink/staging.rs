// SPDX-License-Identifier: MPL-2.0
//! Frames from system memory on their way to the device.

use tdlink_core::{
    cuda::{Context, CudaError, PinnedMem, Plane, Stream},
    frame::{FrameDesc, PixelFormat},
    pixels::{Options, RowError},
};

use crate::rows::Frames;

/// Memory that the device reads by itself, with one frame of the wire's form in it.
#[derive(Debug)]
pub struct Staging {
    pinned: PinnedMem,
    frames: Frames,
    row_bytes: usize,
}

/// Why a frame is not in it.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// The frame before it never arrived.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// It is not all there.
    #[error("a frame is not all there: {0}")]
    Row(#[from] RowError),
}

impl Staging {
    /// For frames of pixels `from` in GStreamer's row order that are `desc` on the wire.
    ///
    /// # Errors
    /// The host has not that much memory to pin.
    pub fn new(context: &Context, from: PixelFormat, desc: FrameDesc) -> Result<Self, CudaError> {
        let bytes = desc.bytes().ok_or(CudaError::OutOfMemory { wanted: usize::MAX })?;
        let before = FrameDesc { format: from, origin: tdlink_core::frame::Origin::TopLeft, ..desc };
        let frames = Frames::new(before, desc.format, desc.origin, Options::default());
        Ok(Self { pinned: PinnedMem::new(context, bytes)?, frames, row_bytes: desc.row_bytes() })
    }

    /// Takes a frame in, rows `stride` bytes apart, once the one before has left.
    ///
    /// # Errors
    /// The frame before it failed, or this one is not all there.
    pub fn fill(&mut self, rows: &[u8], stride: usize) -> Result<(), StagingError> {
        let bytes = self.pinned.bytes_mut()?;
        Ok(self.frames.convert(rows, bytes, (stride, self.row_bytes))?)
    }

    /// Has `stream` bring it to `slot`.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn upload(&mut self, slot: Plane, stream: &Stream) -> Result<(), CudaError> {
        self.pinned.upload(slot, self.row_bytes, stream)
    }
}
