// SPDX-License-Identifier: MPL-2.0
//! Either side is killed.

#[cfg(target_os = "linux")]
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tdlink_core::protocol::control::{ProducerOptions, Wait};

use super::{Enough, Name, Peer, next, poll, receive, send, send_until, wait};

#[test]
fn a_python_reader_that_was_killed_with_its_leases_costs_no_slot() {
    let name = Name::new();
    for options in [ProducerOptions::latest(4), ProducerOptions::lossless(4)] {
        let producer = name.produce(options);
        for round in 0..5 {
            let mut python = name.reader(2);
            python.expect("read 0", if round == 0 { "none" } else { "frame 99 copied" });
            send(&producer, 0);
            python.expect("hold 60", "frame 0 leased");
            send(&producer, 1);
            python.expect("hold 60", "frame 1 leased");
            python.kill();
            for sent in 2..100 {
                send(&producer, sent);
            }
            poll("the dead are found", || producer.tend().unwrap().clients == 0);
            assert_eq!(producer.free().count_ones(), 3, "all but the newest");
        }
    }
}

#[test]
fn a_python_writer_goes_on_without_a_reader_that_was_killed() {
    let name = Name::new();
    let mut python = name.writer(4, "lossless");
    for _ in 0..5 {
        let mut reader = name.reader(2);
        reader.ask("read 0");
        python.expect("clients", "clients 1");
        python.ask("publish 0");
        reader.ask("hold 60");
        reader.kill();
        // Two more than there are slots.
        python.expect("send 1 6", "sent");
        python.expect("clients", "clients 0");
    }
    let mut consumer = name.attach(2);
    assert_eq!(receive(&mut consumer), 6);
}

#[test]
fn readers_go_on_with_the_python_that_follows_one_that_was_killed() {
    for slots in [1, 2, 4] {
        let name = Name::new();
        let mut python = name.writer(slots, "latest");
        let mut consumer = name.attach(1);
        python.expect("publish 1", "published 1");
        assert_eq!(receive(&mut consumer), 1);
        python.kill();
        assert_eq!(wait(&mut consumer), Wait::Gone);
        let mut python = name.writer(slots, "latest");
        assert_eq!(wait(&mut consumer), Wait::Respec);
        python.expect("publish 2", "published 2");
        assert_eq!(receive(&mut consumer), 2);
        drop(consumer);
        python.exit();
        name.assert_nothing_left();
    }
}

#[test]
fn python_finds_the_producer_that_follows_one_that_was_killed() {
    for slots in [1, 2, 4] {
        let name = Name::new();
        let how = if slots > 2 { "leased" } else { "copied" };
        let mut rust = Peer::rust();
        rust.expect(&format!("produce {} {slots}", name.0), "ready");
        let mut python = name.reader(1);
        let mut faithful = Peer::python();
        faithful.expect(&format!("reader {} 0 follow", name.0), "ready");
        python.expect("read 0", "none");
        rust.expect("send 1", "1");
        python.expect("read 60", &format!("frame 1 {how}"));
        faithful.expect("read 60", "frame 1 copied");
        rust.kill();
        python.expect("read 60", "gone");
        faithful.order("read 60");
        let producer = name.produce(ProducerOptions::latest(slots));
        send(&producer, 2);
        python.expect("read 60", &format!("frame 2 {how}"));
        assert_eq!(faithful.answer(), "frame 2 copied");
    }
}

#[test]
fn a_producer_takes_over_what_a_killed_python_left_and_the_other_way_round() {
    for slots in [1, 2, 4] {
        let name = Name::new();
        let mut python = name.writer(slots, "latest");
        python.expect("publish 1", "published 1");
        python.kill();
        assert_eq!(name.traces().is_empty(), cfg!(windows));
        let mut rust = Peer::rust();
        rust.expect(&format!("produce {} {}", name.0, 5 - slots), "ready");
        // What a killed one counted up to is known where its memory stays.
        let stays = cfg!(target_os = "linux");
        rust.expect("send 2", if stays { "2" } else { "1" });
        rust.kill();
        let mut python = name.writer(slots, "latest");
        python.expect("publish 3", if stays { "published 3" } else { "published 1" });
        let mut reader = name.reader(0);
        reader.expect("read 60", "frame 3 copied");
        reader.exit();
        python.exit();
        name.assert_nothing_left();
    }
}

#[cfg(target_os = "linux")] // what is killed leaves nothing on Windows
#[test]
fn what_a_killed_pair_left_is_removed_by_the_next_reader_of_either_language() {
    for slots in [1, 2, 4] {
        let name = Name::new();
        for python_writes in [true, false] {
            for python_comes in [true, false] {
                let mut writer = if python_writes { name.writer(slots, "latest") } else { Peer::rust() };
                if !python_writes {
                    writer.expect(&format!("produce {} {slots}", name.0), "ready");
                }
                writer.ask(if python_writes { "publish 1" } else { "send 1" });
                let mut reader = name.reader(1);
                reader.ask("hold 60");
                writer.kill();
                reader.kill();
                assert!(!name.traces().is_empty());
                if python_comes {
                    name.reader(1).expect("read 0", "none");
                } else {
                    assert!(name.try_attach(1).is_err());
                }
                let left = name.traces();
                assert!(left.is_empty(), "{slots} slots, written by Python: {python_writes}, {python_comes}: {left:?}");
            }
        }
    }
}

#[cfg(target_os = "linux")] // forks
#[test]
fn a_forked_child_keeps_neither_row_nor_name_of_a_python_that_was_killed() {
    let name = Name::new();
    for slots in [1, 4] {
        let mut writer = name.writer(slots, "latest");
        let mut reader = name.reader(1);
        writer.expect("publish 1", "published 1");
        reader.ask("hold 60");
        let _children = [&mut writer, &mut reader].map(|python| Child(python.ask("fork").replace("forked ", "")));
        writer.expect("clients", "clients 1");
        reader.kill();
        writer.expect("clients", "clients 0");
        writer.kill();
        let producer = name.produce(ProducerOptions::latest(slots));
        send(&producer, 2);
    }
}

/// Rounds of the tests below. Each kills at another moment. (Under Wine a Python takes seconds to start beside a
/// producer that never rests.)
const ROUNDS: u64 = if cfg!(windows) { 3 } else { 12 };

/// Some microseconds, by no pattern that the other side has.
fn some_time(round: u64) {
    std::thread::sleep(Duration::from_micros(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 5000));
}

#[test]
fn python_may_be_killed_at_any_moment_of_writing() {
    for (slots, leases) in [(1, 0), (4, 1)] {
        let name = Name::new();
        let mut python = name.writer(slots, "latest");
        let mut consumer = name.attach(leases);
        for round in 0..ROUNDS {
            python.expect("flood", "flooding");
            // Every frame is judged.
            receive(&mut consumer);
            some_time(round);
            python.kill();
            python = name.writer(slots, "latest");
            loop {
                match wait(&mut consumer) {
                    Wait::Respec => break,
                    Wait::Newer => drop(next(&mut consumer)),
                    Wait::Gone => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        drop(consumer);
        python.exit();
        name.assert_nothing_left();
    }
}

#[test]
fn python_may_be_killed_at_any_moment_of_reading() {
    for options in [ProducerOptions::latest(1), ProducerOptions::latest(4), ProducerOptions::lossless(4)] {
        let name = Name::new();
        let producer = name.produce(options);
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| send_until(&producer, &enough));
            let _enough = Enough(&enough);
            for round in 0..ROUNDS {
                let mut python = name.reader(2);
                let first = python.ask("read 60");
                assert!(first.starts_with("frame "), "{first}");
                python.order("run eos");
                some_time(round);
                python.kill();
            }
        });
        poll("the dead are found", || producer.tend().unwrap().clients == 0);
        drop(producer);
        name.assert_nothing_left();
    }
}

#[cfg(target_os = "linux")]
/// A process that nobody waits for, until it is killed here.
struct Child(String);

#[cfg(target_os = "linux")]
impl Drop for Child {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.0]).status();
    }
}
