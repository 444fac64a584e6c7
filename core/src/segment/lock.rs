// SPDX-License-Identifier: MPL-2.0
//! Byte-range locks of an open object: the kernel gives them back when their holder dies, however it dies.
//!
//! They belong to the open file description, not to the process: two descriptions of one process exclude each other,
//! and a forked child would share its parent's (see `process`). They are asked for, never waited for, and nothing that is held is given up
//! by a question that fails.

use std::io;

use libc::c_int;
use rustix::fd::{AsFd, AsRawFd};

/// Kinds of locks, which systems declare with different types.
const WRITE: i16 = libc::F_WRLCK as _;
#[cfg(target_os = "linux")]
const READ: i16 = libc::F_RDLCK as _;
const UNLOCKED: i16 = libc::F_UNLCK as _;

/// Bytes of an object that mean something when they are locked. They need not exist in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Byte {
    /// Held by the live producer.
    Producer,
    /// Held by the live owner of a row of a control segment.
    Row(u8),
    /// Held for a moment by whoever changes where the object's name leads.
    Name,
    /// Shared by all who have a section open; see `section`.
    #[cfg(target_os = "linux")]
    Holder,
    /// Held by the owner of a mutex.
    #[cfg(target_os = "linux")]
    Mutex,
}

impl Byte {
    pub(super) const fn offset(self) -> i64 {
        match self {
            Self::Producer => 0,
            Self::Row(row) => 1 + row as i64,
            Self::Name => 1 << 40,
            #[cfg(target_os = "linux")]
            Self::Holder => (1 << 40) + 1,
            #[cfg(target_os = "linux")]
            Self::Mutex => (1 << 40) + 2,
        }
    }
}

/// Takes the byte exclusively, which needs a descriptor that may write; false when another description has it.
pub(super) fn try_lock(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    try_range(fd, WRITE, byte.offset(), 1)
}

/// Takes the byte together with others; false when another description has it for itself.
#[cfg(target_os = "linux")]
pub(super) fn try_share(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    try_range(fd, READ, byte.offset(), 1)
}

/// Takes every byte of [`Byte`] up to the name's, or none of them when another description has one.
pub(super) fn try_lock_all(fd: impl AsFd) -> io::Result<bool> {
    try_range(fd, WRITE, 0, Byte::Name.offset() + 1)
}

/// Gives the byte back.
pub(super) fn unlock(fd: impl AsFd, byte: Byte) -> io::Result<()> {
    command(fd, libc::F_OFD_SETLK, UNLOCKED, byte.offset(), 1).map(drop)
}

/// Gives those bytes back.
pub(super) fn unlock_all(fd: impl AsFd) -> io::Result<()> {
    command(fd, libc::F_OFD_SETLK, UNLOCKED, 0, Byte::Name.offset() + 1).map(drop)
}

/// Whether another description has the byte, for itself or shared. Takes nothing.
pub(super) fn is_locked(fd: impl AsFd, byte: Byte) -> io::Result<bool> {
    let found = command(fd, libc::F_OFD_GETLK, WRITE, byte.offset(), 1)?;
    Ok(found != UNLOCKED)
}

fn try_range(fd: impl AsFd, kind: i16, start: i64, len: i64) -> io::Result<bool> {
    match command(fd, libc::F_OFD_SETLK, kind, start, len) {
        Ok(_) => Ok(true),
        Err(err) if matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Gives the kind of lock that the kernel has written back, or `kind`.
fn command(fd: impl AsFd, command: c_int, kind: i16, start: i64, len: i64) -> io::Result<i16> {
    // SAFETY: all zeros is a valid `flock`; the kernel wants its `l_pid` to be 0 here.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = start;
    lock.l_len = len;
    loop {
        // SAFETY: these commands take a pointer to a `flock`, which outlives the call.
        let outcome = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, &raw mut lock) };
        if outcome != -1 {
            return Ok(lock.l_type);
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}
