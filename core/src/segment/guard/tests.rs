// SPDX-License-Identifier: MPL-2.0
//! Each case is a process of its own: a handler is the process's, and some cases end it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::mmap;

use super::*;
use crate::segment::{AccessError, OwnedSegment, SegmentName};

/// How a case ended: the signal that killed it, or what it printed.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed(i32),
    Said(String),
}

fn case(name: &str) -> End {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "segment::guard::tests::child", "--ignored", "--nocapture", "--test-threads=1"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(name.as_bytes()).unwrap();
    let outcome = child.wait_with_output().unwrap();
    match outcome.status.signal() {
        Some(signal) => End::Killed(signal),
        None => {
            let text = String::from_utf8(outcome.stdout).unwrap();
            let said = text.lines().find_map(|line| line.split_once("said: ")).expect("it says something");
            End::Said(said.1.to_owned())
        }
    }
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn child() {
    let mut name = String::new();
    std::io::stdin().read_line(&mut name).unwrap();
    let said = match &*name {
        "" => return,
        "watched" => cut_short(),
        "watched, signals blocked" => {
            block_all();
            cut_short()
        }
        "watched, without us" => {
            install().unwrap();
            let (owned, file) = segment();
            set_action(libc::SIG_DFL, 0).unwrap();
            file.set_len(0).unwrap();
            format!("{:?}", owned.segment().read(0, &mut [0]))
        }
        "foreign, siginfo before us" => {
            set_action(with_info as *const () as usize, libc::SA_SIGINFO).unwrap();
            foreign_fault_beside()
        }
        "foreign, plain before us" => {
            set_action(without_info as *const () as usize, 0).unwrap();
            foreign_fault_beside()
        }
        "foreign, where ours was" => {
            set_action(with_info as *const () as usize, libc::SA_SIGINFO).unwrap();
            let (owned, _) = segment();
            let base = owned.segment().base.as_ptr();
            drop(owned);
            foreign_fault(base.cast(), MapFlags::FIXED)
        }
        "foreign, default before us" => {
            set_action(libc::SIG_DFL, 0).unwrap();
            foreign_fault_beside()
        }
        "foreign, ignored before us" => {
            set_action(libc::SIG_IGN, 0).unwrap();
            foreign_fault_beside()
        }
        "sent, siginfo before us" => {
            set_action(with_info as *const () as usize, libc::SA_SIGINFO).unwrap();
            sent()
        }
        "sent with an address, siginfo before us" => {
            set_action(with_info as *const () as usize, libc::SA_SIGINFO).unwrap();
            let (owned, _) = segment();
            let mut info = [0; 16];
            info[0] = libc::SIGBUS as usize;
            info[1] = libc::SI_QUEUE as u32 as usize;
            info[2] = owned.segment().base.as_ptr() as usize;
            let (call, own) = (libc::SYS_rt_sigqueueinfo, std::process::id());
            // SAFETY: a signal to oneself; the kernel copies the siginfo of 128 bytes.
            let sent = unsafe { libc::syscall(call, own, libc::SIGBUS, info.as_ptr()) };
            assert_eq!(sent, 0);
            // To the process: another thread may be the one that takes it, and not at once.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while SEEN.load(Ordering::SeqCst) == 0 && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            owned.segment().write(0, b"alive").unwrap();
            format!("alive, {}", SEEN.load(Ordering::SeqCst))
        }
        "sent, default before us" => {
            set_action(libc::SIG_DFL, 0).unwrap();
            sent()
        }
        "sent, ignored before us" => {
            set_action(libc::SIG_IGN, 0).unwrap();
            sent()
        }
        other => panic!("{other:?} is no case"),
    };
    println!("said: {said}");
}

/// A segment, and the same object as another program holds it. Its name is gone already.
fn segment() -> (OwnedSegment, std::fs::File) {
    let name = format!("tdlink-guard-{}", std::process::id());
    let owned = OwnedSegment::create(&SegmentName::new(&name).unwrap(), 8192, &Default::default()).unwrap();
    let path = format!("/dev/shm/{name}");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Cases that kill this process leave nothing behind.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(format!("/dev/shm/.{name}.keep")).unwrap();
    (owned, file)
}

fn cut_short() -> String {
    let (owned, file) = segment();
    file.set_len(4096).unwrap();
    let mut bytes = [1; 8192];
    let outcome = owned.segment().read(0, &mut bytes);
    assert_eq!(outcome, Err(AccessError::Truncated { segment_len: 8192 }));
    assert!(bytes.iter().all(|&byte| byte == 0));
    "truncated".to_owned()
}

fn block_all() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set that it is given.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) };
}

/// What the handlers below saw: an address, or 1.
static SEEN: AtomicUsize = AtomicUsize::new(0);
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// Somebody else's guard: makes the fault good.
extern "C" fn with_info(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands a valid siginfo, through us.
    let info = unsafe { &*info };
    // SAFETY: a fault carries an address, and for a sent signal the test does not look at it.
    let address = unsafe { info.si_addr() } as usize;
    SEEN.store(if info.si_code > 0 { address } else { 1 }, Ordering::SeqCst);
    repair();
}

extern "C" fn without_info(_: c_int) {
    SEEN.store(1, Ordering::SeqCst);
    repair();
}

fn repair() {
    let foreign = FOREIGN.load(Ordering::SeqCst);
    if foreign != 0 {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the page is this test's own mapping.
        unsafe { mmap_anonymous(foreign as *mut c_void, 4096, ProtFlags::READ, flags) }.unwrap();
    }
}

/// A fault in a mapping that is not ours, while one of ours is watched.
fn foreign_fault_beside() -> String {
    let (_owned, _) = segment();
    foreign_fault(ptr::null_mut(), MapFlags::empty())
}

fn foreign_fault(at: *mut c_void, flags: MapFlags) -> String {
    let fd = memfd_create("foreign", MemfdFlags::empty()).unwrap();
    ftruncate(&fd, 4096).unwrap();
    // SAFETY: a new mapping, where the kernel likes it or where nothing is any more.
    let page = unsafe { mmap(at, 4096, ProtFlags::READ, MapFlags::SHARED | flags, &fd, 0) }.unwrap();
    ftruncate(&fd, 0).unwrap();
    FOREIGN.store(page as usize, Ordering::SeqCst);
    // SAFETY: it is mapped; that it faults is the point.
    let at = unsafe { page.cast::<u8>().add(17) };
    // SAFETY: as above.
    let byte = unsafe { ptr::read_volatile(at) };
    let seen = SEEN.load(Ordering::SeqCst);
    format!(
        "{byte} {}",
        if seen == at as usize {
            "address"
        } else if seen == 1 {
            "signal"
        } else {
            "nothing"
        }
    )
}

fn sent() -> String {
    let (_owned, _) = segment();
    // SAFETY: a signal to oneself.
    unsafe { libc::raise(libc::SIGBUS) };
    format!("alive, {}", SEEN.load(Ordering::SeqCst))
}

#[test]
fn a_peer_that_cuts_an_object_short_kills_nobody() {
    assert_eq!(case("watched"), End::Said("truncated".to_owned()));
}

#[test]
fn without_the_guard_it_would_have_killed() {
    assert_eq!(case("watched, without us"), End::Killed(libc::SIGBUS));
}

#[test]
fn a_thread_that_blocks_all_signals_is_guarded_too() {
    assert_eq!(case("watched, signals blocked"), End::Said("truncated".to_owned()));
}

#[test]
fn a_fault_of_somebody_else_reaches_the_handler_that_was_there() {
    assert_eq!(case("foreign, siginfo before us"), End::Said("0 address".to_owned()));
    assert_eq!(case("foreign, plain before us"), End::Said("0 signal".to_owned()));
    assert_eq!(case("foreign, where ours was"), End::Said("0 address".to_owned()));
}

#[test]
fn a_fault_of_somebody_else_kills_where_there_was_no_handler() {
    assert_eq!(case("foreign, default before us"), End::Killed(libc::SIGBUS));
    assert_eq!(case("foreign, ignored before us"), End::Killed(libc::SIGBUS));
}

#[test]
fn a_signal_that_was_sent_does_what_it_did_before() {
    assert_eq!(case("sent, siginfo before us"), End::Said("alive, 1".to_owned()));
    assert_eq!(case("sent with an address, siginfo before us"), End::Said("alive, 1".to_owned()));
    assert_eq!(case("sent, default before us"), End::Killed(libc::SIGBUS));
    assert_eq!(case("sent, ignored before us"), End::Said("alive, 0".to_owned()));
}

#[test]
fn entries_are_used_again() {
    let before = ranges().count();
    for _ in 0..1000 {
        drop(segment());
    }
    // Other tests hold a few meanwhile.
    assert!(ranges().count() < before + 50);
}
