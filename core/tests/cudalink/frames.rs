// SPDX-License-Identifier: MPL-2.0
//! Frames in GPU memory, from process to process: each one the right one, all of it.

use std::fs;
use std::os::unix::fs::FileExt;

use tdlink_core::cuda::{Context, Imports};
use tdlink_core::protocol::cudalink::{ConsumeError, Consumer, Interrupt, Wait};
use tdlink_core::segment::OpenOptions;

use super::TestName;
use super::peer::{Peer, Receiver};

/// Long enough that whoever does not wait for a copy sees it unfinished.
const SLOW: &[(&str, &str)] = &[("COPY_DELAY_US", "4000")];

fn produce(peer: &mut Peer, name: &TestName, what: &str) {
    peer.expect(&format!("produce {} {what}", **name), "ready");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn every_format_and_size_crosses_whole() {
    for (slots, what) in [
        (2, "64 48 u8 4"),
        (3, "1 1 u8 1"),
        (4, "17 5 u8 3"),
        (3, "320 240 u8 2"),
        (3, "33 7 u16 4"),
        (3, "640 480 f32 4"),
        (10, "101 3 f16 1"),
        (3, "1920 1080 u8 4"),
    ] {
        let name = TestName::new("formats");
        let (mut sender, mut receiver) = (Peer::start(), Peer::start());
        produce(&mut sender, &name, &format!("{slots} {what} plain"));
        receiver.expect(&format!("consume {}", *name), "ready");
        for number in 1..=2 * slots + 1 {
            sender.expect(&format!("send {}", 100 + number), &number.to_string());
            receiver.expect("receive", &format!("{number} {} whole right", 100 + number));
        }
        receiver.expect("drop", "0 imports");
        sender.expect("drop", "0 imports");
    }
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_reader_waits_for_the_writers_copy_on_the_gpu() {
    for how in ["plain", "sync"] {
        let name = TestName::new("order");
        let (mut sender, mut receiver) = (Peer::with(SLOW), Peer::start());
        produce(&mut sender, &name, &format!("3 320 240 u8 4 {how}"));
        receiver.expect(&format!("consume {}", *name), "ready");
        for number in 1..=12 {
            sender.expect(&format!("send {number}"), &number.to_string());
            receiver.expect("receive", &format!("{number} {number} whole right"));
        }
    }
}

/// What the test above is worth: without the wait it fails.
#[test]
#[ignore = "needs the emulated driver"]
fn a_reader_that_did_not_wait_would_be_caught() {
    let name = TestName::new("mutant");
    let (mut sender, mut receiver) = (Peer::with(SLOW), Peer::with(&[("BREAK_EVENTS", "1")]));
    produce(&mut sender, &name, "3 320 240 u8 4 plain");
    receiver.expect(&format!("consume {}", *name), "ready");
    let mut wrong = 0;
    for number in 1..=12 {
        sender.ask(&format!("send {number}"));
        wrong += usize::from(receiver.ask("receive").ends_with("WRONG"));
    }
    assert!(wrong > 0, "broken events are not noticed");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn size_and_format_change_in_mid_stream() {
    let name = TestName::new("resize");
    let (mut sender, mut receiver) = (Peer::start(), Peer::start());
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    receiver.expect(&format!("consume {}", *name), "ready");
    sender.expect("send 7", "1");
    receiver.expect("receive", "1 7 whole right");
    let sizes = ["640 480 u8 4", "16 8 f32 4", "1920 1080 u16 3", "64 48 u8 4", "64 48 u8 1"];
    let said = ["640×480 uint8×4", "16×8 float32×4", "1920×1080 uint16×3", "64×48 uint8×4", "64×48 uint8×1"];
    for (generation, (size, said)) in (2..).zip(sizes.into_iter().zip(said)) {
        sender.expect(&format!("resize {size}"), &generation.to_string());
        receiver.expect("receive", &format!("Respec {said}"));
        for number in 1..=7 {
            sender.expect(&format!("send {}", 100 + number), &number.to_string());
            receiver.expect("receive", &format!("{number} {} whole right", 100 + number));
        }
        sender.expect(&format!("resize {size}"), &generation.to_string());
    }
    receiver.expect("drop", "0 imports");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_frame_that_was_overtaken_is_given_up() {
    for (slots, harmless) in [(2, 0), (3, 1), (4, 2)] {
        for more in 0..=slots + 1 {
            let name = TestName::new("overtaken");
            let (mut sender, mut receiver) = (Peer::start(), Peer::start());
            produce(&mut sender, &name, &format!("{slots} 64 48 u8 4 plain"));
            receiver.expect(&format!("consume {}", *name), "ready");
            sender.expect("send 1", "1");
            receiver.expect("take", "took 1");
            for number in 0..more {
                sender.ask(&format!("send {}", 2 + number));
            }
            let answer = receiver.ask("receive");
            let expected = if more <= harmless { "1 1 whole right" } else { "torn" };
            assert!(answer.contains(expected), "{more} more in {slots} slots: {answer}");
            let newest = 1 + more;
            if more > 0 {
                receiver.expect("receive", &format!("{newest} {newest} whole right"));
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_producer_that_is_killed_leaves_readers_that_give_everything_back() {
    let name = TestName::new("dead");
    let (mut sender, mut receiver) = (Peer::start(), Peer::start());
    produce(&mut sender, &name, "3 640 480 u8 4 plain");
    receiver.expect(&format!("consume {}", *name), "ready");
    sender.expect("send 1", "1");
    receiver.expect("keep", "kept");
    sender.kill();
    receiver.expect("receive", "Gone 640×480 uint8×4");
    receiver.expect("end consumer", "1 imports");
    // Its successor is another producer, while a frame of the dead one is still held.
    let mut sender = Peer::start();
    produce(&mut sender, &name, "3 640 480 u8 4 plain");
    receiver.expect(&format!("consume {}", *name), "ready");
    sender.expect("send 2", "1");
    receiver.expect("receive", "1 2 whole right");
    receiver.expect("drop", "0 imports");
    receiver.exit();
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_producer_that_ends_in_order_is_followed_by_the_next() {
    let name = TestName::new("orderly");
    let (mut sender, mut receiver) = (Peer::start(), Peer::start());
    for slots in [3, 2, 4] {
        produce(&mut sender, &name, &format!("{slots} 64 48 u8 4 plain"));
        receiver.expect(&format!("consume {}", *name), "ready");
        sender.expect("send 5", "1");
        receiver.expect("receive", "1 5 whole right");
        sender.expect("drop", "0 imports");
        receiver.expect("receive", "Closed 64×48 uint8×4");
        receiver.expect("end consumer", "0 imports");
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn two_readers_of_a_process_share_what_is_open_and_the_last_closes_it() {
    let name = TestName::new("share");
    let mut sender = Peer::start();
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    sender.expect("send 9", "1");
    let context = Context::primary(0).unwrap();
    let mut first = Receiver::attach(&name, &context).unwrap();
    assert_eq!(Imports::count(), 3);
    let mut second = Receiver::attach(&name, &context).unwrap();
    assert_eq!(Imports::count(), 3);
    assert!(Imports::context(0).unwrap().is(&context) && Imports::context(1).is_none());
    let (a, b) = (first.next().unwrap().unwrap(), second.next().unwrap().unwrap());
    assert_eq!(a.plane, b.plane, "one address");
    drop(first);
    assert_eq!(Imports::count(), 3);
    sender.expect("send 10", "2");
    assert_eq!(second.receive().unwrap(), "2 10 whole right");
    drop((second, a));
    assert_eq!(Imports::count(), 1, "what a frame keeps");
    drop(b);
    assert_eq!((Imports::count(), Imports::context(0).is_none()), (0, true));
}

fn attach(name: &TestName) -> Result<Consumer, ConsumeError> {
    Consumer::attach(name, &Context::primary(0).unwrap(), &OpenOptions::default(), Interrupt::new())
}

#[test]
#[ignore = "needs a CUDA driver"]
fn what_a_segment_says_of_its_memory_is_checked() {
    let name = TestName::new("forged");
    let mut sender = Peer::start();
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    let file = fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let (mut tail, mut second) = ([0; 20], [0; 64]);
    file.read_exact_at(&mut tail, 405).unwrap();
    file.read_exact_at(&mut second, 148).unwrap();
    // More than stands behind the handles, in words that agree with each other.
    let (width, height, size) = (4096u32, 4096u32, 4096 * 4096 * 4u32);
    file.write_all_at(&[width.to_le_bytes(), height.to_le_bytes()].concat(), 405).unwrap();
    file.write_all_at(&size.to_le_bytes(), 421).unwrap();
    let error = attach(&name).unwrap_err();
    assert_eq!(error.to_string(), "2097152 bytes of GPU memory stand where 67108864 are announced");
    assert!(error.may_pass(), "cuda-link writes handles first and sizes afterwards");
    assert_eq!(Imports::count(), 0);
    file.write_all_at(&tail, 405).unwrap();
    // A handle that leads nowhere.
    file.write_all_at(&[9; 64], 148).unwrap();
    let error = attach(&name).unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("does not open"), "{error}");
    assert_eq!(Imports::count(), 0, "what was opened before is closed");
    file.write_all_at(&second, 148).unwrap();
    // No events, and events that are none.
    sender.expect("send 3", "1");
    // Who has the events waits for the copy, and then it is done for those who have none.
    assert_eq!(Receiver::attach(&name, &Context::primary(0).unwrap()).unwrap().receive().unwrap(), "1 3 whole right");
    let events = |bytes: [u8; 64]| {
        for slot in 0..3 {
            file.write_all_at(&bytes, 84 + 128 * slot).unwrap();
        }
    };
    events([0; 64]);
    let mut reader = Receiver::attach(&name, &Context::primary(0).unwrap()).unwrap();
    assert_eq!(reader.receive().unwrap(), "1 3 whole right");
    drop(reader);
    events([5; 64]);
    let error = attach(&name).unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("shared GPU event does not open"), "{error}");
    assert_eq!(Imports::count(), 0, "a frame that cannot be waited for is none");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_ring_of_one_slot_is_refused_and_says_what_to_do() {
    let (name, one) = (TestName::new("three"), TestName::new("one"));
    let mut sender = Peer::start();
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    // Its first slot alone, as a program writes it that asks for one.
    let bytes = fs::read(name.path()).unwrap();
    let mut single = [&bytes[..148], &bytes[404..]].concat();
    single[12] = 1;
    fs::write(one.path(), single).unwrap();
    let error = attach(&one).unwrap_err();
    assert!(matches!(error, ConsumeError::OneSlot { .. }) && error.to_string().contains("2 or more"), "{error}");
    assert!(sender.ask(&format!("produce {} 1 64 48 u8 4 plain", *one)).contains("2 to 10"));
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_copy_that_never_ends_holds_nobody_for_ever() {
    let name = TestName::new("never");
    let mut sender = Peer::with(&[("EVENT_DELAY_US", "1500000")]);
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    sender.expect("send 1", "1");
    let context = Context::primary(0).unwrap();
    let mut reader = Receiver::attach(&name, &context).unwrap();
    let frame = reader.next().unwrap().unwrap();
    let now = std::time::Instant::now();
    let mut complete = |by, is_over: bool| reader.consumer.complete_by(&frame, by, || is_over).unwrap();
    assert!(!complete(now, false) && !complete(now + std::time::Duration::from_millis(50), false));
    assert!(!complete(now + super::PATIENCE, true), "nobody waits");
    assert!(complete(now + super::PATIENCE, false));
}

/// Every open has its close, and between them there are none.
#[test]
#[ignore = "needs the emulated driver"]
fn nothing_is_opened_for_a_frame_and_everything_is_given_back() {
    let name = TestName::new("counts");
    let stats = std::env::temp_dir().join(format!("tdlink-cudalink-stats-{}", std::process::id()));
    let [sent, received] = ["sent", "received"].map(|role| format!("{}.{role}", stats.display()));
    let (mut sender, mut receiver) = (Peer::with(&[("STATS", &sent)]), Peer::with(&[("STATS", &received)]));
    produce(&mut sender, &name, "3 64 48 u8 4 plain");
    receiver.expect(&format!("consume {}", *name), "ready");
    for number in 1..=50 {
        sender.expect(&format!("send {number}"), &number.to_string());
        receiver.expect("receive", &format!("{number} {number} whole right"));
    }
    receiver.expect("drop", "0 imports");
    sender.expect("drop", "0 imports");
    sender.exit();
    receiver.exit();
    let read = |path: &str| {
        let text = fs::read_to_string(path).unwrap();
        fs::remove_file(path).unwrap();
        text
    };
    let (sent, received) = (read(&sent), read(&received));
    println!("{sent}\n{received}");
    let count = |text: &str, call: &str| -> u64 {
        let line = text.lines().find(|line| line.contains(call));
        line.and_then(|line| line.split_whitespace().find_map(|word| word.parse().ok())).unwrap_or(0)
    };
    assert_eq!(count(&received, "cuIpcOpenMemHandle_v2"), 3);
    assert_eq!(count(&received, "cuIpcCloseMemHandle"), 3);
    assert_eq!(count(&received, "cuIpcOpenEventHandle"), 3);
    assert_eq!(count(&sent, "cuIpcGetMemHandle"), 3);
    assert_eq!(count(&sent, "cuMemAlloc_v2"), count(&sent, "cuMemFree_v2"));
    for text in [&sent, &received] {
        assert_eq!(
            count(text, "cuEventDestroy_v2"),
            count(text, "cuEventCreate") + count(text, "cuIpcOpenEventHandle")
        );
        assert_eq!(count(text, "cuStreamCreate"), count(text, "cuStreamDestroy_v2"));
        assert_eq!(count(text, "cuMemHostAlloc"), count(text, "cuMemFreeHost"));
        assert_eq!(count(text, "cuDevicePrimaryCtxRetain"), count(text, "cuDevicePrimaryCtxRelease_v2"));
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_consumer_of_this_very_process_is_told_that_it_cannot_be() {
    let name = TestName::new("own");
    let context = Context::primary(0).unwrap();
    let frame = super::frame(64, 48, tdlink_core::frame::SampleType::U8, 4);
    let producer =
        tdlink_core::protocol::cudalink::Producer::create(&name, &context, frame, &Default::default()).unwrap();
    let error = attach(&name).unwrap_err();
    assert!(error.to_string().contains("this very process") && !error.may_pass(), "{error}");
    let mut watch = super::watch(&name);
    drop(producer);
    assert_eq!(super::next(&mut watch), Wait::Closed);
}
