// SPDX-License-Identifier: MPL-2.0
//! Memory of a slot as a model checker watches it: two accesses of which one writes, and neither comes before the other,
//! are an error of the model.

use loom::cell::UnsafeCell;

#[derive(Debug, Default)]
pub(crate) struct Watched(UnsafeCell<()>);

// SAFETY: there is no value in the cell, so nothing is accessed; the checker notes accesses under its own lock.
unsafe impl Sync for Watched {}

impl Watched {
    pub(crate) fn read(&self) {
        self.0.with(|_| ());
    }

    pub(crate) fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
