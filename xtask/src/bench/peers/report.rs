// SPDX-License-Identifier: MPL-2.0
//! Medians, ratios to the best peer, and the tables of them.

use std::fmt::Write;

use super::contestants::{Contestant, Memory, Mode, Who};
use super::machine;
use super::pair::{Case, Sample};

/// Quiet runs that are enough to leave the disturbed ones out.
const ENOUGH: usize = 3;

/// One run of one contestant.
#[derive(Debug)]
pub struct Run {
    pub contestant: &'static Contestant,
    pub case: Case,
    pub turn: u32,
    pub outcome: Result<Sample, String>,
}

/// What the runs of one contestant in one case come to.
#[derive(Debug)]
pub struct Entry {
    pub contestant: &'static Contestant,
    pub case: Case,
    /// Runs that count, and runs that were disturbed, of all that gave numbers.
    pub counted: usize,
    pub disturbed: usize,
    /// Medians; sums of what was lost and torn. The reason why not, if no run gave numbers.
    pub median: Result<Sample, String>,
    /// Least and greatest rate.
    pub rates: (f64, f64),
}

/// The middle one; of an even number, the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

/// Brings the runs together, in the order in which they first ran.
pub fn entries(runs: &[Run]) -> Vec<Entry> {
    let mut order: Vec<(&'static Contestant, Case)> = Vec::new();
    for run in runs {
        if !order.iter().any(|(one, case)| one.key == run.contestant.key && *case == run.case) {
            order.push((run.contestant, run.case));
        }
    }
    order.into_iter().map(|(contestant, case)| entry(contestant, case, runs)).collect()
}

fn entry(contestant: &'static Contestant, case: Case, runs: &[Run]) -> Entry {
    let own = || runs.iter().filter(|run| run.contestant.key == contestant.key && run.case == case);
    let all: Vec<&Sample> = own().filter_map(|run| run.outcome.as_ref().ok()).collect();
    let quiet: Vec<&Sample> = all.iter().copied().filter(|sample| sample.other <= machine::BUSY).collect();
    let disturbed = all.len() - quiet.len();
    let counted = if quiet.len() >= ENOUGH { quiet } else { all };
    let of = |value: fn(&Sample) -> Option<f64>| median(counted.iter().filter_map(|sample| value(sample)).collect());
    let sum = |value: fn(&Sample) -> Option<u64>| {
        counted.iter().filter_map(|sample| value(sample)).fold(None, |sum, one| Some(sum.unwrap_or(0) + one))
    };
    let rates = counted.iter().map(|sample| sample.rate);
    let rates = (rates.clone().fold(f64::INFINITY, f64::min), rates.fold(0.0, f64::max));
    let reason = || own().find_map(|run| run.outcome.as_ref().err().cloned()).unwrap_or_default();
    let median = match (of(|s| Some(s.rate)), of(|s| Some(s.sender_us)), of(|s| Some(s.receivers_us))) {
        (Some(rate), Some(sender_us), Some(receivers_us)) => Ok(Sample {
            rate,
            sent: of(|s| Some(s.sent)).unwrap_or(rate),
            sender_us,
            receivers_us,
            p50_us: of(|s| s.p50_us),
            p99_us: of(|s| s.p99_us),
            lost: sum(|s| s.lost),
            torn: sum(|s| s.torn),
            other: of(|s| Some(s.other)).unwrap_or(0.0),
        }),
        _ => Err(reason()),
    };
    Entry { contestant, case, counted: counted.len(), disturbed, median, rates }
}

/// The best that a peer of the same kind of memory reached in the same case, by `value`. Peers that lost or tore frames
/// come in only if there is no other.
fn best<'a>(
    entries: &'a [Entry],
    of: &Entry,
    value: fn(&Sample) -> Option<f64>,
    most: bool,
) -> Option<(&'a Entry, f64)> {
    let peers = entries.iter().filter(|entry| {
        entry.case == of.case && entry.contestant.who == Who::Peer && entry.contestant.memory == of.contestant.memory
    });
    let peers: Vec<_> = peers.filter_map(|entry| Some((entry, value(entry.median.as_ref().ok()?)?))).collect();
    let clean = |entry: &Entry| {
        entry.median.as_ref().is_ok_and(|sample| sample.lost.unwrap_or(0) == 0 && sample.torn.unwrap_or(0) == 0)
    };
    let any_clean = peers.iter().any(|(entry, _)| clean(entry));
    let order = |a: &(&Entry, f64), b: &(&Entry, f64)| if most { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) };
    peers.into_iter().filter(|(entry, _)| !any_clean || clean(entry)).max_by(order)
}

/// A number with three digits that count, and blanks between thousands.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

/// The ratio to the best peer, which is marked.
fn ratio(entries: &[Entry], entry: &Entry, value: fn(&Sample) -> Option<f64>, most: bool) -> String {
    let own = entry.median.as_ref().ok().and_then(value);
    let (Some(own), Some((peer, figure))) = (own, best(entries, entry, value, most)) else { return "–".into() };
    if std::ptr::eq(peer, entry) { "best peer".into() } else { format!("{:.2} ×", own / figure) }
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "–".into(), |value| value.to_string())
}

pub fn title(case: Case) -> String {
    let receivers = if case.receivers == 1 { "1 receiver".into() } else { format!("{} receivers", case.receivers) };
    format!("{}, {receivers}, {}", case.size.name, case.mode.name())
}

/// The table of one case.
fn table(entries: &[Entry], case: Case) -> String {
    let paced = case.mode == Mode::Paced;
    let mut text = format!("\n### {}\n\n", title(case));
    text += if paced {
        "| transport | memory | latency p50, µs | to the best peer | p99, µs | CPU a frame, µs | to the best peer | frames/s | lost | torn | runs |\n"
    } else {
        "| transport | memory | frames/s | least – most | to the best peer | sent/s | CPU a frame, µs: sender | receivers | lost | torn | runs |\n"
    };
    text += "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for entry in entries.iter().filter(|entry| entry.case == case) {
        let one = entry.contestant;
        let name = if one.who == Who::Ours { format!("**{}**", one.name) } else { one.name.to_string() };
        let memory = one.memory.name();
        let sample = match &entry.median {
            Ok(sample) => sample,
            Err(why) => {
                let why = why.replace('|', "/");
                let _ = writeln!(text, "| {name} | {memory} | did not run: {why} | | | | | | | | |");
                continue;
            }
        };
        let runs = match entry.disturbed {
            0 => entry.counted.to_string(),
            disturbed => format!("{}, {disturbed} disturbed", entry.counted),
        };
        let middle = if paced {
            let cpu: fn(&Sample) -> Option<f64> = |sample| Some(sample.sender_us + sample.receivers_us);
            [
                sample.p50_us.map_or_else(|| "–".into(), figure),
                ratio(entries, entry, |sample| sample.p50_us, false),
                sample.p99_us.map_or_else(|| "–".into(), figure),
                cpu(sample).map_or_else(|| "–".into(), figure),
                ratio(entries, entry, cpu, false),
                figure(sample.rate),
            ]
        } else {
            [
                figure(sample.rate),
                format!("{} – {}", figure(entry.rates.0), figure(entry.rates.1)),
                ratio(entries, entry, |sample| Some(sample.rate), true),
                figure(sample.sent),
                figure(sample.sender_us),
                figure(sample.receivers_us),
            ]
        };
        let middle = middle.join(" | ");
        let (lost, torn) = (count(sample.lost), count(sample.torn));
        let _ = writeln!(text, "| {name} | {memory} | {middle} | {lost} | {torn} | {runs} |");
    }
    text
}

/// What stands above the tables.
#[derive(Debug)]
pub struct Heading {
    pub command: String,
    pub machine: String,
    pub begun: String,
    pub ended: String,
    pub load_before: String,
    pub load_after: String,
    /// Contestants that are not here, and what it takes to have them.
    pub absent: Vec<String>,
}

/// A sentence if the machine had other things to do.
pub fn warning(runs: &[Run]) -> Option<String> {
    let all: Vec<f64> = runs.iter().filter_map(|run| Some(run.outcome.as_ref().ok()?.other)).collect();
    let disturbed = all.iter().filter(|other| **other > machine::BUSY).count();
    let worst = all.iter().copied().fold(0.0, f64::max);
    // A tenth of disturbed runs is outweighed by the medians.
    (disturbed * 10 > all.len()).then(|| {
        format!(
            "The machine was busy: in {disturbed} of {} runs more than {} of a processor worked for something else \
             (at most {worst:.1}, median {:.2}). These figures are not to be quoted.",
            all.len(),
            machine::BUSY,
            median(all.clone()).unwrap_or(0.0)
        )
    })
}

pub fn markdown(heading: &Heading, entries: &[Entry], warning: Option<&str>, plots: &[String]) -> String {
    let mut text = format!("# Frames from process to process\n\n`{}`\n\n", heading.command);
    let _ = writeln!(text, "{}.", heading.machine);
    let _ = writeln!(
        text,
        "From {} (load {}) to {} (load {}).",
        heading.begun, heading.load_before, heading.ended, heading.load_after
    );
    if let Some(warning) = warning {
        let _ = writeln!(text, "\n**{warning}**");
    }
    for absent in &heading.absent {
        let _ = writeln!(text, "\nNot here: {absent}.");
    }
    let _ = writeln!(
        text,
        "\nOne source and one sink for all, a process each; transports take turns. RGBA of 8 bits (RGB of as many bytes \
         for what takes no RGBA). `{}`: the source has private buffers, so the transport copies. `{}`: the source fills \
         the buffers that the transport proposes, 24 bytes of each. Medians; of several receivers the slowest and the \
         latest; CPU is user and system time of all threads, of all receivers together. Latency is from the stamp in \
         the source to the look in the sink. Ratios are to the best peer with the same kind of memory in the same \
         table: above 1 is better for frames/s, below 1 for latency and CPU. Runs with more than {} of a processor \
         busy with something else are left out where {ENOUGH} others are there. `defaults` and `raw bytes` may leave \
         out frames that a receiver is too slow for: they send more than arrives. The floor is no video transport and has \
         no place where frames are read: a ring in shared memory and a futex each way, without GStreamer.",
        Memory::Copied.name(),
        Memory::Pool.name(),
        machine::BUSY
    );
    for plot in plots {
        let _ = writeln!(text, "\n![{plot}]({plot}.svg)");
    }
    let mut cases: Vec<Case> = Vec::new();
    for entry in entries {
        if !cases.contains(&entry.case) {
            cases.push(entry.case);
        }
    }
    for case in cases {
        text += &table(entries, case);
    }
    text
}

/// Every run as it was.
pub fn csv(runs: &[Run]) -> String {
    let mut text = String::from(
        "contestant,memory,lossless,size,receivers,mode,turn,frames_per_s,sent_per_s,sender_cpu_us,receivers_cpu_us,p50_us,p99_us,lost,torn,other_processors,trouble\n",
    );
    for run in runs {
        let (one, case) = (run.contestant, run.case);
        let _ = write!(
            text,
            "{},{},{},{},{},{},{},",
            one.key,
            one.memory.name(),
            one.lossless,
            case.size.name,
            case.receivers,
            case.mode.key(),
            run.turn
        );
        let maybe = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let whole = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let _ = match &run.outcome {
            Ok(s) => writeln!(
                text,
                "{:.2},{:.2},{:.3},{:.3},{},{},{},{},{:.3},",
                s.rate,
                s.sent,
                s.sender_us,
                s.receivers_us,
                maybe(s.p50_us),
                maybe(s.p99_us),
                whole(s.lost),
                whole(s.torn),
                s.other
            ),
            Err(why) => writeln!(text, ",,,,,,,,,\"{}\"", why.replace('"', "\"\"")),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::contestants::{Group, SIZES};
    use super::*;

    fn run(key: &str, turn: u32, rate: f64, other: f64) -> Run {
        let contestant = Group::System.contestants().iter().find(|one| one.key == key).unwrap();
        let case = Case { size: SIZES[1], receivers: 1, mode: Mode::Read };
        let sample = Sample { rate, other, lost: Some(0), torn: Some(0), ..Sample::default() };
        Run { contestant, case, turn, outcome: Ok(sample) }
    }

    #[test]
    fn disturbed_runs_are_left_out_only_if_enough_are_left() {
        let mut runs: Vec<Run> = [100.0, 110.0, 120.0].map(|rate| run("ring-pool", 0, rate, 0.0)).into();
        runs.push(run("ring-pool", 3, 5.0, 1.0));
        let all = entries(&runs);
        assert_eq!((all[0].median.as_ref().unwrap().rate, all[0].counted, all[0].disturbed), (110.0, 3, 1));
        let all = entries(&runs[1..]);
        assert_eq!((all[0].median.as_ref().unwrap().rate, all[0].counted, all[0].disturbed), (110.0, 3, 1));
        assert_eq!(all[0].rates, (5.0, 120.0));
    }

    #[test]
    fn the_ratio_is_to_the_best_peer_of_the_same_memory_that_lost_nothing() {
        let mut lossy = run("unixfd-pool", 0, 900.0, 0.0);
        if let Ok(sample) = &mut lossy.outcome {
            sample.lost = Some(1);
        }
        let runs = [
            run("ring-pool", 0, 150.0, 0.0),
            run("shm-pool", 0, 100.0, 0.0),
            run("shm-copied", 0, 400.0, 0.0),
            run("floor", 0, 999.0, 0.0),
            lossy,
        ];
        let entries = entries(&runs);
        let of = |at: usize| ratio(&entries, &entries[at], |sample| Some(sample.rate), true);
        assert_eq!(of(0), "1.50 ×");
        assert_eq!(of(1), "best peer");
        assert_eq!(of(2), "best peer");
    }

    #[test]
    fn a_busy_machine_is_said_and_a_run_that_failed_is_in_every_report() {
        let mut failed = run("shm-pool", 0, 0.0, 0.0);
        failed.outcome = Err("no \"first\" within 10 s".into());
        let runs = [run("ring-pool", 0, 1.0, 0.9), failed];
        assert!(warning(&runs).unwrap().contains("1 of 1 runs"));
        assert_eq!(warning(&runs[1..]), None);
        assert!(csv(&runs).contains("\"no \"\"first\"\" within 10 s\""));
        assert!(table(&entries(&runs), runs[0].case).contains("did not run: no \"first\""));
    }

    #[test]
    fn figures_have_three_digits_that_count() {
        assert_eq!(figure(1_234_567.8), "1 234 568");
        assert_eq!(figure(99.96), "100");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.5), "0.50");
    }
}
