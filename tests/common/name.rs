// SPDX-License-Identifier: MPL-2.0
//! A segment name of one test, and the proof that the test left nothing under it.

use std::fmt;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PATIENCE, poll};

#[cfg(unix)]
/// Where Linux shows POSIX shared memory.
pub const SHM: &str = "/dev/shm";

/// A name that no other test or process uses. Declare it before pipelines and peers: it is dropped last, and then
/// asserts that nothing is left in /dev/shm that has this name in its own, hidden files included.
pub struct Name(String);

impl Name {
    pub fn new(label: &str) -> Self {
        let name = Self(format!("tdt-{label}-{}", std::process::id()));
        #[cfg(unix)]
        name.remove_leftovers(); // of a killed run that had the same process id
        name
    }

    #[cfg(unix)]
    pub fn path(&self) -> PathBuf {
        Path::new(SHM).join(&self.0)
    }

    /// The hidden second link by which the sink holds on to its segment.
    #[cfg(unix)]
    pub fn keep(&self) -> PathBuf {
        Path::new(SHM).join(format!(".{}.keep", self.0))
    }

    #[cfg(windows)]
    pub fn exists(&self) -> bool {
        self.leftovers().contains(&self.0)
    }

    #[cfg(unix)]
    pub fn exists(&self) -> bool {
        self.path().symlink_metadata().is_ok()
    }

    /// Inode and size of what is under the public name.
    #[cfg(unix)]
    pub fn inode_and_size(&self) -> Option<(u64, u64)> {
        self.path().metadata().ok().map(|found| (found.ino(), found.len()))
    }

    #[cfg(unix)]
    pub fn inode(&self) -> Option<u64> {
        self.inode_and_size().map(|(inode, _)| inode)
    }

    /// Waits until the public name leads to `size` bytes. (Windows: in whole pages. No number tells objects apart.)
    #[cfg(windows)]
    pub fn wait_for_size(&self, size: u64) {
        let pages = size.next_multiple_of(4096);
        poll(&format!("{self} with {pages} bytes"), PATIENCE, || {
            let listed = tdlink_core::segment::live_names();
            listed.iter().any(|found| found.name.as_str() == self.0 && found.len == pages).then_some(())
        });
    }

    /// Waits until the public name leads to `size` bytes.
    #[cfg(unix)]
    pub fn wait_for_size(&self, size: u64) -> u64 {
        poll(&format!("{self} with {size} bytes"), PATIENCE, || {
            self.inode_and_size().filter(|&(_, found)| found == size).map(|(inode, _)| inode)
        })
    }

    pub fn wait_until_gone(&self, limit: Duration) {
        poll(&format!("{self} is gone"), limit, || (!self.exists()).then_some(()));
    }

    /// Every object of the session with this name in its own. They go with the last who has them open.
    #[cfg(windows)]
    pub fn leftovers(&self) -> Vec<String> {
        let names = tdlink_core::segment::session_objects().into_iter();
        names.filter(|name| name.contains(&self.0)).collect()
    }

    /// Every file of /dev/shm with this name in its own.
    #[cfg(unix)]
    pub fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(SHM) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains(&self.0)).collect()
    }

    #[cfg(unix)]
    fn remove_leftovers(&self) {
        for left in self.leftovers() {
            let path = Path::new(SHM).join(left);
            if std::fs::remove_file(&path).is_err() {
                let _ = std::fs::remove_dir(&path);
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let left = self.leftovers();
        #[cfg(unix)]
        self.remove_leftovers();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left in the system after the test: {left:?}");
        }
    }
}
