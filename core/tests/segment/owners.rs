// SPDX-License-Identifier: MPL-2.0
//! Who gets a name: the first, the next after a crash, a guest, or nobody.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;

use tdlink_core::segment::{Acquired, CreateOptions, OpenOptions, OwnedSegment, Published, Segment, SegmentError};

use super::peer::Peer;
use super::{Name, bytes};

#[test]
fn a_live_producer_keeps_its_name_and_is_named() {
    let name = Name::new();
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("create {} 6 gently", name.as_str())), "Created");
    for len in [6, 7] {
        match name.create(len) {
            Err(SegmentError::LiveProducer { name: found, pid }) => {
                assert_eq!((found.as_str(), pid), (name.as_str(), Some(peer.pid())));
            }
            other => panic!("{other:?}"),
        }
    }
    // Also while a reader has just taken the name away.
    name.unlink();
    assert!(matches!(name.create(6), Err(SegmentError::LiveProducer { .. })));
    assert_eq!(peer.ask("keep"), "Republished");
    assert_eq!(peer.ask("drop"), "done");
    assert_eq!(name.create(6).unwrap().origin(), Acquired::Created);
}

#[test]
fn a_second_producer_in_the_same_process_is_refused_too() {
    let name = Name::new();
    let _first = name.create(6).unwrap();
    match name.create(6) {
        Err(SegmentError::LiveProducer { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mapping_that_outlives_its_producer_does_not_hold_the_name() {
    let name = Name::new();
    name.foreign(b"theirs");
    let first = name.create(6).unwrap();
    let mapping = std::sync::Arc::clone(first.segment());
    drop(first);
    let next = name.create(6).unwrap();
    assert_eq!((next.origin(), next.segment().identity()), (Acquired::Adopted, mapping.identity()));
    name.unlink();
}

#[test]
fn a_takeover_gives_the_name_a_new_object_and_the_old_producer_finds_out() {
    let name = Name::new();
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("create {} 6 gently", name.as_str())), "Created");
    let reader = name.open().unwrap();
    for taken_away in [false, true] {
        if taken_away {
            drop(name.take_over(6).unwrap());
            assert_eq!(peer.ask("keep"), "Recreated");
            name.unlink();
        }
        let mut owned = name.take_over(6).unwrap();
        assert_eq!(owned.origin(), Acquired::TakenOver);
        assert_ne!(owned.segment().identity(), reader.identity());
        assert_eq!(peer.ask("keep"), "TakenByOther");
        assert_eq!(peer.ask("fill 9"), "done");
        assert_eq!(bytes(owned.segment()), [0; 6]);
        assert_eq!(owned.keep_published().unwrap(), Published::Still);
        assert_eq!(name.traces().len(), 2);
    }
    assert_eq!(name.traces(), Vec::<String>::new());
    let owned = name.create(6).unwrap();
    // The old producer's end leaves the new one's name alone.
    assert_eq!(peer.ask("drop"), "done");
    assert_eq!(name.inode(), owned.segment().identity().inode);
}

#[test]
fn after_a_crash_the_same_size_is_the_same_object() {
    let name = Name::new();
    for taken_away in [false, true] {
        let mut peer = Peer::start();
        assert_eq!(peer.ask(&format!("create {} 6 gently", name.as_str())), "Created");
        assert_eq!(peer.ask("fill 7"), "done");
        let reader = name.open().unwrap();
        peer.kill();
        if taken_away {
            name.unlink();
        }
        let owned = name.create(6).unwrap();
        assert_eq!(owned.origin(), Acquired::Recovered);
        assert_eq!(owned.segment().identity(), reader.identity());
        assert_eq!(bytes(&reader), [7; 6], "readers keep the last frame until there is a new one");
        owned.segment().write(0, &[8; 6]).unwrap();
        assert_eq!(bytes(&reader), [8; 6]);
        assert_eq!(name.traces().len(), 2);
    }
}

#[test]
fn after_a_crash_another_size_is_another_object() {
    let name = Name::new();
    for taken_away in [false, true] {
        let mut peer = Peer::start();
        assert_eq!(peer.ask(&format!("create {} 6 gently", name.as_str())), "Created");
        let reader = name.open().unwrap();
        peer.kill();
        if taken_away {
            name.unlink();
        }
        let owned = name.create(12).unwrap();
        assert_eq!(owned.origin(), Acquired::Recovered);
        assert_eq!((owned.segment().len(), name.open().unwrap().len(), reader.len()), (12, 12, 6));
        assert_eq!(name.traces().len(), 2);
    }
}

#[test]
fn what_a_crash_left_beside_the_name_is_recognised_and_removed() {
    // Every state that a crash in the middle of publishing or replacing can leave, old and new being dead objects.
    let states: [(&[&str], &[&str], Acquired); 6] = [
        (&[], &["next"], Acquired::Created),
        (&[], &["next", "name"], Acquired::Recovered),
        (&["name", "keep"], &["next"], Acquired::Recovered),
        (&["name", "keep"], &["next", "swap"], Acquired::Recovered),
        (&["keep"], &["next", "name"], Acquired::Recovered),
        (&["keep"], &[], Acquired::Recovered),
    ];
    for (old, new, expected) in states {
        for len in [6, 12] {
            let name = Name::new();
            for (links, content) in [(old, b"oldold"), (new, b"newnew")] {
                let path = |link: &&str| if **link == *"name" { name.path() } else { name.hidden(link) };
                let Some(first) = links.first().map(path) else { continue };
                fs::write(&first, content).unwrap();
                for link in links.iter().skip(1).map(path) {
                    fs::hard_link(&first, link).unwrap();
                }
            }
            let owned = name.create(len).unwrap();
            assert_eq!(owned.origin(), expected, "{old:?} {new:?} {len}");
            let mut traces = name.traces();
            traces.sort();
            assert_eq!(traces, [format!(".{}.keep", name.as_str()), name.as_str().to_owned()], "{old:?} {new:?} {len}");
            assert_eq!(fs::metadata(name.hidden("keep")).unwrap().ino(), name.inode());
        }
    }
}

#[test]
fn a_guest_writes_a_foreign_segment_of_the_right_size_in_place_and_leaves_it_there() {
    let name = Name::new();
    name.foreign(b"theirs");
    let inode = name.inode();
    let reader = name.open().unwrap();
    let mut owned = name.create(6).unwrap();
    assert_eq!((owned.origin(), owned.segment().identity().inode), (Acquired::Adopted, inode));
    owned.segment().write(0, b"frames").unwrap();
    assert_eq!(bytes(&reader), b"frames");
    assert_eq!(owned.keep_published().unwrap(), Published::Still);
    assert_eq!(name.traces(), [name.as_str()], "no hidden link marks it as ours");
    assert!(matches!(name.create(6), Err(SegmentError::LiveProducer { .. })), "two guests would mix their frames");
    drop(owned);
    assert_eq!((name.inode(), fs::read(name.path()).unwrap()), (inode, b"frames".to_vec()));
    name.unlink();
}

#[test]
fn a_guest_whose_host_left_publishes_its_own() {
    let name = Name::new();
    name.foreign(b"theirs");
    let mut owned = name.create(6).unwrap();
    name.unlink();
    assert_eq!(owned.keep_published().unwrap(), Published::Recreated);
    assert_eq!(name.inode(), owned.segment().identity().inode);
    drop(owned);
    assert_eq!(name.traces(), Vec::<String>::new());
}

#[test]
fn a_guest_whose_host_left_is_not_kept_by_what_a_crash_left() {
    let name = Name::new();
    name.foreign(b"theirs");
    let mut owned = name.create(6).unwrap();
    name.unlink();
    fs::write(name.hidden("keep"), b"dead").unwrap();
    assert_eq!(owned.keep_published().unwrap(), Published::Recreated);
    assert_eq!(fs::metadata(name.hidden("keep")).unwrap().ino(), owned.segment().identity().inode);
}

#[test]
fn a_foreign_segment_of_another_size_is_replaced_only_when_nobody_uses_it() {
    let name = Name::new();
    name.foreign(b"theirs");
    let inode = name.inode();
    for (order, what) in
        [(format!("map {}", name.as_str()), "mapped"), (format!("hold {}", name.path().display()), "open")]
    {
        let mut peer = Peer::start();
        assert_eq!(peer.ask(&order), "done");
        match name.create(7) {
            Err(SegmentError::InUse { size, wanted, pids, .. }) => {
                assert_eq!((size, wanted, pids), (6, 7, vec![peer.pid()]), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!((name.inode(), fs::read(name.path()).unwrap()), (inode, b"theirs".to_vec()));
    }
    let own = name.open().unwrap();
    match name.create(7) {
        Err(SegmentError::InUse { pids, .. }) => assert_eq!(pids, [std::process::id()]),
        other => panic!("{other:?}"),
    }
    drop(own);
    let owned = name.create(7).unwrap();
    assert_eq!((owned.origin(), name.open().unwrap().len()), (Acquired::Replaced, 7));
    drop(owned);
    assert_eq!(name.traces(), Vec::<String>::new());
}

#[test]
fn a_guest_may_resize_only_what_nobody_else_uses() {
    let name = Name::new();
    name.foreign(b"theirs");
    let mut owned = name.create(6).unwrap();
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("map {}", name.as_str())), "done");
    match owned.resize(7) {
        Err(SegmentError::InUse { pids, .. }) => assert_eq!(pids, [peer.pid()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.ask("drop"), "done");
    owned.resize(7).unwrap();
    assert_eq!((owned.origin(), name.open().unwrap().len()), (Acquired::Replaced, 7));
}

#[test]
fn a_segment_that_its_creator_has_not_sized_yet_is_left_alone() {
    let name = Name::new();
    name.foreign(b"");
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("hold {}", name.path().display())), "done");
    assert!(matches!(name.create(7), Err(SegmentError::InUse { size: 0, wanted: 7, .. })));
    name.unlink();
}

#[test]
fn another_users_segment_is_refused_unless_it_is_allowed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file to another user");
        return;
    }
    let name = Name::new();
    name.foreign(b"theirs");
    std::os::unix::fs::chown(name.path(), Some(4242), None).unwrap();
    for refused in [name.open().map(drop), name.create(6).map(drop), name.create(7).map(drop)] {
        assert!(matches!(refused, Err(SegmentError::OtherUser { uid: 4242, .. })), "{refused:?}");
    }
    assert_eq!(bytes(&Segment::open(&name.0, OpenOptions { allow_other_user: true }).unwrap()), b"theirs");
    let options = CreateOptions { allow_other_user: true, ..CreateOptions::default() };
    assert_eq!(OwnedSegment::create(&name.0, 6, &options).unwrap().origin(), Acquired::Adopted);
    name.unlink();
}

#[test]
fn what_another_user_planted_as_our_own_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a file to another user");
        return;
    }
    let name = Name::new();
    fs::write(name.hidden("keep"), b"trap!!").unwrap();
    std::os::unix::fs::chown(name.hidden("keep"), Some(4242), None).unwrap();
    for allow_other_user in [false, true] {
        let options = CreateOptions { allow_other_user, ..CreateOptions::default() };
        let refused = OwnedSegment::create(&name.0, 6, &options);
        assert!(matches!(refused, Err(SegmentError::OtherUser { uid: 4242, .. })), "{refused:?}");
    }
    fs::remove_file(name.hidden("keep")).unwrap();
}

#[test]
fn a_reader_needs_permission_to_read_and_no_more() {
    let mut peer = match Peer::start_as(65534) {
        Ok(peer) => peer,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let name = Name::new();
    let options = CreateOptions { mode: 0o604, ..CreateOptions::default() };
    let owned = OwnedSegment::create(&name.0, 6, &options).unwrap();
    owned.segment().write(0, &[7; 6]).unwrap();
    let answer = peer.ask(&format!("map {}", name.as_str()));
    assert!(answer.contains("belongs to user 0"), "{answer}");
    assert_eq!(peer.ask(&format!("map {} of anybody", name.as_str())), "[7]");
    // Writing is another matter.
    let answer = peer.ask(&format!("adopt {} 6", name.as_str()));
    assert!(answer.contains("access is denied"), "{answer}");
    drop(owned);

    let _owned = name.create(6).unwrap();
    let answer = peer.ask(&format!("map {} of anybody", name.as_str()));
    assert!(answer.contains("access is denied"), "{answer}");
}

#[test]
fn a_squatter_is_named_and_never_followed() {
    let (name, target) = (Name::new(), Name::new());
    target.foreign(b"target");
    let path = name.path();
    let refused = |what: &str| {
        for outcome in [name.open().map(drop), name.create(6).map(drop), name.take_over(6).map(drop)] {
            match outcome {
                Err(SegmentError::NotShared { found, .. }) => assert_eq!(found, what),
                other => panic!("{what}: {other:?}"),
            }
        }
    };
    symlink(target.path(), &path).unwrap();
    refused("a symbolic link");
    fs::remove_file(&path).unwrap();
    symlink("/dev/shm/nowhere", &path).unwrap();
    refused("a symbolic link");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    refused("a directory");
    fs::remove_dir(&path).unwrap();

    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    refused("a FIFO");
    fs::remove_file(&path).unwrap();

    let socket = UnixListener::bind(&path).unwrap();
    refused("a socket");
    drop(socket);
    fs::remove_file(&path).unwrap();

    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        let device = rustix::fs::FileType::CharacterDevice;
        match rustix::fs::mknodat(rustix::fs::CWD, &path, device, rustix::fs::Mode::RWXU, null) {
            Ok(()) => {
                refused("a device");
                fs::remove_file(&path).unwrap();
            }
            Err(errno) => eprintln!("skipped: no device can be made here: {errno}"),
        }
    }

    // A second name of another segment: writing here would write there.
    fs::hard_link(target.path(), &path).unwrap();
    match name.create(6) {
        Err(SegmentError::NotShared { found, .. }) => assert_eq!(found, "a file with 2 names"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(fs::read(target.path()).unwrap(), b"target");
    target.unlink();
}

#[test]
fn a_squatter_on_a_hidden_link_is_named() {
    for role in ["keep", "next"] {
        let name = Name::new();
        fs::DirBuilder::new().mode(0o700).create(name.hidden(role)).unwrap();
        match name.create(6) {
            Err(SegmentError::NotShared { name: found, .. }) => assert!(found.ends_with(role), "{found}"),
            other => panic!("{other:?}"),
        }
        fs::remove_dir(name.hidden(role)).unwrap();
        assert_eq!(name.traces(), Vec::<String>::new());
    }
}
