// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-tdshmsrc
 *
 * `tdshmsrc` reads a named shared buffer as live video: the raw bytes that TouchDesigner's Shared Memory LOP
 * and Python's `multiprocessing.shared_memory` write, and what TouchDesigner's own Shared Mem Out TOP does. It
 * waits for the buffer, follows its producer over restarts, and never pushes a frame that it has seen torn.
 *
 * Raw bytes carry no geometry: set `width`, `height` and `channels`, or put a capsfilter behind the source. A Shared
 * Mem Out TOP (Shared Mem Type: Local) says everything itself. TouchDesigner runs on Windows and macOS; that protocol is
 * spoken on Windows, and on Linux between programs of ours only.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 -e tdshmsrc shm-name=cam1 width=1280 height=720 channels=4 ! videoconvert ! video/x-raw,format=I420,colorimetry=bt709 ! x264enc tune=zerolatency ! h264parse ! mp4mux ! filesink location=cam1.mp4
 * gst-launch-1.0 tdshmsrc shm-name=top1 protocol=touch ! videoconvert ! autovideosink
 * ]|
 *
 * Since: 0.1.0
 */
use gst::{glib, prelude::*};

mod choice;
mod control;
mod feed;
mod geometry;
mod hash;
mod imp;
mod push;
mod settings;
mod touch;
#[cfg(test)]
mod uri;
mod wire;

glib::wrapper! {
    pub struct ShmSrc(ObjectSubclass<imp::ShmSrc>) @extends gst_base::BaseSrc, gst::Element, gst::Object, @implements gst::URIHandler;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "tdshmsrc", gst::Rank::NONE, ShmSrc::static_type())
}
