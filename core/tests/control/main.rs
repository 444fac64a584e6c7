// SPDX-License-Identifier: MPL-2.0
//! What a producer and its consumers promise each other, between processes, on the real system.
//!
//! On Windows nobody can remove a name or cut memory short, the system tells neither who holds what nor who sleeps, and no
//! process can be stopped: tests of that are Linux's alone.

#![cfg(any(target_os = "linux", windows))]

#[cfg(target_os = "linux")]
mod clean;
mod ends;
mod frames;
mod kill;
mod life;
mod pace;
mod peer;
mod trust;

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::protocol::control::{
    AttachOptions, ConsumeError, Consumer, Frame, FrameInfo, FrameSpec, Interrupt, ProduceError, Producer,
    ProducerOptions, Stamps, Take, Wait, WriteSlot,
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
        Self(SegmentName::new(&format!("tdlink-ring-{}-{number}", std::process::id())).unwrap())
    }

    #[cfg(target_os = "linux")]
    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(self.0.as_str())
    }

    #[cfg(target_os = "linux")]
    fn control_path(&self) -> PathBuf {
        Path::new("/dev/shm").join(self.0.control().as_str())
    }

    fn produce(&self, options: ProducerOptions) -> Result<Producer, ProduceError> {
        Producer::create(&self.0, spec(64, 16), options, Interrupt::new())
    }

    fn attach(&self, leases: u32) -> Result<Consumer, ConsumeError> {
        attach(&self.0, leases, &Interrupt::new())
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
            let _ = fs::remove_file(Path::new("/dev/shm").join(trace));
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

fn attach(name: &SegmentName, leases: u32, interrupt: &Interrupt) -> Result<Consumer, ConsumeError> {
    Consumer::attach(name, &AttachOptions { leases, ..AttachOptions::default() }, interrupt.clone())
}

fn spec(width: u32, height: u32) -> FrameSpec {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    FrameSpec::packed(FrameDesc { width, height, format, origin: Origin::TopLeft })
}

/// Every 8 bytes of the frame say its number.
fn draw(slot: &WriteSlot, bytes: usize, number: u64) {
    let pixels = number.to_le_bytes().repeat(bytes / 8);
    slot.segment().write(slot.offset(), &pixels).unwrap();
}

/// Publishes frame `number`: the number is in the pixels and beside them.
fn publish(producer: &Producer, slot: WriteSlot, number: u64) -> Result<u64, ProduceError> {
    let spec = producer.description().spec;
    draw(&slot, spec.frame_bytes(spec.stride).unwrap(), number);
    slot.publish(Stamps { offset: Some(number), pts: Some(number * 1000), ..Stamps::default() })
}

/// Acquires and publishes.
fn send(producer: &Producer, number: u64) -> u64 {
    publish(producer, producer.acquire(0).unwrap().expect("a slot is free"), number).unwrap()
}

/// The number of the frame at `offset`, if all of its bytes say the same and `info` does, too.
fn number(info: &FrameInfo, segment: &Segment, offset: usize) -> Result<u64, String> {
    let mut pixels = vec![0; info.payload];
    segment.read(offset, &mut pixels).map_err(|err| err.to_string())?;
    judge(info, &pixels)
}

fn judge(info: &FrameInfo, pixels: &[u8]) -> Result<u64, String> {
    let mut words = pixels.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    let first = words.next().unwrap();
    if let Some(other) = words.find(|&word| word != first) {
        return Err(format!("torn: {first} and {other}"));
    }
    if info.stamps.offset != Some(first) {
        return Err(format!("pixels of frame {first} under {:?}", info.stamps.offset));
    }
    Ok(first)
}

/// Takes the next frame by lease, or by copy.
fn next(consumer: &mut Consumer) -> Result<u64, String> {
    match consumer.take().map_err(|err| err.to_string())? {
        Take::Frame(slot) => number(slot.info(), slot.memory().segment(), slot.memory().offset()),
        Take::NoLease => copy(consumer),
        Take::Nothing => Err("nothing".to_owned()),
    }
}

fn copy(consumer: &mut Consumer) -> Result<u64, String> {
    // Judged after the second look only.
    let copied = consumer.copy(|frame: Frame<'_>| {
        let mut pixels = vec![0; frame.info.payload];
        frame.segment.read(frame.offset, &mut pixels).map_err(ConsumeError::from)?;
        Ok::<_, ConsumeError>(pixels)
    });
    let Some((info, pixels)) = copied.map_err(|err| err.to_string())? else { return Err("nothing".to_owned()) };
    judge(&info, &pixels)
}

/// Waits for what is not the end of a wait.
#[track_caller]
fn wait(consumer: &mut Consumer) -> Wait {
    let wait = consumer.wait_newer(Some(Instant::now() + PATIENCE)).unwrap();
    assert_ne!(wait, Wait::Deadline);
    wait
}
