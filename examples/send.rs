// SPDX-License-Identifier: MPL-2.0
//! Puts frames that a Rust program makes into a shared buffer that TouchDesigner or Python reads.
//!
//! ```sh
//! cargo run --example send -- cam2
//! ```
//!
//! In TouchDesigner: Shared Memory LOP, Receive, Buffer Name `cam2`, 640×360×4.

use gst::prelude::*;

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const RATE: u64 = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: send NAME")?;
    gst::init()?;
    // A program that does not link the plugin finds it by GST_PLUGIN_PATH and leaves this line out.
    gsttdlink::plugin_register_static()?;

    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgba, WIDTH as u32, HEIGHT as u32)
        .fps(gst::Fraction::new(RATE as i32, 1))
        .build()?;
    let source =
        gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).max_buffers(2).block(true).build();
    let sink = gst::ElementFactory::make("tdshmsink").property("shm-name", &name).build()?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), &sink])?;
    source.link(&sink)?;
    pipeline.set_state(gst::State::Playing)?;

    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    for number in 0u64.. {
        if let Some(error) = bus.pop_filtered(&[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = error.view()
        {
            return Err(error.error().into());
        }
        // The top row comes first: the sink turns the picture over for TouchDesigner by itself.
        let mut pixels = vec![0; WIDTH * HEIGHT * 4];
        for (index, pixel) in pixels.chunks_exact_mut(4).enumerate() {
            let (x, y) = (index % WIDTH, index / WIDTH);
            let wave = (x as u64 + number * 4) % 256;
            pixel.copy_from_slice(&[u8::try_from(wave)?, u8::try_from(y * 255 / HEIGHT)?, 128, 255]);
        }
        let mut buffer = gst::Buffer::from_mut_slice(pixels);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::SECOND.mul_div_floor(number, RATE));
            buffer.set_duration(gst::ClockTime::SECOND.mul_div_floor(1, RATE));
        }
        source.push_buffer(buffer)?;
    }
    Ok(())
}
