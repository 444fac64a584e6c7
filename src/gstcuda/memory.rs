// SPDX-License-Identifier: MPL-2.0
//! Buffers whose memory is on the device.

use std::{
    marker::PhantomData,
    mem::MaybeUninit,
    sync::atomic::{AtomicU32, Ordering},
};

use glib::translate::ToGlibPtr;
use gst::glib;
use gst_video::{VideoInfo, ffi::GstVideoFrame};
use tdlink_core::cuda;

use super::{
    GstContext, GstStream,
    library::{GstCudaMemory, library},
};
use crate::video;

/// What caps of such buffers carry.
pub const CAPS_FEATURE: &str = "memory:CUDAMemory";

/// `GST_MAP_CUDA`: the address is the device's.
const MAP_CUDA: gst::ffi::GstMapFlags = gst::ffi::GST_MAP_FLAG_LAST << 1;
/// A writable buffer stays writable while a frame of it is mapped.
const NO_REF: gst::ffi::GstMapFlags = gst_video::ffi::GST_VIDEO_FRAME_MAP_FLAG_NO_REF;

/// The first memory of a buffer, if it is GStreamer's on a device.
fn cuda_memory(buffer: &gst::BufferRef) -> Option<*mut GstCudaMemory> {
    if buffer.n_memory() != 1 {
        return None;
    }
    let memory = buffer.peek_memory(0).as_mut_ptr();
    // SAFETY: the buffer holds the memory as long as it is borrowed; GStreamer looks at its allocator alone.
    let is_cuda = unsafe { (library().ok()?.is_cuda_memory)(memory) };
    (is_cuda != glib::ffi::GFALSE).then_some(memory.cast())
}

/// Whether all of a buffer lies in one piece on a device.
pub fn is_cuda(buffer: &gst::BufferRef) -> bool {
    cuda_memory(buffer).is_some()
}

/// Whether that device memory belongs to `context`.
pub fn is_of(buffer: &gst::BufferRef, context: &GstContext) -> bool {
    // SAFETY: GStreamer has said that the memory is of this type, and the buffer holds it.
    cuda_memory(buffer).is_some_and(|memory| unsafe { (*memory).context } == context.as_ptr())
}

/// The stream on which what was done to that memory is ordered. `None`: it is done.
pub fn stream_of(buffer: &gst::BufferRef) -> Option<GstStream> {
    let memory = cuda_memory(buffer)?;
    let functions = library().ok()?.newer.as_ref()?;
    // SAFETY: GStreamer has said that the memory is of this type; the stream stays the memory's.
    GstStream::from_borrowed(unsafe { (functions.memory_get_stream)(memory) })
}

/// Says of device memory that something else stands in it, or will when its stream has done what is in it now: others wait
/// for that, and a copy that the host has of it is void. From 1.24 on.
pub fn renewed(memory: &gst::Memory) {
    // SAFETY: the memory is alive.
    unsafe { mark(memory.as_mut_ptr(), NEED_DOWNLOAD | NEED_SYNC) };
}

/// Says of a buffer's device memory that its stream is still reading it: whoever looks at it from elsewhere, or gives it
/// up, waits. From 1.24 on.
pub fn in_use(buffer: &gst::BufferRef) {
    if let Some(memory) = cuda_memory(buffer) {
        // SAFETY: the buffer holds the memory.
        unsafe { mark(memory.cast(), NEED_SYNC) };
    }
}

/// `GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD`.
const NEED_DOWNLOAD: u32 = gst::ffi::GST_MEMORY_FLAG_LAST;
/// `GST_CUDA_MEMORY_TRANSFER_NEED_SYNC`.
const NEED_SYNC: u32 = gst::ffi::GST_MEMORY_FLAG_LAST << 2;

/// Sets flags of a memory.
///
/// # Safety
/// It is alive.
unsafe fn mark(memory: *mut gst::ffi::GstMemory, flags: u32) {
    // SAFETY: the memory is alive; the address of a field of it is no access.
    let word = unsafe { &raw mut (*memory).mini_object.flags };
    // SAFETY: a word of a live object, which others read and write as one, too.
    let word = unsafe { AtomicU32::from_ptr(word) };
    word.fetch_or(flags, Ordering::SeqCst);
}

/// A frame in device memory, mapped for the device.
#[derive(Debug)]
pub struct Mapped<'a> {
    frame: GstVideoFrame,
    /// Bytes of a row and rows of each plane of the frame that was asked for: the buffer itself may say that it has more.
    planes: Vec<(usize, usize)>,
    _buffer: PhantomData<&'a gst::BufferRef>,
}

impl<'a> Mapped<'a> {
    /// For reading. Brings up what the CPU wrote last. `None` if it is no frame of `info`, or not on the device.
    pub fn read(buffer: &'a gst::BufferRef, info: &VideoInfo) -> Option<Self> {
        Self::map(buffer, info, gst::ffi::GST_MAP_READ)
    }

    /// For writing all of it.
    pub fn write(buffer: &'a mut gst::BufferRef, info: &VideoInfo) -> Option<Self> {
        Self::map(buffer, info, gst::ffi::GST_MAP_WRITE)
    }

    fn map(buffer: &'a gst::BufferRef, info: &VideoInfo, flags: gst::ffi::GstMapFlags) -> Option<Self> {
        if !is_cuda(buffer) {
            return None;
        }
        let planes = video::planes(info)?;
        let mut frame = MaybeUninit::uninit();
        let info: *const gst_video::ffi::GstVideoInfo = info.to_glib_none().0;
        let flags = flags | MAP_CUDA | NO_REF;
        // SAFETY: the buffer outlives the frame by its lifetime, was borrowed for writing where the flags ask for it, and
        // is not freed before `drop` unmaps it.
        let mapped =
            unsafe { gst_video::ffi::gst_video_frame_map(frame.as_mut_ptr(), info, buffer.as_mut_ptr(), flags) };
        if mapped == glib::ffi::GFALSE {
            return None;
        }
        // SAFETY: a call that succeeds has filled all of it.
        let frame = unsafe { frame.assume_init() };
        let mapped = Self { frame, planes, _buffer: PhantomData };
        (0..mapped.planes.len()).all(|plane| mapped.is_there(plane)).then_some(mapped)
    }

    /// Whether all rows of a plane lie in what was mapped. A buffer's own words of it are another element's, and nobody has
    /// checked them. Rows that stand on their head, or overlap, are nobody's.
    fn is_there(&self, plane: usize) -> bool {
        // All planes lie in one memory.
        let map = &self.frame.map[0];
        let (row_bytes, rows) = self.planes[plane];
        let end = || {
            let skip = (self.frame.data[plane] as usize).checked_sub(map.data as usize)?;
            let last = self.pitch(plane).checked_mul(rows.checked_sub(1)?)?;
            skip.checked_add(last)?.checked_add(row_bytes)
        };
        row_bytes > 0 && self.pitch(plane) >= row_bytes && end().is_some_and(|end| end <= map.size)
    }

    fn pitch(&self, plane: usize) -> usize {
        usize::try_from(self.frame.info.stride[plane]).unwrap_or_default()
    }

    /// The rows of each plane, for streams of the memory's context. They stay as long as the buffer's memory does.
    pub fn planes(&self) -> Vec<cuda::Plane> {
        let plane = |(at, (row_bytes, rows)): (usize, &(usize, usize))| {
            // SAFETY: GStreamer has mapped these rows for the device, and `is_there` found all of them in what it mapped.
            unsafe { cuda::Plane::raw(self.frame.data[at] as u64, self.pitch(at), *row_bytes, *rows) }
        };
        self.planes.iter().enumerate().map(plane).collect()
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: it was mapped once and is unmapped once.
        unsafe { gst_video::ffi::gst_video_frame_unmap(&mut self.frame) };
    }
}
