// SPDX-License-Identifier: MPL-2.0
//! A CUDA driver without a GPU, for tests: device memory that the processor cannot reach, streams with a thread each,
//! events and legacy IPC between processes, and faults on order. `README.md` beside this crate says how to use it.
//!
//! `machine` is the device and knows nothing of C; `abi` are the entries, one file a subject.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "a C ABI from end to end: every entry takes pointers of its caller")]
#![allow(non_snake_case, reason = "the entries bear the driver's names")]
#![allow(clippy::missing_safety_doc, reason = "the macro that writes the entries says it once for all")]

mod abi;
mod calls;
mod code;
mod config;
mod hide;
mod machine;

pub use abi::*;
pub use calls::counts;
pub use code::Code;
