// SPDX-License-Identifier: MPL-2.0
//! The kernel for rows of 8-bit pixels against the same thing done by hand.

use tdlink_core::cuda::{Context, CudaError, DeviceMem, PinnedMem, Plane, Rows, Stream, rows_u8};

fn by_hand(src: &[u8], src_pitch: usize, dst: &mut [u8], dst_pitch: usize, width: usize, height: usize, rows: Rows) {
    let size = rows.bytes_per_pixel as usize;
    for y in 0..height {
        let to = if rows.flip { height - 1 - y } else { y };
        for x in 0..width {
            let pixel = &src[y * src_pitch + x * size..][..size];
            let out = &mut dst[to * dst_pitch + x * size..][..size];
            out.copy_from_slice(pixel);
            if rows.swap && size > 2 {
                out.swap(0, 2);
            }
            if rows.opaque && size == 4 {
                out[3] = 255;
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn rows_are_turned_swapped_and_made_opaque_in_one_pass() {
    let context = Context::primary(0).expect("a CUDA driver: cargo xtask emulated -- cargo test …");
    let stream = Stream::new(&context).unwrap();
    const ROOM: usize = 64 << 10;
    let (from, to) = (DeviceMem::new(&context, ROOM).unwrap(), DeviceMem::new(&context, ROOM).unwrap());
    let mut host = PinnedMem::new(&context, ROOM).unwrap();
    let picture: Vec<u8> = (0..ROOM).map(|at| (at * 7 + at / 251) as u8).collect();
    let room = |memory: &DeviceMem| memory.plane(ROOM, ROOM, 1).unwrap();
    let mut tried = 0;
    for bytes_per_pixel in 1..=4u32 {
        let size = bytes_per_pixel as usize;
        for (width, height) in [(1, 1), (1, 9), (3, 2), (16, 5), (17, 5), (33, 4), (64, 7), (127, 3), (640, 2)] {
            let tight = width * size;
            // Tight rows; rows that begin at multiples of 4 and of 16; rows that begin anywhere.
            for (src_pitch, dst_pitch) in [
                (tight, tight),
                (tight.next_multiple_of(4), tight + 1),
                (tight.next_multiple_of(256), tight.next_multiple_of(16)),
            ] {
                for flags in 0..8 {
                    let (flip, swap, opaque) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
                    let rows = Rows { bytes_per_pixel, flip, swap, opaque };
                    host.bytes_mut().unwrap().copy_from_slice(&picture);
                    host.upload(room(&from), ROOM, &stream).unwrap();
                    host.bytes_mut().unwrap().fill(0xEE);
                    host.upload(room(&to), ROOM, &stream).unwrap();
                    let src = from.plane(src_pitch, tight, height).unwrap();
                    let dst = to.plane(dst_pitch, tight, height).unwrap();
                    rows_u8(dst, src, rows, &stream).unwrap();
                    host.download(room(&to), ROOM, &stream).unwrap();
                    let mut expected = vec![0xEE; ROOM];
                    by_hand(&picture, src_pitch, &mut expected, dst_pitch, width, height, rows);
                    assert!(
                        host.bytes().unwrap() == expected,
                        "{width}×{height} of {size} bytes, {src_pitch} to {dst_pitch}: {rows:?}"
                    );
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 4 * 9 * 3 * 8);
}

#[test]
#[ignore = "needs a CUDA driver"]
fn what_is_no_picture_is_refused() {
    let context = Context::primary(0).unwrap();
    let stream = Stream::new(&context).unwrap();
    let memory = DeviceMem::new(&context, 1 << 20).unwrap();
    let plane = |row_bytes, rows| -> Plane { memory.plane(1000, row_bytes, rows).unwrap() };
    let flip = |bytes_per_pixel| Rows { bytes_per_pixel, flip: true, ..Rows::default() };
    let shapes = rows_u8(plane(100, 5), plane(100, 4), flip(4), &stream);
    assert!(matches!(shapes, Err(CudaError::Shapes { .. })));
    for size in [0, 3, 5, 64] {
        assert!(matches!(rows_u8(plane(100, 5), plane(100, 5), flip(size), &stream), Err(CudaError::Plane { .. })));
    }
    assert!(rows_u8(plane(100, 5), plane(100, 5), flip(2), &stream).is_ok());
    stream.synchronize().unwrap();
}
