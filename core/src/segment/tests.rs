// SPDX-License-Identifier: MPL-2.0
//! Promises of every segment, kept on the heap, so that Miri can look on.

use super::*;

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + 1) as u8).collect()
}

#[test]
fn what_was_written_is_read_and_nothing_beside_changes() {
    let segment = Segment::heap(32);
    segment.write(3, &numbered(10)).unwrap();
    let mut bytes = [0xEE; 32];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(bytes[..3], [0; 3]);
    assert_eq!(bytes[3..13], numbered(10));
    assert_eq!(bytes[13..], [0; 19]);
}

#[test]
fn an_access_outside_is_refused_whole() {
    let segment = Segment::heap(8);
    for (offset, len) in [(8, 1), (0, 9), (usize::MAX, 2), (9, 0)] {
        let out = AccessError::OutOfBounds { offset, len, segment_len: 8 };
        assert_eq!(segment.read(offset, &mut vec![0; len]), Err(out));
        assert_eq!(segment.write(offset, &vec![1; len]), Err(out));
    }
    let mut bytes = [9; 8];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8]);
    assert_eq!(segment.read(8, &mut []), Ok(()));
}

#[test]
fn empty_rows_are_nothing_however_many_and_far_apart() {
    let segment = Segment::heap(8);
    let rows = Rows { offset: 8, row_bytes: 0, stride: usize::MAX, rows: usize::MAX, flip: true };
    assert_eq!(segment.write_rows(rows, &[], usize::MAX), Ok(()));
    assert_eq!(segment.read_rows(rows, &mut [], usize::MAX), Ok(()));
}

#[test]
fn every_shape_of_rows_goes_in_and_comes_out() {
    for (row_bytes, rows) in [(1, 1), (5, 3), (64, 4), (67, 9), (16, 0), (0, 4)] {
        for (shared_gap, private_gap) in [(0, 0), (3, 0), (0, 4), (5, 2)] {
            for flip in [false, true] {
                let (stride, private_stride) = (row_bytes + shared_gap, row_bytes + private_gap);
                let shape = Rows { offset: 2, row_bytes, stride, rows, flip };
                let segment = Segment::heap(2 + stride * rows + 3);
                let src = numbered(private_stride * rows);
                segment.write_rows(shape, &src, private_stride).unwrap();

                let mut all = vec![0; segment.len()];
                segment.read(0, &mut all).unwrap();
                let mut expected = vec![0; segment.len()];
                for row in 0..rows {
                    let from = if flip { rows - 1 - row } else { row } * private_stride;
                    expected[2 + row * stride..][..row_bytes].copy_from_slice(&src[from..][..row_bytes]);
                }
                assert_eq!(all, expected, "{shape:?} from {private_stride}");

                let mut back = vec![0xEE; src.len()];
                segment.read_rows(shape, &mut back, private_stride).unwrap();
                for row in 0..rows {
                    let (data, gap) = (row * private_stride, row * private_stride + row_bytes);
                    assert_eq!(back[data..gap], src[data..gap], "{shape:?} into {private_stride}");
                    assert_eq!(back[gap..][..private_gap], vec![0xEE; private_gap], "gap of {shape:?}");
                }
            }
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_refused_whole() {
    let segment = Segment::heap(100);
    let shape = Rows { offset: 0, row_bytes: 10, stride: 10, rows: 10, flip: false };
    let mut buffer = [7; 100];
    let refused = [
        (Rows { offset: 1, ..shape }, 10, AccessError::OutOfBounds { offset: 1, len: 100, segment_len: 100 }),
        (Rows { stride: 9, ..shape }, 10, AccessError::Overlapping { row_bytes: 10, stride: 9 }),
        (shape, 9, AccessError::Overlapping { row_bytes: 10, stride: 9 }),
        (shape, 11, AccessError::Buffer { needed: 109, len: 100 }),
        (
            Rows { stride: usize::MAX, ..shape },
            10,
            AccessError::OutOfBounds { offset: 0, len: usize::MAX, segment_len: 100 },
        ),
        (shape, usize::MAX, AccessError::Buffer { needed: usize::MAX, len: 100 }),
    ];
    for (rows, stride, error) in refused {
        assert_eq!(segment.read_rows(rows, &mut buffer, stride), Err(error), "{rows:?}");
        assert_eq!(segment.write_rows(rows, &buffer, stride), Err(error), "{rows:?}");
    }
    assert_eq!(buffer, [7; 100]);
    segment.read(0, &mut buffer).unwrap();
    assert_eq!(buffer, [0; 100]);
}

#[test]
fn two_heaps_are_two_objects() {
    let (a, b) = (Segment::heap(1), Segment::heap(1));
    assert_ne!(a.identity(), b.identity());
    assert_eq!(a.identity(), a.identity());
    assert_eq!((a.linked().unwrap(), a.current_len().unwrap()), (Linked::Here, 1));
}

#[test]
fn an_empty_segment_has_no_byte_to_give() {
    let segment = Segment::heap(0);
    assert!(segment.is_empty());
    assert!(segment.read(0, &mut [0]).is_err());
}

#[test]
fn threads_that_copy_the_same_bytes_see_one_or_the_other() {
    let segment = Segment::heap(8);
    let rounds = if cfg!(miri) { 20 } else { 10_000 };
    let rows = Rows { offset: 0, row_bytes: 4, stride: 4, rows: 2, flip: true };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                segment.write(0, &[round as u8 % 2 * 255; 8]).unwrap();
                segment.write_rows(rows, &[round as u8 % 2 * 255; 8], 4).unwrap();
            }
        });
        let mut bytes = [0; 8];
        for _ in 0..rounds {
            segment.read(0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|&byte| byte == 0 || byte == 255));
            segment.read_rows(rows, &mut bytes, 4).unwrap();
            assert!(bytes.iter().all(|&byte| byte == 0 || byte == 255));
        }
    });
}
