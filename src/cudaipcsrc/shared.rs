// SPDX-License-Identifier: MPL-2.0
//! What the element, on any thread, and its feed, on the streaming thread, both know of the GPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst_video::VideoInfo;
use tdlink_core::cuda;

use crate::gstcuda::{ContextSlot, Gpu, GpuError, GstStream};

/// See above.
#[derive(Debug, Default)]
pub struct Shared {
    /// What the pipeline shares.
    pub context: ContextSlot,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gpu: Option<Arc<Gpu>>,
    /// Buffers are on the device.
    on_device: bool,
    /// Downstream's stream, or ours.
    stream: Option<GstStream>,
    info: Option<VideoInfo>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: there is nothing half done to see after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The element starts: is there a driver, and a GPU that is meant? With `device` −1, in a pipeline that has none and
    /// on a machine with several, that is known when the producer's memory was opened.
    ///
    /// # Errors
    /// No driver, no such device.
    pub fn begin(&self, element: &gst::Element, device: i32) -> Result<(), GpuError> {
        let driver = cuda::driver()?;
        self.context.ask(element);
        if device >= 0 || self.context.get().is_some() || driver.devices() == 1 {
            self.settle(element, device)?;
        }
        Ok(())
    }

    /// The pipeline's GPU from now on.
    ///
    /// # Errors
    /// No driver, no such device.
    pub fn settle(&self, element: &gst::Element, device: i32) -> Result<Arc<Gpu>, GpuError> {
        // Nothing is locked: the answer may come through `set_context`.
        let gpu = Arc::new(Gpu::shared(&self.context, element, device)?);
        self.state().gpu = Some(gpu.clone());
        Ok(gpu)
    }

    /// The element stops.
    pub fn end(&self) {
        let ended = std::mem::take(&mut *self.state());
        // Dropped without the lock.
        drop(ended);
    }

    /// The pipeline's GPU.
    pub fn gpu(&self) -> Option<Arc<Gpu>> {
        self.state().gpu.clone()
    }

    /// What the ALLOCATION query has come to.
    pub fn agree(&self, on_device: bool, stream: Option<GstStream>) {
        let mut state = self.state();
        (state.on_device, state.stream) = (on_device, stream);
    }

    /// Whether buffers are on the device.
    pub fn is_on_device(&self) -> bool {
        self.state().on_device
    }

    /// The stream on which downstream works, or ours.
    pub fn stream(&self) -> Option<GstStream> {
        self.state().stream.clone()
    }

    /// The caps that were agreed on.
    pub fn info(&self) -> Option<VideoInfo> {
        self.state().info.clone()
    }

    /// They are these.
    pub fn set_info(&self, info: &VideoInfo) {
        self.state().info = Some(info.clone());
    }
}
