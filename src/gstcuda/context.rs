// SPDX-License-Identifier: MPL-2.0
//! GStreamer's CUDA contexts, and how elements share one.
//!
//! The protocol: who needs a context asks its neighbours by a query and the application by a message, and only then
//! makes one, which it tells everybody. An answer comes through `set_context`, on the same thread, in the middle of the
//! asking. So nothing is locked meanwhile, and what is found is put into a place that both know: [`ContextSlot`].

use std::{
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use glib::translate::{ToGlibPtr, from_glib_full, from_glib_none};
use gst::{glib, prelude::*};
use tdlink_core::cuda;

use super::library::{GstCudaContext, Missing, library};

/// Name of the context's type and of its field.
const CONTEXT: &str = "gst.cuda.context";

/// Why there is no context.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ContextError {
    /// No library, no driver.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The driver gave none.
    #[error(
        "no CUDA context on device {device}: there is no such device, its memory is full, or it was lost; nvidia-smi lists devices, cuda-device-id chooses one"
    )]
    Refused {
        /// The device that was asked for.
        device: i32,
    },
}

/// A `GstCudaContext`: one reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GstContext {
    object: gst::Object,
    device: i32,
}

impl GstContext {
    /// `None` if it is no context.
    fn new(object: gst::Object) -> Option<Self> {
        object.find_property("cuda-device-id").filter(|spec| spec.value_type() == u32::static_type())?;
        let device = i32::try_from(object.property::<u32>("cuda-device-id")).ok()?;
        Some(Self { object, device })
    }

    /// The driver's context, for the core.
    ///
    /// # Errors
    /// No driver.
    pub fn cuda(&self) -> Result<cuda::Context, cuda::CudaError> {
        let raw = match library() {
            // SAFETY: we hold a reference.
            Ok(functions) => unsafe { (functions.context_get_handle)(self.as_ptr()) },
            Err(_) => ptr::null_mut(),
        };
        // SAFETY: the driver's context of a GStreamer object lives as long as that, and the reference goes along.
        unsafe { cuda::Context::borrowed(raw, self.device, self.object.clone()) }
    }

    pub(super) fn as_ptr(&self) -> *mut GstCudaContext {
        let object: *mut gst::ffi::GstObject = self.object.to_glib_none().0;
        object.cast()
    }
}

/// Contexts that elements of ours use: an exporter's handle may be opened in one context of a process only.
static SHARED: Mutex<Vec<glib::WeakRef<gst::Object>>> = Mutex::new(Vec::new());

/// The place of an element's context: filled once, by whoever finds one first.
#[derive(Debug, Default)]
pub struct ContextSlot {
    /// Our reference, as GStreamer's functions want it. Filled without the lock, emptied and referenced under it.
    found: AtomicPtr<GstCudaContext>,
    lock: Mutex<()>,
}

impl ContextSlot {
    /// For the element's `set_context`: takes a CUDA context of the right device, unless there is one already.
    /// `device` −1 takes any.
    pub fn offer(&self, context: &gst::Context, device: i32) {
        if context.context_type() != CONTEXT {
            return;
        }
        let found = context.structure().get::<gst::Object>(CONTEXT).ok().and_then(GstContext::new);
        if let Some(found) = found
            && (device == -1 || device == found.device)
        {
            self.fill(found);
        }
    }

    fn fill(&self, context: GstContext) {
        let object: *mut gst::ffi::GstObject = context.object.to_glib_full();
        let mine = object.cast();
        let filled = self.found.compare_exchange(ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire);
        if filled.is_err() {
            // SAFETY: the reference of two lines above, which nobody took.
            drop(unsafe { from_glib_full::<_, gst::Object>(object) });
        }
    }

    /// The context, if there is one.
    pub fn get(&self) -> Option<GstContext> {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let found: *mut gst::ffi::GstObject = self.found.load(Ordering::Acquire).cast();
        if found.is_null() {
            return None;
        }
        // SAFETY: the slot's own reference is given up under the lock only.
        GstContext::new(unsafe { from_glib_none(found) })
    }

    /// Gives the context up.
    pub fn clear(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let found: *mut gst::ffi::GstObject = self.found.swap(ptr::null_mut(), Ordering::AcqRel).cast();
        drop(guard);
        if !found.is_null() {
            // SAFETY: the slot's reference, which was swapped out and so is ours alone.
            drop(unsafe { from_glib_full::<_, gst::Object>(found) });
        }
    }

    /// For the element's CONTEXT query. Whether it was answered.
    pub fn answer(&self, element: &gst::Element, query: &mut gst::QueryRef) -> bool {
        let (Some(context), Ok(functions)) = (self.get(), library()) else { return false };
        let element: *mut gst::ffi::GstElement = element.to_glib_none().0;
        // SAFETY: all three are alive, and the query is borrowed for writing.
        let answered = unsafe { (functions.handle_context_query)(element, query.as_mut_ptr(), context.as_ptr()) };
        answered != glib::ffi::GFALSE
    }

    /// The element's context: what neighbours, the application, or another element of ours in this process has, else a
    /// new one, which everybody is told of. The element's `set_context` must lead to [`ContextSlot::offer`], and no lock
    /// that it takes may be held. `device` −1 takes any, and makes one on device 0.
    ///
    /// # Errors
    /// No library or driver, or no such device.
    pub fn ensure(&self, element: &gst::Element, device: i32) -> Result<GstContext, ContextError> {
        let functions = library()?;
        if device != -1 && self.get().is_some_and(|held| held.device != device) {
            // It was offered when any was good.
            self.clear();
        }
        self.ask(element);
        if self.found.load(Ordering::Acquire).is_null()
            && let Some(shared) = shared(device)
        {
            self.fill(shared);
            self.tell(element);
        }
        let raw: *mut gst::ffi::GstElement = element.to_glib_none().0;
        // SAFETY: the element is alive; the slot outlives the call, and during it is written by GStreamer or by `offer`,
        // on this thread or by an atomic exchange, from empty to full only.
        let ensured = unsafe { (functions.ensure_element_context)(raw, device, self.found.as_ptr()) };
        let context = self.get().filter(|_| ensured != glib::ffi::GFALSE);
        let context = context.ok_or(ContextError::Refused { device: device.max(0) })?;
        if device != -1 && context.device != device {
            return Err(ContextError::Refused { device });
        }
        remember(&context);
        Ok(context)
    }

    /// Asks the neighbours and the application, unless there is a context. The answer comes through `set_context`, so no
    /// lock that it takes may be held.
    pub fn ask(&self, element: &gst::Element) {
        let empty = || self.found.load(Ordering::Acquire).is_null();
        for pad in element.src_pads().into_iter().chain(element.sink_pads()) {
            let mut query = gst::query::Context::new(CONTEXT);
            if empty()
                && pad.peer_query(&mut query)
                && let Some(context) = query.context_owned()
            {
                element.set_context(&context);
            }
        }
        if empty() {
            let message = gst::message::NeedContext::builder(CONTEXT).src(element).build();
            if element.post_message(message).is_err() {
                tracing::debug!("no bus to ask for a CUDA context on");
            }
        }
    }

    /// Tells the pipeline of a context that it has not found itself.
    fn tell(&self, element: &gst::Element) {
        let (Some(context), Ok(functions)) = (self.get(), library()) else { return };
        // SAFETY: the context is alive.
        let told = unsafe { (functions.new_cuda_context)(context.as_ptr()) };
        // SAFETY: the call gives a reference that is ours.
        let told: gst::Context = unsafe { from_glib_full(told) };
        element.set_context(&told);
        if element.post_message(gst::message::HaveContext::builder(told).src(element).build()).is_err() {
            tracing::debug!("no bus to tell of a CUDA context on");
        }
    }
}

impl Drop for ContextSlot {
    fn drop(&mut self) {
        self.clear();
    }
}

fn shared(device: i32) -> Option<GstContext> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|weak| weak.upgrade().is_some());
    let mut alive = shared.iter().filter_map(|weak| GstContext::new(weak.upgrade()?));
    alive.find(|context| device == -1 || context.device == device)
}

fn remember(context: &GstContext) {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|weak| weak.upgrade().is_some());
    if !shared.iter().any(|weak| weak.upgrade().as_ref() == Some(&context.object)) {
        shared.push(context.object.downgrade());
    }
}
