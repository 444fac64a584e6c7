// SPDX-License-Identifier: MPL-2.0
//! Both ends against the package python/tdlink, which speaks the same bytes from docs/protocol/control.md alone. It is
//! driven by tests/peers/ring.py; every 8 bytes of a frame say its number, and so does `offset` beside them.

//!
//! On Windows nobody can remove a name, the system does not fork, and what is killed leaves nothing: tests of that are
//! Linux's alone.

#![cfg(any(target_os = "linux", windows))]

mod crash;
mod frames;
mod peer;
mod strangers;

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use peer::Peer;
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::protocol::control::{
    AttachOptions, ConsumeError, Consumer, FrameInfo, FrameSpec, Interrupt, ProduceError, Producer, ProducerOptions,
    Stamps, Take, Wait,
};
use tdlink_core::segment::{Segment, SegmentName};

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A name that nobody else uses. When it goes, nothing may be left of it in the system.
struct Name(SegmentName);

impl Name {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(SegmentName::new(&format!("tdlink-python-{}-{number}", std::process::id())).unwrap())
    }

    #[cfg(target_os = "linux")]
    fn control_path(&self) -> PathBuf {
        Path::new("/dev/shm").join(self.0.control().as_str())
    }

    fn produce(&self, options: ProducerOptions) -> Producer {
        self.try_produce(spec(64, 16), options).unwrap()
    }

    fn try_produce(&self, spec: FrameSpec, options: ProducerOptions) -> Result<Producer, ProduceError> {
        Producer::create(&self.0, spec, options, Interrupt::new())
    }

    fn attach(&self, leases: u32) -> Consumer {
        self.try_attach(leases).unwrap()
    }

    fn try_attach(&self, leases: u32) -> Result<Consumer, ConsumeError> {
        Consumer::attach(&self.0, &AttachOptions { leases, ..AttachOptions::default() }, Interrupt::new())
    }

    /// A Python program that reads under this name.
    fn reader(&self, leases: u32) -> Peer {
        let mut python = Peer::python();
        python.expect(&format!("reader {} {leases}", self.0), "ready");
        python
    }

    /// A Python program that writes 64 × 16 pixels under this name.
    fn writer(&self, slots: u32, delivery: &str) -> Peer {
        let mut python = Peer::python();
        python.expect(&format!("writer {} 64 16 {slots} {delivery}", self.0), "ready");
        python
    }

    /// Everything in the system that carries the name.
    fn traces(&self) -> Vec<String> {
        let own = |found: &String| {
            let found = found.strip_prefix('.').unwrap_or(found);
            found.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        objects().into_iter().filter(own).collect()
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(self.traces(), Vec::<String>::new(), "left in the system");
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let traces = self.traces();
        #[cfg(target_os = "linux")]
        for trace in &traces {
            let path = Path::new("/dev/shm").join(trace);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        if !std::thread::panicking() {
            assert_eq!(traces, Vec::<String>::new(), "left in the system");
        }
    }
}

/// Everything that has a name.
#[cfg(target_os = "linux")]
fn objects() -> Vec<String> {
    fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[cfg(windows)]
use tdlink_core::segment::session_objects as objects;

fn spec(width: u32, height: u32) -> FrameSpec {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    FrameSpec::packed(FrameDesc { width, height, format, origin: Origin::TopLeft })
}

fn stamps(number: u64) -> Stamps {
    Stamps { offset: Some(number), pts: Some(number * 1000), ..Stamps::default() }
}

/// Ends [`send_until`] of another thread when it goes, also with a test that fails.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends frame after frame.
fn send_until(producer: &Producer, enough: &AtomicBool) {
    (0..).take_while(|_| !enough.load(Ordering::Relaxed)).for_each(|sent| {
        send(producer, sent);
    });
}

/// Waits for a slot, fills it with the number, and publishes it.
fn send(producer: &Producer, number: u64) -> u64 {
    send_with(producer, number, stamps(number))
}

fn send_with(producer: &Producer, number: u64, stamps: Stamps) -> u64 {
    let slot = producer.acquire_by(Some(Instant::now() + PATIENCE), 0).unwrap().expect("a slot comes free");
    let pixels = number.to_le_bytes().repeat(slot.memory().len() / 8);
    slot.segment().write(slot.offset(), &pixels).unwrap();
    slot.publish(stamps).unwrap()
}

/// The number of a frame of which all bytes and `info` say the same.
fn judge(info: &FrameInfo, pixels: &[u8]) -> Result<u64, String> {
    let first = u64::from_le_bytes(pixels[..8].try_into().unwrap());
    if pixels[8..] != pixels[..pixels.len() - 8] {
        return Err(format!("torn: {first} and others"));
    }
    if info.stamps.offset != Some(first) {
        return Err(format!("pixels of frame {first} under {:?}", info.stamps.offset));
    }
    Ok(first)
}

fn number(info: &FrameInfo, segment: &Segment, offset: usize) -> Result<u64, String> {
    let mut pixels = vec![0; info.payload];
    segment.read(offset, &mut pixels).map_err(|err| err.to_string())?;
    judge(info, &pixels)
}

/// The next frame, by lease or by copy; `None` when the producer was faster than every attempt.
fn next(consumer: &mut Consumer) -> Option<u64> {
    match consumer.take().unwrap() {
        Take::Frame(slot) => Some(
            number(slot.info(), slot.memory().segment(), slot.memory().offset()).unwrap_or_else(|why| panic!("{why}")),
        ),
        Take::Nothing => None,
        Take::NoLease => {
            let copied = consumer.copy(|frame| {
                let mut pixels = vec![0; frame.info.payload];
                frame.segment.read(frame.offset, &mut pixels).map_err(ConsumeError::from)?;
                Ok::<_, ConsumeError>(pixels)
            });
            copied.unwrap().map(|(info, pixels)| judge(&info, &pixels).unwrap_or_else(|why| panic!("{why}")))
        }
    }
}

fn poll(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for what is not the end of a wait.
#[track_caller]
fn wait(consumer: &mut Consumer) -> Wait {
    let wait = consumer.wait_newer(Some(Instant::now() + PATIENCE)).unwrap();
    assert_ne!(wait, Wait::Deadline);
    wait
}

/// Waits for a frame and takes it.
#[track_caller]
fn receive(consumer: &mut Consumer) -> u64 {
    loop {
        assert_eq!(wait(consumer), Wait::Newer);
        if let Some(number) = next(consumer) {
            return number;
        }
    }
}
