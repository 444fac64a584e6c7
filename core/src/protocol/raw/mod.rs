// SPDX-License-Identifier: MPL-2.0
//! Raw bytes: `W·H·C` samples under a name, no header, no counter, no lock.
//!
//! What CPython's `SharedMemory` and TouchDesigner's Shared Memory LOP exchange. Both sides must know the size and the
//! format beforehand, and nothing tells when a frame is complete: see [`Consumer`] for what can be known nevertheless.

mod chase;
mod consumer;
mod front;
#[cfg(windows)]
mod idle;
pub(in crate::protocol) mod layout;
pub(in crate::protocol) mod news;
mod producer;
#[cfg(test)]
mod races;
pub(in crate::protocol) mod reader;
// Thousands of frames, and nothing in it that Miri would judge.
#[cfg(all(test, not(miri)))]
mod simulated;
pub(in crate::protocol) mod writer;

pub use consumer::{ConsumeError, Consumer, FrameRead, Look, Settled, Standing};
pub use layout::{BufferError, LayoutError, RawLayout};
pub use producer::{ProduceError, Producer};
