// SPDX-License-Identifier: MPL-2.0

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;

fn name(test: &str) -> SegmentName {
    SegmentName::new(&format!("tdlink-mutex-{test}-{}", std::process::id())).unwrap()
}

fn mutex(name: &SegmentName) -> NamedMutex {
    NamedMutex::new(name, &CreateOptions::default()).unwrap()
}

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_mutex_exists_as_long_as_anybody_has_it() {
    let name = name("exists");
    assert!(!NamedMutex::exists(&name).unwrap());
    let (first, second) = (mutex(&name), mutex(&name));
    drop(first);
    assert!(NamedMutex::exists(&name).unwrap());
    drop(second);
    assert!(!NamedMutex::exists(&name).unwrap());
}

#[test]
fn a_wait_for_the_lock_ends_in_time() {
    let name = name("timeout");
    let mut ours = mutex(&name);
    let held = ours.lock(LONG).unwrap().unwrap();
    // Windows lets a thread have its own lock twice.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut theirs = mutex(&name);
            let began = Instant::now();
            assert!(theirs.lock(SOON).unwrap().is_none());
            assert!(began.elapsed() >= SOON);
            assert!(theirs.lock(Duration::ZERO).unwrap().is_none());
        });
        other.join().unwrap();
    });
    drop(held);
    assert!(!mutex(&name).lock(Duration::ZERO).unwrap().unwrap().was_abandoned());
}

#[test]
fn no_two_have_the_lock() {
    let name = name("one");
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut mutex = mutex(&name);
                for _ in 0..300 {
                    let held = mutex.lock(LONG).unwrap().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else has it");
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert!(!held.was_abandoned());
                }
            });
        }
    });
}
