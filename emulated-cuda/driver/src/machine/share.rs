// SPDX-License-Identifier: MPL-2.0
//! What stands in the 64 bytes of an IPC handle, and how the memory behind it is found.
//!
//! The exporter's file descriptor is opened through /proc: nothing has a name that could stay behind. It needs the same
//! user and the same process namespace.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::process::Process;

pub const HANDLE: usize = 64;
const MAGIC: [u8; 8] = *b"EMUCUDA1";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Memory = 1,
    Event = 2,
}

/// A handle that was taken apart; it may still be stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    pub kind: Kind,
    pub exporter: Process,
    pub file: i32,
    pub device: i32,
    pub inode: u64,
    pub size: u64,
    /// Never the same for two objects of one process.
    pub id: u64,
}

impl Share {
    pub fn encode(&self) -> [u8; HANDLE] {
        let mut bytes = [0; HANDLE];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&(self.kind as u32).to_le_bytes());
        put(&self.exporter.pid.to_le_bytes());
        put(&self.exporter.start.to_le_bytes());
        put(&self.file.to_le_bytes());
        put(&self.device.to_le_bytes());
        put(&self.inode.to_le_bytes());
        put(&self.size.to_le_bytes());
        put(&self.id.to_le_bytes());
        let sum = checksum(&bytes[..HANDLE - 8]);
        bytes[HANDLE - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// None for bytes that no exporter made.
    pub fn decode(bytes: &[u8; HANDLE]) -> Option<Share> {
        let (body, sum) = bytes.split_at(HANDLE - 8);
        if checksum(body).to_le_bytes() != sum || !body.starts_with(&MAGIC) {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let kind = match u32_at(8)? {
            1 => Kind::Memory,
            2 => Kind::Event,
            _ => return None,
        };
        Some(Share {
            kind,
            exporter: Process { pid: u32_at(12)?, start: u64_at(16)? },
            file: u32_at(24)? as i32,
            device: u32_at(28)? as i32,
            inode: u64_at(32)?,
            size: u64_at(40)?,
            id: u64_at(48)?,
        })
    }

    /// The exporter's file, if it is still the one that was shared: a number may be in use for another file by now.
    pub fn open(&self) -> Option<OwnedFd> {
        if !self.exporter.lives() {
            return None;
        }
        let path = format!("/proc/{}/fd/{}", self.exporter.pid, self.file);
        let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
        (rustix::fs::fstat(&file).ok()?.st_ino == self.inode).then_some(file)
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_as_it_was_and_no_altered_byte_is_taken() {
        let share = Share {
            kind: Kind::Event,
            exporter: Process { pid: 77, start: 1234 },
            file: 9,
            device: 1,
            inode: 1 << 40,
            size: 2 << 20,
            id: 3,
        };
        let bytes = share.encode();
        assert_eq!(Share::decode(&bytes), Some(share));
        for at in 0..HANDLE {
            let mut altered = bytes;
            altered[at] ^= 1;
            assert_eq!(Share::decode(&altered), None, "byte {at}");
        }
        assert_eq!(Share::decode(&[0; HANDLE]), None);
    }
}
