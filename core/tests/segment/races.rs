// SPDX-License-Identifier: MPL-2.0
//! Many at once: threads here, since locks and links do not care about processes.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use tdlink_core::segment::{Acquired, OwnedSegment, Published, SegmentError};

use super::peer::Peer;
use super::{Ended, Name};

/// Runs `work` on `n` threads that start together.
fn together<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(n);
    let run = |i| {
        barrier.wait();
        work(i)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..n).map(|i| scope.spawn(move || run(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn winners(outcomes: Vec<Result<OwnedSegment, SegmentError>>) -> Vec<OwnedSegment> {
    let refused = |error| assert!(matches!(error, SegmentError::LiveProducer { .. }), "{error}");
    outcomes.into_iter().filter_map(|outcome| outcome.map_err(refused).ok()).collect()
}

#[test]
fn of_many_who_ask_at_once_exactly_one_gets_the_name() {
    let name = Name::new();
    for _ in 0..100 {
        let winners = winners(together(4, |i| name.create(10 + i)));
        let [winner] = &winners[..] else { panic!("{} winners", winners.len()) };
        assert_eq!(name.inode(), winner.segment().identity().inode);
        assert_eq!(name.traces().len(), 2);
        drop(winners);
        assert_eq!(name.traces(), Vec::<String>::new());
    }
}

#[test]
fn of_many_who_recover_at_once_exactly_one_gets_the_name() {
    let name = Name::new();
    for round in 0..100 {
        fs::write(name.path(), b"stale!").unwrap();
        fs::hard_link(name.path(), name.hidden("keep")).unwrap();
        if round % 2 == 0 {
            name.unlink();
        }
        let winners = winners(together(4, |i| name.create(6 * (1 + (i + round) % 2))));
        let [winner] = &winners[..] else { panic!("{} winners", winners.len()) };
        assert_eq!(winner.origin(), Acquired::Recovered);
        assert_eq!(name.inode(), winner.segment().identity().inode);
        assert_eq!(name.traces().len(), 2);
    }
}

#[test]
fn of_many_guests_exactly_one_writes() {
    let name = Name::new();
    name.foreign(b"theirs");
    for _ in 0..100 {
        let winners = winners(together(4, |_| name.create(6)));
        let [winner] = &winners[..] else { panic!("{} winners", winners.len()) };
        assert_eq!(winner.origin(), Acquired::Adopted);
    }
    name.unlink();
}

#[test]
fn a_name_taken_over_while_its_producer_ends_stays_with_the_new_one() {
    let name = Name::new();
    for _ in 0..3000 {
        let old = std::sync::Mutex::new(Some(name.create(10).unwrap()));
        let taken = together(2, |i| match i {
            0 => {
                drop(old.lock().unwrap().take());
                None
            }
            _ => Some(name.take_over(10).unwrap()),
        });
        let new = taken.into_iter().flatten().next().unwrap();
        assert_eq!(name.inode(), new.segment().identity().inode);
        assert_eq!(name.traces().len(), 2);
    }
}

#[test]
fn many_takeovers_at_once_leave_one_name_and_one_object() {
    let name = Name::new();
    for _ in 0..100 {
        let mut all = together(4, |i| name.take_over(10 + i).unwrap());
        let inode = name.inode();
        let holders = all.iter().filter(|owned| owned.segment().identity().inode == inode).count();
        assert_eq!((holders, name.traces().len()), (1, 2));
        let states: Vec<_> = all.iter_mut().map(|owned| owned.keep_published().unwrap()).collect();
        assert_eq!(states.iter().filter(|&&state| state == Published::Still).count(), 1, "{states:?}");
        assert_eq!(states.iter().filter(|&&state| state == Published::TakenByOther).count(), 3, "{states:?}");
        drop(all);
        assert_eq!(name.traces(), Vec::<String>::new());
    }
}

#[test]
fn a_producer_keeps_its_name_while_readers_take_it_away_all_the_time() {
    let name = Name::new();
    let mut owned = name.create(10).unwrap();
    let (same, ended) = (owned.segment().identity(), Ended::not_yet());
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.is_over() {
                if fs::remove_file(name.path()).is_ok() {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        ended.after(|| {
            let mut back = 0;
            while back < 1000 {
                match owned.keep_published().unwrap() {
                    Published::Republished => back += 1,
                    Published::Still => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    });
    assert!(taken.into_inner() >= 1000);
    owned.keep_published().unwrap();
    assert_eq!((owned.segment().identity(), name.inode()), (same, same.inode));
}

#[test]
fn of_many_who_ask_while_readers_take_the_name_away_exactly_one_gets_it() {
    let name = Name::new();
    for _ in 0..100 {
        let ended = Ended::not_yet();
        let mut outcomes = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.is_over() {
                    let _ = fs::remove_file(name.path());
                }
            });
            outcomes = ended.after(|| together(3, |_| name.create(10)));
        });
        let mut winners = winners(outcomes);
        let [winner] = &mut winners[..] else { panic!("{} winners", winners.len()) };
        assert!(matches!(winner.keep_published(), Ok(Published::Still | Published::Republished)));
        assert_eq!(name.inode(), winner.segment().identity().inode);
    }
}

#[test]
fn a_resize_and_a_takeover_at_once_agree_on_who_has_the_name() {
    let name = Name::new();
    let mut resized = 0;
    for _ in 0..200 {
        let old = std::sync::Mutex::new(name.create(10).unwrap());
        let outcomes = together(2, |i| match i {
            0 => old.lock().unwrap().resize(20).map(|()| None),
            _ => name.take_over(30).map(Some),
        });
        let [first, second] = <[_; 2]>::try_from(outcomes).unwrap();
        let new = second.unwrap().unwrap();
        match first {
            Ok(_) => resized += 1,
            Err(SegmentError::Taken { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(name.inode(), new.segment().identity().inode);
        assert_eq!(name.traces().len(), 2);
        drop(new);
        drop(old);
        assert_eq!(name.traces(), Vec::<String>::new());
    }
    eprintln!("{resized} of 200 resizes came first");
}

#[test]
fn a_crash_at_any_moment_leaves_a_name_that_can_be_had() {
    let name = Name::new();
    for round in 0..20 {
        let mut peer = Peer::start();
        assert_eq!(peer.ask(&format!("create {} 10 gently", name.as_str())), "Created");
        peer.order("resize for ever");
        // As long as a few dozen resizes take, a little differently each time.
        let mut seen = vec![name.inode()];
        while seen.len() < 5 + round {
            let now = fs::metadata(name.path()).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).unwrap();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        peer.kill();
        let owned = name.create(15).unwrap();
        assert_eq!(name.traces().len(), 2);
        assert_eq!(name.open().unwrap().len(), 15);
        drop(owned);
        assert_eq!(name.traces(), Vec::<String>::new());
    }
}
