// SPDX-License-Identifier: MPL-2.0
//! Frames that are read where they lie: judged, and their memory closed, when the GPU is done with them.

use tdlink_core::cuda::{Context, DeviceMem, Imports, Stream, copy_2d};
use tdlink_core::protocol::cudalink::{Frame, Interrupt, Loans, Watch};
use tdlink_core::segment::{OpenOptions, SegmentName};

use super::TestName;
use super::peer::{Peer, Receiver};

/// What a reader's copies take: the orders between two processes take less.
const SLOW: (&str, &str) = ("COPY_DELAY_US", "1500000");

/// The newest frame, which the GPU is still reading.
pub struct Loan {
    loans: Loans,
    frame: Option<Frame>,
    context: Context,
    _copy: DeviceMem,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Loan {
    /// Takes a frame and queues a copy of it, for which nobody waits.
    pub fn of(name: &SegmentName, receiver: &mut Receiver) -> Result<Self> {
        let frame = receiver.next()?.map_err(|wait| format!("{wait:?}"))?;
        let context = receiver.consumer.context().clone();
        let loans = Loans::new(Watch::attach(name, &OpenOptions::default(), Interrupt::new())?, &context);
        let plane = frame.plane;
        let copy = DeviceMem::new(&context, plane.pitch() * plane.rows())?;
        let to = copy.plane(plane.pitch(), plane.row_bytes(), plane.rows())?;
        copy_2d(to, plane, &Stream::legacy(&context))?;
        Ok(Self { loans, frame: Some(frame), context, _copy: copy })
    }

    pub fn give_back(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| self.loans.give_back(&frame.published))
    }

    /// When the GPU has read it.
    pub fn judge(&self) -> Result<u64> {
        Stream::legacy(&self.context).synchronize()?;
        Ok(self.loans.judge())
    }

    pub fn finish(&self) -> u64 {
        self.loans.finish()
    }

    /// Lets the last of the memory go while the copy may be going on.
    pub fn outlives_its_memory(mut self) -> Result<String> {
        self.frame = None;
        let left = Imports::count();
        Stream::legacy(&self.context).synchronize()?;
        Ok(format!("{left} imports, and the context lives"))
    }
}

fn lent(test: &str, settings: &[(&str, &str)]) -> (TestName, Peer, Peer) {
    let name = TestName::new(test);
    let (mut sender, mut reader) = (Peer::start(), Peer::with(settings));
    sender.expect(&format!("produce {} 3 64 48 u8 4 plain", *name), "ready");
    reader.expect(&format!("consume {}", *name), "ready");
    sender.expect("send 1", "1");
    reader.expect(&format!("lend {}", *name), "lent");
    (name, sender, reader)
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_frame_is_judged_when_the_gpu_has_read_it_and_not_when_it_is_given_back() {
    for end in ["judge", "finish"] {
        let (_name, mut sender, mut reader) = lent("judged", &[SLOW]);
        reader.expect("give-back", "0");
        for number in 2..=4 {
            sender.expect(&format!("send {number}"), &number.to_string());
        }
        reader.expect(end, "1");
        reader.expect("judge", "0");
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_frame_that_was_left_alone_is_not_counted() {
    for end in ["judge", "finish"] {
        let (_name, mut sender, mut reader) = lent("alone", &[("COPY_DELAY_US", "20000")]);
        reader.expect("give-back", "0");
        sender.expect("send 2", "2");
        reader.expect(end, "0");
        for number in 3..=6 {
            sender.expect(&format!("send {number}"), &number.to_string());
        }
        reader.expect("judge", "0");
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_frame_that_was_held_for_too_long_is_counted_at_once() {
    let (_name, mut sender, mut reader) = lent("held", &[]);
    for number in 2..=4 {
        sender.expect(&format!("send {number}"), &number.to_string());
    }
    reader.expect("give-back", "1");
    reader.expect("judge", "0");
}

#[test]
#[ignore = "needs the emulated driver"]
fn memory_is_closed_when_the_gpu_is_done_with_it() {
    let slow = ("COPY_DELAY_US", "300000");
    let (_name, _sender, mut reader) = lent("closed", &[slow, ("IPC_CLOSE_AT_ONCE", "1")]);
    reader.expect("close", "0 imports, and the context lives");
}
