// SPDX-License-Identifier: MPL-2.0
//! GStreamer's streams.

use std::{fmt, ptr::NonNull};

use tdlink_core::cuda;

use super::{
    GstContext,
    library::{GstCudaStream, Newer, library},
};

/// One reference to a `GstCudaStream`. From 1.24 on.
pub struct GstStream(NonNull<GstCudaStream>);

// SAFETY: a mini object counts its references atomically, and a stream does not change after it was made.
unsafe impl Send for GstStream {}
// SAFETY: as above.
unsafe impl Sync for GstStream {}

fn newer() -> Option<&'static Newer> {
    library().ok()?.newer.as_ref()
}

impl GstStream {
    /// A new stream of `context`; `None` before 1.24, or when the driver refuses.
    pub fn new(context: &GstContext) -> Option<Self> {
        let functions = newer()?;
        // SAFETY: the context is alive, and it is given back a reference that is ours.
        let stream = unsafe { (functions.stream_new)(context.as_ptr()) };
        NonNull::new(stream).map(Self)
    }

    /// Takes over a reference.
    pub(super) fn from_full(stream: *mut GstCudaStream) -> Option<Self> {
        NonNull::new(stream).map(Self)
    }

    /// Another reference to a stream that somebody else holds.
    pub(super) fn from_borrowed(stream: *mut GstCudaStream) -> Option<Self> {
        let stream = NonNull::new(stream)?;
        // SAFETY: it is alive as long as the caller's owner holds it.
        let referenced = unsafe { (newer()?.stream_ref)(stream.as_ptr()) };
        NonNull::new(referenced).map(Self)
    }

    /// The same for the core; it must be of `context`.
    pub fn cuda(&self, context: &cuda::Context) -> cuda::Stream {
        let raw = match newer() {
            // SAFETY: we hold a reference.
            Some(functions) => unsafe { (functions.stream_get_handle)(self.0.as_ptr()) },
            None => std::ptr::null_mut(),
        };
        // SAFETY: the driver's stream of a GStreamer object lives as long as that, and the reference goes along.
        unsafe { cuda::Stream::borrowed(context, raw, self.clone()) }
    }

    pub(super) fn as_ptr(&self) -> *mut GstCudaStream {
        self.0.as_ptr()
    }
}

impl Clone for GstStream {
    fn clone(&self) -> Self {
        Self::from_borrowed(self.0.as_ptr()).expect("a stream that is referenced came from a library that has them")
    }
}

impl Drop for GstStream {
    fn drop(&mut self) {
        if let Some(functions) = newer() {
            // SAFETY: our reference, given up once.
            unsafe { (functions.stream_unref)(self.0.as_ptr()) };
        }
    }
}

impl fmt::Debug for GstStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GstStream").field(&self.0).finish()
    }
}
