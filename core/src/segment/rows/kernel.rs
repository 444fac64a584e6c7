// SPDX-License-Identifier: MPL-2.0
//! One row's copy, in three ways. Every copy of shared bytes goes through here.
//!
//! Others may change shared bytes during a copy. The compiler may not assume that they stay, and it cannot: they are
//! read once, and are looked at only in the private copy.

use std::ptr;
#[cfg(miri)]
use std::sync::atomic::{AtomicU8, Ordering};

/// Copies `len` bytes out of shared memory.
///
/// # Safety
/// `shared` is mapped readable and `private` is writable for `len` bytes, and they do not overlap. Others may write to
/// `shared` meanwhile: then the copy may be torn, which only a protocol can tell.
pub(in crate::segment) unsafe fn copy_out(shared: *const u8, private: *mut u8, len: usize) {
    #[cfg(miri)]
    for i in 0..len {
        // SAFETY: `i` is below `len`.
        let byte = unsafe { atomic(shared.cast_mut(), i) }.load(Ordering::Relaxed);
        // SAFETY: `i` is below `len`.
        let to = unsafe { private.add(i) };
        // SAFETY: private memory, writable.
        unsafe { to.write(byte) };
    }
    #[cfg(not(miri))]
    // SAFETY: as this function's contract says.
    unsafe {
        plain(shared, private, len)
    };
}

/// Copies `len` bytes into shared memory.
///
/// # Safety
/// `shared` is mapped writable and `private` is readable for `len` bytes, and they do not overlap. Others may read and
/// write `shared` meanwhile.
pub(in crate::segment) unsafe fn copy_in(private: *const u8, shared: *mut u8, len: usize) {
    #[cfg(miri)]
    for i in 0..len {
        // SAFETY: `i` is below `len`.
        let from = unsafe { private.add(i) };
        // SAFETY: private memory, readable.
        let byte = unsafe { from.read() };
        // SAFETY: `i` is below `len`.
        unsafe { atomic(shared, i) }.store(byte, Ordering::Relaxed);
    }
    #[cfg(not(miri))]
    // SAFETY: as this function's contract says.
    unsafe {
        plain(private, shared, len)
    };
}

/// A byte of shared memory for Miri, to which two threads that copy the same bytes are a race otherwise.
///
/// # Safety
/// The byte is mapped while the reference lives.
#[cfg(miri)]
unsafe fn atomic<'a>(shared: *mut u8, i: usize) -> &'a AtomicU8 {
    // SAFETY: the byte is mapped.
    let byte = unsafe { shared.add(i) };
    // SAFETY: a byte is always aligned, and is reached by these copies only.
    unsafe { AtomicU8::from_ptr(byte) }
}

/// # Safety
/// `src` is readable and `dst` writable for `len` bytes, and they do not overlap.
pub(super) unsafe fn plain(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: as this function's contract says.
    unsafe { ptr::copy_nonoverlapping(src, dst, len) };
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) use x86::{CAN_STREAM, ahead, settle, stream};

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::{CAN_STREAM, ahead, settle, stream};

/// SSE2, which every x86-64 has. Wider registers gain a few percent of what memory allows; not worth a choice.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_sfence, _mm_storeu_si128, _mm_stream_si128,
    };

    use super::plain;

    /// Whether there are stores that go past the caches.
    pub(in super::super) const CAN_STREAM: bool = true;

    /// A cache line.
    const LINE: usize = 64;
    /// A register.
    const PIECE: usize = size_of::<__m128i>();

    /// Copies a row past the caches. [`settle`] comes before anybody is told.
    ///
    /// # Safety
    /// `src` is readable and `dst` writable for `len` bytes, and they do not overlap.
    pub(in super::super) unsafe fn stream(src: *const u8, dst: *mut u8, len: usize) {
        let head = dst.align_offset(LINE).min(len);
        // SAFETY: the head is part of the row.
        unsafe { plain(src, dst, head) };
        let lines = (len - head) / LINE;
        for line in 0..lines {
            let at = head + line * LINE;
            // SAFETY: the whole line is part of the row.
            let pieces = unsafe { load(src, at) };
            for (i, piece) in pieces.into_iter().enumerate() {
                // SAFETY: within the row.
                let to = unsafe { dst.add(at + i * PIECE) };
                // SAFETY: it is aligned, since `head` brought it to a line's start.
                unsafe { _mm_stream_si128(to.cast(), piece) };
            }
        }
        // SAFETY: the tail is part of the row.
        unsafe { tail(src, dst, head + lines * LINE, len) };
    }

    /// Streamed stores are seen before any later store.
    pub(in super::super) fn settle() {
        // SAFETY: SSE is there.
        unsafe { _mm_sfence() };
    }

    /// Copies a row by ordinary stores, and asks for as many bytes at `hint` meanwhile.
    ///
    /// # Safety
    /// `src` is readable and `dst` writable for `len` bytes, and they do not overlap. `hint` may lead anywhere.
    pub(in super::super) unsafe fn ahead(src: *const u8, dst: *mut u8, len: usize, hint: *const u8) {
        let lines = len / LINE;
        for line in 0..lines {
            let at = line * LINE;
            let line = hint.wrapping_add(at);
            // SAFETY: SSE is there, and a hint faults nowhere.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
            // SAFETY: the whole line is part of the row.
            let pieces = unsafe { load(src, at) };
            for (i, piece) in pieces.into_iter().enumerate() {
                // SAFETY: within the row.
                let to = unsafe { dst.add(at + i * PIECE) };
                // SAFETY: as above; this store needs no alignment.
                unsafe { _mm_storeu_si128(to.cast(), piece) };
            }
        }
        // SAFETY: the tail is part of the row.
        unsafe { tail(src, dst, lines * LINE, len) };
    }

    /// # Safety
    /// `src` is readable for a line from `at`.
    #[inline]
    unsafe fn load(src: *const u8, at: usize) -> [__m128i; LINE / PIECE] {
        std::array::from_fn(|i| {
            // SAFETY: within the line.
            let from = unsafe { src.add(at + i * PIECE) };
            // SAFETY: as above; this load needs no alignment.
            unsafe { _mm_loadu_si128(from.cast()) }
        })
    }

    /// # Safety
    /// `at` is at most `len`, for which `src` is readable and `dst` writable.
    unsafe fn tail(src: *const u8, dst: *mut u8, at: usize, len: usize) {
        // SAFETY: `at` is at most `len`.
        let src = unsafe { src.add(at) };
        // SAFETY: `at` is at most `len`.
        let dst = unsafe { dst.add(at) };
        // SAFETY: what is left of the row.
        unsafe { plain(src, dst, len - at) };
    }
}

/// What every machine can do.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable {
    use super::plain;

    /// Whether there are stores that go past the caches.
    pub(in super::super) const CAN_STREAM: bool = false;

    /// # Safety
    /// `src` is readable and `dst` writable for `len` bytes, and they do not overlap.
    pub(in super::super) unsafe fn stream(src: *const u8, dst: *mut u8, len: usize) {
        // SAFETY: as this function's contract says.
        unsafe { plain(src, dst, len) };
    }

    /// Ordinary stores are in order already.
    pub(in super::super) fn settle() {}

    /// # Safety
    /// As [`stream`].
    pub(in super::super) unsafe fn ahead(src: *const u8, dst: *mut u8, len: usize, _: *const u8) {
        // SAFETY: as this function's contract says.
        unsafe { plain(src, dst, len) };
    }
}
