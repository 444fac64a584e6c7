// SPDX-License-Identifier: MPL-2.0
//! The other process: this test program, started again, told line by line what to do.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use tdlink_core::protocol::control::{
    AttachOptions, ConsumeError, Consumer, Interrupt, ProduceError, Producer, ProducerOptions, ReadSlot, Take, Wait,
};
use tdlink_core::segment::SegmentName;

use super::{PATIENCE, copy, number, publish, spec};

/// Marks answers among what the test harness prints.
const ANSWER: &str = "answer: ";
/// Between two looks for a producer that is not there.
const PAUSE: Duration = Duration::from_millis(1);

/// A running peer. It is killed when it goes out of scope.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a reading peer has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often it attached.
    pub attached: u64,
    /// Whole frames.
    pub frames: u64,
    /// Number of the last one.
    pub last: u64,
    /// Frames that it never saw.
    pub skipped: u64,
    /// Copies that it gave up because they were overwritten.
    pub torn: u64,
    /// Leases that it may have.
    pub granted: u64,
}

impl Peer {
    pub fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "peer::peer", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this very program runs");
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    /// A peer that reads whatever is offered under `name`, and leases up to `leases` frames at once.
    pub fn reading(name: &SegmentName, leases: u32) -> Self {
        let mut peer = Self::start();
        assert_eq!(peer.ask(&format!("read {name} {leases}")), "done");
        peer
    }

    /// A peer that offers frames of `width` × 64 pixels under `name`, numbered from `from`, as fast as it can.
    pub fn flooding(name: &SegmentName, how: &str, width: u32, from: u64) -> Self {
        let mut peer = Self::start();
        assert_eq!(peer.ask(&format!("flood {name} {how} {width} {from}")), "done");
        peer
    }

    pub fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        loop {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the peer died of {order:?}");
            // The harness may have begun the line.
            if let Some((_, answer)) = line.trim_end().split_once(ANSWER) {
                return answer.to_owned();
            }
        }
    }

    /// What it has seen. A torn frame, or an error that should not be, fails the test.
    #[track_caller]
    pub fn seen(&mut self) -> Seen {
        let answer = self.ask("seen");
        let numbers: Option<Vec<u64>> = answer.split(' ').map(|word| word.parse().ok()).collect();
        let Some([attached, frames, last, skipped, torn, granted]) = numbers.as_deref() else { panic!("{answer}") };
        let (attached, frames, last) = (*attached, *frames, *last);
        Seen { attached, frames, last, skipped: *skipped, torn: *torn, granted: *granted }
    }

    /// Waits until what it has seen is as it should be.
    #[track_caller]
    pub fn until(&mut self, what: &str, good: impl Fn(&Seen) -> bool) -> Seen {
        let began = Instant::now();
        loop {
            let seen = self.seen();
            if good(&seen) {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "{what} does not happen: {seen:?}");
            std::thread::yield_now();
        }
    }

    /// Frames that a flooding peer has published.
    pub fn published(&mut self) -> u64 {
        let answer = self.ask("published");
        answer.parse().unwrap_or_else(|_| panic!("{answer}"))
    }

    /// SIGSTOP, and it stands still when this returns.
    #[cfg(target_os = "linux")]
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.child.id());
        let stopped = |thread: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        while !std::fs::read_dir(&threads).unwrap().flatten().all(stopped) {
            std::thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    #[cfg(target_os = "linux")]
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL, or TerminateProcess, and gone when it returns.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a peer's threads tell the one that answers.
#[derive(Debug, Default)]
struct Told {
    counts: [AtomicU64; 6],
    published: AtomicU64,
    fault: Mutex<Option<String>>,
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn peer() {
    let told = Arc::new(Told::default());
    for order in io::stdin().lock().lines() {
        let answer = obey(&order.unwrap(), &told);
        println!("{ANSWER}{answer}");
    }
}

fn obey(order: &str, told: &Arc<Told>) -> String {
    let fault = told.fault.lock().unwrap().clone();
    if let Some(fault) = fault {
        return fault;
    }
    let words: Vec<&str> = order.split(' ').collect();
    match words[..] {
        ["read", name, leases] => {
            let (name, leases) = (SegmentName::new(name).unwrap(), leases.parse().unwrap());
            in_thread(told, move |told| read(&name, leases, told));
            "done".to_owned()
        }
        ["flood", name, how, width, from] => {
            let name = SegmentName::new(name).unwrap();
            let spec = spec(width.parse().unwrap(), 64);
            match Producer::create(&name, spec, options(how), Interrupt::new()) {
                Ok(producer) => {
                    let from = from.parse().unwrap();
                    in_thread(told, move |told| flood(&producer, from, told));
                    "done".to_owned()
                }
                Err(error) => error.to_string(),
            }
        }
        ["seen"] => {
            let counts: Vec<_> = told.counts.iter().map(|count| count.load(Ordering::Relaxed).to_string()).collect();
            counts.join(" ")
        }
        ["published"] => told.published.load(Ordering::Relaxed).to_string(),
        _ => format!("no such order: {order}"),
    }
}

/// `latest-4`, `lossless-3`.
fn options(how: &str) -> ProducerOptions {
    let (delivery, slots) = how.split_once('-').unwrap();
    let slots = slots.parse().unwrap();
    match delivery {
        "lossless" => ProducerOptions { lossless_timeout: None, ..ProducerOptions::lossless(slots) },
        _ => ProducerOptions::latest(slots),
    }
}

fn in_thread(told: &Arc<Told>, run: impl FnOnce(&Told) -> Result<(), String> + Send + 'static) {
    let told = Arc::clone(told);
    std::thread::spawn(move || {
        if let Err(fault) = run(&told) {
            *told.fault.lock().unwrap() = Some(fault);
        }
    });
}

fn flood(producer: &Producer, from: u64, told: &Told) -> Result<(), String> {
    let text = |error: ProduceError| error.to_string();
    for frame in from.. {
        producer.tend().map_err(text)?;
        let slot = loop {
            if let Some(slot) = producer.acquire_by(Some(Instant::now() + PAUSE), 0).map_err(text)? {
                break slot;
            }
        };
        publish(producer, slot, frame).map_err(text)?;
        told.published.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn read(name: &SegmentName, leases: u32, told: &Told) -> Result<(), String> {
    let options = AttachOptions { leases, ..AttachOptions::default() };
    loop {
        match Consumer::attach(name, &options, Interrupt::new()) {
            Ok(consumer) => {
                told.counts[0].fetch_add(1, Ordering::Relaxed);
                read_on(consumer, leases, told)?;
            }
            Err(ConsumeError::Layout(error)) => return Err(error.to_string()),
            Err(ConsumeError::Full { .. }) => return Err("there is no row left".to_owned()),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Until there is another segment to attach to.
fn read_on(mut consumer: Consumer, leases: u32, told: &Told) -> Result<(), String> {
    let [_, frames, last, skipped, torn, granted] = &told.counts;
    let mut held: VecDeque<(u64, ReadSlot)> = VecDeque::new();
    let look = |slot: &ReadSlot| number(slot.info(), slot.memory().segment(), slot.memory().offset());
    loop {
        let waited = consumer.wait_newer(Some(Instant::now() + 50 * PAUSE));
        granted.store(consumer.granted().into(), Ordering::Relaxed);
        skipped.store(consumer.skipped(), Ordering::Relaxed);
        torn.store(consumer.torn(), Ordering::Relaxed);
        let frame = match waited.map_err(|error| error.to_string())? {
            Wait::Superseded | Wait::Closed => return Ok(()),
            Wait::Newer => match consumer.take().map_err(|error| error.to_string())? {
                Take::Frame(slot) => {
                    let frame = look(&slot)?;
                    held.push_back((frame, slot));
                    Some(frame)
                }
                Take::NoLease => match copy(&mut consumer) {
                    // Overwritten as often as it was tried: no frame, but no torn one either.
                    Err(error) if error == "nothing" => None,
                    copied => Some(copied?),
                },
                Take::Nothing => None,
            },
            Wait::Respec | Wait::Eos | Wait::Gone | Wait::Deadline | Wait::Interrupted => None,
        };
        if let Some(frame) = frame {
            last.store(frame, Ordering::Relaxed);
            frames.fetch_add(1, Ordering::Relaxed);
        }
        // Held until the last moment, and looked at once more then.
        if held.len() as u32 >= leases
            && let Some((frame, slot)) = held.pop_front()
        {
            let now = look(&slot)?;
            if now != frame {
                return Err(format!("leased frame {frame} became {now}"));
            }
        }
    }
}
