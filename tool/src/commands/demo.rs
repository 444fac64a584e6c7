// SPDX-License-Identifier: MPL-2.0
//! `tdlink demo`: there and back, without TouchDesigner: a test picture through a buffer into a film, and the film into a
//! buffer again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::Geometry;
use crate::commands::record;
use crate::failure::Failure;
use crate::gstreamer::{Child, Ended, GStreamer, Line, Run, Wire, hear_stop, shown, whole};
use crate::output::Output;
use crate::seconds::some_seconds;

/// How long a program may take to begin.
const TO_BEGIN: Duration = Duration::from_secs(20);
/// How long it may take to end.
const TO_END: Duration = Duration::from_secs(20);
/// Frames of the film that must come out of the buffer again.
const BACK: u64 = 60;

/// Arguments of `demo`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the film goes
    #[arg(short, long, value_name = "FILE", default_value = "tdlink-demo.mp4")]
    pub output: PathBuf,
    /// Seconds of it
    #[arg(short, long, default_value_t = 5.0, value_name = "SECONDS", value_parser = some_seconds)]
    pub duration: f64,
}

/// Shows what it is.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let gstreamer = GStreamer::with_plugin()?;
    hear_stop()?;
    let name = format!("tdlink-demo-{}", std::process::id());
    let sender = sender(&gstreamer, &name);
    if out.is_print() {
        return out.pipeline(&shown(&gstreamer.settings(), "gst-launch-1.0 -e", sender.words()));
    }
    out.note(format_args!("{}", gstreamer.describe()));
    out.note(format_args!("1. a moving picture goes into the buffer \"{name}\", where TouchDesigner's would be"));
    let child = Child::launch(&gstreamer, sender.words())?;
    let shown = there_and_back(&args, &gstreamer, &name, child, out);
    shown.map(drop)
}

/// A ball that moves, with the time in it where GStreamer can write.
fn sender(gstreamer: &GStreamer, name: &str) -> Line {
    let line = Line::default().then("videotestsrc").set("is-live", true).set("pattern", "ball");
    let line = line.then("video/x-raw,format=RGBA,width=1280,height=720,framerate=60/1");
    let line = if gstreamer.elements.has("timeoverlay") { line.then("timeoverlay") } else { line };
    line.then("tdshmsink").set("shm-name", name).set("slots", 4)
}

fn there_and_back(
    args: &Args,
    gstreamer: &GStreamer,
    name: &str,
    mut sender: Child,
    out: &mut Output,
) -> Result<(), Failure> {
    appears(name, &mut sender)?;
    out.note(format_args!("2. it is recorded, as \"tdlink record {name} -o {}\" does", args.output.display()));
    let recorded = record::run(record_args(args, name), out);
    sender.interrupt();
    let ended = sender.end(TO_END, |_| ());
    recorded?;
    well(ended)?;
    out.note("3. the film goes into a buffer again, and out of it come its frames");
    let file = whole(&args.output).map_err(|err| Failure::Failed(format!("{}: {err}", args.output.display())))?;
    let film = Line::default().then("filesrc").file("location", &file).then("decodebin").then("videoconvert");
    let film = film.then("video/x-raw,format=RGBA").then("tdshmsink").set("shm-name", name);
    let mut player = Child::launch(gstreamer, film.words())?;
    let wire = appears(name, &mut player)?;
    let back =
        wire.source(&Geometry::default()).set("name", "src0").set("num-buffers", BACK).set("on-disconnect", "eos");
    let back = back.then("fakesink");
    let reader = Run { gstreamer, line: &back, names: &[], address: None, frames: None, lasts: Some(TO_BEGIN) };
    let outcome = reader.run(out, |_, _| None)?;
    player.interrupt();
    well(player.end(TO_END, |_| ()))?;
    well(outcome.ended)?;
    let counts = outcome.counts.get("src0").copied().unwrap_or_default();
    if counts.passed() < BACK {
        return Err(Failure::Failed(format!("only {} of {BACK} frames came back", counts.passed())));
    }
    out.line(format_args!("{} plays. {} frames of it came out of a buffer again.", file.display(), counts.passed()))?;
    out.value(&json!({ "file": file, "back": counts.value() }))
}

fn record_args(args: &Args, name: &str) -> record::Args {
    record::Args {
        names: vec![name.to_owned()],
        output: args.output.clone(),
        duration: Some(args.duration),
        fps: None,
        size: None,
        codec: None,
        encoder: None,
        depth: None,
        alpha: false,
        bitrate: None,
        audio: "none".into(),
        on_resize: record::OnResize::Letterbox,
        once: true,
        timeout: 0,
        strict: false,
        offline: false,
        overwrite: true,
        geometry: Geometry::default(),
    }
}

fn well(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Well => Ok(()),
        Ended::Badly(why) => Err(Failure::Failed(why)),
        Ended::Killed => Err(Failure::Failed("a pipeline did not end in time and was killed".into())),
    }
}

/// Waits until what `child` sends is there.
fn appears(name: &str, child: &mut Child) -> Result<Wire, Failure> {
    let began = Instant::now();
    while began.elapsed() < TO_BEGIN && !child.has_ended() {
        if let Some(wire) = Wire::look(name, &Geometry::default())? {
            return Ok(wire);
        }
        child.hear(Duration::from_millis(50));
    }
    Err(Failure::Failed(format!("no picture came into \"{name}\"; run \"tdlink doctor\"")))
}
