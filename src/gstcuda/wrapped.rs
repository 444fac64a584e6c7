// SPDX-License-Identifier: MPL-2.0
//! Foreign device memory as GStreamer's, without a copy. From 1.24 on.

use std::{any::Any, ffi::c_void, panic::AssertUnwindSafe};

use glib::translate::{ToGlibPtr, from_glib_full};
use gst::glib;
use gst_video::VideoInfo;

use super::{GstContext, GstStream, library::library};
use crate::video::DEVICE_FORMATS;

type Guard = Box<dyn Any + Send + Sync>;

unsafe extern "C" fn let_go(guard: *mut c_void) {
    // SAFETY: `wrap` made it of a box, and GStreamer calls this once, at the memory's end.
    let guard = unsafe { Box::from_raw(guard.cast::<Guard>()) };
    // A panic must not go through GStreamer's frames.
    if std::panic::catch_unwind(AssertUnwindSafe(|| drop(guard))).is_err() {
        tracing::error!("letting go of wrapped memory failed");
    }
}

/// `len` bytes of device memory at `address` as a frame of `info`, whose rows lie `pitch` bytes apart. What was done to
/// it is ordered on `stream`; `guard` is dropped with the last reference, after that. `None`: not before 1.24, not for
/// other formats than every library takes or with more than one plane, and not for frames larger than `len`.
pub fn wrap(
    context: &GstContext,
    stream: &GstStream,
    info: &VideoInfo,
    pitch: usize,
    (address, len): (u64, usize),
    guard: impl Any + Send + Sync,
) -> Option<gst::Memory> {
    let functions = library().ok()?.newer.as_ref()?;
    let size = pitch.checked_mul(info.height() as usize).filter(|size| *size <= len)?;
    if !DEVICE_FORMATS.contains(&info.format())
        || info.n_planes() != 1
        || pitch < info.width() as usize * usize::try_from(info.comp_pstride(0)).ok()?
    {
        return None;
    }
    let described: *const gst_video::ffi::GstVideoInfo = info.to_glib_none().0;
    // SAFETY: a plain structure without ownership, copied to be changed.
    let mut described = unsafe { described.read() };
    described.stride[0] = i32::try_from(pitch).ok()?;
    described.offset[0] = 0;
    described.size = size;
    let guard: Guard = Box::new(guard);
    let guard = Box::into_raw(Box::new(guard)).cast();
    // SAFETY: context and stream are alive and of one another; the memory has `size` bytes, which `guard` keeps until
    // `let_go` drops it; the description is copied.
    let memory = unsafe {
        (functions.alloc_wrapped)(
            std::ptr::null_mut(),
            context.as_ptr(),
            stream.as_ptr(),
            &described,
            address,
            guard,
            Some(let_go),
        )
    };
    if memory.is_null() {
        // SAFETY: a call that fails has not taken it.
        drop(unsafe { Box::from_raw(guard.cast::<Guard>()) });
        return None;
    }
    // SAFETY: the call gives a memory that is ours.
    Some(unsafe { from_glib_full(memory) })
}
