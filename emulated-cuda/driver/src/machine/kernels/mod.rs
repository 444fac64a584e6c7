// SPDX-License-Identifier: MPL-2.0
//! The project's kernels on the processor, by name: written from what each promises, not from the device's code.

mod colour;
mod convert;
mod rows;
mod sample;

use std::sync::Arc;

use super::pages::Backing;
use super::state;
use super::work::Place;
use crate::code::{Code, Outcome};
use crate::config::config;

#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// Bytes of each parameter.
    pub parameters: &'static [usize],
    /// Calls its second argument before it begins and at half of its work; none when it reaches outside of memory.
    run: fn(&[u64], &dyn Fn()) -> Option<()>,
}

/// One structure; see [`convert`].
const CONVERSION: &[usize] = &[convert::PARAMETER_BYTES];

const KERNELS: &[Kernel] = &[
    Kernel { name: "tdlink_rows_u8", parameters: &[8, 8, 4, 4, 4, 4, 4, 4], run: rows::rows_u8 },
    Kernel { name: "tdlink_to_packed", parameters: CONVERSION, run: convert::to_packed },
    Kernel { name: "tdlink_to_yuv", parameters: CONVERSION, run: convert::to_yuv },
    Kernel { name: "tdlink_from_packed", parameters: CONVERSION, run: convert::from_packed },
    Kernel { name: "tdlink_from_yuv", parameters: CONVERSION, run: convert::from_yuv },
];

impl Kernel {
    pub fn named(name: &str) -> Option<&'static Kernel> {
        KERNELS.iter().find(|kernel| kernel.name == name)
    }
}

/// A kernel with its arguments, each widened to 64 bits; a structure is its words of 64 bits.
#[derive(Clone, Debug)]
pub struct Launch {
    pub kernel: &'static Kernel,
    pub arguments: Vec<u64>,
}

impl Launch {
    /// A reach outside of memory is found when the kernel runs, as on a device, and is the end of the context.
    pub fn run(&self) -> Outcome {
        let pause = || std::thread::sleep(config().copy_delay / 2);
        (self.kernel.run)(&self.arguments, &pause).ok_or(Code::ILLEGAL_ADDRESS)
    }
}

/// Device memory of which every byte was checked.
struct Span {
    backing: Arc<Backing>,
    offset: usize,
    len: usize,
}

impl Span {
    /// None when any byte of it lies outside of an allocation.
    fn new(pointer: u64, len: usize) -> Option<Span> {
        match state::state().memory.device(pointer, len).ok()? {
            Place::Device { backing, offset } => Some(Span { backing, offset, len }),
            Place::Host(_) | Place::Staged(_) => None,
        }
    }

    fn at(&self, offset: usize, len: usize) -> Option<std::ptr::NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        self.backing.at(self.offset + offset, len)
    }

    fn read(&self, offset: usize, bytes: &mut [u8]) -> Option<()> {
        let from = self.at(offset, bytes.len())?;
        // SAFETY: `at` has checked the range.
        unsafe { from.as_ptr().copy_to(bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        let to = self.at(offset, bytes.len())?;
        // SAFETY: `at` has checked the range.
        unsafe { to.as_ptr().copy_from(bytes.as_ptr(), bytes.len()) };
        Some(())
    }
}

/// Bytes from the first of a picture to its last.
fn extent(pitch: usize, row: usize, rows: usize) -> Option<usize> {
    (rows - 1).checked_mul(pitch)?.checked_add(row)
}
