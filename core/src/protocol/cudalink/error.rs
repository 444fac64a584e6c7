// SPDX-License-Identifier: MPL-2.0
//! What can go wrong at either end.

use thiserror::Error;

use super::layout::{LayoutError, MAX_SLOTS};
use crate::cuda::CudaError;
use crate::frame::FrameDesc;
use crate::segment::{AccessError, SegmentError};

/// Why frames could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The segment's bytes cannot be written.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The GPU.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A number of slots that not every reader takes.
    #[error("{slots} slots were asked for; 2 to {MAX_SLOTS} can be: with one no frame is ever left alone")]
    Slots {
        /// Slots asked for.
        slots: u32,
    },
    /// A frame that the segment has no words for.
    #[error("frames of {frame} cannot be announced: each must have a pixel and less than 4 GiB")]
    Frame {
        /// The frame.
        frame: FrameDesc,
    },
    /// Another program publishes under the name.
    #[error(
        "{name:?} has a live producer: frames were published there while it was watched; stop it, use another name, or \
         ask for a takeover"
    )]
    LiveProducer {
        /// The name.
        name: String,
    },
    /// Another program has begun to publish in our segment.
    #[error(
        "another program began to publish in {name:?} (generation {found}, ours is {ours}); two cannot share a name"
    )]
    Rival {
        /// The name.
        name: String,
        /// The generation that stands there.
        found: u64,
        /// Ours.
        ours: u64,
    },
    /// The value is a forked child's copy.
    #[error("this process is a forked child of the one that produces; it must make its own producer")]
    Forked,
}

/// Why there are no frames.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The segment's bytes cannot be read. Attach again.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The segment says what cannot be.
    #[error("shared memory {name:?}: {source}")]
    Layout {
        /// The name.
        name: String,
        /// What it says.
        source: LayoutError,
    },
    /// The GPU, or a handle.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The producer is just writing it. Try again in a moment.
    #[error("the producer of {name:?} is not ready yet")]
    NotReady {
        /// The name.
        name: String,
    },
    /// The producer has ended in order, and left the segment.
    #[error("the producer of {name:?} has ended")]
    Closed {
        /// The name.
        name: String,
    },
    /// A ring of one slot.
    #[error(
        "{name:?} has one slot, which its producer may be writing at any moment: no frame can be known to be whole; let \
         the sending side have 2 or more (3 is usual)"
    )]
    OneSlot {
        /// The name.
        name: String,
    },
}

impl ConsumeError {
    /// Whether it may be over in a moment, or when another producer comes: nobody there, not ready, ended, what it left
    /// behind, or handles that stand there before the size that goes with them.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotReady { .. } | Self::Closed { .. } | Self::Access(AccessError::Truncated { .. }) => true,
            Self::Segment(error) => matches!(error, SegmentError::NotFound { .. } | SegmentError::Empty { .. }),
            Self::Cuda(error) => matches!(error, CudaError::DeadHandle { .. } | CudaError::TooSmall { .. }),
            _ => false,
        }
    }
}
