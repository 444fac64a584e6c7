// SPDX-License-Identifier: MPL-2.0
//! Frames from system memory, or from memory of another context, on their way to the device.

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    cuda::{Context, CudaError, PinnedMem, Plane, Stream},
    frame::{FrameDesc, Origin},
    pixels::{Options, RowError},
};

use crate::{
    device::{Halfway, Work},
    rows::Frames,
    video,
};

/// Memory that the device reads by itself, with one frame in it.
#[derive(Debug)]
pub enum Staging {
    /// Of the wire's form: the host converts.
    Converted {
        /// The memory.
        pinned: PinnedMem,
        /// The conversion.
        frames: Box<Frames>,
        /// Bytes of a row of the wire.
        row_bytes: usize,
    },
    /// Of the caps' form, for which the host has no conversion: the device has.
    AsItCame {
        /// The memory, and some on the device.
        halfway: Box<Halfway>,
        /// The conversion.
        work: Work,
    },
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
    /// It is another one than caps say.
    #[error("a frame has not the planes and rows of its caps")]
    Planes,
}

impl Staging {
    /// For frames of `info` that are `desc` on the wire. `work`: what the device would do to them.
    ///
    /// # Errors
    /// The host has not that much memory to pin, or the device not that much.
    pub fn new(context: &Context, info: &VideoInfo, desc: FrameDesc, work: Option<Work>) -> Result<Self, StagingError> {
        match (video::pixel_format(info.format()), work) {
            (Some(from), _) => {
                let bytes = desc.bytes().ok_or(CudaError::OutOfMemory { wanted: usize::MAX })?;
                let before = FrameDesc { format: from, origin: Origin::TopLeft, ..desc };
                let frames = Box::new(Frames::new(before, desc.format, desc.origin, Options::default()));
                Ok(Self::Converted { pinned: PinnedMem::new(context, bytes)?, frames, row_bytes: desc.row_bytes() })
            }
            (None, Some(work)) => Ok(Self::AsItCame { halfway: Box::new(Halfway::new(context, info)?), work }),
            (None, None) => Err(StagingError::Planes),
        }
    }

    /// Takes a frame in, once the one before has left.
    ///
    /// # Errors
    /// The frame before it failed, or this one is not all there.
    pub fn fill(&mut self, frame: &gst_video::VideoFrameRef<&gst::BufferRef>) -> Result<(), StagingError> {
        let plane = |at: u32| {
            let stride = frame.plane_stride().get(at as usize).and_then(|stride| usize::try_from(*stride).ok());
            frame.plane_data(at).ok().zip(stride).ok_or(StagingError::Planes)
        };
        match self {
            Self::Converted { pinned, frames, row_bytes } => {
                let (rows, stride) = plane(0)?;
                Ok(frames.convert(rows, pinned.bytes_mut()?, (stride, *row_bytes))?)
            }
            Self::AsItCame { halfway, .. } => {
                for (at, (to, row_bytes)) in (0..).zip(halfway.bytes_mut()?) {
                    let (rows, stride) = plane(at)?;
                    for (y, to) in to.chunks_exact_mut(row_bytes).enumerate() {
                        let start = y * stride;
                        to.copy_from_slice(rows.get(start..start + row_bytes).ok_or(StagingError::Planes)?);
                    }
                }
                Ok(())
            }
        }
    }

    /// Has `stream` bring it to `slot`.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn upload(&mut self, slot: Plane, stream: &Stream) -> Result<(), CudaError> {
        match self {
            Self::Converted { pinned, row_bytes, .. } => pinned.upload(slot, *row_bytes, stream),
            Self::AsItCame { halfway, work } => {
                halfway.upload(stream)?;
                work.run(&[slot], &halfway.planes(), stream)
            }
        }
    }
}
