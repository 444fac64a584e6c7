// SPDX-License-Identifier: MPL-2.0
//! Named shared memory, wire protocols and pixel conversion of tdlink, without GStreamer.
//!
//! Arrows point down only: `protocol` stands on `segment`, `cuda` and `pixels`, which stand on `frame`, `field` and `sync`.
//! Unsafe code has two rooms here, `segment` and `cuda`; everywhere else it does not compile.

#![warn(missing_docs)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("tdlink maps frames of several gigabytes and shares 64-bit words: it needs a 64-bit target");
#[cfg(not(target_endian = "little"))]
compile_error!("every wire format here is little-endian and is shared in place: it needs a little-endian target");

#[allow(unsafe_code)] // calls the CUDA driver
pub mod cuda;
pub mod discover;
pub mod field;
pub mod frame;
pub mod pixels;
pub mod protocol;
#[allow(unsafe_code)] // maps memory that the kernel gives us and others write to
pub mod segment;
pub mod sync;
pub mod uri;
