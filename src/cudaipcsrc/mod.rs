// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-tdcudaipcsrc
 *
 * `tdcudaipcsrc` reads a ring in GPU memory that cuda-link's senders write, as live video: TouchDesigner with
 * cuda-link's component, cuda-link's Python package, or `tdcudaipcsink`. It waits for the producer, follows it over
 * restarts and other sizes, and never pushes a frame that may have been overwritten while it was copied.
 *
 * Frames come as `memory:CUDAMemory` where downstream takes that: as NV12, P010_10LE or RGB10A2_LE, which encoders take
 * as they are, or as RGB of 8 bits. The device makes them of whatever the wire has, 8, 16 or 32 bits and 1 to 4
 * components, in one pass that turns the picture and does `alpha` and `transfer`, too. Caps say the matrix and range of
 * NV12 and P010_10LE; downstream may ask for others by `colorimetry`. In system memory frames come converted.
 *
 * With `io-mode=import` (GStreamer 1.24 or newer) the producer's slots are pushed without a copy. The producer does not
 * wait for readers: a frame that is held for longer than its ring goes round is overwritten, which `stats` counts.
 *
 * The default name has `>>` in it, which a shell takes for a redirection: quote it.
 *
 * ## Example pipelines
 *
 * |[
 * gst-launch-1.0 -e tdcudaipcsrc ! nvh264enc ! h264parse ! mp4mux ! filesink location=td.mp4
 * gst-launch-1.0 -e tdcudaipcsrc transfer=linear-to-pq ! "video/x-raw(memory:CUDAMemory),format=P010_10LE" ! nvh265enc ! h265parse ! mp4mux ! filesink location=hdr.mp4
 * gst-launch-1.0 tdcudaipcsrc shm-name="cudalink_ipc_TD>>Python" ! videoconvert ! autovideosink
 * ]|
 *
 * Since: 0.1.0
 */
use gst::{glib, prelude::*};

mod convert;
mod feed;
mod imp;
mod import;
mod ring;
mod settings;
mod shared;

glib::wrapper! {
    pub struct CudaIpcSrc(ObjectSubclass<imp::CudaIpcSrc>) @extends gst_base::BaseSrc, gst::Element, gst::Object, @implements gst::URIHandler;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "tdcudaipcsrc", gst::Rank::NONE, CudaIpcSrc::static_type())
}
