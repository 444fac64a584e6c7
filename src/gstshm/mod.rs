// SPDX-License-Identifier: MPL-2.0
//! Slots of a ring as GStreamer memory. The only room of the shm elements with unsafe code.

#![allow(unsafe_code)]

mod memory;
mod pool;
mod ring;

pub use memory::read_only;
pub use pool::SlotPool;
pub use ring::{Place, Ring};
