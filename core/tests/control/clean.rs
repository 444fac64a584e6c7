// SPDX-License-Identifier: MPL-2.0
//! What is removed when a producer has died, and what never is.

use std::fs;

use tdlink_core::protocol::control::{Cleaned, ConsumeError, LayoutError, ProducerOptions, clean};
use tdlink_core::segment::SegmentError;

use super::peer::Peer;
use super::{Name, next, send};

#[test]
fn what_a_killed_producer_left_goes_whole_and_at_once() {
    for how in ["latest-1", "latest-4"] {
        let name = Name::new();
        Peer::flooding(&name.0, how, 64, 0).kill();
        assert!(!name.traces().is_empty(), "{how}");
        assert_eq!(clean(&name.0).unwrap(), Cleaned::Removed, "{how}");
        name.assert_nothing_left();
        assert!(matches!(clean(&name.0), Err(ConsumeError::Segment(SegmentError::NotFound { .. }))), "{how}");
    }
}

#[test]
fn a_live_producer_is_left_alone_and_goes_on() {
    for slots in [1, 3] {
        let name = Name::new();
        let producer = name.produce(ProducerOptions::latest(slots)).unwrap();
        send(&producer, 1);
        let before = name.traces();
        assert_eq!(clean(&name.0).unwrap(), Cleaned::Live);
        assert_eq!(name.traces(), before);
        let mut consumer = name.attach(0).unwrap();
        send(&producer, 2);
        assert_eq!(next(&mut consumer), Ok(2));
    }
}

#[test]
fn a_consumer_that_waits_for_a_producer_keeps_what_it_waits_at() {
    let name = Name::new();
    let producer = Peer::flooding(&name.0, "latest-3", 64, 0);
    let mut consumer = name.attach(0).unwrap();
    producer.kill();
    let before = name.traces();
    assert_eq!(clean(&name.0).unwrap(), Cleaned::InUse);
    assert_eq!(name.traces(), before);
    let again = name.produce(ProducerOptions::latest(3)).unwrap();
    assert_eq!(super::wait(&mut consumer), super::Wait::Respec);
    send(&again, 5);
    assert_eq!(super::wait(&mut consumer), super::Wait::Newer);
    assert_eq!(next(&mut consumer), Ok(5));
}

#[test]
fn bytes_that_are_not_ours_stay_whatever_their_name() {
    let name = Name::new();
    fs::write(name.control_path(), vec![0x55; 16384]).unwrap();
    fs::write(name.path(), vec![1; 4096]).unwrap();
    assert!(matches!(clean(&name.0).unwrap(), Cleaned::Foreign(LayoutError::BadMagic { .. })));
    assert!(name.control_path().exists() && name.path().exists());
    fs::remove_file(name.control_path()).unwrap();
    assert!(matches!(clean(&name.0), Err(ConsumeError::Segment(SegmentError::NotFound { .. }))));
    assert!(name.path().exists(), "raw bytes are nobody's to remove");
    fs::remove_file(name.path()).unwrap();
}

#[test]
fn raw_bytes_that_another_program_made_its_own_stay() {
    let name = Name::new();
    Peer::flooding(&name.0, "latest-1", 64, 0).kill();
    // Another object under the name: not the one that the control segment is about.
    fs::remove_file(name.path()).unwrap();
    fs::write(name.path(), vec![1; 4096]).unwrap();
    assert_eq!(clean(&name.0).unwrap(), Cleaned::Removed);
    assert_eq!(fs::read(name.path()).unwrap(), [1; 4096]);
    for trace in name.traces() {
        fs::remove_file(std::path::Path::new("/dev/shm").join(trace)).unwrap();
    }
}
