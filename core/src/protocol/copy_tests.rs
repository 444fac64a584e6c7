// SPDX-License-Identifier: MPL-2.0

use super::*;
use crate::frame::{ChannelOrder, Origin, SampleType};
use crate::protocol::raw::layout::PIECE;

fn format(channels: u8, order: ChannelOrder) -> PixelFormat {
    PixelFormat::new(SampleType::U8, channels, order).unwrap()
}

fn written(layout: RawLayout, from: PixelFormat, rows: &[u8], stride: usize) -> Vec<u8> {
    let segment = Segment::heap(layout.bytes().unwrap());
    let mut writer = layout.writer(from, pixels::Options::default(), CopyThreads::default()).unwrap();
    writer.write(&segment, layout.offset, rows, stride).unwrap();
    let mut bytes = vec![0; segment.len()];
    segment.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_frame_goes_upside_down_behind_foreign_bytes() {
    let wire = format(3, ChannelOrder::Rgba);
    let desc = FrameDesc { width: 2, height: 2, format: wire, origin: Origin::BottomLeft };
    let rows = [1, 2, 3, 4, 5, 6, 0, 0, 11, 12, 13, 14, 15, 16];
    let bytes = written(RawLayout { desc, offset: 3 }, wire, &rows, 8);
    assert_eq!(bytes, [0, 0, 0, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_row_longer_than_the_scratch_is_converted_whole() {
    let width = if cfg!(miri) { PIECE as u32 / 4 + 3 } else { 40_000 };
    for origin in [Origin::TopLeft, Origin::BottomLeft] {
        let desc = FrameDesc { width, height: 2, format: format(4, ChannelOrder::Rgba), origin };
        let pixels: Vec<[u8; 4]> = (0..width * 2).map(|i| [i as u8, (i >> 8) as u8, 7, (i >> 3) as u8]).collect();
        let bytes = written(
            RawLayout { desc, offset: 0 },
            format(4, ChannelOrder::Bgra),
            pixels.as_flattened(),
            width as usize * 4,
        );
        let (top, bottom) = pixels.split_at(width as usize);
        let order = if origin == Origin::TopLeft { [top, bottom] } else { [bottom, top] };
        let expected: Vec<u8> = order.concat().iter().flat_map(|&[b, g, r, a]| [r, g, b, a]).collect();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn a_frame_in_too_little_memory_is_refused_before_the_first_byte() {
    let desc = FrameDesc { width: 2, height: 3, format: format(4, ChannelOrder::Rgba), origin: Origin::TopLeft };
    let segment = Segment::heap(24);
    for from in [format(4, ChannelOrder::Rgba), format(4, ChannelOrder::Bgra)] {
        let mut writer = FrameWriter::new(desc, 8, from, pixels::Options::default(), CopyThreads::default()).unwrap();
        let error = writer.write(&segment, 0, &[9; 23], 8).unwrap_err();
        let expected = BufferError { rows: 3, row_bytes: 8, stride: 8, len: 23 };
        assert!(matches!(error, CopyError::Buffer(found) if found == expected), "{error}");
    }
    let mut bytes = [1; 24];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 24]);
}

/// Frames large enough for several threads, whose last row lacks its padding on either side.
#[test]
#[cfg_attr(miri, ignore = "millions of pixels")]
fn several_threads_copy_the_same_frame_as_one() {
    let (width, height) = (1999, 601);
    for origin in [Origin::TopLeft, Origin::BottomLeft] {
        for to in [ChannelOrder::Rgba, ChannelOrder::Bgra] {
            let desc = FrameDesc { width, height, format: format(4, ChannelOrder::Rgba), origin };
            let (row, wire, private) = (width as usize * 4, 8192, 8064);
            let rows: Vec<u8> = (0..private * (height as usize - 1) + row).map(|i| (i * 7 + i / 8064) as u8).collect();
            let mut segments = Vec::new();
            let mut frames = Vec::new();
            for threads in [1, 3] {
                let threads = CopyThreads::new(threads);
                let segment = Segment::heap(100 + wire * height as usize);
                let from = format(4, to);
                let options = pixels::Options::default();
                let mut writer = FrameWriter::new(desc, wire, from, options, threads.clone()).unwrap();
                writer.write(&segment, 100, &rows, private).unwrap();
                let mut bytes = vec![0; segment.len()];
                segment.read(0, &mut bytes).unwrap();
                segments.push(bytes);
                let mut frame = vec![0; rows.len()];
                let mut reader = FrameReader::new(desc, wire, from, options, threads).unwrap();
                reader.read(&segment, (100, wire), &mut frame, private).unwrap();
                frames.push(frame);
            }
            assert!(segments[0] == segments[1]);
            assert!(frames[0] == frames[1]);
            for (there, back) in rows.chunks(private).zip(frames[0].chunks(private)) {
                assert!(there[..row] == back[..row]);
            }
        }
    }
}

/// Frames large enough for streamed stores, often enough for both kinds to be tried and one to be chosen.
#[test]
#[cfg_attr(miri, ignore = "millions of pixels")]
fn a_large_frame_is_converted_whole_whichever_stores_are_being_tried() {
    let (width, height, padding) = (1031, 257, 12);
    let (row, rgba) = (width as usize * 4, format(4, ChannelOrder::Rgba));
    let stride = row + padding;
    let mut rows: Vec<u8> = (0..stride * height as usize).map(|i| (i * 7 + i / stride) as u8).collect();
    for origin in [Origin::TopLeft, Origin::BottomLeft] {
        let desc = FrameDesc { width, height, format: format(4, ChannelOrder::Bgra), origin };
        let options = pixels::Options::default();
        let mut writer = FrameWriter::new(desc, stride, rgba, options, CopyThreads::default()).unwrap();
        let mut reader = FrameReader::new(desc, stride, rgba, options, CopyThreads::default()).unwrap();
        let (written, read) =
            (Segment::heap(5 + stride * height as usize), Segment::heap(5 + stride * height as usize));
        let mut wire = vec![0; written.len()];
        for round in 0..24 {
            rows[round * 1000] ^= 0xFF;
            writer.write(&written, 5, &rows, stride).unwrap();
            written.read(0, &mut wire).unwrap();
            for (y, there) in wire[5..].chunks_exact(stride).enumerate() {
                let y = if origin == Origin::TopLeft { y } else { height as usize - 1 - y };
                let pixels = rows[y * stride..][..row].as_chunks::<4>().0.iter();
                let expected: Vec<u8> = pixels.flat_map(|&[r, g, b, a]| [b, g, r, a]).collect();
                assert!(there[..row] == expected && there[row..] == [0; 12], "round {round}, row {y}, {origin:?}");
            }
            read.write(0, &wire).unwrap();
            let mut back = vec![0xEE; rows.len()];
            reader.read(&read, (5, stride), &mut back, stride).unwrap();
            for (found, expected) in back.chunks_exact(stride).zip(rows.chunks_exact(stride)) {
                assert!(found[..row] == expected[..row] && found[row..] == [0xEE; 12], "round {round}, {origin:?}");
            }
        }
    }
}

#[test]
fn two_threads_share_every_row_once() {
    for rows in [1, 2, 3, 7, 1080] {
        for lanes in [1, 2, 3] {
            let all: Vec<usize> = (0..lanes).flat_map(|lane| part(rows, lane, lanes)).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
    }
}
