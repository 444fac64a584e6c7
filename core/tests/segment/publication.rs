// SPDX-License-Identifier: MPL-2.0
//! What others see under a name while a producer has it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tdlink_core::segment::{Acquired, CreateOptions, Linked, OwnedSegment, Published, SegmentError};

use super::peer::Peer;
use super::{Ended, Name, bytes};

#[test]
fn a_segment_has_the_size_asked_for_and_ends_with_its_producer() {
    let name = Name::new();
    let owned = name.create(1921 * 1081 * 3).unwrap();
    assert_eq!(owned.origin(), Acquired::Created);
    assert_eq!(owned.segment().len(), 1921 * 1081 * 3);
    assert!(owned.segment().is_writable());
    let found = fs::metadata(name.path()).unwrap();
    assert_eq!((found.len(), found.permissions().mode()), (1921 * 1081 * 3, 0o100600));
    assert_eq!(found.ino(), owned.segment().identity().inode);
    assert!(bytes(owned.segment()).iter().all(|&byte| byte == 0));
    drop(owned);
    assert_eq!(name.traces(), Vec::<String>::new());
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_umask() {
    for umask in ["077", "000"] {
        let name = Name::new();
        let mut peer = Peer::start();
        assert_eq!(peer.ask(&format!("umask {umask}")), "done");
        assert_eq!(peer.ask(&format!("create {} 10 gently", name.as_str())), "Created");
        assert_eq!(fs::metadata(name.path()).unwrap().permissions().mode(), 0o100600, "umask {umask}");
        assert_eq!(peer.ask("drop"), "done");
    }
    let name = Name::new();
    let options = CreateOptions { mode: 0o666, ..CreateOptions::default() };
    let _owned = OwnedSegment::create(&name.0, 10, &options).unwrap();
    assert_eq!(fs::metadata(name.path()).unwrap().permissions().mode(), 0o100666);
}

#[test]
fn an_impossible_size_is_refused() {
    let name = Name::new();
    for len in [0, isize::MAX as usize + 1, usize::MAX] {
        assert!(matches!(name.create(len), Err(SegmentError::Unsupported { .. })), "{len}");
    }
    let mut owned = name.create(1).unwrap();
    for len in [0, usize::MAX] {
        assert!(matches!(owned.resize(len), Err(SegmentError::Unsupported { .. })), "{len}");
    }
    let most = isize::MAX as usize;
    assert!(matches!(owned.resize(most), Err(SegmentError::NoSpace { wanted, .. }) if wanted == most as u64));
    assert_eq!((owned.segment().len(), name.open().unwrap().len()), (1, 1));
}

/// Opens the name over and over as another program would while `work` runs, and says what sizes it saw and whether
/// the name was ever missing.
fn watched(name: &Name, work: impl FnOnce()) -> (Vec<u64>, bool) {
    let (path, ended) = (name.path(), Ended::not_yet());
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut sizes, mut missing, mut looks) = (Vec::new(), false, 0);
            while !ended.is_over() || looks < 100 {
                looks += 1;
                match File::open(&path) {
                    Ok(file) => {
                        let size = file.metadata().unwrap().len();
                        if !sizes.contains(&size) {
                            sizes.push(size);
                        }
                    }
                    Err(err) if err.kind() == ErrorKind::NotFound => missing = true,
                    Err(err) => panic!("{err}"),
                }
            }
            sizes.sort();
            (sizes, missing)
        });
        ended.after(work);
        watcher.join().unwrap()
    })
}

#[test]
fn nobody_ever_sees_a_segment_that_is_not_whole() {
    let name = Name::new();
    let (sizes, _) = watched(&name, || {
        for _ in 0..3000 {
            drop(name.create(5000).unwrap());
        }
        // One that stays for the last looks.
        std::mem::forget(name.create(5000).unwrap());
    });
    assert_eq!(sizes, [5000]);
    drop(name.take_over(5000).unwrap());
}

#[test]
fn a_resize_never_takes_the_name_away() {
    let name = Name::new();
    let mut owned = name.create(5000).unwrap();
    let (sizes, missing) = watched(&name, || {
        for round in 0..3000 {
            owned.resize(if round % 2 == 0 { 7000 } else { 5000 }).unwrap();
        }
    });
    assert_eq!(sizes, [5000, 7000]);
    assert!(!missing, "the name was missing during a resize");
    assert_eq!(owned.origin(), Acquired::Created);
    assert_eq!(name.traces().len(), 2);
}

#[test]
fn a_resize_leaves_the_old_object_to_its_readers() {
    let name = Name::new();
    let mut owned = name.create(10).unwrap();
    owned.segment().write(0, b"old frames").unwrap();
    let reader = name.open().unwrap();
    assert_eq!(reader.identity(), owned.segment().identity());
    assert_eq!(reader.linked().unwrap(), Linked::Here);

    owned.resize(20).unwrap();
    assert_eq!(owned.segment().len(), 20);
    assert_eq!(bytes(&reader), b"old frames");
    assert_eq!(reader.linked().unwrap(), Linked::Elsewhere);
    assert_eq!(reader.current_len().unwrap(), 10);
    assert_eq!(name.open().unwrap().len(), 20);

    let same = owned.segment().identity();
    owned.resize(20).unwrap();
    assert_eq!(owned.segment().identity(), same, "the size is the same, so is the object");

    drop(owned);
    assert_eq!(reader.linked().unwrap(), Linked::Gone);
    assert_eq!(bytes(&reader), b"old frames");
}

#[test]
fn a_name_that_a_python_reader_took_away_comes_back_with_the_same_object() {
    let name = Name::new();
    let mut owned = name.create(4).unwrap();
    let reader = name.open().unwrap();
    assert_eq!(owned.keep_published().unwrap(), Published::Still);

    name.unlink();
    assert_eq!(reader.linked().unwrap(), Linked::Gone);
    assert_eq!(owned.keep_published().unwrap(), Published::Republished);
    assert_eq!(reader.linked().unwrap(), Linked::Here);
    owned.segment().write(0, b"live").unwrap();
    assert_eq!((bytes(&reader), bytes(&name.open().unwrap())), (b"live".to_vec(), b"live".to_vec()));
    assert_eq!(owned.keep_published().unwrap(), Published::Still);
}

#[test]
fn a_name_that_was_moved_comes_back_within_a_second_of_frames() {
    let name = Name::new();
    let mut owned = name.create(4).unwrap();
    let elsewhere = name.hidden("moved");
    fs::rename(name.path(), &elsewhere).unwrap();
    let frames = (0..60).find(|_| owned.keep_published().unwrap() == Published::Republished);
    assert!(frames.is_some(), "it stayed away");
    assert_eq!(name.inode(), owned.segment().identity().inode);
    fs::remove_file(elsewhere).unwrap();
}

#[test]
fn an_object_that_lost_both_links_is_made_anew_and_is_still_ours() {
    let name = Name::new();
    let mut owned = name.create(4).unwrap();
    let reader = name.open().unwrap();
    name.unlink();
    fs::remove_file(name.hidden("keep")).unwrap();

    assert_eq!(owned.keep_published().unwrap(), Published::Recreated);
    assert_ne!(owned.segment().identity(), reader.identity());
    assert_eq!(owned.segment().len(), 4);
    assert_eq!(reader.linked().unwrap(), Linked::Elsewhere);
    assert_eq!(owned.keep_published().unwrap(), Published::Still);
    // The lock has moved along.
    assert!(matches!(name.create(4), Err(SegmentError::LiveProducer { .. })));
}

#[test]
fn a_hidden_link_that_is_lost_is_put_back() {
    let name = Name::new();
    let mut owned = name.create(4).unwrap();
    fs::remove_file(name.hidden("keep")).unwrap();
    assert_eq!(owned.keep_published().unwrap(), Published::Still);
    name.unlink();
    assert_eq!(owned.keep_published().unwrap(), Published::Republished);
}

#[test]
fn what_another_program_put_under_the_name_is_never_touched() {
    let name = Name::new();
    let mut owned = name.create(4).unwrap();
    name.unlink();
    name.foreign(b"theirs");
    let inode = name.inode();
    assert_eq!(owned.keep_published().unwrap(), Published::TakenByOther);
    assert!(matches!(owned.resize(8), Err(SegmentError::Taken { .. })));
    assert_eq!(owned.segment().len(), 4);
    drop(owned);
    assert_eq!((name.inode(), fs::read(name.path()).unwrap()), (inode, b"theirs".to_vec()));
    assert_eq!(name.traces(), [name.as_str()]);
    name.unlink();
}

#[test]
fn a_killed_producer_leaves_its_name_to_the_next() {
    let name = Name::new();
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("create {} 6 gently", name.as_str())), "Created");
    assert_eq!(peer.ask("fill 7"), "done");
    let reader = name.open().unwrap();
    assert_eq!(bytes(&reader), [7; 6]);
    peer.kill();
    assert_eq!(reader.linked().unwrap(), Linked::Here, "a killed producer cannot tidy up");
    drop(name.create(6).unwrap());
    assert_eq!(reader.linked().unwrap(), Linked::Gone);
}
