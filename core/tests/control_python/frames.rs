// SPDX-License-Identifier: MPL-2.0
//! Frames from one language to the other.

use std::sync::atomic::AtomicBool;

use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::protocol::control::{AlphaMode, ProducerOptions, Ratio, Stamps, Wait};

use super::{Enough, Name, Peer, next, receive, send, send_until, send_with, spec, wait};

/// Slots of producers that may send larger frames though their readers look elsewhere: a section of Windows cannot grow
/// before its readers have let go of it.
const RESIZABLE: [u32; 2] = if cfg!(windows) { [2, 4] } else { [1, 4] };

/// Slots, and whether frames may be left out.
fn rings() -> impl Iterator<Item = (u32, &'static str, ProducerOptions)> {
    let latest = [1, 2, 3, 4].map(|slots| (slots, "latest", ProducerOptions::latest(slots)));
    let lossless = [2, 4].map(|slots| (slots, "lossless", ProducerOptions::lossless(slots)));
    latest.into_iter().chain(lossless)
}

#[test]
fn python_reads_what_is_sent_by_lease_where_the_ring_can_spare_slots_else_by_copy() {
    for (slots, delivery, options) in rings() {
        for leases in [0, 1] {
            let name = Name::new();
            let producer = name.produce(options.clone());
            let mut python = name.reader(leases);
            python.expect("read 0", "none");
            for sent in 0..40 {
                send(&producer, sent);
                // A lossless producer can spare one of two slots.
                let how = match (slots, delivery, leases) {
                    (2, "lossless", 1) => "",
                    (1 | 2, ..) | (.., 0) => "copied",
                    _ => "leased",
                };
                let (answer, wanted) = (python.ask("read 60"), format!("frame {sent} {how}"));
                assert!(answer.starts_with(&wanted), "{answer}: {slots} slots, {delivery}, {leases} leases");
            }
            python.expect("read 0", "none");
            python.exit();
            drop(producer);
            name.assert_nothing_left();
        }
    }
}

#[test]
fn what_python_sends_is_read_by_lease_and_by_copy() {
    for (slots, delivery, _) in rings() {
        for leases in [0, 1] {
            let name = Name::new();
            let mut python = name.writer(slots, delivery);
            let mut consumer = name.attach(leases);
            assert_eq!(consumer.is_lossless(), delivery == "lossless");
            for sent in 0..40 {
                python.expect(&format!("publish {sent}"), &format!("published {}", sent + 1));
                assert_eq!(receive(&mut consumer), sent, "{slots} slots, {delivery}, {leases} leases");
            }
            assert_eq!(consumer.granted(), if slots > 2 { leases } else { 0 });
            drop(consumer);
            python.exit();
            name.assert_nothing_left();
        }
    }
}

#[test]
fn python_learns_all_that_is_said_about_a_frame() {
    let name = Name::new();
    let format = PixelFormat::new(SampleType::U16, 4, ChannelOrder::Bgra).unwrap();
    let mut spec = spec(64, 16);
    spec.desc = FrameDesc { width: 32, height: 16, format, origin: Origin::BottomLeft };
    spec.framerate = Ratio { num: 30000, den: 1001 };
    spec.alpha = AlphaMode::Premultiplied;
    let producer = name.try_produce(spec, ProducerOptions::latest(4)).unwrap();
    let mut python = name.reader(1);
    python.expect("read 0", "none");
    let stamps = Stamps {
        pts: Some(u64::MAX / 3),
        pts_on_clock: true,
        duration: Some(33_366_666),
        offset: Some(7),
        discont: true,
        ..Stamps::default()
    };
    send_with(&producer, 7, stamps);
    let said = format!(
        "frame 7 leased 1 {} 33366666 3 32x16 4 uint16 bgra bottom-left premultiplied 30000/1001 1",
        u64::MAX / 3
    );
    python.expect("stamps 60", &said);
    send_with(&producer, 8, Stamps { offset: Some(8), gap: true, ..Stamps::default() });
    python
        .expect("stamps 60", "frame 8 leased 2 None None 4 32x16 4 uint16 bgra bottom-left premultiplied 30000/1001 1");
}

#[test]
fn all_that_python_says_about_a_frame_arrives() {
    let name = Name::new();
    let mut python = Peer::python();
    python.expect(&format!("writer {} 64 16 4 latest bottom-left", name.0), "ready");
    let mut consumer = name.attach(1);
    let mut wanted = spec(64, 16);
    wanted.desc.origin = Origin::BottomLeft;
    wanted.framerate = Ratio { num: 30000, den: 1001 };
    assert_eq!(consumer.description().spec, wanted);
    python.expect("stamped 5 123456789 40000000 7", "published");
    assert_eq!(wait(&mut consumer), Wait::Newer);
    let tdlink_core::protocol::control::Take::Frame(slot) = consumer.take().unwrap() else { panic!("no lease") };
    let wanted = Stamps {
        pts: Some(123_456_789),
        pts_on_clock: true,
        duration: Some(40_000_000),
        offset: Some(5),
        discont: true,
        gap: true,
        stride: Some(256),
    };
    assert_eq!((slot.info().stamps, slot.info().sequence), (wanted, 1));
}

#[test]
fn python_sees_no_torn_frame_of_a_producer_that_never_rests() {
    for (slots, leases) in [(1, 0), (2, 0), (4, 0), (4, 2)] {
        let name = Name::new();
        let producer = name.try_produce(spec(1920, 1080), ProducerOptions::latest(slots)).unwrap();
        let mut python = name.reader(leases);
        let enough = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| send_until(&producer, &enough));
            let _enough = Enough(&enough);
            python.ask("run 100")
        });
        println!("{slots} slots, {leases} leases: {seen}");
        assert!(seen.starts_with("run enough frames=100 "), "{slots} slots, {leases} leases: {seen}");
    }
}

#[test]
fn no_torn_frame_comes_from_a_python_that_never_rests() {
    for (slots, leases) in [(1, 0), (2, 0), (4, 0), (4, 2)] {
        let name = Name::new();
        let mut python = Peer::python();
        python.expect(&format!("writer {} 1920 1080 {slots} latest", name.0), "ready");
        let mut consumer = name.attach(leases);
        python.expect("flood", "flooding");
        // `next` judges every frame.
        let mut last = receive(&mut consumer);
        for _ in 0..100 {
            let number = receive(&mut consumer);
            assert!(number > last, "{number} after {last}");
            last = number;
        }
        let sent = python.ask("clients");
        assert!(sent.starts_with("flooded "), "{sent}");
        println!("{slots} slots, {leases} leases: {sent}, {} torn copies", consumer.torn());
    }
}

#[test]
fn lossless_is_lossless_for_readers_of_both_languages_at_different_speeds() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::lossless(4));
    let (mut quick, mut slow) = (name.reader(1), name.reader(0));
    let mut consumer = name.attach(1);
    // Both are there before the first frame.
    quick.expect("read 0", "none");
    slow.expect("read 0", "none");
    quick.order("run eos");
    slow.order("run eos 0.002");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..300).for_each(|sent| {
                send(&producer, sent);
            });
            producer.set_eos().unwrap();
        });
        for sent in 0..300 {
            assert_eq!(receive(&mut consumer), sent);
        }
        assert_eq!(wait(&mut consumer), Wait::Eos);
    });
    for python in [&mut quick, &mut slow] {
        let seen = python.answer();
        assert!(seen.starts_with("run eos frames=300 "), "{seen}");
        assert!(seen.ends_with("gaps=0 last=299 skipped=0 torn=0"), "{seen}");
    }
}

#[test]
fn a_lossless_python_waits_for_readers_of_both_languages() {
    let name = Name::new();
    let mut python = name.writer(3, "lossless");
    let mut other = name.reader(1);
    let mut consumer = name.attach(0);
    other.expect("read 0", "none");
    other.order("run eos 0.001");
    python.order("send 0 300");
    for sent in 0..300 {
        assert_eq!(receive(&mut consumer), sent);
    }
    assert_eq!(python.answer(), "sent");
    python.expect("drain 60", "drained");
    python.expect("end", "ended");
    assert_eq!(wait(&mut consumer), Wait::Eos);
    let seen = other.answer();
    assert!(seen.starts_with("run eos frames=300 ") && seen.contains(" gaps=0 last=299 "), "{seen}");
}

#[test]
fn a_lossless_python_does_not_overwrite_what_nobody_has_taken() {
    let name = Name::new();
    let mut python = name.writer(3, "lossless");
    let mut consumer = name.attach(0);
    for sent in 0..3 {
        python.expect(&format!("publish {sent} noblock"), &format!("published {}", sent + 1));
    }
    python.expect("publish 3 noblock", "full");
    python.expect("drain 0", "not drained");
    assert_eq!(receive(&mut consumer), 0);
    python.expect("publish 3 noblock", "published 4");
    python.expect("publish 4 noblock", "full");
    assert_eq!([(); 3].map(|()| receive(&mut consumer)), [1, 2, 3]);
    python.expect("drain 0", "drained");
}

#[test]
fn a_frame_that_python_holds_stays_as_it_is_while_any_view_of_it_lives() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4));
    let mut python = name.reader(2);
    // Leases are granted to those who are there.
    python.expect("read 0", "none");
    send(&producer, 0);
    python.expect("hold 60", "frame 0 leased");
    send(&producer, 1);
    python.expect("hold 60", "frame 1 leased");
    for sent in 2..60 {
        send(&producer, sent);
        python.expect("read 60", &format!("frame {sent} copied"));
        python.expect("check", "whole 0,1");
    }
    assert_eq!(producer.free().count_ones(), 1);
    python.expect("drop", "dropped");
    assert_eq!(producer.free().count_ones(), 3);
    send(&producer, 60);
    python.expect("read 60", "frame 60 leased");
}

#[test]
fn what_python_lends_stays_as_it_is_until_it_is_given_back() {
    let name = Name::new();
    let mut python = name.writer(3, "latest");
    let mut consumer = name.attach(1);
    python.expect("publish 0", "published 1");
    assert_eq!(wait(&mut consumer), Wait::Newer);
    let tdlink_core::protocol::control::Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    for sent in 1..60 {
        python.expect(&format!("publish {sent}"), &format!("published {}", sent + 1));
        assert_eq!(next(&mut consumer), Some(sent));
        let memory = held.memory();
        assert_eq!(super::number(held.info(), memory.segment(), memory.offset()), Ok(0));
    }
}

#[test]
fn frames_of_another_size_reach_python_and_what_it_holds_stays() {
    for slots in RESIZABLE {
        let name = Name::new();
        let producer = name.produce(ProducerOptions::latest(slots));
        let mut python = name.reader(1);
        python.expect("read 0", "none");
        send(&producer, 1);
        python.expect("hold 60", if slots > 2 { "frame 1 leased" } else { "frame 1 copied" });
        for (generation, (width, height)) in [(128, 40), (8, 2), (64, 16)].into_iter().enumerate() {
            producer.set_spec(spec(width, height)).unwrap();
            let sent = 2 + generation as u64;
            send(&producer, sent);
            let said = python.ask("stamps 60");
            assert!(said.starts_with(&format!("frame {sent} ")), "{said}");
            assert!(said.contains(&format!(" {width}x{height} ")), "{said}");
            python.expect("check", "whole 1");
        }
        python.exit();
    }
}

#[test]
fn a_raw_frame_of_python_may_grow_under_a_reader_that_waits_and_the_other_way_round() {
    let name = Name::new();
    let mut writer = name.writer(1, "latest");
    let mut reader = name.reader(0);
    writer.expect("publish 1", "published 1");
    reader.expect("read 60", "frame 1 copied");
    for (sent, (width, height)) in (2..).zip([(128, 40), (8, 2), (256, 100)]) {
        reader.order("read 60");
        writer.expect(&format!("describe {width} {height}"), "described");
        writer.expect(&format!("publish {sent}"), &format!("published {sent}"));
        assert_eq!(reader.answer(), format!("frame {sent} copied"));
    }
    reader.exit();
    writer.exit();
    name.assert_nothing_left();
}

#[test]
fn frames_of_another_size_come_from_python() {
    for slots in RESIZABLE {
        let name = Name::new();
        let mut python = name.writer(slots, "latest");
        let mut consumer = name.attach(1);
        python.expect("publish 1", "published 1");
        assert_eq!(receive(&mut consumer), 1);
        for (sent, (width, height)) in (2..).zip([(128, 40), (8, 2), (64, 16)]) {
            python.expect(&format!("describe {width} {height}"), "described");
            assert_eq!(wait(&mut consumer), Wait::Respec);
            let desc = consumer.description().spec.desc;
            assert_eq!((desc.width, desc.height), (width, height));
            python.expect(&format!("publish {sent}"), &format!("published {sent}"));
            assert_eq!(receive(&mut consumer), sent);
        }
        drop(consumer);
        python.exit();
        name.assert_nothing_left();
    }
}

#[test]
fn the_end_is_said_after_the_last_frame_and_taken_back_by_the_next() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4));
    let mut python = name.reader(1);
    python.expect("read 0", "none");
    send(&producer, 0);
    producer.set_eos().unwrap();
    python.expect("read 60", "frame 0 leased");
    python.expect("read 60", "eos");
    send(&producer, 1);
    python.expect("read 60", "frame 1 leased");
    drop(producer);
    python.expect("read 60", "eos");
    python.expect("unread", "closed");
    name.assert_nothing_left();

    let mut python = name.writer(4, "latest");
    let mut consumer = name.attach(1);
    python.expect("publish 0", "published 1");
    python.expect("end", "ended");
    assert_eq!(receive(&mut consumer), 0);
    assert_eq!(wait(&mut consumer), Wait::Eos);
    python.expect("publish 1", "published 2");
    assert_eq!(receive(&mut consumer), 1);
    python.expect("close", "closed");
    assert_eq!(wait(&mut consumer), Wait::Closed);
}

#[test]
fn python_waits_for_a_sender_that_is_not_there_yet() {
    let name = Name::new();
    let mut python = name.reader(1);
    python.expect("read 0", "none");
    python.order("read 60");
    let producer = name.produce(ProducerOptions::latest(4));
    send(&producer, 9);
    let answer = python.answer();
    assert!(answer.starts_with("frame 9 "), "{answer}");
}
