// SPDX-License-Identifier: MPL-2.0
//! `tdlink snapshot`: one frame as a PNG file.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use png::{BitDepth, ColorType};
use serde_json::json;
use tdlink_core::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};
use tdlink_core::pixels::{Alpha, Options};

use crate::buffer::describe::pipeline;
use crate::buffer::picture::Picture;
use crate::buffer::source::{News, Source, Want};
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::Line;
use crate::output::Output;
use crate::seconds::whole_seconds;

/// Arguments of `snapshot`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The buffer
    pub name: String,
    /// The file; `-` is the standard output
    #[arg(short, long, value_name = "FILE.png")]
    pub output: PathBuf,
    /// Keep alpha; else the picture is opaque
    #[arg(long)]
    pub alpha: bool,
    /// Wait so many seconds for a frame
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = whole_seconds)]
    pub timeout: u32,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Takes one frame and writes it.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let to_stdout = args.output.as_os_str() == "-";
    if out.is_print() {
        let rest = Line::default().then("videoconvert").then("pngenc").set("snapshot", true);
        let rest = if to_stdout { rest.then("fdsink") } else { rest.then("filesink").file("location", &args.output) };
        return out.pipeline(&pipeline(&args.name, &args.geometry, rest)?);
    }
    if to_stdout && out.is_json() {
        return Err(Failure::Usage(
            "the picture itself is no JSON: name a file after -o, or leave --json out".to_owned(),
        ));
    }
    let (mut source, found) = Source::open(&args.name, &args.geometry, Want::Pixels)?;
    let mut picture = Picture::blank(&source.desc())?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout.into());
    loop {
        match source.next(deadline, &mut picture)? {
            News::Frame { .. } => break,
            News::Changed => {}
            News::Gone(why) => return Err(Failure::Failed(format!("{:?}: {why}", args.name))),
            News::Nothing => {
                let seconds = args.timeout;
                return Err(Failure::Failed(format!(
                    "{:?} had no frame for {seconds} s: its producer is there and writes nothing (is TouchDesigner paused?)",
                    args.name
                )));
            }
        }
    }
    let (picture, colour, depth) = for_file(&picture, args.alpha)?;
    if to_stdout {
        encode(&picture, colour, depth, &mut stdout().lock())?;
        return Ok(());
    }
    let refused = |error| Failure::Failed(format!("{} cannot be written: {error}", args.output.display()));
    let mut file = BufWriter::new(File::create(&args.output).map_err(refused)?);
    encode(&picture, colour, depth, &mut file)?;
    file.flush().map_err(refused)?;
    let bits = if depth == BitDepth::Eight { 8 } else { 16 };
    out.value(&json!({
        "file": args.output.display().to_string(),
        "width": picture.width,
        "height": picture.height,
        "bits": bits,
        "alpha": colour == ColorType::Rgba,
        "name": found.name,
        "protocol": found.protocol().word(),
    }))?;
    out.line(format_args!("{}: {}×{}, {bits} bits", args.output.display(), picture.width, picture.height))
}

/// The pixels of a PNG file: 8 bits for 8 bits, else 16; grey for one component.
fn for_file(picture: &Picture, alpha: bool) -> Result<(Picture, ColorType, BitDepth), Failure> {
    let (sample, depth) = match picture.format.sample {
        SampleType::U8 => (SampleType::U8, BitDepth::Eight),
        SampleType::U16 | SampleType::F16 | SampleType::F32 => (SampleType::U16, BitDepth::Sixteen),
    };
    let (channels, colour) = match (picture.format.channels, alpha && picture.format.has_alpha()) {
        (_, true) => (4, ColorType::Rgba),
        (1, false) => (1, ColorType::Grayscale),
        (_, false) => (3, ColorType::Rgb),
    };
    let format = PixelFormat { sample, channels, order: ChannelOrder::Rgba, fourth: Fourth::Alpha };
    let options = Options { alpha: Alpha::Passthrough, ..Options::default() };
    Ok((picture.to(format, options)?, colour, depth))
}

fn encode(picture: &Picture, colour: ColorType, depth: BitDepth, to: &mut impl Write) -> Result<(), Failure> {
    let mut encoder = png::Encoder::new(to, picture.width, picture.height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(Failure::failed)?;
    let written = match depth {
        // The file's numbers are big-endian.
        BitDepth::Sixteen => {
            let swapped: Vec<u8> =
                picture.bytes.as_chunks::<2>().0.iter().flat_map(|[low, high]| [*high, *low]).collect();
            writer.write_image_data(&swapped)
        }
        _ => writer.write_image_data(&picture.bytes),
    };
    written.and_then(|()| writer.finish()).map_err(Failure::failed)
}
