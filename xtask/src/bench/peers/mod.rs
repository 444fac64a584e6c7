// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask bench peers`: our elements and other transports between two processes, taking turns in one run.
//! `cargo xtask bench cuda`: the same of those whose frames stay on a GPU, on the emulated driver.

mod calls;
mod contestants;
mod machine;
mod pair;
mod plot;
mod report;

use std::path::Path;
use std::time::Duration;

use crate::emulated::Newer;
use crate::run::{self, Outcome, Trouble, say};
pub use contestants::Group;
use contestants::{Contestant, MODES, Memory, Mode, SIZES, Size, Who};
pub use machine::date;
use pair::{Case, Spans, Tool};
use plot::{Bar, Panel, Plot, Row};
use report::{Entry, Heading, Run};

pub const USAGE: &str = "\
bench peers, and bench cuda for frames on a GPU, measure our elements beside other transports of the same machine, in turns:
  --quick              1080p, 1 receiver, 3 turns, short: about a minute
  --turns N            how often each is measured (5)
  --sizes LIST         of 720p,1080p,4K
  --modes LIST         of none,read,60: flat out touching nothing, flat out reading all, 60 frames a second
  --receivers LIST     numbers of receivers (1,3)
  --only LIST          of the transports, by their keys (`--only ?` lists them)
  --patience SECONDS   how long a run waits for a quiet machine (5)";

/// More receivers than a ring has rows are nobody's case.
const MOST_RECEIVERS: u32 = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    group: Group,
    turns: u32,
    sizes: Vec<Size>,
    modes: Vec<Mode>,
    receivers: Vec<u32>,
    /// Keys; all if none.
    only: Vec<String>,
    patience: Duration,
    quick: bool,
    /// As it was typed.
    command: String,
}

impl Options {
    fn spans(&self) -> Spans {
        let ms = Duration::from_millis;
        if self.quick {
            Spans { warm: ms(150), flat_out: ms(400), paced: ms(700) }
        } else {
            Spans { warm: ms(300), flat_out: ms(800), paced: ms(2000) }
        }
    }

    /// Of what is on a GPU.
    pub fn device(words: &[&str]) -> Outcome<Options> {
        Self::of(Group::Device, words)
    }

    pub fn of(group: Group, words: &[&str]) -> Outcome<Options> {
        let quick = words.contains(&"--quick");
        let mut options = Options {
            group,
            turns: if quick { 3 } else { 5 },
            sizes: if quick { vec![SIZES[1]] } else { SIZES.into() },
            modes: MODES.into(),
            receivers: if quick { vec![1] } else { vec![1, 3] },
            only: Vec::new(),
            patience: Duration::from_secs(if quick { 0 } else { 5 }),
            quick,
            command: [&["cargo xtask bench", group.word()], words].concat().join(" "),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--quick" {
                continue;
            }
            let known = ["--turns", "--sizes", "--modes", "--receivers", "--only", "--patience"];
            if !known.contains(word) {
                return Err(usage(&format!("{} is no option", run::quote(word))));
            }
            let value = words.next().ok_or_else(|| usage(&format!("{word} takes a value")))?;
            let trouble = |part: &str| usage(&format!("{word} does not take {}", run::quote(part)));
            let number = |part: &str, most: u32| {
                let number = part.parse().ok().filter(|number| (1..=most).contains(number));
                number.ok_or_else(|| trouble(part))
            };
            match *word {
                "--turns" => options.turns = number(value, 1000)?,
                "--patience" => {
                    options.patience = Duration::from_secs(value.parse().map_err(|_| trouble(value))?);
                }
                "--sizes" => {
                    let size = |part: &str| SIZES.into_iter().find(|size| size.name.eq_ignore_ascii_case(part));
                    options.sizes = list(value, |part| size(part).ok_or_else(|| trouble(part)))?;
                }
                "--modes" => {
                    let mode = |part: &str| MODES.into_iter().find(|mode| mode.key() == part);
                    options.modes = list(value, |part| mode(part).ok_or_else(|| trouble(part)))?;
                }
                "--receivers" => options.receivers = list(value, |part| number(part, MOST_RECEIVERS))?,
                _ => {
                    let known = |part: &str| group.contestants().iter().any(|one| one.key == part);
                    let key = |part: &str| known(part).then(|| part.to_string()).ok_or_else(|| unknown(group, part));
                    options.only = list(value, key)?;
                }
            }
        }
        Ok(options)
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for receivers in &self.receivers {
            for mode in &self.modes {
                cases.extend(self.sizes.iter().map(|size| Case { size: *size, receivers: *receivers, mode: *mode }));
            }
        }
        cases
    }
}

/// The parts of a list that is separated by commas.
fn list<T>(value: &str, part: impl Fn(&str) -> Outcome<T>) -> Outcome<Vec<T>> {
    value.split(',').map(part).collect()
}

fn usage(why: &str) -> Trouble {
    Trouble::Usage(format!("{why}\n\n{USAGE}"))
}

fn unknown(group: Group, key: &str) -> Trouble {
    let keys: Vec<String> = group
        .contestants()
        .iter()
        .map(|one| format!("  {:<18} {}, {}", one.key, one.name, one.memory.name()))
        .collect();
    Trouble::Usage(format!("{} is none of the transports:\n{}", run::quote(key), keys.join("\n")))
}

pub fn run(options: &Options) -> Outcome {
    let folder = run::target().join("bench");
    std::fs::create_dir_all(&folder).map_err(|err| Trouble::Machine(format!("{}: {err}", folder.display())))?;
    say("building both ends (release; a few minutes the first time)");
    run::check(run::cargo().args(["build", "--release", "--locked", "--package", "tdlink-bench-peers"]))?;
    // The programs' own memory of a system's elements is in there.
    let inside = (options.group == Group::Device).then(|| Newer::ensure(&folder)).transpose()?;
    let tool = Tool { program: run::target().join("release/tdlink-bench-peers"), folder, inside };
    let measured = measure(options, &tool)?;
    let calls = match options.group {
        Group::System => None,
        Group::Device => Some(calls::table(options.sizes[0], &measured.here, &tool)?),
    };
    write(&measured, calls.as_deref(), options, &tool.folder)
}

/// Measures what is on a GPU with a program that is there already, on the driver that it finds, and gives the tables. What
/// it leaves is in `folder`.
pub fn measure_cuda(program: &Path, folder: &Path, options: &Options) -> Outcome<String> {
    std::fs::create_dir_all(folder).map_err(|err| Trouble::Machine(format!("{}: {err}", folder.display())))?;
    let tool = Tool { program: program.to_owned(), folder: folder.to_owned(), inside: None };
    let measured = measure(options, &tool)?;
    let entries = report::entries(&measured.runs);
    let warning = report::warning(&measured.runs);
    must_have_run(&entries)?;
    Ok(report::markdown(&measured.heading, &entries, warning.as_deref(), &[]))
}

/// What was measured, and around it.
struct Measured {
    heading: Heading,
    here: Vec<&'static Contestant>,
    runs: Vec<Run>,
}

fn measure(options: &Options, tool: &Tool) -> Outcome<Measured> {
    let (gstreamer, here, absent) = who_is_here(tool, options)?;
    let machine = machine::described(&gstreamer);
    say(&machine);
    absent.iter().for_each(|absent| say(format_args!("not here: {absent}")));
    let mut heading = Heading {
        command: options.command.clone(),
        machine,
        begun: machine::date(),
        ended: String::new(),
        load_before: machine::load(),
        load_after: String::new(),
        absent,
    };
    let runs = take_turns(options, &here, tool);
    heading.ended = machine::date();
    heading.load_after = machine::load();
    Ok(Measured { heading, here, runs })
}

/// The version of GStreamer, who can be measured, and who cannot and why.
fn who_is_here(tool: &Tool, options: &Options) -> Outcome<(String, Vec<&'static Contestant>, Vec<String>)> {
    let wanted = |one: &&Contestant| options.only.is_empty() || options.only.iter().any(|key| key == one.key);
    let wanted: Vec<&'static Contestant> = options.group.contestants().iter().filter(wanted).collect();
    let mut elements: Vec<&str> = wanted.iter().filter_map(|one| one.needs()).collect();
    elements.dedup();
    let mut about = tool.command(&[&["about"], &elements[..]].concat());
    let answer = run::ask(&mut about);
    let answer = answer.ok_or_else(|| Trouble::Machine(format!("{} failed", run::shown(&about))))?;
    let gstreamer = answer.lines().find_map(|line| line.strip_prefix("gstreamer ")).unwrap_or("?").to_string();
    let is_here = |element: &str| answer.lines().any(|line| line == format!("{element} here"));
    let (here, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|one| one.needs().is_none_or(is_here));
    let mut absent: Vec<String> = Vec::new();
    for one in missing {
        let element = one.needs().unwrap_or_default();
        let line = format!("{element}, which comes with {} (this is GStreamer {gstreamer})", one.comes_with());
        if !absent.contains(&line) {
            absent.push(line);
        }
    }
    if here.is_empty() {
        return Err(Trouble::Machine(format!("nobody is here to be measured: {}", absent.join("; "))));
    }
    Ok((gstreamer, here, absent))
}

/// A B C, A B C: what disturbs the machine for a while disturbs all alike.
fn take_turns(options: &Options, here: &[&'static Contestant], tool: &Tool) -> Vec<Run> {
    let (cases, spans) = (options.cases(), options.spans());
    let fit = |case: Case| here.iter().copied().filter(move |one| one.fits(case.mode));
    let runs_of = |case: Case| fit(case).count() * options.turns as usize;
    let total: usize = cases.iter().map(|case| runs_of(*case)).sum();
    // About half a second to start and to end each.
    let whole = |mode| (spans.window(mode) + spans.warm).as_secs_f64() + 0.5;
    let seconds: f64 = cases.iter().map(|case| whole(case.mode) * runs_of(*case) as f64).sum();
    say(format_args!("{total} runs, about {:.0} min if the machine is quiet", (seconds / 60.0).ceil()));
    let mut runs = Vec::with_capacity(total);
    for case in cases {
        say(format_args!("{}:", report::title(case)));
        for turn in 0..options.turns {
            for contestant in fit(case) {
                machine::wait_for_quiet(options.patience);
                let outcome = pair::run(contestant, case, spans, tool);
                let shown = match &outcome {
                    Ok(sample) => format!(
                        "{:>9} frames/s{}{}",
                        report::figure(sample.rate),
                        sample
                            .p50_us
                            .filter(|_| case.mode == Mode::Paced)
                            .map_or_else(String::new, |p50| { format!(", {} µs", report::figure(p50)) }),
                        if sample.other > machine::BUSY { "   (disturbed)" } else { "" }
                    ),
                    Err(why) => format!("did not run: {why}"),
                };
                runs.push(Run { contestant, case, turn, outcome });
                say(format_args!("  {:>4} of {total}  {:<16} {shown}", runs.len(), contestant.key));
            }
        }
    }
    runs
}

fn write(measured: &Measured, calls: Option<&str>, options: &Options, folder: &Path) -> Outcome {
    let Measured { heading, runs, .. } = measured;
    let entries = report::entries(runs);
    let warning = report::warning(runs);
    let subtitle = format!(
        "{} · {}{}",
        heading.machine,
        heading.ended,
        if warning.is_some() { " · the machine was busy" } else { "" }
    );
    let word = options.group.word();
    let named = |what: &str| match options.group {
        Group::System => what.to_string(),
        Group::Device => format!("{word}-{what}"),
    };
    let mut files = vec![(format!("{word}.csv"), report::csv(runs))];
    let mut plots = Vec::new();
    let throughput = throughput(&entries, options, &subtitle);
    if let Some(svg) = throughput {
        files.push((format!("{}.svg", named("throughput")), svg));
        plots.push(named("throughput"));
    }
    if let Some(svg) = latency(&entries, options, &subtitle) {
        files.push((format!("{}.svg", named("latency")), svg));
        plots.push(named("latency"));
    }
    let mut text = report::markdown(heading, &entries, warning.as_deref(), &plots);
    if let Some(calls) = calls {
        text = format!("{text}\n{calls}");
    }
    println!("\n{text}");
    files.push((format!("{word}.md"), text));
    for (name, content) in files {
        let file = folder.join(name);
        std::fs::write(&file, content).map_err(|err| Trouble::Machine(format!("{}: {err}", file.display())))?;
        say(format_args!("wrote {}", file.display()));
    }
    if let Some(warning) = warning {
        say(warning);
    }
    must_have_run(&entries)
}

/// Of ours, all have run in all cases.
fn must_have_run(entries: &[Entry]) -> Outcome {
    let mut silent: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.contestant.who == Who::Ours && entry.median.is_err())
        .map(|entry| entry.contestant.key)
        .collect();
    silent.sort_unstable();
    silent.dedup();
    if !silent.is_empty() {
        crate::fail!("of ours, these did not run everywhere: {}", silent.join(", "));
    }
    Ok(())
}

/// A panel of a plot: all contestants of one memory in the cases of one mode.
fn panel(
    entries: &[Entry],
    options: &Options,
    (mode, receivers, memory): (Mode, u32, Memory),
    bar: impl Fn(&Entry) -> Option<Bar>,
) -> Option<Panel> {
    let of = |one: &Contestant, size: &Size| {
        let case = Case { size: *size, receivers, mode };
        bar(entries.iter().find(|entry| entry.case == case && entry.contestant.key == one.key)?)
    };
    let rows = options.group.contestants().iter().filter(|one| one.memory == memory).map(|one| Row {
        label: one.name.to_string(),
        ours: one.who == Who::Ours,
        bars: options.sizes.iter().map(|size| of(one, size)).collect(),
    });
    let rows: Vec<Row> = rows.filter(|row| row.bars.iter().any(Option::is_some)).collect();
    let kind = match memory {
        Memory::Copied => "copied",
        Memory::Pool => "the transport's own buffers (pool)",
    };
    let whom = if receivers == 1 { "1 receiver".into() } else { format!("{receivers} receivers") };
    (!rows.is_empty()).then(|| Panel { title: format!("{}, {whom}: {kind}", mode.name()), rows })
}

fn drawn(options: &Options, title: &str, subtitle: &str, axis: &str, panels: &[Panel]) -> Option<String> {
    let series: Vec<&str> = options.sizes.iter().map(|size| size.name).collect();
    (!panels.is_empty()).then(|| Plot { title, subtitle, axis, series: &series, panels }.svg())
}

fn throughput(entries: &[Entry], options: &Options, subtitle: &str) -> Option<String> {
    let mut panels = Vec::new();
    for receivers in &options.receivers {
        for memory in [Memory::Copied, Memory::Pool] {
            for mode in [Mode::None, Mode::Read] {
                panels.extend(panel(entries, options, (mode, *receivers, memory), |entry| {
                    let rate = entry.median.as_ref().ok()?.rate;
                    Some(Bar { value: rate, until: rate })
                }));
            }
        }
    }
    let axis = "frames per second, logarithmic (more is better)";
    drawn(options, "Throughput from process to process", subtitle, axis, &panels)
}

fn latency(entries: &[Entry], options: &Options, subtitle: &str) -> Option<String> {
    let mut panels = Vec::new();
    for receivers in &options.receivers {
        for memory in [Memory::Copied, Memory::Pool] {
            panels.extend(panel(entries, options, (Mode::Paced, *receivers, memory), |entry| {
                let sample = entry.median.as_ref().ok()?;
                Some(Bar { value: sample.p50_us?, until: sample.p99_us? })
            }));
        }
    }
    let axis = "one-way latency in µs, logarithmic (less is better): bar to the median, line to the 99th percentile";
    drawn(options, "Latency from process to process", subtitle, axis, &panels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_is_short_and_lists_choose() {
        let options = Options::of(Group::System, &["--quick", "--receivers", "1,3", "--modes", "60"]).unwrap();
        assert_eq!(
            (options.turns, options.receivers.as_slice(), options.modes.as_slice()),
            (3, &[1, 3][..], &[Mode::Paced][..])
        );
        let options =
            Options::of(Group::System, &["--sizes", "4k,720p", "--only", "floor,ring-pool", "--turns", "7"]).unwrap();
        assert_eq!(options.cases().len(), 2 * 3 * 2);
        assert_eq!((options.turns, options.only.len()), (7, 2));
        assert_eq!(Options::of(Group::System, &[]).unwrap().cases().len(), 18);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for (words, expected) in [
            (vec!["--fast"], "--fast is no option"),
            (vec!["--turns"], "--turns takes a value"),
            (vec!["--turns", "0"], "--turns does not take 0"),
            (vec!["--sizes", "720p,8K"], "--sizes does not take 8K"),
            (vec!["--only", "shm"], "shm is none of the transports"),
        ] {
            let trouble = Options::of(Group::System, &words).unwrap_err().to_string();
            assert!(trouble.contains(expected), "{trouble}");
        }
    }
}
