// SPDX-License-Identifier: MPL-2.0
//! A mutex of Linux: a locked byte and a word; see the parent module.

use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{pread, pwrite, retry_on_intr};

use crate::segment::lock::{self, Byte};
use crate::segment::section::linux::Held;
use crate::segment::{CreateOptions, SegmentError, SegmentName};

/// Bytes of the object: who holds the lock.
const LEN: usize = 4;
/// Between two questions for the lock.
const PAUSE: Duration = Duration::from_micros(100);
/// How often an object that comes and goes is asked for.
const TRIES: u32 = 1000;

#[derive(Debug)]
pub(super) struct Mutex {
    held: Held,
}

impl Mutex {
    pub(super) fn new(name: &SegmentName, options: &CreateOptions) -> Result<Self, SegmentError> {
        for _ in 0..TRIES {
            match Held::open(name, options.allow_other_user) {
                Ok(held) => return Ok(Self { held }),
                Err(SegmentError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Some(held) = Held::create(name, LEN, options)? {
                return Ok(Self { held });
            }
        }
        Err(SegmentError::Restless { name: name.as_str().to_owned(), tries: TRIES })
    }

    pub(super) fn exists(name: &SegmentName) -> Result<bool, SegmentError> {
        match Held::open(name, true) {
            Ok(_) => Ok(true),
            Err(SegmentError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the last holder died over it; `None` when the lock cannot be had in time.
    pub(super) fn lock(&mut self, patience: Duration) -> Result<Option<bool>, SegmentError> {
        let began = Instant::now();
        while !lock::try_lock(self.held.fd(), Byte::Mutex).map_err(self.held.failed("locking"))? {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(PAUSE));
        }
        let marked = self.mark();
        if marked.is_err() {
            self.unlock();
        }
        marked.map(Some)
    }

    /// Says who has it now, and whether somebody had it before who did not take that back.
    fn mark(&self) -> Result<bool, SegmentError> {
        let failed = |errno: rustix::io::Errno| self.held.failed("reading")(errno.into());
        let mut before = [0; LEN];
        retry_on_intr(|| pread(self.held.fd(), &mut before, 0)).map_err(failed)?;
        self.write(std::process::id()).map_err(failed)?;
        Ok(before != [0; LEN])
    }

    fn write(&self, holder: u32) -> rustix::io::Result<()> {
        retry_on_intr(|| pwrite(self.held.fd(), &holder.to_le_bytes(), 0)).map(drop)
    }

    pub(super) fn unlock(&mut self) {
        if let Err(errno) = self.write(0) {
            tracing::warn!(%errno, "the next holder will take the lock for abandoned");
        }
        if let Err(error) = lock::unlock(self.held.fd(), Byte::Mutex) {
            tracing::warn!(%error, "unlocking failed");
        }
    }
}
