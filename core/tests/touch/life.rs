// SPDX-License-Identifier: MPL-2.0
//! Who comes, who goes, in which order, and what the other side makes of it.

use tdlink_core::protocol::touch::{Standing, Wrote};

use super::*;

#[test]
fn a_sender_leaves_nothing_and_is_found_whoever_comes_first() {
    let names = Names::new();
    names.missing();
    assert_eq!(names.there(), (false, false, false), "a receiver that waits holds nothing");
    let desc = bgra(8, 8);
    let mut producer = names.produce(desc);
    assert!(names.missing().contains("no frame has been written"), "{}", names.missing());
    producer.write(&filled(&desc, 7), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(7)));
    assert_eq!(read_byte(&mut consumer).unwrap(), (OLD, Some(7)));
    drop(producer);
    assert!(matches!(consumer.standing().unwrap(), Standing::Ended(why) if why.contains("detach")));
    drop(consumer);
}

#[test]
fn a_frame_is_news_once_and_only_if_it_differs() {
    let names = Names::new();
    for (width, height) in [(3, 2), (64, 64), (640, 480)] {
        let desc = bgra(width, height);
        let mut producer = names.produce(desc);
        let mut frame = filled(&desc, 1);
        producer.write(&frame, desc.row_bytes()).unwrap();
        let mut consumer = names.attach();
        assert!(consumer.look().unwrap(), "the first frame is news");
        read_byte(&mut consumer).unwrap();
        producer.write(&frame, desc.row_bytes()).unwrap();
        for _ in 0..200 {
            assert!(!consumer.look().unwrap(), "{width}×{height}: the same frame again is none");
        }
        for place in [0, frame.len() / 2, frame.len() - 1] {
            frame[place] ^= 0x10;
            producer.write(&frame, desc.row_bytes()).unwrap();
            poll("a single byte is found", || {
                // What looks miss, the comparison of all finds that the engine asks for.
                let mut last = vec![0; frame.len()];
                last.copy_from_slice(&frame);
                last[place] ^= 0x10;
                (consumer.look().unwrap() || !consumer.same_as(&last, desc.row_bytes()).unwrap()).then_some(())
            });
            assert!(matches!(read_byte(&mut consumer).unwrap().0, Outcome::Whole { .. }));
        }
        drop(producer);
    }
}

#[test]
fn a_receiver_follows_a_resize_and_nobody_keeps_the_old_object() {
    let names = Names::new();
    let (small, large) = (bgra(8, 8), bgra(64, 48));
    let mut producer = names.produce(small);
    producer.write(&filled(&small, 1), small.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    for (n, desc) in [large, small, large].into_iter().enumerate() {
        let byte = 10 + n as u8;
        producer.set_frames(desc, desc.format, ([1.0, 1.0], Colour::SRGB), &Waiter::new()).unwrap();
        assert!(consumer.look().unwrap(), "another postfix is news");
        assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::NotWritten);
        assert_eq!(consumer.standing().unwrap(), Standing::Here, "a smaller object is not a cut one");
        producer.write(&filled(&desc, byte), desc.row_bytes()).unwrap();
        assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Respec);
        assert_eq!(consumer.desc(), desc);
        assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(byte)));
    }
    assert_eq!(names.there(), (true, false, true), "the first object is nobody's any more");
}

#[test]
fn a_sender_that_dies_between_a_resize_and_its_first_frame_is_found_out() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut fake = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    // Another object, with nothing in it yet.
    let postfix = tdlink_core::protocol::touch::Postfix::new("abcdefghijklmnopqrstuvwxyzabcde").unwrap();
    fake.data = Section::create(&names.0.data(&postfix).unwrap(), 4096, &CreateOptions::default()).unwrap();
    fake.put_info(0, &Info { postfix, ..Info::fresh() }.encode(InfoLayout::Utf16));
    assert!(consumer.look().unwrap());
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::NotWritten);
    assert!(!consumer.look().unwrap(), "what is still to be written is news once");
    assert!(consumer.same_as(&filled(&desc, 1), desc.row_bytes()).unwrap());
    drop(fake);
    poll("the receiver finds out that the sender has gone", || {
        assert!(!consumer.look().unwrap());
        matches!(consumer.standing().unwrap(), Standing::Ended(why) if why.contains("has gone")).then_some(())
    });
}

#[test]
fn a_locked_info_segment_does_not_keep_the_pixels_from_others() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let _fake = Fake::sending(&names, desc, 1);
    let patience = Duration::from_millis(300);
    let options = AttachOptions { lock_timeout: patience, ..AttachOptions::default() };
    let mut consumer = Consumer::attach(&names.0, Origin::BottomLeft, options).unwrap();
    read_byte(&mut consumer).unwrap();
    std::thread::scope(|scope| {
        let mut mutex = NamedMutex::new(names.0.info_mutex(), &CreateOptions::default()).unwrap();
        let held = mutex.lock(PATIENCE).unwrap().unwrap();
        let reader = scope.spawn(|| {
            let began = Instant::now();
            assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Locked);
            assert!(began.elapsed() >= patience - Duration::from_millis(10), "it is waited for nevertheless");
        });
        let mut pixels = names.mutex();
        let mut waited = Duration::ZERO;
        while !reader.is_finished() {
            let began = Instant::now();
            drop(pixels.lock(PATIENCE).unwrap().unwrap());
            waited = waited.max(began.elapsed());
        }
        reader.join().unwrap();
        assert!(waited < patience / 2, "the pixels' mutex was held for {waited:?}");
        drop(held);
    });
}

#[test]
fn other_sides_of_as_many_bytes_need_no_new_object() {
    let names = Names::new();
    let (wide, high) = (bgra(16, 4), bgra(4, 16));
    let mut producer = names.produce(wide);
    producer.write(&filled(&wide, 1), wide.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    producer.set_frames(high, high.format, ([1.0, 1.0], Colour::SRGB), &Waiter::new()).unwrap();
    producer.write(&filled(&high, 2), high.row_bytes()).unwrap();
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Respec);
    assert_eq!(consumer.desc(), high);
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
    assert_eq!(names.there(), (true, true, true));
}

#[test]
fn a_receiver_that_does_not_follow_keeps_a_resize_waiting() {
    let names = Names::new();
    let (small, large) = (bgra(8, 8), bgra(64, 480));
    let mut producer = names.produce(small);
    producer.write(&filled(&small, 1), small.row_bytes()).unwrap();
    // It never touches the info segment.
    let old = names.open(&names.data()).unwrap();
    let waiter = Waiter::new();
    let fault = producer.set_frames(large, large.format, ([1.0, 1.0], Colour::SRGB), &waiter).unwrap_err();
    assert!(matches!(&fault, ProduceError::Resize { object } if object.contains("TouchSHM")), "{fault}");
    assert!(matches!(producer.write(&[], 0), Err(ProduceError::Resize { .. })), "there is nothing to write to");
    // A wait can be ended from outside.
    waiter.wake();
    let fault = producer.set_frames(large, large.format, ([1.0, 1.0], Colour::SRGB), &waiter).unwrap_err();
    assert!(matches!(fault, ProduceError::Interrupted), "{fault}");
    drop(old);
    producer.set_frames(large, large.format, ([1.0, 1.0], Colour::SRGB), &Waiter::new()).unwrap();
    producer.write(&filled(&large, 2), large.row_bytes()).unwrap();
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

#[test]
fn a_sender_that_died_is_let_go_and_succeeded_under_the_same_name() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let dead = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)));
    drop(dead);
    assert_eq!(consumer.standing().unwrap(), Standing::Here, "silence is no proof");
    let why = poll("the receiver finds out that the sender has gone", || match consumer.standing().unwrap() {
        Standing::Ended(why) => Some(why),
        _ => None,
    });
    assert!(why.contains("has gone"), "{why}");
    let mut producer = names.produce(desc);
    producer.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

#[test]
fn receivers_of_a_dead_sender_let_go_together_and_go_on_with_the_next() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let dead = Fake::sending(&names, desc, 1);
    let mut consumers = vec![names.attach()];
    // Each hears of silence at a moment of its own.
    for _ in 0..2 {
        let last = Instant::now();
        poll("some time later", || (last.elapsed() > Duration::from_millis(400)).then_some(()));
        consumers.push(names.attach());
    }
    consumers.iter_mut().for_each(|consumer| assert_eq!(read_byte(consumer).unwrap(), (NEW, Some(1))));
    drop(dead);
    std::thread::scope(|scope| {
        let next = scope.spawn(|| names.try_produce(desc, false));
        poll("the next sender has the name, or has lost patience", || {
            for consumer in &mut consumers {
                let standing = consumer.standing().unwrap();
                assert!(!matches!(&standing, Standing::Ended(why) if !why.contains("has gone")), "{standing:?}");
            }
            next.is_finished().then_some(())
        });
        let mut producer = next.join().unwrap().expect("the name is free within the next sender's patience");
        producer.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
        for consumer in &mut consumers {
            poll("the receiver is open again", || match consumer.standing().unwrap() {
                Standing::Here => Some(()),
                Standing::Unsure => None,
                // It looked between two objects.
                Standing::Ended(_) => {
                    *consumer = names.attach();
                    Some(())
                }
            });
            assert_eq!(read_byte(consumer).unwrap(), (NEW, Some(2)));
        }
    });
}

#[test]
fn a_receiver_that_begins_while_all_have_let_go_lets_go_with_them() {
    /// For so long at the beginning of every so many nanoseconds everything is closed.
    const CLOSED: u64 = 120_000_000;
    const EVERY: u64 = 2_000_000_000;
    let closed = || tdlink_core::segment::monotonic_ns() % EVERY < CLOSED;
    let names = Names::new();
    let desc = bgra(8, 8);
    let _sender = Fake::sending(&names, desc, 1);
    let (mut consumer, standing) = poll("all of it happens while everything is closed", || {
        if !closed() {
            return None;
        }
        let mut consumer = names.attach();
        assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)), "what is there is read");
        let standing = consumer.standing().unwrap();
        closed().then_some((consumer, standing))
    });
    assert_eq!(standing, Standing::Unsure, "it does not keep the sender in being for others");
    poll("it is open again", || (consumer.standing().unwrap() == Standing::Here).then_some(()));
    assert_eq!(read_byte(&mut consumer).unwrap(), (OLD, Some(1)));
}

#[test]
fn a_sender_that_only_pauses_is_not_let_go() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let fake = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3500) {
        assert!(!consumer.look().unwrap());
        assert!(!matches!(consumer.standing().unwrap(), Standing::Ended(_)));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    fake.send(&header(desc), 2);
    poll("it goes on", || {
        assert!(!matches!(consumer.standing().unwrap(), Standing::Ended(_)));
        consumer.look().unwrap().then_some(())
    });
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

#[test]
fn a_name_that_is_held_is_an_error_and_takeover_leads_receivers_along() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut first = names.produce(desc);
    first.write(&filled(&desc, 1), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    let fault = names.try_produce(desc, false).unwrap_err();
    assert!(matches!(&fault, ProduceError::NameTaken { .. }), "{fault}");
    let mut second = names.try_produce(desc, true).unwrap();
    second.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)), "the receiver follows");
    assert!(matches!(first.write(&filled(&desc, 3), desc.row_bytes()), Err(ProduceError::Taken { .. })));
    drop(first);
    assert_eq!(consumer.standing().unwrap(), Standing::Here, "the end of the first is not the second's");
    second.write(&filled(&desc, 4), desc.row_bytes()).unwrap();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(4)));
}

#[test]
fn a_sender_that_has_said_its_end_is_succeeded_at_once() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut first = names.produce(desc);
    first.write(&filled(&desc, 1), desc.row_bytes()).unwrap();
    let mut slow = names.attach();
    read_byte(&mut slow).unwrap();
    drop(first);
    // The receiver has not looked yet, and holds everything.
    let began = Instant::now();
    let mut second = names.produce(desc);
    assert!(began.elapsed() < Duration::from_secs(2));
    second.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
    assert_eq!(read_byte(&mut slow).unwrap(), (NEW, Some(2)));
}

#[test]
fn whoever_holds_the_mutex_costs_a_frame_and_nothing_else() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut producer = names.produce(desc);
    producer.write(&filled(&desc, 1), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    std::thread::scope(|scope| {
        let mut mutex = names.mutex();
        let held = mutex.lock(PATIENCE).unwrap().unwrap();
        let other = scope.spawn(|| {
            assert_eq!(producer.write(&filled(&desc, 2), desc.row_bytes()).unwrap(), Wrote::Locked);
            let began = Instant::now();
            assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Locked);
            assert!(began.elapsed() >= Duration::from_millis(20));
        });
        other.join().unwrap();
        drop(held);
    });
    assert_eq!(producer.write(&filled(&desc, 2), desc.row_bytes()).unwrap(), Wrote::Frame);
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

/// Somebody takes the mutex and dies.
fn abandon(names: &Names) {
    let mutex = names.mutex();
    #[cfg(windows)]
    {
        // A thread's death is enough for the system.
        let held = std::thread::spawn(|| {
            let mut mutex = mutex;
            std::mem::forget(mutex.lock(PATIENCE).unwrap().unwrap());
            mutex
        });
        drop(held.join().unwrap());
    }
    #[cfg(target_os = "linux")]
    {
        // What is left of a holder whose lock the kernel took back: its number.
        let path = std::path::Path::new("/dev/shm").join(names.0.mutex().as_str());
        std::fs::write(path, 4_194_305u32.to_le_bytes()).unwrap();
        drop(mutex);
    }
}

#[test]
fn a_mutex_that_a_dead_program_held_is_had_and_what_it_guarded_is_suspect() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let fake = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)));
    fake.put(48, &[9; 100]);
    abandon(&names);
    poll("half a frame is news", || consumer.look().unwrap().then_some(()));
    let before = vec![1; 256];
    assert_eq!(read_byte(&mut consumer).unwrap(), (Outcome::Suspect, Some(0xEE)), "it is not even copied");
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Nothing, "and told once");
    assert!(consumer.same_as(&before, 32).unwrap(), "nor is it news to anybody");
    fake.send(&header(desc), 2);
    poll("the next frame is", || consumer.look().unwrap().then_some(()));
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
    // Who comes just then is not shown it either.
    abandon(&names);
    let mut late = names.attach();
    assert!(!late.look().unwrap());
    assert_eq!(read_byte(&mut late).unwrap().0, Outcome::Nothing);
    fake.send(&header(desc), 3);
    poll("the next frame is", || late.look().unwrap().then_some(()));
    assert_eq!(read_byte(&mut late).unwrap(), (NEW, Some(3)));
}

#[test]
fn a_header_that_a_dead_program_left_half_written_is_no_error() {
    let names = Names::new();
    let (small, large) = (bgra(8, 8), bgra(16, 4));
    let fake = Fake::sending(&names, small, 1);
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    fake.put(24, &[0xFF; 4]);
    abandon(&names);
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Suspect);
    assert!(!consumer.look().unwrap());
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Nothing);
    assert!(names.try_attach().is_err(), "who comes now sees what it is");
    // One that is whole, and says other frames, of which half may be there.
    fake.put(0, &header(large).encode().unwrap());
    abandon(&names);
    assert!(consumer.look().unwrap());
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Respec);
    assert!(!consumer.look().unwrap());
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Nothing);
    fake.send(&header(large), 2);
    poll("the next frame is news", || consumer.look().unwrap().then_some(()));
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

#[test]
fn a_suspect_frame_is_shown_when_its_sender_turns_out_to_live() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut producer = names.produce(desc);
    producer.write(&filled(&desc, 1), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    producer.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
    // It was a receiver that died.
    abandon(&names);
    assert_eq!(read_byte(&mut consumer).unwrap().0, Outcome::Suspect);
    poll("the frame is believed", || {
        assert!(!matches!(consumer.standing().unwrap(), Standing::Ended(_)));
        consumer.look().unwrap().then_some(())
    });
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(2)));
}

#[test]
fn a_sender_without_an_info_segment_is_read_too() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let mut fake = Fake::sending(&names, desc, 1);
    fake.info = None;
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)));
    assert_eq!(names.there(), (false, true, true));
}
