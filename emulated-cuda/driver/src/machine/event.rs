// SPDX-License-Identifier: MPL-2.0
//! Events: each record takes a number at the call, and the stream's thread says when that number is complete.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::thread::futex;
use rustix::time::{ClockId, Timespec};

use super::pages::{Mapping, PAGE, Shared};
use super::process::Process;
use super::share::{Kind, Share};
use crate::code::{Code, Outcome};
use crate::config::config;

pub const BLOCKING_SYNC: u32 = 1;
pub const DISABLE_TIMING: u32 = 2;
pub const INTERPROCESS: u32 = 4;

/// So many records of one event may be under way at once before an older one is taken for complete.
const RECORDS: usize = 64;
/// How long a waiter sleeps before it looks whether the recorder still lives.
const LOOK: Duration = Duration::from_millis(100);

/// What both processes see of an event.
#[repr(C)]
#[derive(Debug)]
struct Page {
    magic: AtomicU32,
    /// Records that were asked for.
    submitted: AtomicU32,
    recorder: AtomicU32,
    unused: AtomicU32,
    recorder_start: AtomicU64,
    /// Monotonic nanoseconds of the last completion.
    completed_at: AtomicU64,
    /// The newest complete record of those whose number leaves this remainder.
    complete: [AtomicU32; RECORDS],
}

// SAFETY: atomics only, and no holes: 4 words, 2 double words, 64 words.
unsafe impl Shared for Page {}

const PAGE_MAGIC: u32 = 0x4556_454e;

#[derive(Debug)]
enum Home {
    Private(Box<Page>),
    Shared(Mapping, OwnedFd),
}

#[derive(Debug)]
pub struct Event {
    pub id: usize,
    pub context: usize,
    pub device: i32,
    pub flags: u32,
    pub imported: bool,
    /// Monotonic nanoseconds of the last look at the recorder.
    looked: AtomicU64,
    home: Home,
}

impl Event {
    pub fn new(id: usize, context: usize, device: i32, flags: u32) -> Outcome<Event> {
        let home = if flags & INTERPROCESS != 0 {
            let failed = |_| Code::OUT_OF_MEMORY;
            let file = rustix::fs::memfd_create("emulated-cuda-event", MemfdFlags::CLOEXEC).map_err(failed)?;
            rustix::fs::ftruncate(&file, PAGE as u64).map_err(failed)?;
            Home::Shared(Mapping::of(&file, PAGE).map_err(|_| Code::OUT_OF_MEMORY)?, file)
        } else {
            Home::Private(Box::new(Page {
                magic: AtomicU32::new(0),
                submitted: AtomicU32::new(0),
                recorder: AtomicU32::new(0),
                unused: AtomicU32::new(0),
                recorder_start: AtomicU64::new(0),
                completed_at: AtomicU64::new(0),
                complete: [const { AtomicU32::new(0) }; RECORDS],
            }))
        };
        let event = Event { id, context, device, flags, imported: false, looked: AtomicU64::new(0), home };
        event.page().magic.store(PAGE_MAGIC, Ordering::Release);
        Ok(event)
    }

    /// The event of another process; none when the file is not one.
    pub fn open(id: usize, context: usize, device: i32, file: OwnedFd) -> Option<Event> {
        if rustix::fs::fstat(&file).ok()?.st_size != PAGE as i64 {
            return None;
        }
        let home = Home::Shared(Mapping::of(&file, PAGE).ok()?, file);
        let flags = DISABLE_TIMING | INTERPROCESS;
        let event = Event { id, context, device, flags, imported: true, looked: AtomicU64::new(0), home };
        (event.page().magic.load(Ordering::Acquire) == PAGE_MAGIC).then_some(event)
    }

    /// None unless it was made for other processes, by this one.
    pub fn share(&self) -> Option<Share> {
        let Home::Shared(_, file) = &self.home else { return None };
        (!self.imported).then(|| Share {
            kind: Kind::Event,
            exporter: Process::me(),
            file: file.as_raw_fd(),
            device: self.device,
            inode: rustix::fs::fstat(file).map_or(0, |stat| stat.st_ino),
            size: PAGE as u64,
            id: self.id as u64,
        })
    }

    fn page(&self) -> &Page {
        match &self.home {
            Home::Private(page) => page,
            Home::Shared(mapping, _) => {
                mapping.view(0).unwrap_or_else(|| unreachable!("an event's mapping is a whole page"))
            }
        }
    }

    /// Takes the number of a new record. The caller queues it under the lock under which it calls this.
    pub fn submit(&self) -> u32 {
        let page = self.page();
        let me = Process::me();
        page.recorder_start.store(me.start, Ordering::Relaxed);
        page.recorder.store(me.pid, Ordering::Relaxed);
        page.submitted.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    /// The newest record, 0 if there is none.
    pub fn newest(&self) -> u32 {
        self.page().submitted.load(Ordering::Acquire)
    }

    pub fn complete(&self, record: u32) {
        let page = self.page();
        page.completed_at.store(now_ns(), Ordering::Relaxed);
        let word = &page.complete[record as usize % RECORDS];
        word.store(record, Ordering::Release);
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }

    pub fn completed_at(&self) -> u64 {
        self.page().completed_at.load(Ordering::Relaxed)
    }

    pub fn is_complete(&self, record: u32) -> bool {
        config().break_events || record == 0 || {
            let newest = self.page().complete[record as usize % RECORDS].load(Ordering::Acquire);
            newest.wrapping_sub(record) as i32 >= 0
        }
    }

    /// Waits for a record; one whose process has died counts as complete. `gone` ends the waiting with its code.
    pub fn wait(&self, record: u32, gone: impl Fn() -> Outcome) -> Outcome {
        let page = self.page();
        let word = &page.complete[record as usize % RECORDS];
        while !self.is_complete(record) {
            gone()?;
            let seen = word.load(Ordering::Acquire);
            if seen.wrapping_sub(record) as i32 >= 0 {
                return Ok(());
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
            let _ = futex::wait(word, futex::Flags::empty(), seen, Some(&timeout));
            if !self.is_complete(record) && !self.recorder().lives() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn recorder(&self) -> Process {
        let page = self.page();
        let pid = page.recorder.load(Ordering::Relaxed);
        Process { pid, start: page.recorder_start.load(Ordering::Relaxed) }
    }

    /// Complete, or nobody is left who could complete it.
    pub fn is_over(&self, record: u32) -> bool {
        if self.is_complete(record) {
            return true;
        }
        // A program may ask all the time; the recorder is looked at now and then.
        let now = now_ns();
        if !self.imported || now.wrapping_sub(self.looked.load(Ordering::Relaxed)) < LOOK.as_nanos() as u64 {
            return false;
        }
        self.looked.store(now, Ordering::Relaxed);
        !self.recorder().lives()
    }
}

pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_on_one_stream_does_not_complete_an_older_one_on_another() {
        let event = Event::new(1, 1, 0, DISABLE_TIMING).unwrap();
        let older = event.submit();
        let newer = event.submit();
        event.complete(newer);
        assert!(event.is_complete(newer));
        assert!(!event.is_complete(older));
        event.complete(older);
        assert!(event.is_complete(older));
    }

    #[test]
    fn an_event_that_was_never_recorded_is_complete() {
        let event = Event::new(1, 1, 0, 0).unwrap();
        assert!(event.is_complete(event.newest()));
    }
}
