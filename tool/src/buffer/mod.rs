// SPDX-License-Identifier: MPL-2.0
//! A buffer that a command works with: finding it, what is said about it, and its frames.

pub mod describe;
pub mod locate;
pub mod picture;
pub mod source;
