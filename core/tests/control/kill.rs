// SPDX-License-Identifier: MPL-2.0
//! Processes that are killed or stopped at any instant. The frame's number is in all of its pixels and beside them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use tdlink_core::protocol::control::ProducerOptions;
use tdlink_core::segment::Acquired;

use super::peer::Peer;
use super::{Name, next, send};

/// Rounds of every day. Hundreds are run by `cargo xtask ci kill`.
const ROUNDS: u32 = 30;
const HUNDREDS: u32 = 400;
/// Frames that show that all goes well.
const ENOUGH: u64 = 20;

/// Numbers that nobody can foresee.
struct Random(RandomState, u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new(), 0)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.1 += 1;
        self.0.hash_one(self.1) % end
    }
}

/// Lets the processes run until an instant that nothing else determines.
fn for_a_while(random: &mut Random) {
    let until = Instant::now() + Duration::from_micros(random.below(15_000));
    while Instant::now() < until {
        std::thread::yield_now();
    }
}

fn rounds(rounds: u32, how: &str, width: u32) {
    let name = Name::new();
    let mut random = Random::new();
    let mut from = 0;
    let flooding = |from: &mut u64| {
        *from += 1_000_000;
        Peer::flooding(&name.0, how, width, *from)
    };
    let leases = 1;
    let mut producer = flooding(&mut from);
    let mut consumers = [Peer::reading(&name.0, leases), Peer::reading(&name.0, 0)];
    for round in 0..rounds {
        for_a_while(&mut random);
        let what = random.below(4);
        if what != 1 && what != 2 {
            producer.kill();
            producer = flooding(&mut from);
        }
        if what != 0 {
            let which = random.below(2) as usize;
            let fresh = Peer::reading(&name.0, if which == 0 { leases } else { 0 });
            std::mem::replace(&mut consumers[which], fresh).kill();
        }
        // Whoever is there by now goes on: frames come, to both, and a lease is to be had.
        for (which, consumer) in consumers.iter_mut().enumerate() {
            let before = consumer.seen().frames;
            let what = format!("{how}, round {round}: frames for consumer {which}");
            consumer.until(&what, |seen| seen.frames >= before + ENOUGH && seen.last > from);
        }
        // A ring of two has nothing to lease.
        if !how.ends_with("-1") && !how.ends_with("-2") {
            consumers[0].until("a lease", |seen| seen.granted == u64::from(leases));
        }
    }
    println!("{how}: {rounds} rounds");
    // What a crashed pair left is gone with the next one; on Windows it went with the pair.
    producer.kill();
    consumers.into_iter().for_each(Peer::kill);
    assert_eq!(name.traces().is_empty(), cfg!(windows), "{:?}", name.traces());
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 7);
    assert_eq!(next(&mut consumer), Ok(7));
    drop((producer, consumer));
    name.assert_nothing_left();
}

#[test]
fn whoever_is_killed_a_ring_goes_on() {
    rounds(ROUNDS, "latest-4", 64);
}

#[test]
fn whoever_is_killed_a_lossless_ring_goes_on() {
    rounds(ROUNDS, "lossless-4", 64);
}

#[test]
fn whoever_is_killed_one_slot_goes_on() {
    rounds(ROUNDS, "latest-1", 64);
}

#[test]
#[ignore = "takes a minute: cargo xtask ci kill"]
fn hundreds_of_kills() {
    for how in ["latest-4", "lossless-4", "latest-1", "latest-16", "lossless-2"] {
        rounds(HUNDREDS, how, 320);
    }
}

#[test]
fn a_killed_consumer_gives_its_leases_back() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    send(&producer, 0);
    for round in 1..=ROUNDS as u64 {
        let mut consumer = Peer::reading(&name.0, 1);
        // It holds its first frame until there is another one.
        consumer.until("a frame", |seen| seen.frames == round.min(1));
        consumer.kill();
        let until = Instant::now() + super::PATIENCE;
        while producer.tend().unwrap().clients != 0 {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        assert_eq!(producer.free().count_ones(), 2, "a slot is lost");
        send(&producer, round);
    }
}

#[cfg(target_os = "linux")] // stops a process
#[test]
fn who_stands_in_the_way_and_is_dead_is_found_without_any_tending() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions { lossless_timeout: None, ..ProducerOptions::lossless(3) }).unwrap();
    let mut consumer = Peer::reading(&name.0, 0);
    consumer.until("a consumer", |seen| seen.attached == 1);
    send(&producer, 0);
    consumer.until("a frame", |seen| seen.frames == 1);
    consumer.stop();
    let mut sent = 1;
    while let Some(slot) = producer.acquire_by(Some(Instant::now() + Duration::from_millis(30)), 0).unwrap() {
        super::publish(&producer, slot, sent).unwrap();
        sent += 1;
    }
    assert_eq!(sent, 4, "three frames wait for it");
    consumer.kill();
    let began = Instant::now();
    let slot = producer.acquire_by(Some(began + super::PATIENCE), 0).unwrap();
    assert!(slot.is_some(), "the dead are waited for");
    println!("let go after {:?}", began.elapsed());
}

#[cfg(target_os = "linux")] // stops a process
#[test]
fn a_stopped_consumer_holds_up_no_latest_producer_and_sees_whole_frames_afterwards() {
    let name = Name::new();
    for slots in [1, 3, 5] {
        let producer = name.produce(ProducerOptions::latest(slots)).unwrap();
        let mut consumer = Peer::reading(&name.0, 1);
        let mut sent = 0;
        let mut go_on = |frames: u64| {
            for _ in 0..frames {
                sent += 1;
                send(&producer, sent);
            }
            sent
        };
        consumer.until("a consumer", |seen| seen.attached == 1);
        for _ in 0..10 {
            let last = go_on(3);
            consumer.until("the last frame", |seen| seen.last == last);
            consumer.stop();
            go_on(200);
            consumer.go_on();
            let last = go_on(1);
            consumer.until("the last frame after all", |seen| seen.last == last);
        }
    }
}

#[test]
fn a_producer_that_was_killed_is_succeeded_in_its_own_memory() {
    let name = Name::new();
    let mut producer = Peer::flooding(&name.0, "latest-3", 64, 1);
    let mut consumer = Peer::reading(&name.0, 1);
    consumer.until("frames", |seen| seen.frames >= ENOUGH);
    assert!(producer.published() >= ENOUGH);
    producer.kill();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    assert_eq!(producer.acquired(), Acquired::Recovered);
    for _ in 0..ENOUGH {
        let sent = send(&producer, 1 << 40);
        consumer.until("the successor's frame", |seen| seen.last == 1 << 40 && sent > 0);
    }
    assert_eq!(consumer.seen().attached, 1, "the same row went on");
    consumer.kill();
}
