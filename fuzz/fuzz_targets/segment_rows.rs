// SPDX-License-Identifier: MPL-2.0
//! Geometry that came from somewhere else: no row of it may lie outside the segment or outside our own buffer, and what
//! is written comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::segment::{Rows, Segment};

/// Small numbers and absurd ones, both often: the top two bits choose the size.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let word = u64::from_le_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0)));
    let word = word as usize;
    Some(match word >> 62 {
        0 | 1 => word & 0x3f,
        2 => word & 0xffff,
        _ => word.rotate_left(2),
    })
}

fn run(input: &[u8]) -> Option<()> {
    let mut bytes = input.iter().copied();
    let segment = Segment::heap(usize::from(bytes.next()?));
    let flip = bytes.next()? & 1 == 1;
    let mut buffer = vec![0u8; usize::from(bytes.next()?)];
    let rows = Rows {
        offset: number(&mut bytes)?,
        row_bytes: number(&mut bytes)?,
        stride: number(&mut bytes)?,
        rows: number(&mut bytes)?,
        flip,
    };
    let stride = number(&mut bytes)?;
    for (byte, value) in buffer.iter_mut().zip(bytes) {
        *byte = value;
    }
    let mut back = vec![0u8; buffer.len()];
    if segment.write_rows(rows, &buffer, stride).is_ok() {
        segment.read_rows(rows, &mut back, stride).expect("rows that could be written can be read");
        for row in 0..if rows.row_bytes == 0 { 0 } else { rows.rows } {
            let (start, end) = (row * stride, row * stride + rows.row_bytes);
            assert_eq!(buffer.get(start..end), back.get(start..end));
        }
    }
    Some(())
}

fuzz_target!(|input: &[u8]| {
    run(input);
});
