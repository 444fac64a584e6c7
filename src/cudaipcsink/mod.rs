// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-tdcudaipcsink
 *
 * `tdcudaipcsink` writes video into a ring in GPU memory that cuda-link's receivers read: TouchDesigner with cuda-link's
 * component, cuda-link's Python package, and `tdcudaipcsrc`. Pixels never leave the GPU when they come as
 * `memory:CUDAMemory`; what comes in system memory is uploaded.
 *
 * Frames of NV12, P010_10LE and RGB10A2_LE, as decoders give them, become colour on the wire. `sample-type` and `channels`
 * say what stands there; else it is what caps have, and 16 bits where those have 10.
 *
 * Row 0 is the bottom row unless `origin=top-left`, and 8-bit colour with alpha is written as BGRA unless
 * `channel-order=rgba`: that is how TouchDesigner takes it. Both happen within the one copy.
 *
 * The default name has `>>` in it, which a shell takes for a redirection: quote it.
 *
 * ## Example pipelines
 *
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=RGBA,width=1920,height=1080,framerate=60/1 ! tdcudaipcsink
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=RGBA,width=1920,height=1080,framerate=60/1 ! cudaupload ! tdcudaipcsink shm-name="cudalink_ipc_Python>>TD"
 * ]|
 *
 * Since: 0.1.0
 */
use gst::{glib, prelude::*};

mod imp;
mod output;
mod settings;
mod staging;
mod trouble;

glib::wrapper! {
    pub struct CudaIpcSink(ObjectSubclass<imp::CudaIpcSink>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "tdcudaipcsink", gst::Rank::NONE, CudaIpcSink::static_type())
}
