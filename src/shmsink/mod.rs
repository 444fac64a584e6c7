// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-tdshmsink
 *
 * `tdshmsink` writes video into a named shared buffer: the raw bytes that TouchDesigner's Shared Memory LOP
 * and Python's `multiprocessing.shared_memory` read.
 *
 * With `slots=1` those bytes stand under the name, and a control segment beside them that says what they are; with more,
 * a ring of slots that other pipelines and programs read without a copy.
 *
 * With `protocol=touch` it writes what TouchDesigner's own Shared Mem In TOP reads (Shared Mem Type: Local).
 * TouchDesigner runs on Windows and macOS; that protocol is spoken on Windows, and on Linux between programs of ours only.
 *
 * Row 0 is the bottom row of raw bytes unless `origin=top-left`: that is how TouchDesigner keeps textures.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=RGBA,width=1280,height=720,framerate=60/1 ! tdshmsink shm-name=cam1
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=RGBA,width=1280,height=720,framerate=60/1 ! tdshmsink shm-name=ring1 slots=4
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=BGRA,width=1280,height=720,framerate=60/1 ! tdshmsink shm-name=top1 protocol=touch
 * ]|
 *
 * Since: 0.1.0
 */
use gst::{glib, prelude::*};

mod imp;
mod output;
mod settings;
mod trouble;
mod words;

glib::wrapper! {
    pub struct ShmSink(ObjectSubclass<imp::ShmSink>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "tdshmsink", gst::Rank::NONE, ShmSink::static_type())
}
