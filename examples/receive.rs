// SPDX-License-Identifier: MPL-2.0
//! Takes frames out of a shared buffer into a Rust program, where an AI model or anything else may look at them.
//!
//! ```sh
//! cargo run --example receive -- cam1 1280 720 4
//! ```
//!
//! The buffer may appear later, go away and come back: the program keeps waiting for it.

use gst::prelude::*;
use gst_video::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, width, height, channels] = args.as_slice() else {
        return Err("usage: receive NAME WIDTH HEIGHT CHANNELS".into());
    };
    gst::init()?;
    // A program that does not link the plugin finds it by GST_PLUGIN_PATH and leaves this line out.
    gsttdlink::plugin_register_static()?;

    let source = gst::ElementFactory::make("tdshmsrc")
        .property("shm-name", name)
        .property("width", width.parse::<i32>()?)
        .property("height", height.parse::<i32>()?)
        .property("channels", channels.parse::<i32>()?)
        .build()?;
    let sink = gst_app::AppSink::builder()
        .caps(&gst_video::VideoCapsBuilder::new().format(gst_video::VideoFormat::Rgb).build())
        // The newest frame wins: a slow program sees fewer frames, not old ones.
        .max_buffers(1)
        .drop(true)
        .sync(false)
        .build();
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, sink.upcast_ref()])?;
    source.link(&sink)?;
    pipeline.set_state(gst::State::Playing)?;

    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    loop {
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => return Err(error.error().into()),
                gst::MessageView::Eos(_) => return Ok(()),
                gst::MessageView::Element(element) => println!("{:?}", element.structure()),
                _ => {}
            }
        }
        let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) else { continue };
        let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else { continue };
        let info = gst_video::VideoInfo::from_caps(caps)?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
        // Rows are `plane_stride` bytes apart; the picture stands upright.
        let pixels = frame.plane_data(0)?;
        let mean = pixels.iter().map(|sample| u64::from(*sample)).sum::<u64>() / pixels.len().max(1) as u64;
        println!("{:?}: {}×{}, mean {mean}", buffer.pts(), frame.width(), frame.height());
    }
}
