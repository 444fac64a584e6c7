// SPDX-License-Identifier: MPL-2.0
//! `tdlink bench`: what this machine can do, in about a minute.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{
    Child, Codec, Ended, GStreamer, Line, Run, Said, Trouble, Wire, Wish, encoders, hear_stop, package, stopped,
};
use crate::output::Output;

/// Sizes of pictures that are handed over.
const SIZES: [(u32, u32, &str); 3] = [(1280, 720, "720p"), (1920, 1080, "1080p"), (3840, 2160, "2160p")];
/// How long they are counted.
const COUNTED: Duration = Duration::from_secs(4);
/// Pictures that an encoder is given.
const PICTURES: u32 = 60;
/// How long it may take for them.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it all may take, but for what has begun: less than a minute.
const ALL: Duration = Duration::from_secs(50);
/// How long a sender may take to begin.
const TO_BEGIN: Duration = Duration::from_secs(20);

/// Arguments of `bench`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Measures how many frames a second go from process to process through a ring, RGBA, one reader that looks at none of them, and \
how many 1080p pictures a second each encoder of this machine makes with the settings of \"tdlink record\". Other programs that \
run meanwhile make all of it slower.")]
pub struct Args {
    /// Where the plot goes
    #[arg(short, long, value_name = "FILE", default_value = "tdlink-bench.svg")]
    pub output: PathBuf,
}

/// One measurement.
#[derive(Debug)]
struct Bar {
    what: String,
    a_second: f64,
}

/// Measures.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return Err(Failure::Usage("bench is many pipelines, one after the other; leave --print out".into()));
    }
    let gstreamer = GStreamer::with_plugin()?;
    let deadline = Instant::now() + ALL;
    if !gstreamer.elements.has("imagefreeze") {
        return Err(Trouble::Lacks { what: "imagefreeze".into(), package: package("videobox") }.into());
    }
    hear_stop()?;
    out.note(format_args!("{}; this takes about a minute", gstreamer.describe()));
    let mut bars = Vec::new();
    for (width, height, word) in SIZES {
        let a_second = handed_over(&gstreamer, width, height, out)?;
        bar(&mut bars, format!("ring, {word} RGBA"), a_second, out)?;
        if stopped() {
            return Ok(());
        }
    }
    for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
        let wish = Wish { codec, depth: 8, alpha: false, live: false, kbps: 12_000, keyframes: 60, fps: 60 };
        // A codec without an encoder is no failure of what is measured.
        for encoder in encoders(&gstreamer, &wish, None).unwrap_or_default() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                out.note(format_args!("{}: not measured, the minute is over", encoder.name));
                continue;
            }
            match encoded(&gstreamer, encoder.format, encoder.line, PATIENCE.min(left))? {
                Ok(a_second) => bar(&mut bars, format!("{} 1080p", encoder.name), a_second, out)?,
                Err(why) => out.note(format_args!("{}: {why}", encoder.name)),
            }
            if stopped() {
                return Ok(());
            }
        }
    }
    let title = format!("tdlink {} on {}", env!("CARGO_PKG_VERSION"), gstreamer.describe());
    std::fs::write(&args.output, plot(&title, &bars))
        .map_err(|err| Failure::Failed(format!("{}: {err}", args.output.display())))?;
    out.line(format_args!("plot: {}", args.output.display()))
}

fn bar(bars: &mut Vec<Bar>, what: String, a_second: f64, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!("{what:24} {a_second:10.1} a second"))?;
    out.value(&json!({ "what": what, "a_second": a_second }))?;
    bars.push(Bar { what, a_second });
    Ok(())
}

/// Frames a second from one process to another.
fn handed_over(gstreamer: &GStreamer, width: u32, height: u32, out: &Output) -> Result<f64, Failure> {
    let name = format!("tdlink-bench-{}", std::process::id());
    let caps = format!("video/x-raw,format=RGBA,width={width},height={height},framerate=60/1");
    let sender = Line::default().then("videotestsrc").set("num-buffers", 1).then(&caps).then("imagefreeze");
    let sender = sender.then("tdshmsink").set("shm-name", &name).set("slots", 4).set("sync", false);
    // Without -e: a picture that is sent for ever never comes to the end of its stream.
    let mut command = gstreamer.command("gst-launch-1.0");
    command.arg("-m").args(sender.words());
    let mut sender = Child::start(command)?;
    let began = Instant::now();
    let wire = loop {
        match Wire::look(&name, &Geometry::default())? {
            Some(wire) => break wire,
            None if sender.has_ended() || began.elapsed() >= TO_BEGIN => {
                return Err(Failure::Failed("the sender does not begin; run \"tdlink doctor\"".into()));
            }
            None => drop(sender.hear(Duration::from_millis(20))),
        }
    };
    let reader = wire.source(&Geometry::default()).set("name", "src0").set("pacing", "as-produced");
    let reader = reader.then("fakesink").set("sync", false);
    let run = Run { gstreamer, line: &reader, names: &[], address: None, frames: None, lasts: Some(COUNTED) };
    let outcome = run.run(out, |_, _| {
        // Nobody else reads what the sender prints.
        sender.hear(Duration::ZERO);
        None
    });
    sender.interrupt();
    sender.end(TO_BEGIN, |_| ());
    let outcome = outcome?;
    if let Ended::Badly(why) = outcome.ended {
        return Err(Failure::Failed(why));
    }
    let counts = outcome.counts.get("src0").copied().unwrap_or_default();
    Ok(counts.frames as f64 / COUNTED.as_secs_f64())
}

/// Pictures a second that an encoder makes, or why it makes none.
fn encoded(
    gstreamer: &GStreamer,
    format: &str,
    encoder: Line,
    patience: Duration,
) -> Result<Result<f64, String>, Failure> {
    let line = Line::default().then("videotestsrc").set("num-buffers", PICTURES).set("horizontal-speed", 4);
    let line = line.then(&format!("video/x-raw,format={format},width=1920,height=1080,framerate=60/1"));
    let line = line.through(encoder).then("fakesink").set("sync", false);
    let mut child = Child::launch(gstreamer, line.words())?;
    let begun = Instant::now();
    while !stopped() && !child.has_ended() && begun.elapsed() < patience {
        if let Some(Said::Eos) = child.hear(Duration::from_millis(20)) {
            let a_second = f64::from(PICTURES) / begun.elapsed().as_secs_f64();
            child.end(PATIENCE, |_| ());
            return Ok(Ok(a_second));
        }
    }
    if !child.has_ended() {
        // It is killed: what it would still write is of no use to anybody.
        return Ok(Err(format!("fewer than {:.0} pictures a second", f64::from(PICTURES) / patience.as_secs_f64())));
    }
    Ok(Err(match child.end(PATIENCE, |_| ()) {
        Ended::Badly(why) => why,
        Ended::Well | Ended::Killed => "it ended without a picture".into(),
    }))
}

/// A plot that every browser shows: bars on a logarithmic scale, 60 a second marked.
fn plot(title: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 190.0;
    const WIDE: f64 = 520.0;
    const STEP: usize = 26;
    let most = bars.iter().map(|bar| bar.a_second).fold(100.0, f64::max).log10().ceil();
    let x = |a_second: f64| LEFT + WIDE * a_second.max(1.0).log10() / most;
    let height = 70 + STEP * bars.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"820\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"820\" height=\"{height}\" fill=\"white\"/>\n<text x=\"10\" y=\"20\">{}</text>\n",
        escaped(title)
    );
    for (at, bar) in bars.iter().enumerate() {
        let y = 36 + STEP * at;
        let wide = x(bar.a_second) - LEFT;
        // Writing to a string never fails.
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{wide:.1}\" height=\"18\" \
             fill=\"#4477aa\"/><text x=\"{:.1}\" y=\"{}\">{:.0}</text>",
            y + 14,
            escaped(&bar.what),
            LEFT + wide + 5.0,
            y + 14,
            bar.a_second
        );
    }
    let (sixty, low) = (x(60.0), height - 30);
    let _ = writeln!(
        svg,
        "<line x1=\"{sixty:.1}\" y1=\"30\" x2=\"{sixty:.1}\" y2=\"{low}\" stroke=\"#cc3311\"/>\n<text x=\"{sixty:.1}\" \
         y=\"{}\" text-anchor=\"middle\">60 a second</text>\n</svg>",
        height - 12
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_bar_is_longer_and_names_are_escaped() {
        let bars = [Bar { what: "a<b".into(), a_second: 10.0 }, Bar { what: "c".into(), a_second: 1000.0 }];
        let svg = plot("t & u", &bars);
        assert!(svg.contains("a&lt;b") && svg.contains("t &amp; u"), "{svg}");
        let widths: Vec<f64> =
            svg.split("width=\"").skip(3).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        assert!(widths.len() == 2 && widths[1] > widths[0], "{widths:?}");
    }
}
