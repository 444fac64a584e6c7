// SPDX-License-Identifier: MPL-2.0
//! cuda-link's ring: frames in GPU memory, announced through a small named segment.
//!
//! Bytes: `docs/protocol/cudalink.md`. One producer, which waits for nobody; any number of consumers, none of which it can
//! see. [`Offer`] and [`Watch`] are the two ends of the segment and know no GPU; [`Producer`] and [`Consumer`] put memory
//! and events behind the handles.

mod consumer;
mod error;
mod format;
pub mod layout;
mod loans;
mod offer;
mod pace;
mod producer;
mod watch;
mod words;

pub use consumer::{Consumer, Frame};
pub use error::{ConsumeError, ProduceError};
pub use format::{Description, Format};
pub use layout::{LayoutError, MAX_SLOTS, SlotHandles, Stamp};
pub use loans::Loans;
pub use offer::Offer;
pub use producer::{Producer, ProducerOptions, WriteSlot};
pub use watch::{Published, Wait, Watch};

pub use super::control::Interrupt;
