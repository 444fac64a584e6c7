// SPDX-License-Identifier: MPL-2.0
//! What a stream can be asked to do, one thing after the other.

use std::sync::Arc;

use super::event::Event;
use super::kernels::Launch;
use super::pages::Backing;
use super::stream::{Fate, Stream};
use crate::code::Outcome;
use crate::config::config;

/// Where bytes lie.
#[derive(Clone, Debug)]
pub enum Place {
    Device {
        backing: Arc<Backing>,
        offset: usize,
    },
    Host(usize),
    /// A copy that was taken at the call, of memory that the caller may change at once.
    Staged(Arc<[u8]>),
}

impl Place {
    fn address(&self) -> *mut u8 {
        match self {
            // The length was checked when the place was looked up.
            Place::Device { backing, offset } => {
                backing.at(*offset, 0).map_or(std::ptr::null_mut(), |address| address.as_ptr())
            }
            Place::Host(address) => *address as *mut u8,
            Place::Staged(bytes) => bytes.as_ptr().cast_mut(),
        }
    }
}

/// Rows of bytes from one place to another. One row is the plain copy.
#[derive(Clone, Debug)]
pub struct Copy {
    pub to: Place,
    pub to_pitch: usize,
    pub from: Place,
    pub from_pitch: usize,
    pub width: usize,
    pub rows: usize,
}

impl Copy {
    fn part(&self, rows: std::ops::Range<usize>, bytes: std::ops::Range<usize>) {
        let (to, from) = (self.to.address(), self.from.address());
        for row in rows {
            // SAFETY: the extents of both places were checked at the call, and the memory is held by this work (device)
            // or, as a driver asks for it, by the caller until the stream is through (host).
            let from = unsafe { from.add(row * self.from_pitch + bytes.start) };
            // SAFETY: as above.
            let to = unsafe { to.add(row * self.to_pitch + bytes.start) };
            // SAFETY: as above; `copy` allows them to overlap.
            unsafe { std::ptr::copy(from, to, bytes.len()) }
        }
    }

    /// With a delay, in two halves: who reads meanwhile sees a torn picture.
    pub fn run(&self) {
        let delay = config().copy_delay;
        if delay.is_zero() {
            return self.part(0..self.rows, 0..self.width);
        }
        std::thread::sleep(delay / 2);
        if self.rows > 1 {
            self.part(0..self.rows / 2, 0..self.width);
            std::thread::sleep(delay / 2);
            self.part(self.rows / 2..self.rows, 0..self.width);
        } else {
            self.part(0..self.rows, 0..self.width / 2);
            std::thread::sleep(delay / 2);
            self.part(0..self.rows, self.width / 2..self.width);
        }
    }
}

/// A value of 1, 2 or 4 bytes over rows of it.
#[derive(Clone, Debug)]
pub struct Fill {
    pub to: Place,
    pub pitch: usize,
    pub value: [u8; 4],
    pub unit: usize,
    /// In units.
    pub width: usize,
    pub rows: usize,
}

impl Fill {
    fn run(&self) {
        let to = self.to.address();
        for row in 0..self.rows {
            for unit in 0..self.width {
                // SAFETY: the extent was checked at the call; the work holds the memory.
                let at = unsafe { to.add(row * self.pitch + unit * self.unit) };
                // SAFETY: as above; `value` is at least as long as a unit.
                unsafe { std::ptr::copy_nonoverlapping(self.value.as_ptr(), at, self.unit) }
            }
        }
    }
}

/// A function of the program that the stream's thread calls.
#[derive(Clone, Copy, Debug)]
pub struct HostCall {
    pub function: unsafe extern "C" fn(usize),
    pub data: usize,
}

#[derive(Clone, Debug)]
pub enum Work {
    Copy(Copy),
    Fill(Fill),
    Launch(Launch),
    Call(HostCall),
    Record(Arc<Event>, u32),
    Wait(Arc<Event>, u32),
    /// Waits until another stream of this process has come so far.
    Behind(Arc<Stream>, u64),
    /// Memory that goes when the stream comes to this point.
    Drop(Arc<Backing>),
}

impl Work {
    /// On the stream's thread. An error is the context's end.
    pub fn run(&self, fate: &Fate) -> Outcome {
        match self {
            Work::Copy(copy) => copy.run(),
            Work::Fill(fill) => fill.run(),
            Work::Launch(launch) => launch.run()?,
            // SAFETY: the program gave the function for this purpose, with the data that it wants.
            Work::Call(call) => unsafe { (call.function)(call.data) },
            Work::Record(event, record) => {
                std::thread::sleep(config().event_delay);
                event.complete(*record);
            }
            Work::Wait(event, record) => event.wait(*record, || fate.check())?,
            Work::Behind(stream, ticket) => stream.wait_for(*ticket)?,
            Work::Drop(backing) => backing.mark_freed(),
        }
        Ok(())
    }
}
