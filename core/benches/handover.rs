// SPDX-License-Identifier: MPL-2.0
//! What it costs to hand frames over without a copy: `cargo bench -p tdlink-core --bench handover`.
//!
//! `calls`: each call alone, producer and consumer on one thread. `flat out`: two processes, lossless, as fast as they
//! go, each frame taken and given back, no pixel touched. `paced`: two processes, a frame each 2 ms, the time from
//! publishing to taking. Processor time is that of both processes. A word on the command line picks one of them.

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::protocol::control::{
    AttachOptions, Consumer, FrameSpec, Interrupt, Producer, ProducerOptions, Stamps, Take, Wait,
};
use tdlink_core::segment::{SegmentName, monotonic_ns};

const SIZES: [(&str, u32, u32); 2] = [("720p", 1280, 720), ("4K", 3840, 2160)];
const PACE: Duration = Duration::from_millis(2);

fn produce(name: &SegmentName, width: u32, height: u32, options: ProducerOptions) -> Producer {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).expect("it is a format");
    let spec = FrameSpec::packed(FrameDesc { width, height, format, origin: Origin::TopLeft });
    Producer::create(name, spec, options, Interrupt::new()).expect("/dev/shm has room")
}

fn attach(name: &SegmentName, leases: u32) -> Consumer {
    let options = AttachOptions { leases, ..AttachOptions::default() };
    Consumer::attach(name, &options, Interrupt::new()).expect("the producer is there")
}

fn name(of: &str) -> SegmentName {
    SegmentName::new(&format!("tdlink-handover-{of}-{}", std::process::id())).expect("it is a name")
}

/// Processor time of this process in ns, all threads.
fn cpu_ns() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |path: std::path::PathBuf| std::fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok();
    threads.filter_map(|thread| of(thread.path().join("schedstat"))).sum()
}

/// Each call alone.
fn calls() {
    const ROUNDS: u64 = 200_000;
    for (kind, options) in [("latest", ProducerOptions::latest(4)), ("lossless", ProducerOptions::lossless(4))] {
        let name = name("calls");
        let producer = produce(&name, 64, 16, options);
        let mut consumer = attach(&name, 1);
        let mut spent = [0u64; 5];
        for _ in 0..ROUNDS {
            let t0 = monotonic_ns();
            let slot = producer.acquire(0).expect("it is there").expect("one is free");
            let t1 = monotonic_ns();
            slot.publish(Stamps::default()).expect("it is there");
            let t2 = monotonic_ns();
            assert_eq!(consumer.wait_newer(None).expect("it is there"), Wait::Newer);
            let t3 = monotonic_ns();
            let taken = consumer.take().expect("it is there");
            let t4 = monotonic_ns();
            assert!(matches!(taken, Take::Frame(_)));
            drop(black_box(taken));
            let t5 = monotonic_ns();
            for (sum, (from, to)) in spent.iter_mut().zip([(t0, t1), (t1, t2), (t2, t3), (t3, t4), (t4, t5)]) {
                *sum += to - from;
            }
        }
        let began = monotonic_ns();
        for _ in 0..ROUNDS {
            black_box(monotonic_ns());
        }
        let clock = (monotonic_ns() - began) / ROUNDS;
        let names = ["acquire", "publish", "wait", "take", "give back"];
        let each: Vec<String> = names
            .iter()
            .zip(spent)
            .map(|(name, ns)| format!("{name} {}", (ns / ROUNDS).saturating_sub(clock)))
            .collect();
        println!("calls, {kind:8}: {} ns", each.join(", "));
    }
}

/// This program again, as the consumer of `name`.
fn consumer(name: &SegmentName, leases: u32) -> (Child, impl Iterator<Item = String>) {
    let own = std::env::current_exe().expect("it runs");
    let mut child = Command::new(own)
        .args(["consume", name.as_str(), &leases.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs again");
    let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines().map_while(Result::ok);
    (child, lines)
}

/// Takes frames until the end; says what it saw.
fn consume(name: &str, leases: u32) {
    let name = SegmentName::new(name).expect("the producer chose it");
    let mut consumer = attach(&name, leases);
    println!("ready");
    let cpu = cpu_ns();
    let (mut frames, mut late) = (0u64, Vec::with_capacity(1 << 20));
    loop {
        match consumer.wait_newer(None).expect("it is there") {
            Wait::Newer => {}
            Wait::Eos | Wait::Closed => break,
            other => panic!("{other:?}"),
        }
        while let Take::Frame(slot) = consumer.take().expect("it is there") {
            if late.len() < late.capacity() {
                late.push(monotonic_ns() - slot.info().published);
            }
            frames += 1;
        }
    }
    late.sort_unstable();
    let at = |part: f64| late.get((late.len() as f64 * part) as usize).copied().unwrap_or(0);
    println!("{frames} {} {} {} {}", consumer.skipped(), cpu_ns() - cpu, at(0.5), at(0.99));
}

fn run(what: &str, size: (&str, u32, u32), consumers: u32, frames: u64, pace: Option<Duration>) {
    let name = name(what);
    let producer = produce(&name, size.1, size.2, ProducerOptions::lossless(4 + consumers));
    let mut others: Vec<_> = (0..consumers).map(|_| consumer(&name, 1)).collect();
    for (_, lines) in &mut others {
        assert_eq!(lines.next().as_deref(), Some("ready"));
    }
    let cpu = cpu_ns();
    let began = Instant::now();
    for number in 0..frames {
        if let Some(pace) = pace {
            std::thread::sleep((began + pace * number as u32).saturating_duration_since(Instant::now()));
        }
        let slot = producer.acquire_by(None, 0).expect("it is there").expect("nobody interrupts");
        slot.publish(Stamps::default()).expect("it is there");
    }
    assert!(producer.drain(None).expect("it is there"));
    let took = began.elapsed();
    let mut cpu = cpu_ns() - cpu;
    producer.set_eos().expect("it is there");
    let mut seen = Vec::new();
    for (mut child, mut lines) in others {
        let said = lines.next().expect("it says what it saw");
        let numbers: Vec<u64> = said.split(' ').map(|word| word.parse().expect("numbers")).collect();
        assert!(child.wait().expect("it ends").success());
        assert_eq!(numbers[..2], [frames, 0], "frames taken and left out");
        cpu += numbers[2];
        seen.push((numbers[3], numbers[4]));
    }
    let (p50, p99) = seen.into_iter().max().unwrap_or_default();
    println!(
        "{what:8} {:5} {consumers} consumers: {:8.0} frames/s, {:6.2} µs a frame, {:6.2} µs of processors, late p50 {:.1} p99 {:.1} µs",
        size.0,
        frames as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / frames as f64,
        cpu as f64 / 1e3 / frames as f64,
        p50 as f64 / 1e3,
        p99 as f64 / 1e3,
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [word, name, leases] = &words[..]
        && word == "consume"
    {
        return consume(name, leases.parse().expect("a number"));
    }
    let wanted = |what: &str| words.is_empty() || words.iter().any(|word| what.starts_with(word.as_str()));
    if wanted("calls") {
        calls();
    }
    for size in SIZES {
        for consumers in [1, 2] {
            if wanted("flat") {
                run("flat", size, consumers, 300_000 / u64::from(consumers), None);
            }
        }
        if wanted("paced") {
            run("paced", size, 1, 1000, Some(PACE));
        }
    }
}
