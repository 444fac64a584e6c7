// SPDX-License-Identifier: MPL-2.0
//! The elements beside what people write by hand in Python (`benches/by_hand.py`): both halves in one run.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::demo::Stage;
use crate::run::{self, Companion, Outcome, Trouble, say};
use crate::{demo, fail};

/// Sizes, and how many frames of each are sent as fast as it goes.
const SIZES: [(&str, usize, usize, u32); 2] = [("1080p", 1920, 1080, 1500), ("4K", 3840, 2160, 400)];
const FPS: u32 = 60;
/// How long a receiver is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Bytes that a receiver prints for each frame: one RGBA pixel of each of 64 rows.
const SAMPLE: usize = 64 * 4;

/// What one frame cost.
struct Cost {
    who: &'static str,
    per_second: f64,
    cpu_ms: f64,
    /// Frames that were not whole, of how many.
    torn: Option<(usize, usize)>,
}

pub fn run() -> Outcome {
    let stage = demo::prepare()?;
    let mut report = String::new();
    for (size, width, height, frames) in SIZES {
        let (w, h) = (width.to_string(), height.to_string());
        let memcpy = run::ask(python(&stage).args(["memcpy", &w, &h]));
        let memcpy: f64 = memcpy.and_then(|ms| ms.parse().ok()).ok_or_else(|| Trouble::Machine("no memcpy".into()))?;
        let sends = [send_ours(&stage, width, height, frames)?, send_python(&stage, width, height, frames)?];
        let receives = [
            receive(&stage, "tdshmsrc", width, height, |name| ours(&stage, name, width, height))?,
            receive(&stage, "Python", width, height, |name| {
                let mut command = python(&stage);
                command.args(["receive", name, &w, &h, &FPS.to_string()]);
                command
            })?,
        ];
        report += &format!("\n{size}: one memcpy of a frame takes {memcpy:.3} ms of CPU\n");
        for (title, costs) in
            [("send, as fast as it goes", &sends), ("receive, 60 a second from a writer of 60", &receives)]
        {
            report +=
                &format!("  {title:<42} {:>9} {:>12} {:>9} {:>11}\n", "frames/s", "CPU ms/frame", "× memcpy", "torn");
            for cost in costs {
                let torn = cost.torn.map_or(String::new(), |(torn, of)| format!("{torn} of {of}"));
                let ratio = cost.cpu_ms / memcpy;
                report += &format!(
                    "    {:<40} {:>9.1} {:>12.3} {ratio:>9.2} {torn:>11}\n",
                    cost.who, cost.per_second, cost.cpu_ms
                );
            }
        }
    }
    println!("{report}");
    println!("CPU is all of the process: the rest of the pipeline, the interpreter and the kernel are in it.");
    Ok(())
}

fn python(stage: &Stage) -> Command {
    let mut command = Command::new(stage.interpreter());
    command.arg("benches/by_hand.py").current_dir(run::root());
    // Python looks for its own plugins only; ours must not be in its way.
    command.env("GST_REGISTRY", stage.path("registry-python.bin"));
    command
}

fn name(what: &str) -> String {
    format!("tdlink-bench-{}-{what}", std::process::id())
}

fn send_ours(stage: &Stage, width: usize, height: usize, frames: u32) -> Outcome<Cost> {
    let line = |frames: u32| {
        let line = format!(
            "-q videotestsrc num-buffers=1 pattern=snow ! video/x-raw,format=RGBA,width={width},height={height},framerate=60/1 \
             ! imagefreeze num-buffers={frames} ! tdshmsink sync=false shm-name={}",
            name("send")
        );
        stage.launch(&line, &PathBuf::new())
    };
    difference("tdshmsink", frames, line)
}

fn send_python(stage: &Stage, width: usize, height: usize, frames: u32) -> Outcome<Cost> {
    let size = [width.to_string(), height.to_string()];
    difference("appsink, numpy, SharedMemory", frames, |frames| {
        let mut command = python(stage);
        command.args(["send", &name("hand")]).args(&size).arg(frames.to_string());
        command
    })
}

/// Runs a command for few frames and for many: the difference is the frames, without start and end.
fn difference(who: &'static str, frames: u32, command: impl Fn(u32) -> Command) -> Outcome<Cost> {
    let few = frames / 10;
    let (short, long) = (times(&command(few))?, times(&command(frames))?);
    let count = f64::from(frames - few);
    Ok(Cost { who, per_second: count / (long.0 - short.0), cpu_ms: (long.1 - short.1) * 1e3 / count, torn: None })
}

/// Seconds of wall clock and of processor that a command takes: the shell's `times` adds up its children.
fn times(command: &Command) -> Outcome<(f64, f64)> {
    say(format_args!("$ {}", run::shown(command)));
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\" >/dev/null || exit; times", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(run::root());
    let begin = Instant::now();
    let output = shell.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let wall = begin.elapsed().as_secs_f64();
    let output = output.map_err(|err| Trouble::Machine(format!("sh: {err}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = |word: &str| {
        let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let children = text.lines().last().and_then(|line| line.split(' ').map(seconds).sum::<Option<f64>>());
    match children {
        Some(cpu) if output.status.success() => Ok((wall, cpu)),
        _ => fail!("{}: {}", run::shown(command), output.status),
    }
}

fn ours(stage: &Stage, name: &str, width: usize, height: usize) -> Command {
    let line = format!(
        "-q tdshmsrc shm-name={name} width={width} height={height} channels=4 framerate={FPS}/1 \
         ! videoscale method=nearest-neighbour add-borders=false ! video/x-raw,width=1,height=64 \
         ! videoconvert ! video/x-raw,format=RGBA ! fdsink fd=1 sync=false"
    );
    stage.launch(&line, &PathBuf::new())
}

/// Watches a receiver for a while beside a writer.
fn receive(
    stage: &Stage,
    who: &'static str,
    width: usize,
    height: usize,
    command: impl Fn(&str) -> Command,
) -> Outcome<Cost> {
    let name = name("receive");
    let mut write = python(stage);
    write.args(["write", &name, &width.to_string(), &height.to_string(), &FPS.to_string()]);
    let mut writer = Companion::start("the writer", &write)?;
    writer.wait_for("writing", Duration::from_secs(20))?;

    let mut command = command(&name);
    say(format_args!("$ {}", run::shown(&command)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|err| Trouble::Machine(format!("{who}: {err}")))?;
    let watched = child.stdout.take().map(|mut pipe| {
        // A second to start; then the frames and the processor's time of the same span.
        let mut sample = [0; SAMPLE];
        for _ in 0..FPS {
            pipe.read_exact(&mut sample).ok()?;
        }
        let (begin, before) = (Instant::now(), cpu_seconds(child.id())?);
        let (mut frames, mut torn) = (0, 0);
        while begin.elapsed() < WATCHED {
            pipe.read_exact(&mut sample).ok()?;
            frames += 1;
            torn += usize::from(sample.chunks_exact(4).any(|row| row != &sample[..4]));
        }
        Some((frames, torn, begin.elapsed().as_secs_f64(), cpu_seconds(child.id())? - before))
    });
    let _ = child.kill();
    let _ = child.wait();
    writer.interrupt();
    writer.finish(Duration::from_secs(10))?;
    let Some((frames, torn, seconds, cpu)) = watched.flatten() else { fail!("{who} ended while it was watched") };
    let count = f64::from(u32::try_from(frames).unwrap_or(u32::MAX));
    Ok(Cost { who, per_second: count / seconds, cpu_ms: cpu * 1e3 / count, torn: Some((torn, frames)) })
}

/// User and system time of a process so far, all its threads: fields 14 and 15 of its stat, in hundredths of a second.
fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}
