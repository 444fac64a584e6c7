// SPDX-License-Identifier: MPL-2.0
//! A part of a segment as `GstMemory`.

use std::{any::Any, ffi::c_void};

use glib::translate::from_glib_full;
use gst::glib;
use tdlink_core::{protocol::control::ReadSlot, segment::SlotMemory};

/// What lives as long as a `GstMemory` over a slot: the mapping, and who must be told at its end.
struct Held {
    _memory: SlotMemory,
    _guard: Box<dyn Any + Send + Sync>,
}

unsafe extern "C" fn let_go(held: *mut c_void) {
    // SAFETY: `wrap` made it of a box, and GStreamer calls this once, at the memory's end.
    drop(unsafe { Box::from_raw(held.cast::<Held>()) });
}

/// Marks memory over a slot; the first bit that GStreamer leaves to others.
const OURS: u32 = gst::ffi::GST_MEMORY_FLAG_LAST;

/// `len` bytes from `address` on, which `held` keeps mapped.
fn wrap(address: *mut u8, len: usize, flags: gst::ffi::GstMemoryFlags, held: Held) -> gst::Memory {
    let held = Box::into_raw(Box::new(held)).cast();
    let flags = flags | OURS;
    // SAFETY: `held` keeps `len` bytes at `address` mapped until `let_go` drops it; where they are mapped for reading
    // only, `flags` say so.
    let memory = unsafe { gst::ffi::gst_memory_new_wrapped(flags, address.cast(), len, 0, len, held, Some(let_go)) };
    // SAFETY: the call above gives a memory that is ours.
    unsafe { from_glib_full(memory) }
}

/// A leased frame. The lease ends with the last reference, on whatever thread.
pub fn read_only(slot: ReadSlot) -> gst::Memory {
    let memory = slot.memory().clone();
    // The flag keeps GStreamer from writing; the mapping itself is read-only.
    let address = memory.as_ptr().cast_mut();
    let len = memory.len();
    wrap(address, len, gst::ffi::GST_MEMORY_FLAG_READONLY, Held { _memory: memory, _guard: Box::new(slot) })
}

/// The first `len` bytes of a slot that is being written; `guard` is dropped with the last reference. `None` when the
/// slot is smaller, or mapped for reading only.
pub(super) fn writable(memory: SlotMemory, len: usize, guard: impl Any + Send + Sync) -> Option<gst::Memory> {
    let address = memory.as_mut_ptr().filter(|_| len <= memory.len())?;
    Some(wrap(address, len, 0, Held { _memory: memory, _guard: Box::new(guard) }))
}

/// Where a buffer's bytes lie, if they are one piece.
pub(super) fn place(buffer: &gst::BufferRef) -> Option<(usize, usize)> {
    if buffer.n_memory() != 1 {
        return None;
    }
    let map = buffer.map_readable().ok()?;
    Some((map.as_ptr() as usize, map.size()))
}

/// Whether a buffer's memory is a slot's.
pub(super) fn is_slot(buffer: &gst::BufferRef) -> bool {
    (0..buffer.n_memory()).any(|at| {
        let memory = buffer.peek_memory(at).as_ptr();
        // SAFETY: the buffer holds a reference on it as long as it is borrowed.
        let flags = unsafe { (*memory).mini_object.flags };
        flags & OURS != 0
    })
}
