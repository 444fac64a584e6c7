// SPDX-License-Identifier: MPL-2.0
//! TouchDesigner's own Shared Mem In and Out TOPs, *Shared Mem Type* Local.
//!
//! Pixels lie behind a header in one object, a mutex guards them, and a small info segment lets a sender change the size
//! and say that it has gone. There is no frame counter, no time and no wake-up: a receiver looks for what has changed.
//! `docs/protocol/touch.md` has it to the byte.
//!
//! TouchDesigner runs on Windows and macOS. On Linux the same code runs over names that live as long as somebody has
//! them open (see [`Section`](crate::segment::Section)), for other programs of ours and for tests: there is no
//! TouchDesigner to talk to. On macOS every call says that it is not supported.

mod consumer;
mod error;
mod formats;
mod frames;
mod info;
pub(crate) mod layout;
mod link;
mod names;
mod producer;
#[cfg(test)]
mod vectors;

pub use consumer::{AttachOptions, Consumer, Outcome, Standing};
pub use error::{ConsumeError, HeaderError, InfoError, ProduceError};
pub use formats::{GlNumbers, Pixel, gl_pixel, vulkan_pixel};
pub use info::{INFO_BYTES, Info, InfoLayout, Postfix};
pub use layout::{Colour, Generation, HEADER_BYTES, Header, HeaderKind, MAX_SIDE};
pub use names::{PREFIX, TouchNames};
pub use producer::{Producer, ProducerOptions, Wrote};
