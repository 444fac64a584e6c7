// SPDX-License-Identifier: MPL-2.0
//! What segments promise between processes, on the real system.

#![cfg(target_os = "linux")]

mod access;
mod listing;
mod owners;
mod peer;
mod publication;
mod races;
mod space;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tdlink_core::segment::{CreateOptions, OpenOptions, OwnedSegment, Segment, SegmentError, SegmentName};

/// A name that nobody else uses. When it goes, nothing may be left of it in the system.
struct Name(SegmentName);

impl Name {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(SegmentName::new(&format!("tdlink-test-{}-{number}", std::process::id())).unwrap())
    }

    fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(self.as_str())
    }

    fn hidden(&self, role: &str) -> PathBuf {
        Path::new("/dev/shm").join(format!(".{}.{role}", self.as_str()))
    }

    fn create(&self, len: usize) -> Result<OwnedSegment, SegmentError> {
        OwnedSegment::create(&self.0, len, &CreateOptions::default())
    }

    fn take_over(&self, len: usize) -> Result<OwnedSegment, SegmentError> {
        OwnedSegment::create(&self.0, len, &CreateOptions { takeover: true, ..CreateOptions::default() })
    }

    fn open(&self) -> Result<Segment, SegmentError> {
        Segment::open(&self.0, OpenOptions::default())
    }

    /// What another program, for example CPython, would put there.
    fn foreign(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.path()).unwrap().ino()
    }

    fn unlink(&self) {
        fs::remove_file(self.path()).unwrap();
    }

    /// Everything in the system that carries the name.
    fn traces(&self) -> Vec<String> {
        let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let hidden = format!(".{}.", self.as_str());
        names.filter(|found| found == self.as_str() || found.starts_with(&hidden)).collect()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let traces = self.traces();
        for trace in &traces {
            let path = Path::new("/dev/shm").join(trace);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        if !std::thread::panicking() {
            assert_eq!(traces, Vec::<String>::new(), "left in /dev/shm");
        }
    }
}

/// Tells threads that run until then that some work has ended, be it by a panic.
struct Ended(AtomicBool);

impl Ended {
    fn not_yet() -> Self {
        Self(AtomicBool::new(false))
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Runs `work`, and then it has ended.
    fn after<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Raise<'a>(&'a AtomicBool);
        impl Drop for Raise<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _raise = Raise(&self.0);
        work()
    }
}

/// The whole segment.
fn bytes(segment: &Segment) -> Vec<u8> {
    let mut bytes = vec![0; segment.len()];
    segment.read(0, &mut bytes).unwrap();
    bytes
}
