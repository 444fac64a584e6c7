// SPDX-License-Identifier: MPL-2.0
//! Private memory with a segment's methods: for tests, model checkers and Miri.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A cache line, so that atomics and layouts behave as on a page.
const ALIGN: usize = 64;

/// Zeroed memory of our own.
#[derive(Debug)]
pub(super) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
    number: u64,
}

impl Heap {
    pub(super) fn new(len: usize) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        // One byte at least, as the allocator wants; a segment of no bytes never touches it.
        let layout = Layout::from_size_align(len.max(1), ALIGN).expect("a test's segment fits the address space");
        // SAFETY: the layout's size is at least 1.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(memory) else { handle_alloc_error(layout) };
        Self { base, layout, number: NUMBERS.fetch_add(1, Ordering::Relaxed) }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Different for every allocation of the process.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this very layout, and goes here only.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
