// SPDX-License-Identifier: MPL-2.0
//! GStreamer's CUDA library, found when it is needed and not before. The only room of the CUDA elements with unsafe code.
//!
//! It is opened by name when an element starts, because it is unstable API without a Rust binding, because one symbol
//! changed its arguments between 1.22 and 1.24, and because a machine without it must still show our elements. What is
//! missing is a [`Missing`], which says what to install.
//!
//! Sources: the headers `gst/cuda/*.h` of GStreamer 1.22 and 1.28.

#![allow(unsafe_code)]

mod context;
mod gpu;
mod library;
mod memory;
mod pool;
mod stream;
mod wrapped;

pub use context::{ContextError, ContextSlot, GstContext};
pub use gpu::{Gpu, GpuError, message};
pub use library::can_wrap;
pub use memory::{CAPS_FEATURE, Mapped, in_use, is_of, renewed, stream_of};
pub use pool::{choose, propose};
pub use stream::GstStream;
pub use wrapped::wrap;
