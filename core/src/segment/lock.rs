// SPDX-License-Identifier: MPL-2.0
//! Byte-range locks of an open object: the kernel gives them back when their holder dies, however it dies.
//!
//! They belong to the open file description, not to the process: two descriptions of one process exclude each other,
//! and a forked child shares its parent's. They are asked for, never waited for, and nothing that is held is given up
//! by a question that fails.

use std::io;

use libc::c_int;
use rustix::fd::{AsFd, AsRawFd};

/// Bytes of an object that mean something when they are locked. They need not exist in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Byte {
    /// Held by the live producer.
    Producer,
    /// Held for a moment by whoever changes where the object's name leads.
    Name,
}

impl Byte {
    pub(super) const fn offset(self) -> i64 {
        match self {
            Self::Producer => 0,
            Self::Name => 1 << 40,
        }
    }
}

/// Takes the byte exclusively, which needs a descriptor that may write; false when another description has it.
pub(super) fn try_lock(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    match command(fd, libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
        Ok(()) => Ok(true),
        Err(err) if matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Gives the byte back.
pub(super) fn unlock(fd: impl AsFd, byte: Byte) -> io::Result<()> {
    command(fd, libc::F_OFD_SETLK, libc::F_UNLCK, byte)
}

fn command(fd: impl AsFd, command: c_int, kind: c_int, byte: Byte) -> io::Result<()> {
    // SAFETY: all zeros is a valid `flock`; the kernel wants its `l_pid` to be 0 here.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = byte.offset();
    lock.l_len = 1;
    loop {
        // SAFETY: these commands take a pointer to a `flock`, which outlives the call.
        let outcome = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, &lock) };
        if outcome != -1 {
            return Ok(());
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}
