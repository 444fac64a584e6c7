// SPDX-License-Identifier: MPL-2.0
//! The control segment `NAME.tdlink` beside the pixels, and the ring of slots that it manages.
//!
//! Bytes: `docs/protocol/control.md`. One producer; up to 32 consumers, each with a row of its own.

mod clean;
mod consumer;
pub(crate) mod description;
mod error;
mod interrupt;
pub mod layout;
mod link;
#[cfg(all(test, loom))]
mod model;
mod offer;
mod patience;
mod producer;
mod ring;
mod rows;
mod stamps;
mod takeover;
// Words that were written byte by byte before are more than Miri models.
#[cfg(all(test, not(loom), not(miri)))]
mod vectors;
mod words;

pub use clean::{Cleaned, clean};
pub use consumer::{AttachOptions, Consumer, Frame, ReadSlot, Take, Wait};
pub use description::{AlphaMode, Colorimetry, Description, FrameSpec, MAX_PIXELS_NAME, Pixels, Ratio};
pub use error::{ConsumeError, ProduceError};
pub use interrupt::Interrupt;
pub use layout::{LayoutError, MAX_CAPS_BYTES, MAX_SLOTS};
pub use producer::{Delivery, Producer, ProducerOptions, Tended, WriteSlot};
pub use stamps::{FrameInfo, Stamps};
