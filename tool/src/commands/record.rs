// SPDX-License-Identifier: MPL-2.0
//! `tdlink record`: buffers into a file that plays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::json;
use tdlink_core::discover::{Look, Protocol, all};

use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{
    Codec, Counts, Ended, GStreamer, Run, Why, Wire, audio, hear_stop, missing, rate, shown, size, sound, stopped,
};
use crate::output::Output;
use crate::seconds::{some_seconds, whole_seconds};

mod alpha;
mod container;
mod pipeline;

use alpha::Lost;
use container::Container;
use pipeline::Plan;

/// How often a buffer is looked at while it is recorded.
const LOOK_AFTER: Duration = Duration::from_millis(200);
/// How many times in a row a buffer must be found without a producer.
const LOOKS: u32 = 3;
/// How often the processes that have a buffer open are looked for, which reads much of /proc.
const PROCESSES_AFTER: Duration = Duration::from_secs(1);
/// How many times in a row nobody else must have it open.
const ALONE: u32 = 2;

/// What becomes of a change of size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnResize {
    /// The new picture fits into the old size, with black beside or above it
    Letterbox,
    /// The next part begins, in the new size; for the fifth of a second until then the picture is letterboxed
    Split,
}

/// Arguments of `record`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file plays even if the recorder or the machine dies: at most the last 2 seconds are missing (mp4 and mov are written in \
fragments and put in order at the end; mkv needs no end). When tdlink is killed, its pipeline ends with \
it, in order where the system knows such a thing (not on Windows).
When the producer goes, the file is finished. When it comes back, the next part begins: FILE-002 and so on. While it stands \
still, its last picture is repeated.
Several buffers of one recording have one time base. With {name} in FILE each gets a file of its own; else they are tracks \
of one file, of which many players show the first. The next part begins when all of them have gone and come back.")]
pub struct Args {
    /// Names of buffers
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The file: .mp4, .mov or .mkv
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Ends after this many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = some_seconds)]
    pub duration: Option<f64>,
    /// Frames a second, 60 or 30000/1001; else the producer's, or 60
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub fps: Option<(u32, u32)>,
    /// Size of the recording; else that of the first frame
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub size: Option<(u32, u32)>,
    /// How pictures are compressed; else h264, with --alpha prores in mov and ffv1 in mkv
    #[arg(long)]
    pub codec: Option<Codec>,
    /// This encoder and no other, by its GStreamer name
    #[arg(long, value_name = "ELEMENT")]
    pub encoder: Option<String>,
    /// Bits of a component: 8, 10 or 12
    #[arg(long)]
    pub depth: Option<u8>,
    /// Keeps transparency (prores, ffv1)
    #[arg(long)]
    pub alpha: bool,
    /// Kilobits a second; else by size and rate
    #[arg(long, value_name = "KBPS", value_parser = clap::value_parser!(u32).range(50..))]
    pub bitrate: Option<u32>,
    /// Sound: auto (the system's, if there is any), td (TouchDesigner's own, on Windows), system, tone (a test), none, or a
    /// device's name, after "device:" if it is a mere word
    #[arg(long, default_value = "auto", value_name = "SOURCE", value_parser = audio)]
    pub audio: String,
    /// What becomes of a change of size
    #[arg(long, default_value = "letterbox")]
    pub on_resize: OnResize,
    /// Ends when the producer goes
    #[arg(long)]
    pub once: bool,
    /// Gives up after this many seconds without a producer; 0 waits for ever
    #[arg(long, default_value_t = 0, value_name = "SECONDS", value_parser = whole_seconds)]
    pub timeout: u32,
    /// Fails if a single frame was skipped, torn or overwritten
    #[arg(long)]
    pub strict: bool,
    /// Takes each frame once, by its number and not by the clock, and makes a lossless producer wait (tdlink.py's
    /// publish(block=True)); without sound
    #[arg(long, conflicts_with = "audio")]
    pub offline: bool,
    /// Writes over a file that is there
    #[arg(long)]
    pub overwrite: bool,
    /// Of raw buffers
    #[command(flatten)]
    pub geometry: Geometry,
}

/// What all parts together come to.
#[derive(Debug, Default)]
struct Sum {
    parts: Vec<PathBuf>,
    counts: BTreeMap<String, Counts>,
    frames: u64,
}

/// Records.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let container = Container::of(&args.output)?;
    let gstreamer = GStreamer::with_plugin()?;
    container.check(&gstreamer)?;
    hear_stop()?;
    let Some(wires) = all_there(&args, out)? else { return Ok(()) };
    let sound = if args.offline { Err("--offline has none".into()) } else { sound(&gstreamer, &args.audio)? };
    let mut plan = Plan::new(&gstreamer, &args, container, sound, &wires)?;
    if out.is_print() {
        let line = plan.line(&args, &wires, &args.output, None);
        return out.pipeline(&shown(&gstreamer.settings(), "gst-launch-1.0 -e", line.words()));
    }
    plan.refuse_what_is_there(&args, &args.output)?;
    plan.say(&args, &wires, out);
    let mut sum = Sum::default();
    let lost = Lost::look(&args, &wires);
    let recorded = record(&gstreamer, &args, &mut plan, (wires, &lost), &mut sum, out);
    lost.tell_all(out);
    close(&args, &plan, &sum, out)?;
    recorded?;
    let lost: u64 = sum.counts.values().map(Counts::lost).sum();
    if args.strict && lost > 0 {
        return Err(Failure::Failed(format!(
            "--strict: {lost} frames are not in the file; a lower rate or size, a faster encoder, or --offline with a producer \
             that waits would take all"
        )));
    }
    Ok(())
}

/// All buffers, once they are there. `None` when we are asked to stop before.
fn all_there(args: &Args, out: &Output) -> Result<Option<Vec<Wire>>, Failure> {
    let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout.into()));
    let mut wires = Vec::new();
    for name in &args.names {
        if out.is_print() {
            // What would be recorded is said of what is there.
            wires.push(Wire::look(name, &args.geometry)?.ok_or_else(|| Failure::NotFound(missing(name)))?);
        } else {
            match Wire::await_one(name, &args.geometry, patience, out)? {
                Some(wire) => wires.push(wire),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(wires))
}

/// Part after part.
fn record(
    gstreamer: &GStreamer,
    args: &Args,
    plan: &mut Plan,
    (mut wires, lost): (Vec<Wire>, &Lost),
    sum: &mut Sum,
    out: &Output,
) -> Result<(), Failure> {
    let wanted = args.duration.map(|seconds| plan.frames_in(seconds));
    let mut number = 1;
    loop {
        // The first part's file was found free before; of a later part nobody wished for a certain number.
        while number > 1 && plan.refuse_what_is_there(args, &container::part(&args.output, number)).is_err() {
            number += 1;
        }
        let file = container::part(&args.output, number);
        let left = wanted.map(|wanted| wanted.saturating_sub(sum.frames));
        let line = plan.line(args, &wires, &file, left);
        let run = Run { gstreamer, line: &line, names: &args.names, address: None, frames: left, lasts: None };
        let mut after = After::new(&wires);
        let outcome = run.run(out, |ours, counts| {
            lost.tell(out);
            progress(counts, plan, sum, out);
            after.look(args, ours)
        })?;
        let first = outcome.counts.get("src0").copied().unwrap_or_default();
        if let Ended::Badly(why) = &outcome.ended
            && first.passed() == 0
            && plan.next_encoder()
        {
            out.note(format_args!("{why}; trying {}", plan.encoder()));
            // This attempt's own: it was free, or is written over.
            remove(plan.files(args, &file), |_| true)?;
            continue;
        }
        number += 1;
        // Of a part that did not begin.
        remove(plan.files(args, &file), |file| file.metadata().is_ok_and(|found| found.len() == 0))?;
        sum.parts.extend(plan.files(args, &file).into_iter().filter(|file| file.exists()));
        sum.frames += first.passed();
        for (element, counts) in outcome.counts {
            let name = element.strip_prefix("src").and_then(|at| wires.get(at.parse::<usize>().ok()?));
            let sum = sum.counts.entry(name.map_or(element.clone(), |wire| wire.name.clone())).or_default();
            *sum = sum.and(counts);
        }
        match outcome.ended {
            Ended::Badly(why) => return Err(Failure::Failed(why)),
            Ended::Killed => {
                return Err(Failure::Failed(
                    "the pipeline did not end in time and was killed; the file plays up to its last second or two"
                        .into(),
                ));
            }
            Ended::Well => {}
        }
        let over = args.once && outcome.why != Some(Why::Asked);
        if over || stopped() || wanted.is_some_and(|wanted| sum.frames >= wanted) {
            return Ok(());
        }
        let Some(back) = all_there(args, out)? else { return Ok(()) };
        wires = back;
        if args.on_resize == OnResize::Split {
            plan.take_sizes(args, &wires);
        }
    }
}

/// Removes the files that `of` says so of and that are there.
fn remove(files: Vec<PathBuf>, of: impl Fn(&Path) -> bool) -> Result<(), Failure> {
    for file in files.iter().filter(|file| file.exists() && of(file)) {
        std::fs::remove_file(file).map_err(|err| Failure::Failed(format!("{}: {err}", file.display())))?;
    }
    Ok(())
}

/// Buffers of a part that runs: whether their producers and their sizes are still the same.
struct After<'a> {
    wires: &'a [Wire],
    next: Instant,
    missed: u32,
    next_processes: Instant,
    /// Of each buffer, in how many looks at the processes in a row it had no producer.
    alone: Vec<u32>,
}

impl<'a> After<'a> {
    fn new(wires: &'a [Wire]) -> Self {
        let now = Instant::now();
        let (next, next_processes) = (now + LOOK_AFTER, now + PROCESSES_AFTER);
        Self { wires, next, missed: 0, next_processes, alone: vec![0; wires.len()] }
    }

    fn look(&mut self, args: &Args, ours: u32) -> Option<Why> {
        if Instant::now() < self.next {
            return None;
        }
        self.next = Instant::now() + LOOK_AFTER;
        let look = |wire: &Wire| Wire::look_for(&wire.name, &args.geometry, Look::Segments).ok().flatten();
        let now: Vec<Option<Wire>> = self.wires.iter().map(look).collect();
        // Of these nobody but the list of who has them open says that their program is no more.
        let unsaid = |wire: &Wire| matches!(wire.protocol, Protocol::Raw | Protocol::Touch);
        if Instant::now() >= self.next_processes && self.wires.iter().any(unsaid) {
            self.next_processes = Instant::now() + PROCESSES_AFTER;
            // /proc is read once for all of them.
            let there = all(Look::Processes);
            for (wire, alone) in self.wires.iter().zip(&mut self.alone).filter(|(wire, _)| unsaid(wire)) {
                *alone = if wire.is_among(&there, ours) { 0 } else { *alone + 1 };
            }
        }
        let gone = now.iter().zip(&self.alone).all(|(now, alone)| now.is_none() || *alone >= ALONE);
        self.missed = if gone { self.missed + 1 } else { 0 };
        if self.missed >= LOOKS {
            return Some(Why::Gone);
        }
        let resized = now
            .iter()
            .zip(self.wires)
            .any(|(now, then)| now.as_ref().is_some_and(|now| (now.width, now.height) != (then.width, then.height)));
        (resized && args.on_resize == OnResize::Split).then_some(Why::Asked)
    }
}

/// A line that is written over, for who looks on.
fn progress(counts: &BTreeMap<String, Counts>, plan: &Plan, sum: &Sum, out: &Output) {
    if out.is_terminal()
        && let Some(first) = counts.get("src0")
    {
        let passed = sum.frames + first.passed();
        out.progress(format_args!("{:.0} s, {}", plan.seconds(passed), first.words()));
    }
}

fn close(args: &Args, plan: &Plan, sum: &Sum, out: &mut Output) -> Result<(), Failure> {
    for name in &args.names {
        let counts = sum.counts.get(name).copied().unwrap_or_default();
        out.line(format_args!("{name}: {:.1} s, {}", plan.seconds(counts.passed()), counts.words()))?;
    }
    for file in &sum.parts {
        out.line(format_args!("{}: {}", file.display(), size_of(file)))?;
    }
    let buffers: BTreeMap<&String, _> = sum.counts.iter().map(|(name, counts)| (name, counts.value())).collect();
    let files: Vec<String> = sum.parts.iter().map(|file| file.display().to_string()).collect();
    out.value(&json!({
        "files": files,
        "encoder": plan.encoder(),
        "seconds": plan.seconds(sum.frames),
        "buffers": buffers,
    }))
}

fn size_of(file: &Path) -> String {
    match file.metadata() {
        Ok(found) => bytes(found.len()),
        Err(err) => err.to_string(),
    }
}

/// A size for people.
fn bytes(len: u64) -> String {
    match len {
        0..1000 => format!("{len} bytes"),
        1000..100_000 => format!("{:.1} kB", len as f64 / 1e3),
        _ => format!("{:.1} MB", len as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn no_file_that_has_something_in_it_is_said_to_be_empty() {
        let said = [0, 999, 1000, 49_999, 100_000, 12_345_678].map(bytes);
        assert_eq!(said, ["0 bytes", "999 bytes", "1.0 kB", "50.0 kB", "0.1 MB", "12.3 MB"]);
    }
}
