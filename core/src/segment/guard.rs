// SPDX-License-Identifier: MPL-2.0
//! A peer that cuts an object short must not kill us.
//!
//! Touching a page that the object no longer has raises SIGBUS, whose default is death. Objects of `/dev/shm` take no
//! seals, and `pread` would cost half the speed, so the signal is caught: every mapping of a [`Segment`] is watched,
//! and a fault inside one is answered with zeroed private pages from there to its end and a mark that makes this access
//! and all later ones an error. Any thread of the process may be the one that faults, ours or a downstream element's.
//!
//! Any other fault, and any SIGBUS that somebody sent, goes to the handler that was there before, with its own
//! arguments. The handler stays for the life of the process.
//!
//! [`Segment`]: super::Segment

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

use libc::{c_int, siginfo_t};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// A watched range of addresses. Entries are never freed, only used again, so that the handler may walk them at any
/// moment without a lock.
#[derive(Debug)]
struct Range {
    taken: AtomicBool,
    /// Odd while the range is being changed. Who finds it odd or changed need not look closer: nobody touches memory
    /// that is just being mapped or unmapped.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    cut: AtomicBool,
    next: *const Range,
}

// SAFETY: `next` is written before the entry is shared and points to an entry that is never freed.
unsafe impl Sync for Range {}
// SAFETY: as above; an entry belongs to no thread.
unsafe impl Send for Range {}

static NEWEST: AtomicPtr<Range> = AtomicPtr::new(ptr::null_mut());

fn ranges() -> impl Iterator<Item = &'static Range> {
    // [list] Acquire, pairs with the push: an entry is whole before it is found.
    let mut at: *const Range = NEWEST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: entries come from `Box::leak` and stay for ever.
        let range: &'static Range = unsafe { at.as_ref() }?;
        at = range.next;
        Some(range)
    })
}

impl Range {
    fn take() -> &'static Self {
        let unused =
            |range: &&Range| range.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if let Some(range) = ranges().find(unused) {
            return range;
        }
        let range = Box::leak(Box::new(Self {
            taken: AtomicBool::new(true),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            next: ptr::null(),
        }));
        let mut newest = NEWEST.load(Ordering::Acquire);
        loop {
            range.next = newest;
            // [list] Release, pairs with the walk.
            match NEWEST.compare_exchange(newest, range, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return range,
                Err(now) => newest = now,
            }
        }
    }

    fn set(&self, start: usize, end: usize) {
        // [range] A seqlock; its reader is `bounds`. Only the taker of an entry changes it.
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.cut.store(false, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// First address and first address after the range; `None` while it is being changed.
    fn bounds(&self) -> Option<(usize, usize)> {
        // [range] The reader of `set`.
        let version = self.version.load(Ordering::Acquire);
        let bounds = (self.start.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version).then_some(bounds)
    }
}

/// Watches one mapping for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    range: &'static Range,
}

impl Watch {
    /// Watches `len` bytes from `start`, the beginning of a mapping.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub(super) fn new(start: usize, len: usize) -> io::Result<Self> {
        install()?;
        let range = Range::take();
        range.set(start, start + len.next_multiple_of(page()));
        Ok(Self { range })
    }

    /// Whether a fault was answered in the range.
    pub(super) fn is_cut(&self) -> bool {
        self.range.cut.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    /// Must come before the unmapping: the addresses may be somebody else's right after it.
    fn drop(&mut self) {
        self.range.set(0, 0);
        self.range.taken.store(false, Ordering::Release);
    }
}

thread_local! {
    static LETS_THROUGH: Cell<bool> = const { Cell::new(false) };
}

/// Lets faults reach the handler on this thread. A fault on a thread that blocks SIGBUS (programs that take their
/// signals from a queue block all of them everywhere) kills the process without asking any handler.
#[inline]
pub(super) fn let_through() {
    if !LETS_THROUGH.get() {
        unblock();
        LETS_THROUGH.set(true);
    }
}

#[cold]
fn unblock() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised and SIGBUS is a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGBUS) };
    // SAFETY: the set is initialised, and nobody asks for the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
}

static PAGE: AtomicUsize = AtomicUsize::new(0);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Bytes per page, known once the handler is installed.
fn page() -> usize {
    PAGE.load(Ordering::Relaxed)
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            PAGE.store(rustix::param::page_size(), Ordering::Relaxed);
            let previous = current_action().map_err(|err| err.raw_os_error().unwrap_or(0))?;
            // Known before the first signal can ask for it.
            PREVIOUS.get_or_init(|| previous);
            set_action(on_sigbus as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK)
                .map_err(|err| err.raw_os_error().unwrap_or(0))
        })
        .map_err(io::Error::from_raw_os_error)?;
    static WARNED: AtomicBool = AtomicBool::new(false);
    let ours = current_action().is_ok_and(|action| action.sa_sigaction == on_sigbus as *const () as usize);
    if !ours && !WARNED.swap(true, Ordering::Relaxed) {
        // Installing it once more could make two handlers forward to each other for ever.
        tracing::warn!("another SIGBUS handler was installed over ours; it must forward faults that are not its own");
    }
    Ok(())
}

fn current_action() -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: nothing is changed, and `action` takes what there is.
    let outcome = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `sigaction` succeeded, so it has written the action.
    Ok(unsafe { action.assume_init() })
}

fn set_action(handler: usize, flags: c_int) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`: the default handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is initialised; a handler in it, if there is one, has the signature that the flags name.
    let outcome = unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The handler. It allocates nothing, locks nothing, and calls the kernel only.
extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO, as does a handler that forwards to us.
    let what = unsafe { &*info };
    let code = what.si_code;
    // A SIGBUS that was sent, or that a broken memory chip raised, is no peer's doing.
    if matches!(code, libc::BUS_ADRERR | libc::BUS_OBJERR) {
        // SAFETY: a fault's siginfo carries an address.
        let address = unsafe { what.si_addr() };
        if answer(address as usize) {
            return;
        }
    }
    forward(signal, code, info, context);
}

/// Gives zeroed pages from the fault to the end of the watched range that contains it, if one does.
fn answer(address: usize) -> bool {
    let hit = ranges().find_map(|range| {
        let (start, end) = range.bounds()?;
        (start..end).contains(&address).then_some((range, end))
    });
    let Some((range, end)) = hit else { return false };
    let from = address - address % page();
    // Marked first: who sees the zeros must see the mark.
    range.cut.store(true, Ordering::SeqCst);
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the range is a live mapping of ours: its owner is in the middle of an access. The pages replaced are part
    // of it, and nobody holds references into it.
    unsafe { mmap_anonymous(from as *mut c_void, end - from, protection, flags) }.is_ok()
}

fn forward(signal: c_int, code: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let (handler, flags) = PREVIOUS.get().map_or((libc::SIG_DFL, 0), |action| (action.sa_sigaction, action.sa_flags));
    let is_fault = code > 0;
    match handler {
        libc::SIG_IGN if !is_fault => {}
        // A fault cannot be ignored: the kernel kills then, too.
        libc::SIG_DFL | libc::SIG_IGN => {
            // The instruction faults again, now without us; what was sent must be sent again, and arrives on return.
            let _ = set_action(libc::SIG_DFL, 0);
            if !is_fault {
                // SAFETY: `raise` may be called by a handler.
                unsafe { libc::raise(signal) };
            }
        }
        function if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the address is a function of this signature.
            let function: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { std::mem::transmute(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: without SA_SIGINFO the address is a function of this signature.
            let function: extern "C" fn(c_int) = unsafe { std::mem::transmute(function) };
            function(signal);
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests;
