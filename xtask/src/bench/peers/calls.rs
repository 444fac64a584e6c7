// SPDX-License-Identifier: MPL-2.0
//! Calls of the driver for each frame, which the emulated one counts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::contestants::{Contestant, Mode, Size};
use super::pair::{self, Case, Spans, Tool};
use crate::run::{Outcome, Trouble, say};

/// A short run and a long one: what both need to start and to end does not count.
const WINDOWS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(2500)];

/// Calls by name.
type Counts = BTreeMap<String, f64>;

/// A table of the calls of both ends together.
pub fn table(size: Size, here: &[&'static Contestant], tool: &Tool) -> Outcome<String> {
    say("counting calls of the driver:");
    let mut text = String::from("## Calls of the driver for each frame, both ends, at 60 frames a second\n\n");
    text += "| | all | copies and kernels | waits of a processor | opens and closes of shared memory |\n";
    text += "| --- | --: | --: | --: | --: |\n";
    for one in here {
        match per_frame(one, size, tool)? {
            Ok(counts) => {
                let all = counts.values().sum::<f64>();
                let of = |part: fn(&str) -> bool| {
                    counts.iter().filter(|(name, _)| part(name)).map(|(_, count)| count).sum::<f64>()
                };
                let copies = of(|name| name.contains("Memcpy") || name == "cuLaunchKernel");
                let waits = of(|name| name.ends_with("Synchronize"));
                let opens = of(|name| {
                    ["OpenMemHandle", "CloseMemHandle", "ImportFromShareableHandle", "cuMemMap", "cuMemUnmap"]
                        .iter()
                        .any(|part| name.contains(part))
                });
                let row = format!("| {} | {all:.1} | {copies:.1} | {waits:.1} | {opens:.1} |", one.name);
                say(format_args!("  {row}"));
                let _ = writeln!(text, "{row}");
            }
            Err(why) => {
                let _ = writeln!(text, "| {} | did not run: {why} | | | |", one.name);
            }
        }
    }
    Ok(text)
}

fn per_frame(one: &Contestant, size: Size, tool: &Tool) -> Outcome<Result<Counts, String>> {
    let case = Case { size, receivers: 1, mode: Mode::Paced };
    let mut ends = Vec::new();
    for window in WINDOWS {
        let folder = tool.folder.join("calls");
        let trouble = |err: std::io::Error| Trouble::Machine(format!("{}: {err}", folder.display()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(trouble)?;
        }
        std::fs::create_dir_all(&folder).map_err(trouble)?;
        let pattern = folder.join("calls.%p").display().to_string();
        let inside = tool.inside.as_ref().map(|newer| newer.with("EMULATED_CUDA_STATS", pattern));
        let tool = Tool { program: tool.program.clone(), folder: tool.folder.clone(), inside };
        let spans = Spans { warm: Duration::from_millis(300), flat_out: window, paced: window };
        match pair::run(one, case, spans, &tool) {
            Ok(sample) => ends.push((sample.sent * window.as_secs_f64(), counted(&folder).map_err(trouble)?)),
            Err(why) => return Ok(Err(why)),
        }
    }
    let [(few, before), (many, after)] = &ends[..] else { return Ok(Err("it did not run twice".into())) };
    let frames = many - few;
    let rise = |(name, count): (&String, &f64)| {
        (name.clone(), (count - before.get(name).copied().unwrap_or(0.0)).max(0.0) / frames.max(1.0))
    };
    Ok(Ok(after.iter().map(rise).collect()))
}

/// What all processes of a run have counted.
fn counted(folder: &Path) -> std::io::Result<Counts> {
    let mut counts = Counts::new();
    for file in std::fs::read_dir(folder)? {
        add(&mut counts, &std::fs::read_to_string(file?.path())?);
    }
    Ok(counts)
}

fn add(counts: &mut Counts, text: &str) {
    for (name, count) in text.lines().filter_map(|line| line.split_once(' ')) {
        if let (false, Ok(count)) = (name.contains(':'), count.parse::<f64>()) {
            *counts.entry(name.to_string()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_both_ends_are_added_and_what_is_left_is_no_call() {
        let mut counts = Counts::new();
        add(&mut counts, "cuInit 1\ncuEventRecord 60\nliving:memory 3\n");
        add(&mut counts, "cuEventRecord 2\nnonsense\n");
        assert_eq!(counts, Counts::from([("cuInit".into(), 1.0), ("cuEventRecord".into(), 62.0)]));
    }
}
