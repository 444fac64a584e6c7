// SPDX-License-Identifier: MPL-2.0
//! Records a shared buffer to an mp4 file in pieces of a second, so that a crash costs one second at most, and says what was
//! left out. Ends with the buffer's producer, or after some seconds.
//!
//! ```sh
//! cargo run --example record -- cam1 cam1.mp4 10
//! ```
//!
//! The buffer describes itself: `tdshmsink`, `tdlink` and Python's `tdlink.Writer` send such. For TouchDesigner's raw bytes set
//! `width`, `height` and `channels`, as `receive.rs` does.

use std::time::{Duration, Instant};

use gst::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, file, seconds] = args.as_slice() else {
        return Err("usage: record NAME FILE SECONDS".into());
    };
    let seconds = Duration::from_secs(seconds.parse()?);
    gst::init()?;
    // A program that does not link the plugin finds it by GST_PLUGIN_PATH and leaves this line out.
    gsttdlink::plugin_register_static()?;

    // A constant rate, as players expect it; the end comes when the producer has gone.
    let source = gst::ElementFactory::make("tdshmsrc")
        .property("shm-name", name)
        .property("framerate", gst::Fraction::new(60, 1))
        .property_from_str("on-disconnect", "eos")
        .build()?;
    let encode = gst::parse::bin_from_description(
        "queue ! videoconvert ! video/x-raw,format=I420,colorimetry=bt709 ! \
         x264enc speed-preset=veryfast bitrate=12000 key-int-max=60 ! h264parse ! \
         mp4mux fragment-duration=1000 streamable=true",
        true,
    )?;
    let sink = gst::ElementFactory::make("filesink").property("location", file).build()?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, encode.upcast_ref(), &sink])?;
    gst::Element::link_many([&source, encode.upcast_ref(), &sink])?;
    pipeline.set_state(gst::State::Playing)?;

    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let end = Instant::now() + seconds;
    let mut ending = false;
    let result = loop {
        if Instant::now() >= end && !ending {
            ending = true;
            pipeline.send_event(gst::event::Eos::new());
        }
        let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(100)) else { continue };
        match message.view() {
            gst::MessageView::Error(error) => break Err(error.error().into()),
            gst::MessageView::Eos(_) => break Ok(()),
            gst::MessageView::Element(element) => println!("{:?}", element.structure()),
            _ => {}
        }
    };
    println!("{}", source.property::<gst::Structure>("stats"));
    pipeline.set_state(gst::State::Null)?;
    result
}
