// SPDX-License-Identifier: MPL-2.0
//! Names, lives and deaths of segments, without a GPU.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use tdlink_core::protocol::cudalink::layout::{Places, parse};
use tdlink_core::protocol::cudalink::{ConsumeError, Interrupt, Offer, ProduceError, Wait, Watch};
use tdlink_core::segment::{AccessError, Acquired, CreateOptions, OpenOptions, Published, SegmentError, SegmentName};

use super::peer::Peer;
use super::{TestName, described, handles, next, nothing_happens, watch};

fn offer(name: &SegmentName, slots: u32) -> Offer {
    let mut offer = Offer::create(name, slots, &CreateOptions::default()).unwrap();
    offer.announce(described(64), handles(slots, 1)).unwrap();
    offer
}

fn inode(name: &TestName) -> u64 {
    fs::metadata(name.path()).unwrap().ino()
}

/// A segment as a foreign program leaves it: a file, without locks and links of ours.
fn foreign(name: &TestName, slots: u32, generation: u64, index: u32) {
    let scratch = TestName::new("scratch");
    let mut ours = offer(&scratch, slots);
    for _ in 0..index {
        ours.publish(1).unwrap();
    }
    let mut bytes = fs::read(scratch.path()).unwrap();
    bytes[4..12].copy_from_slice(&generation.to_le_bytes());
    fs::write(name.path(), bytes).unwrap();
}

#[test]
fn frames_are_seen_across_processes() {
    let name = TestName::new("across");
    let mut peer = Peer::start();
    peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
    let found = fs::metadata(name.path()).unwrap();
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (433, 0o600));
    let mut watch = watch(&name);
    for index in 1..=10 {
        peer.expect("publish", &index.to_string());
        assert_eq!(next(&mut watch), Wait::Newer);
        assert_eq!(watch.take().unwrap().unwrap().index, index);
    }
    peer.expect("drop", "0 imports");
    assert_eq!(next(&mut watch), Wait::Closed);
    assert!(!fs::exists(name.path()).unwrap(), "the name goes with its producer");
}

#[test]
fn an_orderly_end_leaves_no_handle_behind() {
    let name = TestName::new("end");
    let ours = offer(&name, 3);
    let mut watch = watch(&name);
    let kept = fs::File::open(name.path()).unwrap();
    drop(ours);
    assert_eq!(next(&mut watch), Wait::Closed);
    let mut bytes = vec![0; 433];
    std::os::unix::fs::FileExt::read_exact_at(&kept, &mut bytes, 0).unwrap();
    let header = parse(&bytes).unwrap().unwrap();
    assert!(header.is_over && header.handles.is_none());
    assert_eq!(bytes[20..404], [0; 384]);
    assert_eq!((header.generation, header.description), (1, Some(described(64))), "all else stays");
}

#[test]
fn a_producer_that_is_killed_is_known_to_be_dead() {
    let name = TestName::new("killed");
    let mut peer = Peer::start();
    peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
    peer.expect("publish", "1");
    let mut watch = watch(&name);
    assert_eq!(next(&mut watch), Wait::Newer);
    watch.take().unwrap().unwrap();
    peer.kill();
    assert_eq!(next(&mut watch), Wait::Gone);
    // Its successor goes on in the same object, in another generation.
    let before = inode(&name);
    let ours = offer(&name, 3);
    assert_eq!((ours.acquired(), ours.generation(), inode(&name)), (Acquired::Recovered, 2, before));
    assert_eq!(next(&mut watch), Wait::Respec);
}

#[test]
fn a_producer_that_stands_still_is_not_dead() {
    let name = TestName::new("still");
    let mut peer = Peer::start();
    peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
    let mut watch = watch(&name);
    nothing_happens(&mut watch);
    peer.expect("publish", "1");
    assert_eq!(next(&mut watch), Wait::Newer);
}

#[test]
fn a_name_that_a_python_reader_took_away_is_put_back() {
    let name = TestName::new("python");
    let mut ours = offer(&name, 3);
    let before = inode(&name);
    let mut watch = watch(&name);
    fs::remove_file(name.path()).unwrap();
    nothing_happens(&mut watch);
    assert_eq!(ours.tend().unwrap(), Published::Republished);
    assert_eq!(inode(&name), before);
    ours.publish(1).unwrap();
    assert_eq!(next(&mut watch), Wait::Newer);
}

#[test]
fn a_segment_that_was_lost_with_its_name_is_announced_anew_and_its_readers_are_told() {
    let name = TestName::new("lost");
    let mut ours = offer(&name, 3);
    ours.publish(1).unwrap();
    let mut old = watch(&name);
    assert_eq!(next(&mut old), Wait::Newer);
    old.take().unwrap();
    fs::remove_file(name.path()).unwrap();
    fs::remove_file(format!("/dev/shm/.{}.keep", *name)).unwrap();
    assert_eq!(ours.tend().unwrap(), Published::Recreated);
    assert!(matches!(next(&mut old), Wait::Closed | Wait::Gone));
    let mut new = watch(&name);
    assert_eq!((new.header().generation, new.header().description), (2, Some(described(64))));
    assert_eq!(ours.publish(1).unwrap(), 1);
    assert_eq!(next(&mut new), Wait::Newer);
}

#[test]
fn a_name_that_leads_to_another_object_is_attached_anew() {
    let name = TestName::new("inode");
    let mut ours = offer(&name, 3);
    let mut watch = watch(&name);
    let other = TestName::new("inode-other");
    foreign(&other, 3, 9, 1);
    fs::rename(other.path(), name.path()).unwrap();
    assert_eq!(next(&mut watch), Wait::Superseded);
    while ours.tend().unwrap() != Published::TakenByOther {}
    let theirs = inode(&name);
    drop(ours);
    assert_eq!(inode(&name), theirs, "another program's name stays");
}

#[test]
fn a_foreign_producer_without_a_name_is_dead_only_when_nobody_has_its_segment() {
    let name = TestName::new("orphan");
    foreign(&name, 3, 5, 2);
    let mut peer = Peer::start();
    peer.expect(&format!("open {}", *name), "open");
    let mut watch = watch(&name);
    assert_eq!(next(&mut watch), Wait::Newer);
    watch.take().unwrap();
    nothing_happens(&mut watch);
    fs::remove_file(name.path()).unwrap();
    nothing_happens(&mut watch);
    peer.kill();
    assert_eq!(next(&mut watch), Wait::Gone);
}

#[test]
fn a_foreign_name_that_is_published_under_is_refused() {
    let name = TestName::new("foreign");
    foreign(&name, 3, 5, 2);
    let path = name.path();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let path = &path;
        scope.spawn(move || {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let mut index = 2u32;
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                index += 1;
                std::os::unix::fs::FileExt::write_all_at(&file, &index.to_le_bytes(), 16).unwrap();
            }
        });
        // In another process, to which this one is somebody who has it open.
        let mut peer = Peer::start();
        let held = tdlink_core::segment::Segment::open(&name, OpenOptions::default()).unwrap();
        let answer = peer.ask(&format!("offer {} 3 64 plain", *name));
        assert!(answer.starts_with("error:") && answer.contains("has a live producer"), "{answer}");
        let bytes = fs::read(path).unwrap();
        assert_eq!(parse(&bytes).unwrap().unwrap().generation, 5, "nothing was touched");
        let answer = peer.ask(&format!("offer {} 3 64 takeover", *name));
        assert_eq!(answer, "Recovered 6");
        stop.send(()).unwrap();
        drop(held);
    });
}

#[test]
fn what_a_dead_foreign_producer_left_is_written_in_place_and_goes_at_the_end() {
    let name = TestName::new("stale");
    foreign(&name, 3, 5, 2);
    let before = inode(&name);
    let mut watch = watch(&name);
    assert_eq!(next(&mut watch), Wait::Newer);
    watch.take().unwrap();
    let mut ours = offer(&name, 3);
    assert_eq!((inode(&name), ours.generation()), (before, 6));
    assert_eq!(next(&mut watch), Wait::Respec);
    ours.publish(1).unwrap();
    assert_eq!(next(&mut watch), Wait::Newer);
    // It is ours by now, as if we had made it.
    fs::remove_file(name.path()).unwrap();
    assert_eq!(ours.tend().unwrap(), Published::Republished);
    drop(ours);
    assert_eq!(next(&mut watch), Wait::Closed);
    assert!(!fs::exists(name.path()).unwrap());
}

#[test]
fn an_ended_segment_is_taken_at_once() {
    let name = TestName::new("ended");
    foreign(&name, 3, 5, 2);
    let mut bytes = fs::read(name.path()).unwrap();
    bytes[404] = 1;
    fs::write(name.path(), bytes).unwrap();
    let error = Watch::attach(&name, &OpenOptions::default(), Interrupt::new()).unwrap_err();
    assert!(matches!(error, ConsumeError::Closed { .. }) && error.may_pass());
    assert_eq!(offer(&name, 3).generation(), 6);
}

#[test]
fn another_number_of_slots_is_another_object_and_readers_of_the_old_one_are_told() {
    for (old, new) in [(3, 2), (2, 4), (4, 10)] {
        let name = TestName::new("slots");
        foreign(&name, old, 7, 1);
        let before = inode(&name);
        let mut watch = watch(&name);
        assert_eq!(next(&mut watch), Wait::Newer);
        watch.take().unwrap();
        let ours = offer(&name, new);
        assert_eq!(next(&mut watch), Wait::Closed, "{old} to {new}");
        assert_ne!(inode(&name), before);
        let fresh = super::watch(&name);
        assert_eq!((fresh.header().generation, fresh.header().places.slots()), (8, new));
        drop(ours);
    }
}

#[test]
fn a_longer_segment_of_a_foreign_program_is_replaced_by_one_of_the_right_size() {
    let name = TestName::new("longer");
    foreign(&name, 3, 7, 1);
    fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(4096).unwrap();
    assert_eq!(watch(&name).header().generation, 7, "readers take it as it is");
    let ours = offer(&name, 3);
    assert_eq!((fs::metadata(name.path()).unwrap().len(), ours.generation()), (433, 8));
}

#[test]
fn a_live_producer_of_ours_is_refused_and_its_process_named() {
    let name = TestName::new("live");
    let mut peer = Peer::start();
    peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
    let refused = Offer::create(&name, 3, &CreateOptions::default()).unwrap_err();
    let pid = Some(peer.id());
    assert!(
        matches!(&refused, ProduceError::Segment(SegmentError::LiveProducer { pid: found, .. }) if *found == pid),
        "{refused}"
    );
    let mut watch = watch(&name);
    let takeover = CreateOptions { takeover: true, ..CreateOptions::default() };
    let mut ours = Offer::create(&name, 3, &takeover).unwrap();
    ours.announce(described(64), handles(3, 9)).unwrap();
    assert_eq!((ours.acquired(), ours.generation()), (Acquired::TakenOver, 2));
    assert_eq!(next(&mut watch), Wait::Superseded);
    let found = (0..64).map(|_| peer.ask("tend")).find(|found| found != "Still");
    assert_eq!(found.as_deref(), Some("TakenByOther"));
}

#[test]
fn a_program_that_announces_in_our_segment_is_noticed() {
    let name = TestName::new("rival");
    let mut ours = offer(&name, 3);
    ours.publish(1).unwrap();
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &9u32.to_le_bytes(), 16).unwrap();
    assert_eq!((ours.publish(1).unwrap(), ours.rivals()), (2, 1));
    std::os::unix::fs::FileExt::write_all_at(&file, &2u64.to_le_bytes(), 4).unwrap();
    let error = ours.publish(1).unwrap_err();
    assert!(matches!(error, ProduceError::Rival { found: 2, ours: 1, .. }), "{error}");
}

#[test]
fn a_segment_that_is_cut_short_is_an_error_and_no_signal() {
    let name = TestName::new("cut");
    foreign(&name, 3, 5, 1);
    let mut watch = watch(&name);
    fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(0).unwrap();
    let error = watch.wait_newer(Some(Instant::now() + Duration::from_secs(10))).unwrap_err();
    assert!(matches!(error, ConsumeError::Access(AccessError::Truncated { .. })) && error.may_pass(), "{error}");
}

#[test]
fn what_stands_under_a_name_is_told_from_nothing() {
    let name = TestName::new("what");
    let attach = || Watch::attach(&name, &OpenOptions::default(), Interrupt::new());
    let nothing = attach().unwrap_err();
    assert!(matches!(nothing, ConsumeError::Segment(SegmentError::NotFound { .. })) && nothing.may_pass());
    for (bytes, passes) in [(vec![], true), (vec![0; 100], true), (vec![0; 433], true), (vec![7; 433], false)] {
        fs::write(name.path(), &bytes).unwrap();
        assert_eq!(attach().unwrap_err().may_pass(), passes, "{} bytes", bytes.len());
    }
    let whole = {
        foreign(&name, 3, 1, 1);
        fs::read(name.path()).unwrap()
    };
    fs::write(name.path(), &whole[..432]).unwrap();
    assert!(matches!(attach(), Err(ConsumeError::Layout { .. })));
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o400)).unwrap();
    fs::write(name.path(), &whole).unwrap();
    assert!(attach().is_ok(), "a reader needs no permission to write");
}

#[test]
fn a_readers_mapping_is_never_written() {
    let name = TestName::new("reader");
    let mut ours = offer(&name, 3);
    ours.publish(1).unwrap();
    let before = fs::read(name.path()).unwrap();
    let mut watch = watch(&name);
    assert_eq!(next(&mut watch), Wait::Newer);
    let frame = watch.take().unwrap().unwrap();
    assert!(watch.still_whole(&frame).unwrap());
    drop(watch);
    assert_eq!(fs::read(name.path()).unwrap(), before);
    assert_eq!(before.len(), Places::of(3).size());
}

#[test]
fn numbers_of_slots_that_no_reader_takes_are_refused() {
    let name = TestName::new("refused");
    for slots in [0, 11, u32::MAX] {
        let error = Offer::create(&name, slots, &CreateOptions::default()).unwrap_err();
        assert!(matches!(error, ProduceError::Slots { .. }), "{error}");
    }
    assert!(!fs::exists(name.path()).unwrap());
}
