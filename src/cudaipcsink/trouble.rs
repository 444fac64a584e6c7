// SPDX-License-Identifier: MPL-2.0
//! Why a frame does not reach the ring, and what the user can do about it.

use tdlink_core::{
    cuda::CudaError,
    protocol::cudalink::ProduceError,
    segment::{SegmentError, SegmentName},
};

use super::staging::StagingError;
use crate::gstcuda;

/// Why a frame does not reach the ring.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The ring.
    #[error("{0}{way_out}", way_out = way_out(.0))]
    Produce(#[from] ProduceError),
    /// The copy on the GPU.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The copy to the GPU.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// Another producer has the name.
    #[error(
        "another producer has taken the name {:?}: two producers on one name; stop one of them or give it another shm-name",
        .0.as_str()
    )]
    Taken(SegmentName),
    /// The frame: upstream sent something else than its caps say.
    #[error("{0}")]
    Frame(gst::ErrorMessage),
    /// Frames before caps.
    #[error("a frame came before its caps")]
    NoCaps,
}

/// What the user can do about it.
fn way_out(err: &ProduceError) -> &'static str {
    match err {
        ProduceError::LiveProducer { .. } | ProduceError::Segment(SegmentError::LiveProducer { .. }) => {
            "; that is shm-name and takeover=true here"
        }
        ProduceError::Rival { .. } => "; stop one of them or give it another shm-name",
        ProduceError::Segment(SegmentError::InUse { .. }) => {
            "; stop those processes, choose another shm-name, or use as many slots as they expect"
        }
        ProduceError::Segment(SegmentError::AccessDenied { .. }) => {
            ": one side runs as another user, as administrator or in another session; start both the same way"
        }
        ProduceError::Segment(SegmentError::OtherUser { .. }) => "; run as that user",
        _ => "",
    }
}

impl From<Trouble> for gst::ErrorMessage {
    fn from(trouble: Trouble) -> Self {
        use gst::ResourceError::{Busy, NoSpaceLeft, NotAuthorized, Write};
        let kind = match &trouble {
            Trouble::NoCaps => return gst::error_msg!(gst::CoreError::Negotiation, ("{trouble}")),
            Trouble::Cuda(err) | Trouble::Produce(ProduceError::Cuda(err)) => return gstcuda::message(err),
            Trouble::Staging(StagingError::Cuda(err)) => return gstcuda::message(err),
            Trouble::Taken(_) | Trouble::Produce(ProduceError::LiveProducer { .. } | ProduceError::Rival { .. }) => {
                Busy
            }
            Trouble::Produce(ProduceError::Segment(err)) => match err {
                SegmentError::LiveProducer { .. } | SegmentError::InUse { .. } => Busy,
                SegmentError::NoSpace { .. } => NoSpaceLeft,
                SegmentError::AccessDenied { .. } | SegmentError::OtherUser { .. } => NotAuthorized,
                _ => Write,
            },
            _ => Write,
        };
        match trouble {
            Trouble::Frame(message) => message,
            trouble => gst::error_msg!(kind, ("{trouble}")),
        }
    }
}
