// SPDX-License-Identifier: MPL-2.0
//! What can go wrong with a segment: with its name and object, and with one access to its bytes.

use std::io;

use thiserror::Error;

/// Why a segment could not be opened, created or kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Nothing stands under the name.
    #[error("there is no shared memory {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// Something stands under the name, and only a new object will do.
    #[error("shared memory {name:?} exists already")]
    Exists {
        /// The name.
        name: String,
    },
    /// It exists, but this process may not open it.
    #[error("shared memory {name:?} exists, but access is denied: {source}")]
    AccessDenied {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It belongs to another user, and that was not allowed.
    #[error("shared memory {name:?} belongs to user {uid}, not to this process's user")]
    OtherUser {
        /// The name.
        name: String,
        /// User id of the owner.
        uid: u32,
    },
    /// It exists and has no bytes: its creator has not sized it yet, or somebody emptied it.
    #[error("shared memory {name:?} is 0 bytes long")]
    Empty {
        /// The name.
        name: String,
    },
    /// What stands under the name is no shared memory of one name.
    #[error("{name:?} is {found}, not a shared memory object")]
    NotShared {
        /// The name.
        name: String,
        /// What it is, for example "a symbolic link".
        found: String,
    },
    /// Another program uses the segment, and it has another size.
    #[error("shared memory {name:?} has {size} bytes, {wanted} are wanted, and it is in use by {}", processes(.pids))]
    InUse {
        /// The name.
        name: String,
        /// Bytes it has.
        size: u64,
        /// Bytes that were wanted.
        wanted: u64,
        /// Processes that map it or hold it open, as far as they can be seen.
        pids: Vec<u32>,
    },
    /// A live producer of ours has the name.
    #[error("shared memory {name:?} has a live producer{}", owner(.pid))]
    LiveProducer {
        /// The name.
        name: String,
        /// Its process, where the system tells.
        pid: Option<u32>,
    },
    /// Another object stands under the name that was ours.
    #[error("shared memory {name:?} was replaced by another program's")]
    Taken {
        /// The name.
        name: String,
    },
    /// The shared memory file system is full.
    #[error("no space for shared memory {name:?}: {wanted} bytes wanted, {available} available")]
    NoSpace {
        /// The name.
        name: String,
        /// Bytes that were wanted.
        wanted: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The name kept changing under us.
    #[error("shared memory {name:?} was replaced {tries} times while it was being opened")]
    Restless {
        /// The name.
        name: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The system refused a step.
    #[error("{doing} of shared memory {name:?} failed: {source}")]
    Os {
        /// The step.
        doing: &'static str,
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// This cannot be had, here or anywhere.
    #[error("not supported: {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
}

fn processes(pids: &[u32]) -> String {
    match pids {
        [] => "another process".to_owned(),
        [one] => format!("process {one}"),
        many => {
            let list: Vec<String> = many.iter().map(u32::to_string).collect();
            format!("processes {}", list.join(", "))
        }
    }
}

fn owner(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(", process {pid}")).unwrap_or_default()
}

/// Why one access to a segment's bytes did not happen, or is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Bytes outside of the segment were asked for. Nothing was copied.
    #[error("{len} bytes at {offset} are outside of a segment of {segment_len} bytes")]
    OutOfBounds {
        /// First byte.
        offset: usize,
        /// Bytes asked for; `usize::MAX` when their number does not fit.
        len: usize,
        /// Bytes mapped.
        segment_len: usize,
    },
    /// An atomic word must lie at a multiple of its size. Nothing was done.
    #[error("an atomic word of {align} bytes cannot lie at {offset}")]
    Misaligned {
        /// Offset of the word.
        offset: usize,
        /// What it must be a multiple of.
        align: usize,
    },
    /// The segment is mapped for reading only. Nothing was written.
    #[error("the segment is mapped read-only")]
    ReadOnly,
    /// Rows of `row_bytes` do not fit `stride` apart. Nothing was copied.
    #[error("rows of {row_bytes} bytes cannot lie {stride} bytes apart")]
    Overlapping {
        /// Bytes per row.
        row_bytes: usize,
        /// Distance of rows in bytes.
        stride: usize,
    },
    /// The private side of a row copy is too small. Nothing was copied.
    #[error("the rows take {needed} bytes, the buffer has {len}")]
    Buffer {
        /// Bytes from the first row's first to the last row's last; `usize::MAX` when their number does not fit.
        needed: usize,
        /// Bytes of the buffer.
        len: usize,
    },
    /// Somebody cut the object short while it was mapped. The memory is lost: what was copied is partly zeros, this
    /// mapping fails from now on, and the name must be opened again.
    #[error("the segment of {segment_len} bytes was cut short by another program while it was in use")]
    Truncated {
        /// Bytes mapped.
        segment_len: usize,
    },
}
