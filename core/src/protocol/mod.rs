// SPDX-License-Identifier: MPL-2.0
//! Wire protocols: one folder each, with the same file names.

pub mod control;
pub mod copy;
pub mod raw;
pub mod touch;
