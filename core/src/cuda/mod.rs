// SPDX-License-Identifier: MPL-2.0
//! NVIDIA's driver, as far as frames need it: each handle a value that gives it back.
//!
//! The library is opened when it is first asked for ([`driver`]) and every function of it looked up before one is called,
//! so a missing driver is an error value and nothing else. Everything that was made in a [`Context`] keeps it, so things
//! are given back in the right order whatever the order of drops.
//!
//! Addresses of GPU memory are numbers here. That rows lie within their memory is checked when a [`Plane`] is made of
//! memory that this module knows; of memory that somebody else knows, a plane is made by unsafe code.

mod api;
mod context;
mod copy;
mod driver;
mod error;
mod imports;
mod kernels;
mod looks;
mod memory;
mod stream;

pub use context::{Context, Current};
pub use copy::{Plane, copy_2d};
pub use driver::{Driver, driver};
pub use error::{CudaError, DriverError};
pub use imports::{Imported, Imports, IpcEventHandle, IpcMemHandle};
pub use kernels::{Rows, convert, rows_u8};
pub use looks::Usual;
pub use memory::{BLOCK, DeviceMem, PinnedMem, address_range};
pub use stream::{Event, Stream};
