// SPDX-License-Identifier: MPL-2.0
//! Who waits for whom, and how long.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::thread::gettid;
use tdlink_core::protocol::control::layout::{ROW_WAITING, Tables};
use tdlink_core::protocol::control::{Consumer, Interrupt, Producer, ProducerOptions, Take, Wait};
use tdlink_core::segment::{ControlSegment, OpenOptions};

#[cfg(target_os = "linux")]
use super::peer::Peer;
use super::{Name, attach, next, send, spec, wait};

#[test]
fn nobody_is_told_of_a_frame_that_is_being_overwritten() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(1)).unwrap();
    let mut consumer = name.attach(0).unwrap();
    send(&producer, 1);
    let writing = producer.acquire(0).unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(consumer.wait_newer(Some(deadline)).unwrap(), Wait::Deadline, "a frame that cannot be had");
    super::publish(&producer, writing, 2).unwrap();
    assert_eq!(wait(&mut consumer), Wait::Newer);
    assert_eq!(next(&mut consumer), Ok(2));
}

#[test]
fn a_new_description_leaves_nothing_to_drain() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::lossless(4)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 1);
    assert!(!producer.drain(Some(Instant::now())).unwrap());
    producer.set_spec(spec(32, 8)).unwrap();
    assert!(producer.drain(Some(Instant::now())).unwrap(), "frames of the old description are waited for");
    assert_eq!(wait(&mut consumer), Wait::Respec);
    send(&producer, 2);
    assert!(!producer.drain(Some(Instant::now())).unwrap());
    assert_eq!(next(&mut consumer), Ok(2));
    assert!(producer.drain(Some(Instant::now())).unwrap());
}

#[test]
fn a_consumer_that_stands_still_is_let_go_however_short_each_wait_is() {
    let name = Name::new();
    let timeout = Duration::from_millis(120);
    let options = ProducerOptions { lossless_timeout: Some(timeout), ..ProducerOptions::lossless(3) };
    let producer = name.produce(options).unwrap();
    let mut consumer = name.attach(0).unwrap();
    let mut sent = 0;
    while let Some(slot) = producer.acquire(0).unwrap() {
        super::publish(&producer, slot, sent).unwrap();
        sent += 1;
    }
    let began = Instant::now();
    let slot = loop {
        if let Some(slot) = producer.acquire_by(Some(Instant::now() + Duration::from_millis(10)), 0).unwrap() {
            break slot;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "each wait began to count anew");
    };
    assert!(began.elapsed() >= timeout);
    assert_eq!(producer.tend().unwrap().let_go, 1);
    super::publish(&producer, slot, sent).unwrap();
    // It comes back and is waited for again.
    let first = next(&mut consumer).unwrap();
    assert!(first >= 1);
    while next(&mut consumer).is_ok() {}
    for sent in 100..103 {
        send(&producer, sent);
    }
    assert!(producer.acquire(0).unwrap().is_none());
}

#[test]
fn a_switch_keeps_no_memory_mapped() {
    let name = Name::new();
    let (ours, theirs) = (Interrupt::new(), Interrupt::new());
    let producer = Producer::create(&name.0, spec(64, 16), ProducerOptions::lossless(2), ours.clone()).unwrap();
    let mut consumer = attach(&name.0, 0, &theirs).unwrap();
    let soon = || Some(Instant::now() + Duration::from_millis(2));
    assert_eq!(consumer.wait_newer(soon()).unwrap(), Wait::Deadline);
    while producer.acquire(0).unwrap().map(|slot| super::publish(&producer, slot, 1)).is_some() {}
    assert!(producer.acquire_by(soon(), 0).unwrap().is_none());
    assert!(matches!(consumer.take().unwrap(), Take::NoLease));
    drop((consumer, producer));
    if cfg!(target_os = "linux") {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let kept: Vec<_> = maps.lines().filter(|line| line.contains(&format!("{}.", name.0))).collect();
        assert_eq!(kept, Vec::<&str>::new());
    }
    // On Windows the name stays as long as the memory.
    name.assert_nothing_left();
    drop((ours, theirs));
}

#[test]
fn consumers_of_unequal_speed_each_get_every_frame_in_order() {
    const FRAMES: u64 = 600;
    let name = Name::new();
    let options = ProducerOptions { lossless_timeout: None, ..ProducerOptions::lossless(4) };
    let producer = name.produce(options).unwrap();
    let consumers: Vec<_> = [0, 1, 0].iter().map(|&leases| name.attach(leases).unwrap()).collect();
    std::thread::scope(|scope| {
        for (slowness, mut consumer) in (0u32..).zip(consumers) {
            scope.spawn(move || {
                for expected in 0..FRAMES {
                    assert_eq!(wait(&mut consumer), Wait::Newer);
                    assert_eq!(next(&mut consumer), Ok(expected));
                    for _ in 0..slowness * 20 {
                        std::thread::yield_now();
                    }
                }
                assert_eq!(consumer.skipped(), 0);
                assert_eq!(wait(&mut consumer), Wait::Eos);
            });
        }
        for sent in 0..FRAMES {
            let slot = producer.acquire_by(None, 0).unwrap().unwrap();
            super::publish(&producer, slot, sent).unwrap();
        }
        assert!(producer.drain(None).unwrap());
        producer.set_eos().unwrap();
    });
}

#[cfg(target_os = "linux")] // stops a process
#[test]
fn one_that_stops_and_one_that_dies_are_let_go_and_the_others_lose_nothing() {
    let name = Name::new();
    let options = ProducerOptions { lossless_timeout: Some(Duration::from_millis(80)), ..ProducerOptions::lossless(4) };
    let producer = name.produce(options).unwrap();
    let mut steady = name.attach(1).unwrap();
    let mut stopped = Peer::reading(&name.0, 0);
    let mut dying = Peer::reading(&name.0, 1);
    let mut sent = 0;
    let mut go_on = |steady: &mut Consumer, frames: u64| {
        for _ in 0..frames {
            let slot = producer.acquire_by(Some(Instant::now() + super::PATIENCE), 0).unwrap();
            super::publish(&producer, slot.expect("somebody is waited for"), sent).unwrap();
            assert_eq!(wait(steady), Wait::Newer);
            assert_eq!(next(steady), Ok(sent));
            sent += 1;
        }
        sent - 1
    };
    for peer in [&mut stopped, &mut dying] {
        peer.until("a consumer", |seen| seen.attached == 1);
    }
    go_on(&mut steady, 50);
    stopped.stop();
    go_on(&mut steady, 50);
    assert_eq!(producer.tend().unwrap().let_go, 1);
    dying.kill();
    go_on(&mut steady, 50);
    stopped.go_on();
    let last = go_on(&mut steady, 1);
    let seen = stopped.until("the last frame", |seen| seen.last == last);
    assert!(seen.skipped > 0, "it was not let go");
    // It is waited for again.
    let last = go_on(&mut steady, 50);
    assert_eq!(stopped.until("all", |seen| seen.last == last).skipped, seen.skipped);
    assert_eq!((steady.skipped(), steady.torn()), (0, 0));
    stopped.kill();
}

/// Has `consumer` fall asleep, does something, and tells how long after that it was up and with what.
fn while_asleep(name: &Name, consumer: &mut Consumer, then: impl FnOnce() -> Instant) -> (Wait, Duration) {
    let thread = AtomicI32::new(0);
    let row = consumer.row();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            #[cfg(target_os = "linux")]
            thread.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            let wait = wait(consumer);
            (wait, Instant::now())
        });
        // It has said that it sleeps, and, where the kernel can be asked, that is what it says.
        let control = ControlSegment::open(&name.0, &OpenOptions::default()).unwrap();
        let asleep = || {
            let said = control.segment().load_u32(Tables::OURS.row(row, ROW_WAITING), Ordering::Relaxed).unwrap() != 0;
            if cfg!(windows) {
                return said;
            }
            let stat = format!("/proc/self/task/{}/stat", thread.load(Ordering::Relaxed));
            let stat = std::fs::read_to_string(stat).unwrap_or_default();
            said && stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
        };
        while !asleep() {
            std::thread::yield_now();
        }
        let said = then();
        let (wait, heard) = waiting.join().unwrap();
        (wait, heard.saturating_duration_since(said))
    })
}

#[test]
fn the_end_crosses_at_once() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    let mut took = Vec::new();
    for round in 0..21 {
        let (wait, late) = while_asleep(&name, &mut consumer, || {
            let said = Instant::now();
            producer.set_eos().unwrap();
            said
        });
        assert_eq!(wait, Wait::Eos);
        took.push(late);
        send(&producer, round);
        assert_eq!(next(&mut consumer), Ok(round));
    }
    took.sort_unstable();
    println!("{took:?}");
    assert!(took[10] < Duration::from_millis(20), "it is left to the bounded wait: {took:?}");
}

#[cfg(target_os = "linux")] // asks the kernel who sleeps
#[test]
fn a_wake_up_that_is_lost_costs_no_more_than_the_bounded_wait() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    let control = ControlSegment::open(&name.0, &OpenOptions::default()).unwrap();
    let waiting = Tables::OURS.row(consumer.row(), ROW_WAITING);
    let mut took = Vec::new();
    for sent in 0..9 {
        let (wait, late) = while_asleep(&name, &mut consumer, || {
            // The producer does not see that anybody sleeps.
            control.segment().write(waiting, &[0; 4]).unwrap();
            let said = Instant::now();
            send(&producer, sent);
            said
        });
        assert_eq!(wait, Wait::Newer);
        took.push(late);
        assert_eq!(next(&mut consumer), Ok(sent));
    }
    took.sort_unstable();
    println!("{took:?}");
    assert!(took[4] > Duration::from_millis(5), "nothing was lost: {took:?}");
    assert!(took[4] < Duration::from_millis(105), "{took:?}");
}

#[cfg(target_os = "linux")] // reads /proc
#[test]
fn waiting_uses_no_processor() {
    let name = Name::new();
    let _producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    let used = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = used();
    let deadline = Instant::now() + Duration::from_secs(2);
    assert_eq!(consumer.wait_newer(Some(deadline)).unwrap(), Wait::Deadline);
    let used = used() - before;
    println!("{} µs in 2 s", used / 1000);
    // 0.1 % of a processor.
    assert!(used < 2_000_000, "{used} ns in 2 s");
}
