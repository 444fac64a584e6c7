// SPDX-License-Identifier: MPL-2.0
//! This process, and what a forked child has of it.
//!
//! A child has its parent's values, memory and open objects, and so its locks: a lock ends with the last descriptor
//! *and the last mapping* of its open object, in whichever process. A parent that dies must not look alive because a
//! child of it lives. So, in a child:
//!
//! * descriptors that carry locks become `/dev/null` before `fork` returns, which leaves the parent's locks alone;
//! * mappings are of open objects of their own, which carry no lock: the child may go on reading and writing them;
//! * values that would unlink, unlock or give back something do nothing.
//!
//! This is `fork` as the C library knows it. A raw `clone` system call of somebody's goes unnoticed, as does one without
//! `/proc`, where the second open object cannot be had; programs that are run lose all descriptors by `O_CLOEXEC`.

#[cfg(unix)]
use std::sync::atomic::AtomicI32;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process that loaded this and the one that runs.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that made a value. Asking whether it is this one costs no call of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// This one.
    pub(crate) fn current() -> Self {
        #[cfg(unix)]
        fork::watch();
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether it is the one that runs.
    pub(crate) fn is_current(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

#[cfg(unix)]
pub(super) use fork::Fd;

#[cfg(unix)]
mod fork {
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicPtr;

    use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use rustix::fs::{Mode, OFlags};

    use super::{AtomicI32, FORKS, Ordering};

    /// No descriptor.
    const NONE: i32 = -1;

    /// What descriptors become in a child.
    static NOTHING: AtomicI32 = AtomicI32::new(NONE);
    static NEWEST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

    /// A descriptor that a child loses. Entries are never freed, only used again, so that a child may walk them without
    /// a lock.
    #[derive(Debug)]
    struct Entry {
        fd: AtomicI32,
        next: *const Entry,
    }

    // SAFETY: `next` is written before the entry is shared and points to an entry that is never freed.
    unsafe impl Sync for Entry {}
    // SAFETY: as above; an entry belongs to no thread.
    unsafe impl Send for Entry {}

    fn entries() -> impl Iterator<Item = &'static Entry> {
        // [list] Acquire, pairs with the push: an entry is whole before it is found.
        let mut at: *const Entry = NEWEST.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: entries come from `Box::leak` and stay for ever.
            let entry: &'static Entry = unsafe { at.as_ref() }?;
            at = entry.next;
            Some(entry)
        })
    }

    impl Entry {
        fn take(fd: i32) -> &'static Self {
            let free =
                |entry: &&Self| entry.fd.compare_exchange(NONE, fd, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if let Some(entry) = entries().find(free) {
                return entry;
            }
            let entry = Box::leak(Box::new(Self { fd: AtomicI32::new(fd), next: ptr::null() }));
            let mut newest = NEWEST.load(Ordering::Acquire);
            loop {
                entry.next = newest;
                // [list] Release, pairs with the walk.
                match NEWEST.compare_exchange(newest, entry, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return entry,
                    Err(now) => newest = now,
                }
            }
        }
    }

    /// Has forks noticed from now on.
    pub(super) fn watch() {
        static WATCHED: OnceLock<()> = OnceLock::new();
        WATCHED.get_or_init(|| {
            if let Ok(nothing) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                NOTHING.store(rustix::fd::IntoRawFd::into_raw_fd(nothing), Ordering::Relaxed);
            }
            if cfg!(miri) {
                return;
            }
            // SAFETY: the handler is a function of this signature and calls only what a child of a process with threads
            // may call.
            let outcome = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            if outcome != 0 {
                tracing::warn!("a forked child will keep our locks: {}", std::io::Error::from_raw_os_error(outcome));
            }
        });
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        let nothing = NOTHING.load(Ordering::Relaxed);
        for entry in entries() {
            let fd = entry.fd.load(Ordering::Relaxed);
            if fd == NONE {
                continue;
            }
            // The number stays in use, so that whoever closes it later closes nothing else.
            // SAFETY: both are descriptors that the parent had open when it forked.
            if nothing == NONE || unsafe { libc::dup2(nothing, fd) } == -1 {
                // SAFETY: a descriptor that the parent had open when it forked. It is better closed than kept.
                unsafe { libc::close(fd) };
                continue;
            }
            // SAFETY: the descriptor was just made.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }

    /// A descriptor whose open object carries locks, which a forked child must not keep.
    #[derive(Debug)]
    pub(in crate::segment) struct Fd {
        entry: &'static Entry,
        fd: OwnedFd,
    }

    impl Fd {
        /// To be made before the first lock is taken.
        pub(in crate::segment) fn new(fd: OwnedFd) -> Self {
            watch();
            Self { entry: Entry::take(fd.as_raw_fd()), fd }
        }

        /// Another open object of the same memory, without locks; for a mapping.
        #[cfg(target_os = "linux")]
        pub(in crate::segment) fn unlocked(&self) -> rustix::io::Result<OwnedFd> {
            let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
            rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        }
    }

    impl Drop for Fd {
        fn drop(&mut self) {
            // Before the descriptor is closed and its number is somebody else's.
            self.entry.fd.store(NONE, Ordering::Relaxed);
        }
    }

    impl AsFd for Fd {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }

    impl AsRawFd for Fd {
        fn as_raw_fd(&self) -> i32 {
            self.fd.as_raw_fd()
        }
    }
}
