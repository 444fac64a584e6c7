// SPDX-License-Identifier: MPL-2.0
//! The entries, under exactly the names that the driver has: an unversioned name is another ABI on a real one. Exceptions
//! are the unversioned names that programs do ask for.

mod context;
mod copy;
mod device;
mod event;
mod graph;
mod graphics;
mod ipc;
mod memory;
mod module;
mod pointer;
mod pool;
mod stream;
mod types;
mod vmm;

pub use context::*;
pub use copy::*;
pub use device::*;
pub use event::*;
pub use graph::*;
pub use graphics::*;
pub use ipc::*;
pub use memory::*;
pub use module::*;
pub use pointer::*;
pub use pool::*;
pub use stream::*;
pub use types::*;
pub use vmm::*;
