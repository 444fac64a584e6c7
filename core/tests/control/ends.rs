// SPDX-License-Identifier: MPL-2.0
//! Frames from one end to the other.

use std::time::{Duration, Instant};

use tdlink_core::protocol::control::{
    AlphaMode, ConsumeError, Interrupt, ProduceError, ProducerOptions, Ratio, Stamps, Take, Wait,
};
use tdlink_core::segment::{OpenOptions, Segment, monotonic_ns};

use super::{Name, attach, next, number, publish, send, spec, wait};

#[test]
fn a_published_frame_arrives_with_all_that_was_said_about_it() {
    let name = Name::new();
    let mut spec = spec(64, 16);
    spec.framerate = Ratio { num: 30000, den: 1001 };
    spec.alpha = AlphaMode::Straight;
    spec.caps = "video/x-raw, format=(string)RGBA, width=(int)64".to_owned();
    let options = ProducerOptions::latest(4);
    let producer =
        tdlink_core::protocol::control::Producer::create(&name.0, spec.clone(), options, Interrupt::new()).unwrap();
    let mut consumer = name.attach(1).unwrap();
    assert_eq!(consumer.description().spec, spec);
    assert_eq!(consumer.description().pid, std::process::id());

    let slot = producer.acquire(0).unwrap().unwrap();
    super::draw(&slot, 64 * 16 * 4, 42);
    let stamps = Stamps {
        pts: Some(1_234_567_890),
        pts_on_clock: true,
        duration: Some(33_366_666),
        offset: Some(42),
        discont: true,
        gap: false,
        stride: None,
    };
    let before = monotonic_ns();
    let sequence = slot.publish(stamps).unwrap();
    assert_eq!(wait(&mut consumer), Wait::Newer);
    let Take::Frame(slot) = consumer.take().unwrap() else { panic!("no lease") };
    let info = *slot.info();
    assert_eq!((info.sequence, info.stride, info.payload), (sequence, 256, 4096));
    assert_eq!(info.stamps, Stamps { stride: Some(256), ..stamps });
    assert!((before..=monotonic_ns()).contains(&info.published));
    assert_eq!(number(&info, slot.memory().segment(), slot.memory().offset()), Ok(42));
    assert!(matches!(consumer.take().unwrap(), Take::Nothing));
}

#[test]
fn three_consumers_each_get_every_frame_whole() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4)).unwrap();
    let mut consumers = [name.attach(1).unwrap(), name.attach(1).unwrap(), name.attach(1).unwrap()];
    for sent in 0..200 {
        send(&producer, sent);
        for consumer in &mut consumers {
            assert_eq!(wait(consumer), Wait::Newer);
            assert_eq!(next(consumer), Ok(sent));
        }
    }
    assert_eq!(consumers.map(|consumer| consumer.skipped()), [0; 3]);
    assert_eq!(producer.clients(), 3);
}

#[test]
fn a_dropped_slot_is_never_seen() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    for _ in 0..10 {
        let slot = producer.acquire(0).unwrap().unwrap();
        super::draw(&slot, 4096, 1);
        drop(slot);
        assert!(matches!(consumer.take().unwrap(), Take::Nothing));
    }
    send(&producer, 2);
    assert_eq!(next(&mut consumer), Ok(2));
}

#[test]
fn the_newest_frame_wins_and_the_others_are_counted() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 0);
    assert_eq!(next(&mut consumer), Ok(0));
    for sent in 1..=10 {
        send(&producer, sent);
    }
    assert_eq!(next(&mut consumer), Ok(10));
    assert_eq!(consumer.skipped(), 9);
}

#[test]
fn who_comes_late_begins_with_the_newest_frame() {
    let name = Name::new();
    for options in [ProducerOptions::latest(4), ProducerOptions::lossless(4)] {
        let producer = name.produce(options).unwrap();
        for sent in 0..7 {
            send(&producer, sent);
        }
        let mut consumer = name.attach(1).unwrap();
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(6));
        assert_eq!(consumer.skipped(), 0);
    }
}

#[test]
fn a_leased_frame_stays_while_the_producer_goes_on() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4)).unwrap();
    let mut consumer = name.attach(2).unwrap();
    send(&producer, 0);
    let Take::Frame(first) = consumer.take().unwrap() else { panic!("no lease") };
    send(&producer, 1);
    let Take::Frame(second) = consumer.take().unwrap() else { panic!("no lease") };
    for sent in 2..500 {
        send(&producer, sent);
        assert!(matches!(consumer.take().unwrap(), Take::NoLease), "two leases were granted");
        assert_eq!(super::copy(&mut consumer), Ok(sent));
        for (held, sent) in [(&first, 0), (&second, 1)] {
            assert_eq!(number(held.info(), held.memory().segment(), held.memory().offset()), Ok(sent));
        }
    }
    drop(first);
    send(&producer, 500);
    assert_eq!(next(&mut consumer), Ok(500));
}

#[test]
fn a_leased_frame_outlives_consumer_and_producer() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 7);
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    drop(consumer);
    for sent in 8..50 {
        send(&producer, sent);
    }
    drop(producer);
    let check = move || number(held.info(), held.memory().segment(), held.memory().offset());
    assert_eq!(std::thread::spawn(check).join().unwrap(), Ok(7));
    name.assert_nothing_left();
}

#[test]
fn a_lease_that_is_given_back_frees_the_slot() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 0);
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    send(&producer, 1);
    assert_eq!(producer.free().count_ones(), 1, "the newest and the leased one are not free");
    drop(held);
    assert_eq!(producer.free().count_ones(), 2);
}

#[test]
fn the_slot_that_was_freed_last_is_written_next_unless_somebody_copies() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(6)).unwrap();
    let mut used = 0u32;
    let mut go = |count: u64| {
        used = 0;
        for sent in 0..count {
            let slot = producer.acquire(0).unwrap().unwrap();
            used |= 1 << slot.slot();
            publish(&producer, slot, sent).unwrap();
        }
        used.count_ones()
    };
    assert!(go(20) <= 2, "two slots are enough when nobody reads");
    let _copier = name.attach(0).unwrap();
    assert_eq!(go(20), 6, "who copies without a lease gets as much time as there is");
}

#[test]
fn a_slot_that_upstream_keeps_is_not_written() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    for sent in 0..50 {
        let slot = producer.acquire(0b011).unwrap();
        match slot {
            Some(slot) => {
                assert_eq!(slot.slot(), 2);
                publish(&producer, slot, sent).unwrap();
            }
            None => assert_eq!(producer.free() & 0b100, 0),
        }
    }
    let all: Vec<_> = std::iter::from_fn(|| producer.acquire(0).unwrap()).collect();
    assert_eq!(all.len(), 2, "all but the newest");
    assert!(producer.acquire(0).unwrap().is_none());
}

#[test]
fn another_description_is_another_generation_and_what_is_held_stays() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 1);
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    let stale = producer.acquire(0).unwrap().unwrap();

    producer.set_spec(spec(128, 40)).unwrap();
    assert!(matches!(stale.publish(Stamps::default()), Err(ProduceError::Stale { .. })));
    assert_eq!(wait(&mut consumer), Wait::Respec);
    assert_eq!(consumer.description().spec, spec(128, 40));
    for sent in 2..20 {
        send(&producer, sent);
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(sent));
        assert_eq!(number(held.info(), held.memory().segment(), held.memory().offset()), Ok(1));
    }
    drop(held);
    assert_eq!(next(&mut consumer), Err("nothing".to_owned()));
    send(&producer, 20);
    assert_eq!(next(&mut consumer), Ok(20), "a lease of the old generation frees nothing in the new one");
    assert!(matches!(producer.set_spec(spec(0, 1)), Err(ProduceError::Layout(_))));
    send(&producer, 21);
    assert_eq!(next(&mut consumer), Ok(21), "a description that cannot be changes nothing");
}

#[test]
fn the_end_is_said_after_the_last_frame_and_taken_back_by_the_next() {
    let name = Name::new();
    for options in [ProducerOptions::latest(4), ProducerOptions::lossless(4)] {
        let producer = name.produce(options).unwrap();
        let mut consumer = name.attach(1).unwrap();
        send(&producer, 0);
        producer.set_eos().unwrap();
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(0));
        assert_eq!(wait(&mut consumer), Wait::Eos);
        send(&producer, 1);
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(1));
        drop(producer);
        assert_eq!(wait(&mut consumer), Wait::Closed);
    }
}

#[test]
fn one_slot_is_the_raw_segment_as_others_know_it() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(1)).unwrap();
    let raw = Segment::open(&name.0, OpenOptions::default()).unwrap();
    assert_eq!(raw.len(), 64 * 16 * 4);
    let mut consumer = name.attach(3).unwrap();
    assert_eq!(consumer.description().pixels.name, name.0.as_str());
    for sent in 0..20 {
        send(&producer, sent);
        let mut pixels = [0; 8];
        raw.read(4088, &mut pixels).unwrap();
        assert_eq!(u64::from_le_bytes(pixels), sent);
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert!(matches!(consumer.take().unwrap(), Take::NoLease));
        assert_eq!(super::copy(&mut consumer), Ok(sent));
    }
    producer.set_spec(spec(32, 16)).unwrap();
    // A section keeps its size, and is large enough.
    let len = Segment::open(&name.0, OpenOptions::default()).unwrap().len();
    assert_eq!(len, if cfg!(windows) { 4096 } else { 2048 });
    send(&producer, 77);
    assert_eq!(wait(&mut consumer), Wait::Respec);
    assert_eq!(super::copy(&mut consumer), Ok(77));
}

#[test]
fn a_raw_frame_may_grow_under_a_reader_that_waits() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(1)).unwrap();
    let mut consumer = name.attach(0).unwrap();
    send(&producer, 1);
    assert_eq!(wait(&mut consumer), Wait::Newer);
    assert_eq!(super::copy(&mut consumer), Ok(1));
    for (sent, (width, height)) in (2..).zip([(128, 40), (8, 2), (512, 300)]) {
        let consumer = &mut consumer;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (wait(consumer), wait(consumer), super::copy(consumer)));
            producer.set_spec(spec(width, height)).unwrap();
            send(&producer, sent);
            assert_eq!(reader.join().unwrap(), (Wait::Respec, Wait::Newer, Ok(sent)));
        });
    }
}

#[test]
fn an_interrupt_ends_a_wait_at_once_and_those_to_come_until_it_is_cleared() {
    let name = Name::new();
    let _producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let interrupt = Interrupt::new();
    let mut consumer = attach(&name.0, 1, &interrupt).unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        interrupt.clear();
        let took = std::thread::scope(|scope| {
            let consumer = &mut consumer;
            let waiting = scope.spawn(move || {
                assert_eq!(consumer.wait_newer(None).unwrap(), Wait::Interrupted);
                Instant::now()
            });
            std::thread::yield_now();
            let began = Instant::now();
            interrupt.raise();
            waiting.join().unwrap().saturating_duration_since(began)
        });
        slowest = slowest.max(took);
        assert_eq!(consumer.wait_newer(None).unwrap(), Wait::Interrupted);
    }
    println!("slowest of 200: {slowest:?}");
    assert!(slowest < Duration::from_millis(90), "it was left to the bounded wait: {slowest:?}");
}

#[test]
fn a_wait_without_news_ends_at_its_deadline() {
    let name = Name::new();
    let _producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    for millis in [0, 1, 150] {
        let deadline = Instant::now() + Duration::from_millis(millis);
        assert_eq!(consumer.wait_newer(Some(deadline)).unwrap(), Wait::Deadline);
        assert!(Instant::now() >= deadline);
    }
}

#[test]
fn numbers_of_slots_that_cannot_be_are_refused() {
    let name = Name::new();
    for found in [0, 17] {
        let refused = name.produce(ProducerOptions::latest(found));
        assert!(matches!(refused, Err(ProduceError::Slots { found: of }) if of == found));
    }
    assert!(matches!(name.produce(ProducerOptions::lossless(1)), Err(ProduceError::NoRing { found: 1 })));
}

#[test]
fn the_thirty_third_consumer_is_refused_until_one_leaves() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumers: Vec<_> = (0..32).map(|_| name.attach(0).unwrap()).collect();
    assert!(matches!(name.attach(0), Err(ConsumeError::Full { .. })));
    send(&producer, 5);
    for consumer in &mut consumers {
        assert_eq!(super::copy(consumer), Ok(5));
    }
    consumers.swap_remove(17);
    consumers.push(name.attach(0).unwrap());
    assert_eq!(consumers[31].row(), 17);
    let tended = producer.tend().unwrap();
    assert_eq!((tended.joined - tended.left, tended.clients), (32, 32));
}
