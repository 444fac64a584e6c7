// SPDX-License-Identifier: MPL-2.0
//! `tdlink testcard`: publishes a picture whose every fault can be told, or prints it as a shader.

use std::time::{Duration, Instant};

use serde_json::json;
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::pixels::Options;
use tdlink_core::protocol::control::{FrameSpec, Interrupt, Producer, ProducerOptions, Ratio, Stamps};
use tdlink_core::protocol::copy::{CopyThreads, FrameWriter};
use tdlink_core::segment::{Published, SegmentName, monotonic_ns};

use crate::buffer::describe::launched;
use crate::buffer::picture::{Picture, rgba};
use crate::card;
use crate::cli::{Corner, Order, Sample};
use crate::failure::Failure;
use crate::gstreamer::{Line, shown};
use crate::output::Output;
use crate::seconds::whole_seconds;

/// Arguments of `testcard`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The buffer that it is written to
    #[arg(long, value_name = "NAME", required_unless_present = "glsl")]
    pub to: Option<String>,
    /// Print the same card as a pixel shader for TouchDesigner's GLSL TOP, and do nothing else
    #[arg(long, conflicts_with = "to")]
    pub glsl: bool,
    /// Pixels per row
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u32).range(16..=16384))]
    pub width: u32,
    /// Rows
    #[arg(long, default_value_t = 720, value_parser = clap::value_parser!(u32).range(9..=16384))]
    pub height: u32,
    /// Frames per second
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub framerate: u32,
    /// Components per pixel
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=4))]
    pub channels: u8,
    /// Type of one component
    #[arg(long, value_name = "TYPE", default_value = "u8")]
    pub sample_type: Sample,
    /// Order of colour components
    #[arg(long, value_name = "ORDER", default_value = "rgba")]
    pub channel_order: Order,
    /// Where row 0 stands
    #[arg(long, default_value = "bottom-left")]
    pub origin: Corner,
    /// Slots: 1 is what TouchDesigner reads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub slots: u32,
    /// End after so many seconds; else when it is interrupted
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    pub seconds: Option<u32>,
    /// Take the name from a live producer
    #[arg(long)]
    pub takeover: bool,
}

/// Writes the card until it is enough.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let Some(to) = &args.to else { return out.text("the shader", &card::glsl::text()) };
    let (width, height) = (args.width, args.height);
    if out.is_print() {
        let caps = format!("video/x-raw,format=RGBA,width={width},height={height},framerate={}/1", args.framerate);
        let line = Line::default().then("videotestsrc").set("is-live", true).then(&caps);
        let line = line.then("tdshmsink").set("shm-name", to).set("slots", args.slots);
        return out.pipeline(&launched(&line));
    }
    let name = SegmentName::new(to).map_err(|error| Failure::Usage(error.to_string()))?;
    let sample: SampleType = args.sample_type.into();
    let order: ChannelOrder = args.channel_order.into();
    let format = PixelFormat::new(sample, args.channels, order)
        .ok_or_else(|| Failure::Usage(format!("--channels is {}; 3 or 4 can be", args.channels)))?;
    let origin: Origin = args.origin.into();
    let desc = FrameDesc { width, height, format, origin };
    let framerate = Ratio { num: args.framerate, den: 1 };
    let mut options = ProducerOptions::latest(args.slots);
    options.create.takeover = args.takeover;
    let interrupt = Interrupt::new();
    let stop = interrupt.clone();
    ctrlc::set_handler(move || stop.raise()).map_err(Failure::failed)?;
    let producer =
        Producer::create(&name, FrameSpec { framerate, ..FrameSpec::packed(desc) }, options, interrupt.clone());
    let producer = producer.map_err(Failure::failed)?;
    let (from, row) = (rgba(SampleType::F32), width as usize * 16);
    let mut writer = FrameWriter::new(desc, desc.row_bytes(), from, Options::default(), CopyThreads::new(0))
        .map_err(Failure::failed)?;
    out.value(&json!({ "name": to, "width": width, "height": height, "format": format.to_string(), "framerate": args.framerate }))?;
    out.line(format_args!(
        "{to}: {desc} at {} Hz. In TouchDesigner: Shared Memory LOP, Receive, Buffer Name {to}, {width}×{height}×{}. \
         `{}` reads it back.",
        args.framerate,
        args.channels,
        shown(&[], "tdlink doctor", std::slice::from_ref(to))
    ))?;
    let (began, every) = (Instant::now(), Duration::from_secs(1) / args.framerate);
    let mut number = 0u32;
    let mut picture = floats(width, height, 0);
    while !interrupt.is_raised() && args.seconds.is_none_or(|seconds| began.elapsed().as_secs() < u64::from(seconds)) {
        if producer.tend().map_err(Failure::failed)?.names == Published::TakenByOther {
            return Err(Failure::Failed(format!("another program has taken the name {to:?}")));
        }
        renumber(&mut picture, number as u16);
        if let Some(slot) = producer.acquire(0).map_err(Failure::failed)? {
            writer.write(slot.segment(), slot.offset(), &picture.bytes, row).map_err(Failure::failed)?;
            let stamps = Stamps {
                pts: Some(monotonic_ns()),
                pts_on_clock: true,
                offset: Some(number.into()),
                ..Stamps::default()
            };
            slot.publish(stamps).map_err(Failure::failed)?;
        }
        number = number.wrapping_add(1);
        let due = began + every * number;
        interrupt.waiter().wait_until(due);
    }
    Ok(())
}

/// The card as floats.
fn floats(width: u32, height: u32, number: u16) -> Picture {
    let bytes = card::draw(width, height, number).into_iter().flatten().flat_map(f32::to_le_bytes).collect();
    Picture { width, height, format: rgba(SampleType::F32), bytes }
}

/// Writes another number into the card; everything else stays as it is.
fn renumber(picture: &mut Picture, number: u16) {
    let row_bytes = picture.row_bytes();
    let row: Vec<u8> = (0..picture.width)
        .flat_map(|x| card::cell(x * card::COLUMNS / picture.width, card::NUMBER_ROW, number))
        .flat_map(f32::to_le_bytes)
        .collect();
    for y in 0..picture.height {
        if y * card::ROWS / picture.height == card::NUMBER_ROW {
            let at = y as usize * row_bytes;
            picture.bytes[at..at + row_bytes].copy_from_slice(&row);
        }
    }
}
