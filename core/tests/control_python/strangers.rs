// SPDX-License-Identifier: MPL-2.0
//! Names that somebody else has, and bytes that somebody else wrote.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Command;

use tdlink_core::protocol::control::layout::{MAGIC, OPTIONAL, REQUIRED, STATE_CLOSED, VERSION};
use tdlink_core::protocol::control::{ProduceError, ProducerOptions};
use tdlink_core::segment::{ControlSegment, OpenOptions, SegmentError};

use super::{Name, Peer, poll, receive, send, spec};

fn poke(name: &Name, offset: usize, bytes: &[u8]) {
    let control = ControlSegment::open(&name.0, &OpenOptions::default()).unwrap();
    control.segment().write(offset, bytes).unwrap();
}

#[test]
fn python_reads_on_with_unknown_optional_features_and_refuses_required_ones() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4));
    send(&producer, 1);
    poke(&name, OPTIONAL.offset(), &u64::MAX.to_le_bytes());
    name.reader(1).expect("read 60", "frame 1 copied");
    poke(&name, REQUIRED.offset(), &(1u64 << 5).to_le_bytes());
    let refusal = name.reader(1).ask("read 60");
    assert!(refusal.starts_with("error ProtocolError: ") && refusal.contains("features 0x20"), "{refusal}");
    poke(&name, REQUIRED.offset(), &0u64.to_le_bytes());
    poke(&name, VERSION.offset(), &2u32.to_le_bytes());
    let refusal = name.reader(1).ask("read 60");
    assert!(refusal.contains("version 2"), "{refusal}");
    poke(&name, VERSION.offset(), &1u32.to_le_bytes());
    poke(&name, MAGIC.offset(), b"GARBAGE!");
    let refusal = name.reader(1).ask("read 60");
    assert!(refusal.contains("not a control segment"), "{refusal}");
    poke(&name, MAGIC.offset(), b"TDLINK\x1a\0");
    name.reader(1).expect("read 60", "frame 1 copied");
}

#[test]
fn python_refuses_or_bounds_whatever_a_header_says() {
    let name = Name::new();
    let _producer = name.produce(ProducerOptions::latest(4));
    for seed in 0..4 {
        Peer::python().expect(&format!("parse {seed} 5000 {}", name.0), "parsed");
    }
}

#[test]
fn one_name_has_one_producer_whatever_their_languages() {
    for slots in [1, 4] {
        let name = Name::new();
        let producer = name.produce(ProducerOptions::latest(slots));
        let refusal = Peer::python().ask(&format!("writer {} 64 16 {slots} latest", name.0));
        assert!(refusal.starts_with("error NameTaken: another producer"), "{refusal}");
        send(&producer, 1);
        drop(producer);
        let mut python = name.writer(slots, "latest");
        let refused = name.try_produce(spec(64, 16), ProducerOptions::latest(slots)).unwrap_err();
        assert!(matches!(refused, ProduceError::Segment(SegmentError::LiveProducer { .. })), "{refused}");
        python.expect("publish 1", "published 1");
        assert_eq!(receive(&mut name.attach(1)), 1);
        python.exit();
        name.assert_nothing_left();
    }
}

#[cfg(target_os = "linux")] // files
#[test]
fn python_says_what_it_is_that_has_the_name() {
    let name = Name::new();
    let path = name.control_path();
    let asks = |what: &str| {
        let read = name.reader(1).ask("read 60");
        assert!(read.starts_with("error NameTaken: "), "{what}: {read}");
        let written = Peer::python().ask(&format!("writer {} 64 16 4 latest", name.0));
        assert!(written.starts_with("error NameTaken: "), "{what}: {written}");
    };
    fs::create_dir(&path).unwrap();
    asks("a directory");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    asks("a symbolic link");
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    asks("a FIFO");
    fs::remove_file(&path).unwrap();
}

#[cfg(target_os = "linux")] // files
#[test]
fn python_makes_a_segment_of_its_own_out_of_what_nobody_uses() {
    let name = Name::new();
    for len in [16384, 100] {
        fs::write(name.control_path(), vec![0xA5; len]).unwrap();
        let refusal = name.reader(1).ask("read 60");
        assert!(refusal.starts_with("error ProtocolError: "), "{refusal}");
        assert_eq!(fs::read(name.control_path()).unwrap(), vec![0xA5; len], "a reader leaves it alone");
        let mut python = name.writer(4, "latest");
        python.expect("publish 1", "published 1");
        assert_eq!(receive(&mut name.attach(1)), 1);
        python.exit();
        name.assert_nothing_left();
    }
}

#[cfg(target_os = "linux")] // files
#[test]
fn python_writes_into_the_raw_segment_of_another_program_and_leaves_it_there() {
    let name = Name::new();
    let raw = Path::new("/dev/shm").join(name.0.as_str());
    fs::write(&raw, vec![0; 64 * 16 * 4]).unwrap();
    let mut python = name.writer(1, "latest");
    python.expect("publish 7", "published 1");
    assert_eq!(fs::read(&raw).unwrap(), 7u64.to_le_bytes().repeat(512));
    python.exit();
    assert_eq!(name.traces(), [name.0.as_str()]);
    let refusal = Peer::python().ask(&format!("writer {} 32 16 1 latest", name.0));
    assert!(refusal.starts_with("error NameTaken: "), "{refusal}");
    fs::remove_file(&raw).unwrap();
}

#[cfg(target_os = "linux")] // files
#[test]
fn python_puts_names_back_that_somebody_removed() {
    let name = Name::new();
    let mut python = name.writer(1, "latest");
    python.expect("publish 1", "published 1");
    let raw = Path::new("/dev/shm").join(name.0.as_str());
    fs::remove_file(&raw).unwrap();
    python.expect("publish 2", "published 2");
    assert_eq!(fs::read(&raw).unwrap()[..8], 2u64.to_le_bytes());
    fs::remove_file(name.control_path()).unwrap();
    python.expect("clients", "clients 0");
    python.expect("publish 3", "published 3");
    assert_eq!(receive(&mut name.attach(0)), 3);
    python.exit();
    name.assert_nothing_left();
}

#[test]
fn python_does_not_trip_over_words_that_cannot_be() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(4));
    send(&producer, 1);
    // A slot that the ring has not, and a state of unknown bits.
    poke(&name, 128, &(5u64 << 8 | 9).to_le_bytes());
    poke(&name, 144, &0x8000_0000u32.to_le_bytes());
    let mut python = name.reader(1);
    python.expect("read 0", "none");
    poke(&name, 144, &STATE_CLOSED.to_le_bytes());
    python.expect("read 60", "eos");
}

#[test]
fn a_python_whose_name_was_taken_ends_and_its_readers_go_on_with_the_other() {
    for slots in [1, 4] {
        let name = Name::new();
        let mut python = name.writer(slots, "latest");
        let mut reader = name.reader(1);
        python.expect("publish 1", "published 1");
        reader.ask("read 60");
        let mut options = ProducerOptions::latest(slots);
        options.create.takeover = true;
        let (refusal, producer) = std::thread::scope(|scope| {
            let producer = scope.spawn(|| name.produce(options));
            // On Windows the robbed one must let go first, as it does when it looks: a name cannot lead from one section
            // to another.
            let mut refusal = String::new();
            poll("it is told", || {
                refusal = python.ask("clients");
                !refusal.starts_with("clients")
            });
            (refusal, producer.join().unwrap())
        });
        assert!(refusal.starts_with("error NameTaken: "), "{refusal}");
        let refusal = python.ask("publish 2");
        assert!(refusal.starts_with("error TdlinkError: the writer is closed"), "{refusal}");
        reader.order("read 60");
        poll("the reader has come", || {
            send(&producer, 3);
            producer.tend().unwrap().clients == 1
        });
        let read = reader.answer();
        assert!(read.starts_with("frame 3 "), "{read}");
    }
}
