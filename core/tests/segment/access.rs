// SPDX-License-Identifier: MPL-2.0
//! What a reader's mapping may do and may not.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use tdlink_core::segment::{AccessError, Rows, SegmentError};

use super::{Name, bytes};

#[test]
fn a_reader_maps_for_reading_only() {
    let name = Name::new();
    name.foreign(b"theirs");
    let segment = name.open().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with(name.path().to_str().unwrap())).expect("it is mapped");
    assert_eq!(line.split(' ').nth(1), Some("r--s"), "{line}");

    assert!(!segment.is_writable());
    let rows = Rows { offset: 0, row_bytes: 3, stride: 3, rows: 2, flip: false };
    for refused in [
        segment.write(0, b"x"),
        segment.write_rows(rows, b"abcdef", 3),
        segment.store_u32(0, 1, Relaxed),
        segment.fetch_add_u32(0, 1, Relaxed).map(drop),
        segment.compare_exchange_u32(0, 0, 1, Relaxed, Relaxed).map(drop),
    ] {
        assert_eq!(refused, Err(AccessError::ReadOnly));
    }
    assert_eq!(bytes(&segment), b"theirs");
    name.unlink();
}

#[test]
fn what_is_not_there_or_empty_is_told_apart() {
    let name = Name::new();
    assert!(matches!(name.open(), Err(SegmentError::NotFound { .. })));
    name.foreign(b"");
    assert!(matches!(name.open(), Err(SegmentError::Empty { .. })));
    name.unlink();
}

#[test]
fn a_segment_that_changes_its_size_says_so() {
    let name = Name::new();
    name.foreign(b"theirs");
    let segment = name.open().unwrap();
    OpenOptions::new().append(true).open(name.path()).unwrap().write_all(b" and more").unwrap();
    assert_eq!((segment.len(), segment.current_len().unwrap()), (6, 15));
    OpenOptions::new().write(true).open(name.path()).unwrap().set_len(2).unwrap();
    assert_eq!((segment.len(), segment.current_len().unwrap()), (6, 2));
    name.unlink();
}

#[test]
fn memory_that_a_peer_cut_away_is_an_error_of_every_access() {
    let name = Name::new();
    let owned = name.create(3 * 4096).unwrap();
    let (reader, late) = (name.open().unwrap(), name.open().unwrap());
    owned.segment().write(0, &[7; 3 * 4096]).unwrap();
    OpenOptions::new().write(true).open(name.path()).unwrap().set_len(4096).unwrap();

    let cut = AccessError::Truncated { segment_len: 3 * 4096 };
    let mut byte = [0];
    assert_eq!(reader.read(4095, &mut byte), Ok(()));
    let mut all = vec![1; 3 * 4096];
    assert_eq!(reader.read(0, &mut all), Err(cut));
    assert_eq!((&all[..4096], &all[4096..]), (&[7; 4096][..], &[0; 8192][..]));
    assert_eq!(reader.read(0, &mut byte), Err(cut), "the mapping is lost as a whole");

    let rows = Rows { offset: 0, row_bytes: 4096, stride: 4096, rows: 3, flip: true };
    assert_eq!(late.read_rows(rows, &mut all, 4096), Err(cut));
    assert_eq!(owned.segment().write_rows(rows, &all, 4096), Err(cut));
    assert_eq!(owned.segment().write(0, &[1]), Err(cut));

    // A new mapping of what is left is as good as any.
    let again = name.open().unwrap();
    assert_eq!(bytes(&again).len(), 4096);
    assert_eq!(again.load_u32(4092, Relaxed).map(drop), Ok(()));
}

#[test]
fn words_that_a_peer_cut_away_are_an_error() {
    let name = Name::new();
    let owned = name.create(8192).unwrap();
    let reader = name.open().unwrap();
    OpenOptions::new().write(true).open(name.path()).unwrap().set_len(4096).unwrap();
    let cut = AccessError::Truncated { segment_len: 8192 };
    assert_eq!(reader.load_u32(4096, Relaxed), Err(cut));
    assert_eq!(owned.segment().fetch_add_u64(8184, 1, Relaxed), Err(cut));
}

#[test]
fn memory_cut_away_under_many_copies_at_once_kills_nobody() {
    /// More copies than anybody can make until the file is cut.
    const MANY: u32 = 1_000_000;
    let name = Name::new();
    let len = 64 * 4096;
    for _ in 0..200 {
        let owned = name.create(len).unwrap();
        let reader = name.open().unwrap();
        let file = OpenOptions::new().write(true).open(name.path()).unwrap();
        let cut = Err(AccessError::Truncated { segment_len: len });
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut all = vec![0; len];
                    assert!((0..MANY).any(|_| reader.read(0, &mut all).is_err()));
                    assert_eq!(reader.read(len - 1, &mut [0]), cut);
                });
            }
            scope.spawn(|| {
                let all = vec![1; len];
                assert!((0..MANY).any(|_| owned.segment().write(0, &all).is_err()));
                assert_eq!(owned.segment().write(len - 1, &[1]), cut);
            });
            file.set_len(4096).unwrap();
        });
    }
}
