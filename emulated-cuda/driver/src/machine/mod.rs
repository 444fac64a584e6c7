// SPDX-License-Identifier: MPL-2.0
//! The emulated device. Nothing here is part of the C ABI.

pub mod context;
pub mod event;
pub mod graph;
pub mod kernels;
pub mod memory;
pub mod module;
pub mod pages;
pub mod process;
pub mod share;
pub mod state;
pub mod stream;
pub mod vmm;
pub mod work;
