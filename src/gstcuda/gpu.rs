// SPDX-License-Identifier: MPL-2.0
//! What an element needs of a GPU: a context, and a stream to work on.

use tdlink_core::cuda;

use super::{ContextError, ContextSlot, GstContext, GstStream};

/// Why an element cannot work on a GPU.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuError {
    /// GStreamer's side.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The driver's side.
    #[error(transparent)]
    Cuda(#[from] cuda::CudaError),
}

impl From<cuda::DriverError> for GpuError {
    fn from(err: cuda::DriverError) -> Self {
        Self::Cuda(err.into())
    }
}

impl From<GpuError> for gst::ErrorMessage {
    fn from(err: GpuError) -> Self {
        match &err {
            GpuError::Context(_) => gst::error_msg!(gst::ResourceError::NotFound, ("{err}")),
            GpuError::Cuda(cuda) => message(cuda),
        }
    }
}

/// A failure of the driver's as an element error.
pub fn message(err: &cuda::CudaError) -> gst::ErrorMessage {
    match err {
        cuda::CudaError::Driver(_) => gst::error_msg!(gst::ResourceError::NotFound, ("{err}")),
        cuda::CudaError::OutOfMemory { .. } => gst::error_msg!(
            gst::ResourceError::NoSpaceLeft,
            ("{err}; smaller frames or fewer slots would help, or another program's memory")
        ),
        _ => gst::error_msg!(gst::ResourceError::Failed, ("{err}")),
    }
}

/// A context, and a stream of it.
#[derive(Debug)]
pub struct Gpu {
    /// GStreamer's object around the context. `None`: GStreamer's library is not there, and the context is the device's
    /// primary one; there is no `memory:CUDAMemory` then.
    gst: Option<(GstContext, Option<GstStream>)>,
    context: cuda::Context,
    stream: cuda::Stream,
}

impl Gpu {
    /// For `element`: the context that its pipeline shares, and if GStreamer has no CUDA library, the primary one. See
    /// [`ContextSlot::ensure`].
    ///
    /// # Errors
    /// No driver, no such device.
    pub fn shared(slot: &ContextSlot, element: &gst::Element, device: i32) -> Result<Self, GpuError> {
        cuda::driver()?;
        match slot.ensure(element, device) {
            Ok(gst) => {
                let context = gst.cuda()?;
                let theirs = GstStream::new(&gst);
                let stream = match &theirs {
                    Some(stream) => stream.cuda(&context),
                    None => cuda::Stream::new(&context)?,
                };
                Ok(Self { gst: Some((gst, theirs)), context, stream })
            }
            Err(ContextError::Missing(missing)) => {
                tracing::warn!("frames go through system memory: {missing}");
                Self::primary(device.max(0))
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// The primary context of a device, which knows nothing of GStreamer.
    ///
    /// # Errors
    /// No driver, no such device.
    pub fn primary(device: i32) -> Result<Self, GpuError> {
        let context = cuda::Context::primary(device)?;
        let stream = cuda::Stream::new(&context)?;
        Ok(Self { gst: None, context, stream })
    }

    /// The context.
    pub fn context(&self) -> &cuda::Context {
        &self.context
    }

    /// A stream of it for all work that nobody else has a stream for.
    pub fn stream(&self) -> &cuda::Stream {
        &self.stream
    }

    /// The same context as GStreamer knows it.
    pub fn gst(&self) -> Option<&GstContext> {
        self.gst.as_ref().map(|(context, _)| context)
    }

    /// The same stream as GStreamer knows it; from 1.24 on.
    pub fn gst_stream(&self) -> Option<&GstStream> {
        self.gst.as_ref()?.1.as_ref()
    }
}
