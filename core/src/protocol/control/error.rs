// SPDX-License-Identifier: MPL-2.0
//! What can go wrong at either end.

use thiserror::Error;

use super::layout::{LayoutError, MAX_SLOTS, ROWS};
use crate::segment::{AccessError, SegmentError};

/// Why frames cannot be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The names, or the memory under them.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Another program cut a segment short. After a new description, or with a new producer, it goes on.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The description, or what was said about a frame, cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No ring has so many slots.
    #[error("{found} slots, expected 1 to {MAX_SLOTS}")]
    Slots {
        /// Slots that were asked for.
        found: u32,
    },
    /// One slot cannot keep a frame that somebody has yet to take.
    #[error("lossless delivery needs a ring of at least 2 slots, this one has {found}")]
    NoRing {
        /// Slots that were asked for.
        found: u32,
    },
    /// The slot is of a former description; its frame was not published.
    #[error("the slot belongs to generation {found}, the ring is at generation {now}")]
    Stale {
        /// The slot's.
        found: u64,
        /// The ring's.
        now: u64,
    },
    /// Another producer has the name by now.
    #[error("another producer has taken the name {name:?}")]
    Taken {
        /// The name.
        name: String,
    },
    /// The producer is a forked child's copy: its parent's ring is its parent's alone.
    #[error("this process is a forked child of the one that produces; it must create a producer of its own")]
    Forked,
    /// The producer has been dropped.
    #[error("the producer has gone")]
    Closed,
}

/// Why frames cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The names, or the memory under them. [`SegmentError::NotFound`]: nobody offers frames with a control segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Another program cut a segment short: attach again.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The control segment says what cannot be, or what this program does not know.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// There is a control segment, but whoever wrote it has gone.
    #[error("the producer of {name:?} has gone")]
    NoProducer {
        /// The name.
        name: String,
    },
    /// The producer is just writing it. Try again in a moment.
    #[error("the producer of {name:?} is not ready yet")]
    NotReady {
        /// The name.
        name: String,
    },
    /// The control segment is about other pixels than those that stand under the name: it is of no use to their reader.
    #[error("the control segment of {name:?} is about pixels that are not there any more")]
    Elsewhere {
        /// The name.
        name: String,
    },
    /// Every row has its consumer.
    #[error("all of at most {ROWS} consumers of {name:?} are there already")]
    Full {
        /// The name.
        name: String,
    },
    /// The consumer is a forked child's copy: its parent's row is its parent's alone.
    #[error("this process is a forked child of the one that consumes; it must attach for itself")]
    Forked,
    /// The pixels are not where the control segment may say they are.
    #[error("the control segment of {name:?} says that the pixels are in {found:?}")]
    Foreign {
        /// The name.
        name: String,
        /// What it says.
        found: String,
    },
}
