// SPDX-License-Identifier: MPL-2.0
//! `tdlink hz` and `tdlink bw`: how often frames come, and how many bytes that is.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::buffer::describe::pipeline;
use crate::buffer::picture::Picture;
use crate::buffer::source::{News, Source, Want};
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::Line;
use crate::measure::Meter;
use crate::output::Output;
use crate::seconds::whole_seconds;

/// How often there is an answer.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of `hz` and `bw`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The buffer
    pub name: String,
    /// End after so many seconds; else when it is interrupted
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    pub seconds: Option<u32>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Frames per second and their regularity.
    Rate,
    /// Bytes per second.
    Bytes,
}

/// Measures until it is enough.
pub fn run(args: Args, what: What, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return out.pipeline(&pipeline(
            &args.name,
            &args.geometry,
            Line::default().then("fpsdisplaysink").set("video-sink", "fakesink").set("text-overlay", false),
        )?);
    }
    let (mut source, _) = Source::open(&args.name, &args.geometry, Want::Times)?;
    let mut picture = Picture::blank(&source.desc())?;
    let (began, mut meter, mut seen) = (Instant::now(), Meter::default(), 0u64);
    let mut answer_at = began + EVERY;
    let ends = args.seconds.map(|seconds| began + Duration::from_secs(seconds.into()));
    loop {
        match source.next(answer_at, &mut picture)? {
            News::Frame { published, .. } => {
                seen += 1;
                meter.frame(published);
            }
            News::Changed => out.note(format_args!("frames are {} from now on", source.desc())),
            News::Gone(why) => return Err(Failure::Failed(format!("{:?}: {why}", args.name))),
            News::Nothing => {}
        }
        let now = Instant::now();
        if now < answer_at {
            continue;
        }
        answer(what, &mut meter, &source, seen, out)?;
        (answer_at, seen) = (now + EVERY, 0);
        if ends.is_some_and(|ends| now >= ends) {
            return Ok(());
        }
    }
}

fn answer(what: What, meter: &mut Meter, source: &Source, seen: u64, out: &mut Output) -> Result<(), Failure> {
    let (summary, losses) = (meter.take(), source.losses());
    let frame = source.desc().bytes().unwrap_or(0);
    let rate = summary.map_or(0.0, |summary| summary.rate);
    let bytes = rate * frame as f64;
    out.value(&json!({
        "frames": seen,
        "hz": rate,
        "least-ms": summary.map(|summary| summary.least),
        "most-ms": summary.map(|summary| summary.most),
        "jitter-ms": summary.map(|summary| summary.jitter),
        "frame-bytes": frame,
        "bytes-per-second": bytes,
        "skipped": losses.skipped,
        "torn": losses.torn,
    }))?;
    let lost = format!("{} skipped, {} torn", losses.skipped, losses.torn);
    match (what, summary) {
        (_, None) => out.line(format_args!("{seen} frames; {lost}")),
        (What::Rate, Some(summary)) => out.line(format_args!(
            "{:.2} Hz; {:.2} to {:.2} ms apart, jitter {:.2} ms; {lost}",
            summary.rate, summary.least, summary.most, summary.jitter
        )),
        (What::Bytes, Some(_)) => {
            out.line(format_args!("{:.1} MB/s; {rate:.2} frames of {frame} bytes a second; {lost}", bytes / 1e6))
        }
    }
}
