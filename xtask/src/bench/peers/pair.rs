// SPDX-License-Identifier: MPL-2.0
//! One run: a sender and its receivers, each a process, and the window in which they are watched.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::contestants::{Contestant, Ends, Memory, Mode, RATE, Size};
use super::machine;
use crate::emulated::Newer;
use crate::run;

/// What is the same for all contestants of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub size: Size,
    pub receivers: u32,
    pub mode: Mode,
}

/// How long one run takes.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    pub warm: Duration,
    pub flat_out: Duration,
    pub paced: Duration,
}

impl Spans {
    pub fn window(&self, mode: Mode) -> Duration {
        if mode == Mode::Paced { self.paced } else { self.flat_out }
    }
}

/// What one run gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Frames per second of the slowest receiver.
    pub rate: f64,
    /// Frames per second that left the source. More than arrived: some were left out.
    pub sent: f64,
    /// Processor time per frame sent.
    pub sender_us: f64,
    /// Processor time per frame received, of all receivers together.
    pub receivers_us: f64,
    /// One-way latency of the worst receiver; nothing where stamps are not looked at.
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Frames that were left out or not whole, of all receivers together; nothing where stamps are not looked at.
    pub lost: Option<u64>,
    pub torn: Option<u64>,
    /// Processors that were busy with something else.
    pub other: f64,
}

/// The program of both ends, and where it may leave things.
#[derive(Debug)]
pub struct Tool {
    pub program: PathBuf,
    pub folder: PathBuf,
    /// In which other system, on which CUDA driver.
    pub inside: Option<Newer>,
}

impl Tool {
    pub fn command(&self, arguments: &[&str]) -> Command {
        if let Some(newer) = &self.inside {
            return newer.program(&self.program, arguments);
        }
        let mut command = Command::new(&self.program);
        // The user's list of plugins is left alone.
        command.env("GST_REGISTRY", self.folder.join("registry.bin")).current_dir(run::root());
        command.args(arguments);
        command
    }
}

const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// Characters of a library's complaint that are told; some print all they know.
const COMPLAINT: usize = 300;
const ENDS_WITHIN: Duration = Duration::from_secs(4);

/// A child that reads orders and writes lines.
struct End {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl End {
    fn start(mut command: Command) -> Result<End, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|err| format!("cannot start {}: {err}", crate::run::shown(&command)))?;
        let (sender, lines) = mpsc::channel();
        let complaints = sender.clone();
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        // The threads end with the child, whose pipes they read.
        if let Some(output) = output {
            std::thread::spawn(move || forward(output, "", &sender));
        }
        if let Some(errors) = errors {
            std::thread::spawn(move || forward(errors, "stderr ", &complaints));
        }
        Ok(End { orders: child.stdin.take(), child, lines })
    }

    /// The rest of the first line that begins with `word`.
    fn hear(&mut self, word: &str, within: Duration) -> Result<String, String> {
        let deadline = Instant::now() + within;
        let mut complaints = String::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return Ok(rest.trim().to_string());
                    }
                    if let Some(why) = line.strip_prefix("error ") {
                        return Err(why.to_string());
                    }
                    if let Some(complaint) = line.strip_prefix("stderr ") {
                        complaints = complaint.chars().take(COMPLAINT).collect();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("no \"{word}\" within {} s {complaints}", within.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended before it said \"{word}\" {complaints}"));
                }
            }
        }
    }

    fn order(&mut self, word: &str) {
        if let Some(orders) = &mut self.orders {
            // A child that is gone is noticed when it should answer.
            let _ = writeln!(orders, "{word}").and_then(|()| orders.flush());
        }
    }
}

fn forward(pipe: impl Read, mark: &str, lines: &mpsc::Sender<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = format!("{mark}{}", String::from_utf8_lossy(&line).trim_end());
        line.clear();
        if lines.send(text).is_err() {
            break;
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.order("quit");
        self.orders = None;
        let deadline = Instant::now() + ENDS_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // What shmsink calls its area, should it have been killed.
        sweep(Path::new("/dev/shm"), &format!("shmpipe.{}.", self.child.id()));
    }
}

/// Removes what a run left behind under its name.
fn sweep(folder: &Path, name: &str) {
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().contains(name) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// The name of one run; what stands under it goes with it.
struct Name(String);

impl Name {
    fn new() -> Name {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Name(format!("tdlink-peers-{}-{number:04}", std::process::id()))
    }

    fn socket(&self) -> PathBuf {
        // A socket's path may not be longer than about a hundred bytes.
        std::env::temp_dir().join(format!("{}.socket", self.0))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        sweep(Path::new("/dev/shm"), &self.0);
        sweep(&std::env::temp_dir(), &self.0);
    }
}

/// The command lines of a run: the sender's and one for each receiver.
fn commands(contestant: &Contestant, case: Case, name: &Name, tool: &Tool) -> (Command, Vec<Command>) {
    let bytes = case.size.bytes();
    let memory = match (contestant.memory, contestant.pool_of) {
        (Memory::Copied, _) => "private".to_string(),
        (Memory::Pool, None) => "proposed".to_string(),
        (Memory::Pool, Some(count)) => format!("proposed:{count}"),
    };
    let (bytes, receivers, rate) = (bytes.to_string(), case.receivers.to_string(), RATE.to_string());
    let paced: &[&str] = if case.mode == Mode::Paced { &["--rate", &rate] } else { &[] };
    let alike = [&["--size", &bytes, "--memory", &memory], paced].concat();
    let check = ["--check", case.mode.check()];
    match contestant.ends {
        Ends::Elements { sink, source } => {
            let caps = case.size.caps(contestant.rgb);
            let filled = |line: &str| {
                let socket = name.socket();
                line.replace("{name}", &name.0)
                    .replace("{socket}", &socket.to_string_lossy())
                    .replace("{caps}", &caps)
                    .replace("{room}", &(case.size.bytes() * 5 + (1 << 20)).to_string())
            };
            let sink = format!("{} sync=false async=false enable-last-sample=false", filled(sink));
            let source = filled(source);
            let send = tool.command(&[&["send", "--caps", &caps, "--to", &sink], &alike[..]].concat());
            let receive = |_| tool.command(&[&["receive", "--from", &source], &check[..]].concat());
            (send, (0..case.receivers).map(receive).collect())
        }
        Ends::Floor => {
            let send = ["floor-send", "--name", &name.0, "--receivers", &receivers];
            let receive = |index: u32| {
                let index = index.to_string();
                let own = ["floor-receive", "--name", &name.0, "--size", &bytes, "--index", &index];
                tool.command(&[&own[..], &check].concat())
            };
            (tool.command(&[&send, &alike[..]].concat()), (0..case.receivers).map(receive).collect())
        }
    }
}

/// Runs one contestant once, or says why that was not possible.
pub fn run(contestant: &Contestant, case: Case, spans: Spans, tool: &Tool) -> Result<Sample, String> {
    let name = Name::new();
    let (send, receives) = commands(contestant, case, &name, tool);
    let of_sender = |why: String| format!("sender: {why}");
    let of_receiver = |why: String| format!("receiver: {why}");
    let mut sender = End::start(send)?;
    sender.hear("playing", STARTS_WITHIN).map_err(of_sender)?;
    let mut receivers = receives.into_iter().map(End::start).collect::<Result<Vec<_>, _>>()?;
    for receiver in &mut receivers {
        receiver.hear("first", STARTS_WITHIN).map_err(of_receiver)?;
    }
    std::thread::sleep(spans.warm);
    let before = machine::Busy::now();
    sender.order("start");
    receivers.iter_mut().for_each(|receiver| receiver.order("start"));
    std::thread::sleep(spans.window(case.mode));
    sender.order("stop");
    receivers.iter_mut().for_each(|receiver| receiver.order("stop"));
    let sent = Heard::of(&sender.hear("result", STARTS_WITHIN).map_err(of_sender)?)?;
    let received = receivers
        .iter_mut()
        .map(|receiver| Heard::of(&receiver.hear("result", STARTS_WITHIN).map_err(of_receiver)?))
        .collect::<Result<Vec<_>, _>>()?;
    let ours_ns = sent.cpu_ns + received.iter().map(|end| end.cpu_ns).sum::<f64>();
    let other = before.until_now(ours_ns / 1e9);
    sample(&sent, &received, case.mode, contestant.lossless, other)
}

/// The numbers of a `result` line.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    ns: f64,
    cpu_ns: f64,
    frames: f64,
    lost: u64,
    torn: u64,
    p50_ns: Option<f64>,
    p99_ns: Option<f64>,
}

impl Heard {
    fn of(line: &str) -> Result<Heard, String> {
        let word = |key: &str| {
            let value = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.and_then(|value| value.parse::<f64>().ok())
        };
        let must = |key: &str| word(key).ok_or_else(|| format!("no {key} in \"{line}\""));
        let count = |key: &str| {
            let value = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| format!("no {key} in \"{line}\""))
        };
        Ok(Heard {
            ns: must("ns")?,
            cpu_ns: must("cpu_ns")?,
            frames: must("frames")?,
            lost: count("lost")?,
            torn: count("torn")?,
            p50_ns: word("p50_ns"),
            p99_ns: word("p99_ns"),
        })
    }

    fn rate(&self) -> f64 {
        self.frames * 1e9 / self.ns
    }

    fn us_per_frame(&self) -> f64 {
        self.cpu_ns / 1e3 / self.frames.max(1.0)
    }
}

fn sample(sent: &Heard, received: &[Heard], mode: Mode, lossless: bool, other: f64) -> Result<Sample, String> {
    // One that may leave out frames may leave out all of them: that is a rate of 0, and no trouble.
    if lossless && received.iter().any(|end| end.frames == 0.0) {
        return Err("a receiver got no frame in the window".into());
    }
    let worst = |of: fn(&Heard) -> Option<f64>| received.iter().filter_map(of).reduce(f64::max).map(|ns| ns / 1e3);
    let looked = mode != Mode::None;
    Ok(Sample {
        rate: received.iter().map(Heard::rate).fold(f64::INFINITY, f64::min),
        sent: sent.rate(),
        sender_us: sent.us_per_frame(),
        receivers_us: received.iter().map(Heard::us_per_frame).sum(),
        p50_us: worst(|end| end.p50_ns),
        p99_us: worst(|end| end.p99_ns),
        lost: looked.then(|| received.iter().map(|end| end.lost).sum()),
        torn: looked.then(|| received.iter().map(|end| end.torn).sum()),
        other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ns=500000000 cpu_ns=1000000 frames=100 lost=2 torn=1 sum=9 p50_ns=20000 p99_ns=70000 max_ns=1";

    #[test]
    fn of_several_receivers_the_slowest_and_the_latest_count() {
        let one = Heard::of(LINE).unwrap();
        let slow = Heard { frames: 50.0, p99_ns: Some(90_000.0), ..one.clone() };
        let sample = sample(&one, &[one.clone(), slow], Mode::Paced, true, 0.5).unwrap();
        assert_eq!((sample.rate, sample.sender_us, sample.receivers_us), (100.0, 10.0, 30.0));
        assert_eq!((sample.p50_us, sample.p99_us), (Some(20.0), Some(90.0)));
        assert_eq!((sample.lost, sample.torn), (Some(4), Some(2)));
    }

    #[test]
    fn what_was_not_looked_at_is_not_said_to_be_whole() {
        let one = Heard::of(LINE).unwrap();
        let sample = sample(&one, std::slice::from_ref(&one), Mode::None, true, 0.0).unwrap();
        assert_eq!((sample.lost, sample.torn), (None, None));
    }

    #[test]
    fn a_result_without_its_numbers_is_an_error() {
        assert!(Heard::of("ns=5 frames=1").unwrap_err().contains("cpu_ns"));
        let none = Heard { frames: 0.0, ..Heard::of(LINE).unwrap() };
        assert!(sample(&none, std::slice::from_ref(&none), Mode::None, true, 0.0).is_err());
        let starved = sample(&none, std::slice::from_ref(&none), Mode::None, false, 0.0);
        assert_eq!(starved.map(|sample| sample.rate), Ok(0.0));
    }
}
