// SPDX-License-Identifier: MPL-2.0
//! Both ends of cuda-link's ring in two processes.
//!
//! `names` and `kill` need no GPU: handles are 64 bytes of anything. The others need a driver, the
//! real one or the emulated one: `cargo xtask emulated -- cargo test -p tdlink-core --features test-util --test cudalink
//! -- --include-ignored`.

#![cfg(target_os = "linux")]

#[path = "../pixels/cases.rs"]
mod cases;
mod conversions;
mod driver;
mod figures;
mod frames;
mod gpus;
mod kill;
mod loans;
mod names;
mod peer;
mod pixels;
mod waits;

use std::time::{Duration, Instant};

use tdlink_core::cuda::{IpcEventHandle, IpcMemHandle};
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::protocol::cudalink::{Description, Interrupt, SlotHandles, Wait, Watch};
use tdlink_core::segment::{OpenOptions, SegmentName};

/// Longer than anything here takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A name that no other test has, gone with its leftovers when it goes out of scope.
#[derive(Debug)]
pub struct TestName(pub SegmentName);

impl TestName {
    pub fn new(test: &str) -> Self {
        Self(SegmentName::new(&format!("tdlink-cudalink>>{test}-{}", std::process::id())).unwrap())
    }

    pub fn path(&self) -> String {
        format!("/dev/shm/{}", self.0)
    }
}

impl std::ops::Deref for TestName {
    type Target = SegmentName;

    fn deref(&self) -> &SegmentName {
        &self.0
    }
}

impl Drop for TestName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
        for role in ["keep", "next", "swap"] {
            let _ = std::fs::remove_file(format!("/dev/shm/.{}.{role}", self.0));
        }
    }
}

pub fn frame(width: u32, height: u32, sample: SampleType, channels: u8) -> FrameDesc {
    let format = PixelFormat::new(sample, channels, ChannelOrder::Bgra).unwrap();
    FrameDesc { width, height, format, origin: Origin::BottomLeft }
}

pub fn described(width: u32) -> Description {
    Description::new(&frame(width, 48, SampleType::U8, 4), false).unwrap()
}

/// Handles that lead nowhere.
pub fn handles(slots: u32, seed: u8) -> Vec<SlotHandles> {
    let one = |slot: u32| SlotHandles {
        memory: IpcMemHandle([seed + slot as u8; 64]),
        event: Some(IpcEventHandle([seed + 100 + slot as u8; 64])),
    };
    (0..slots).map(one).collect()
}

pub fn watch(name: &SegmentName) -> Watch {
    Watch::attach(name, &OpenOptions::default(), Interrupt::new()).unwrap()
}

/// The next thing that happens.
#[track_caller]
pub fn next(watch: &mut Watch) -> Wait {
    let wait = watch.wait_newer(Some(Instant::now() + PATIENCE)).unwrap();
    assert_ne!(wait, Wait::Deadline, "nothing happens");
    wait
}

/// That nothing happens for a while, questions to the system included.
#[track_caller]
pub fn nothing_happens(watch: &mut Watch) {
    let wait = watch.wait_newer(Some(Instant::now() + Duration::from_millis(700))).unwrap();
    assert_eq!(wait, Wait::Deadline);
}
