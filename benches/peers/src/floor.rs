// SPDX-License-Identifier: MPL-2.0
//! The least that a hand-over can cost: a ring of four slots in shared memory and a futex each way, without GStreamer
//! and without a protocol.
//!
//! Each process has one segment of its own and writes no other. The sender's has the slots and the number of frames
//! sent; a receiver's has the number of frames taken. A word beside each says whether its writer sleeps over the other.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::{Duration, Instant};

use tdlink_core::segment::{
    AccessError, Acquired, Bell, CreateOptions, OpenOptions, OwnedSegment, Segment, SegmentName, monotonic_ns,
};

use crate::stamp::{self, BACK, FRONT, Stamp};
use crate::tally::Tally;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SLOTS: u32 = 4;
const PAGE: usize = 4096;
/// Offsets of the count and of the sleeper's word, on cache lines of their own.
const COUNT: usize = 0;
const SLEEPS: usize = 128;
/// A ring that is lost costs no more than this.
const NAP_NS: u64 = 100_000_000;

#[derive(Debug, Clone)]
pub struct Floor {
    pub name: String,
    /// Bytes of a frame.
    pub size: usize,
}

impl Floor {
    fn stride(&self) -> usize {
        self.size.next_multiple_of(PAGE)
    }

    fn slot(&self, number: u32) -> usize {
        PAGE + self.stride() * (number % SLOTS) as usize
    }
}

/// A count that one process advances and others wait for.
#[derive(Debug)]
struct Line {
    segment: Arc<Segment>,
    bell: Bell,
}

impl Line {
    fn new(name: &str, segment: Arc<Segment>) -> Outcome<Self> {
        let bell = Bell::new(&SegmentName::new(name)?, Arc::clone(&segment), COUNT)?;
        Ok(Self { segment, bell })
    }

    /// Another process's, once it is there.
    fn open(name: &str) -> Outcome<Self> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Segment::open(&SegmentName::new(name)?, OpenOptions::default()) {
                Ok(segment) => return Self::new(name, Arc::new(segment)),
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn count(&self) -> Result<u32, AccessError> {
        self.segment.load_u32(COUNT, Acquire)
    }

    /// Sleeps as long as the count is `seen`; `own` says so to the one who will ring.
    fn wait(&self, own: &Line, me: u32, seen: u32) -> Result<u32, AccessError> {
        loop {
            let count = self.count()?;
            if count != seen {
                return Ok(count);
            }
            own.segment.store_u32(SLEEPS, 1, SeqCst)?;
            if self.segment.load_u32(COUNT, SeqCst)? == seen {
                self.bell.wait(me, seen, monotonic_ns() + NAP_NS)?;
            }
            own.segment.store_u32(SLEEPS, 0, Relaxed)?;
        }
    }

    /// Advances our own count and wakes those of `others` who sleep over it.
    fn advance<'a>(&self, count: u32, others: impl Iterator<Item = &'a Line>) -> Result<(), AccessError> {
        self.segment.store_u32(COUNT, count, SeqCst)?;
        for other in others {
            if other.segment.load_u32(SLEEPS, SeqCst)? != 0 {
                return self.bell.ring(u32::MAX);
            }
        }
        Ok(())
    }
}

/// A new segment of ours. What an earlier run left under the name has its counts and would be taken for this one's.
fn create(name: &str, len: usize) -> Outcome<OwnedSegment> {
    let owned = OwnedSegment::create(&SegmentName::new(name)?, len, &CreateOptions::default())?;
    match owned.origin() {
        Acquired::Created => Ok(owned),
        other => Err(format!("the name {name} should be new, but was {other:?}").into()),
    }
}

fn receiver_name(floor: &Floor, index: u32) -> String {
    format!("{}-{index}", floor.name)
}

/// Sends frames until something fails: to so many receivers, copied from private memory or only stamped.
pub fn send(floor: &Floor, receivers: u32, copied: bool, rate: Option<u32>, tally: &Tally) -> Outcome {
    let total = PAGE + floor.stride() * SLOTS as usize;
    let owned = create(&floor.name, total)?;
    let ours = Line::new(&floor.name, Arc::clone(owned.segment()))?;
    let mut frame = vec![7u8; floor.size];
    for slot in 0..SLOTS {
        ours.segment.write(floor.slot(slot), &frame)?;
    }
    println!("playing");
    let others = (0..receivers).map(|index| Line::open(&receiver_name(floor, index))).collect::<Outcome<Vec<_>>>()?;
    let mut due = Instant::now();
    for number in 0u64.. {
        if let Some(rate) = rate {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += Duration::from_secs(1) / rate;
        }
        // Counts wrap; frames do not.
        let count = number as u32;
        for other in &others {
            let mut taken = other.count()?;
            while count.wrapping_sub(taken) >= SLOTS {
                taken = other.wait(&ours, 0, taken)?;
            }
        }
        let slot = floor.slot(count);
        if copied {
            stamp::write(&mut frame, number);
            ours.segment.write(slot, &frame)?;
        } else {
            let (front, back) = stamp::now(number);
            ours.segment.write(slot + floor.size - BACK, &back)?;
            ours.segment.write(slot, &front)?;
        }
        ours.advance(count.wrapping_add(1), others.iter())?;
        tally.frame(None, 0, 0);
    }
    Ok(())
}

/// Receives frames until something fails; `looks` at their stamps or only counts them.
pub fn receive(floor: &Floor, index: u32, looks: bool, tally: &Tally) -> Outcome {
    let name = receiver_name(floor, index);
    let owned = create(&name, PAGE)?;
    let ours = Line::new(&name, Arc::clone(owned.segment()))?;
    let sender = Line::open(&floor.name)?;
    let mut taken = 0u32;
    loop {
        sender.wait(&ours, index, taken)?;
        let arrived = monotonic_ns();
        let slot = floor.slot(taken);
        let stamp = if looks {
            let (mut front, mut back) = ([0; FRONT], [0; BACK]);
            sender.segment.read(slot, &mut front)?;
            sender.segment.read(slot + floor.size - BACK, &mut back)?;
            Some(Stamp::of(front, back))
        } else {
            None
        };
        taken = taken.wrapping_add(1);
        ours.advance(taken, std::iter::once(&sender))?;
        tally.frame(stamp, arrived, 0);
    }
}
