// SPDX-License-Identifier: MPL-2.0
//! A buffer that a command works with: what is said about it, and its frames.

pub mod describe;
