// SPDX-License-Identifier: MPL-2.0
//! What converting a frame costs beside a plain copy of as many bytes: `cargo bench -p tdlink-core --bench pixels`.
//!
//! `memcpy` moves as many bytes, read and written, as the conversion does; `rows` converts from frame to frame in private
//! memory. What the elements do, out of shared memory and into it, straight and flipped, is measured by the bench `floor`.
//! Four frames are used in turn, more than the caches hold. Compare within one run only.
//!
//! Of whole frames between wires and pictures, upside down, `floor` reads every word of the source and fills the
//! destination, row by row in the same order: what the memory alone costs.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tdlink_core::frame::{ChannelOrder, PixelFormat, SampleType};
use tdlink_core::pixels::{
    self, Alpha, ChromaSite, Conversion as Frame, Converter, FrameConverter, Matrix, Options, Picture, Plane, PlaneMut,
    Range, Transfer, Yuv,
};

const SIZES: [(&str, usize, usize); 3] = [("720p", 1280, 720), ("1080p", 1920, 1080), ("4K", 3840, 2160)];
const SLOTS: usize = 4;

struct Conversion {
    name: &'static str,
    from: PixelFormat,
    to: PixelFormat,
    options: Options,
}

fn conversions() -> Vec<Conversion> {
    use ChannelOrder::{Bgra, Rgba};
    use SampleType::{F16, F32, U8, U16};
    let format = |sample, channels, order| PixelFormat::new(sample, channels, order).expect("1 to 4 channels");
    let four = |sample| format(sample, 4, Rgba);
    let plain = |name, from, to| Conversion { name, from, to, options: Options::default() };
    let alpha = |name, alpha| Conversion {
        options: Options { alpha, ..Options::default() },
        ..plain(name, four(U8), four(U8))
    };
    let transfer = |name, from, to, transfer| Conversion {
        options: Options { transfer, ..Options::default() },
        ..plain(name, four(from), four(to))
    };
    vec![
        plain("u8 rgba-bgra", four(U8), format(U8, 4, Bgra)),
        plain("u8 rgb-rgba", format(U8, 3, Rgba), four(U8)),
        plain("u8 rgba-rgb", four(U8), format(U8, 3, Rgba)),
        plain("f32-u8", four(F32), four(U8)),
        plain("f32-u8 rgba-bgra", four(F32), format(U8, 4, Bgra)),
        plain("f16-u8", four(F16), four(U8)),
        plain("u16-u8", four(U16), four(U8)),
        plain("u8-f32", four(U8), four(F32)),
        plain("u8-f16", four(U8), four(F16)),
        alpha("u8 divided", Alpha::PremultipliedToStraight),
        alpha("u8 multiplied", Alpha::StraightToPremultiplied),
        transfer("f16-u8 srgb", F16, U8, Transfer::LinearToSrgb),
        transfer("u8-f16 linear", U8, F16, Transfer::SrgbToLinear),
        transfer("f16-u16 pq", F16, U16, Transfer::LinearToPq),
        transfer("f16-u16 hlg", F16, U16, Transfer::LinearToHlg),
    ]
}

/// Frames that are used in turn.
struct Frames {
    frames: Vec<(Vec<u8>, Vec<u8>)>,
    turn: usize,
}

impl Frames {
    fn new(src: usize, dst: usize) -> Self {
        // As floats and halves these bytes are numbers from 0.25 to 0.75.
        let src: Vec<u8> = (0..src).map(|i| if i % 2 == 0 { i as u8 } else { 0x38 + (i / 7 % 2) as u8 * 2 }).collect();
        Self { frames: vec![(src, vec![1; dst]); SLOTS], turn: 0 }
    }

    fn next(&mut self) -> (&[u8], &mut [u8]) {
        self.turn = (self.turn + 1) % SLOTS;
        let (src, dst) = &mut self.frames[self.turn];
        (black_box(src), black_box(dst))
    }
}

fn convert(criterion: &mut Criterion) {
    for (size, width, height) in SIZES {
        let mut group = criterion.benchmark_group(size);
        group.sample_size(20).warm_up_time(std::time::Duration::from_millis(300));
        group.measurement_time(std::time::Duration::from_secs(1));
        for Conversion { name, from, to, options } in conversions() {
            let (src_row, dst_row) = (width * from.bytes(), width * to.bytes());
            let moved = (src_row + dst_row) * height;
            group.throughput(Throughput::Bytes(moved as u64));
            let mut plain = Frames::new(moved / 2, moved / 2);
            group.bench_function(BenchmarkId::new("memcpy", name), |bencher| {
                bencher.iter(|| {
                    let (src, dst) = plain.next();
                    dst.copy_from_slice(src);
                });
            });
            drop(plain);
            let mut frames = Frames::new(src_row * height, dst_row * height);
            let mut converter = Converter::new(from, to, options);
            group.bench_function(BenchmarkId::new("rows", name), |bencher| {
                bencher.iter(|| {
                    let (src, dst) = frames.next();
                    for (src, dst) in src.chunks_exact(src_row).zip(dst.chunks_exact_mut(dst_row)) {
                        converter.row(src, dst).expect("rows are whole");
                    }
                });
            });
        }
        group.finish();
    }
}

fn pictures() -> Vec<(&'static str, Frame)> {
    use SampleType::{F16, F32, U8};
    let four = |sample| PixelFormat::new(sample, 4, ChannelOrder::Rgba).expect("4 channels");
    let yuv = Yuv { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    vec![
        ("f32-u8", Frame::to_picture(four(F32), Picture::Rgba)),
        ("f16-rgb10a2", Frame::to_picture(four(F16), Picture::Rgb10A2)),
        ("u8-nv12", Frame::to_picture(four(U8), Picture::Nv12(yuv))),
        ("f16-p010", Frame::to_picture(four(F16), Picture::P010(yuv))),
        ("nv12-u8", Frame::to_wire(Picture::Nv12(yuv), four(U8)).expect("no bfloat16")),
    ]
}

fn frames(criterion: &mut Criterion) {
    for (size, width, height) in SIZES {
        let mut group = criterion.benchmark_group(format!("{size} pictures"));
        group.sample_size(20).warm_up_time(std::time::Duration::from_millis(300));
        group.measurement_time(std::time::Duration::from_secs(1));
        for (name, conversion) in pictures() {
            let (src, dst) = conversion.planes(width, height);
            let bytes = |planes: [Option<pixels::PlaneSize>; 2]| {
                planes.iter().flatten().map(|plane| plane.row_bytes * plane.rows).sum::<usize>()
            };
            group.throughput(Throughput::Bytes((bytes(src) + bytes(dst)) as u64));
            let mut frames = Frames::new(bytes(src), bytes(dst));
            group.bench_function(BenchmarkId::new("floor", name), |bencher| {
                bencher.iter(|| {
                    let (src, dst) = frames.next();
                    let (src_row, dst_row) = (src.len() / height, dst.len() / height);
                    for (src, dst) in src.chunks_exact(src_row).zip(dst.chunks_exact_mut(dst_row).rev()) {
                        let words = src.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
                        dst.fill(words.fold(0, |all, word| all | word) as u8);
                    }
                });
            });
            let mut converter = FrameConverter::new(&conversion.flipped(true), width, height);
            group.bench_function(BenchmarkId::new("flipped", name), |bencher| {
                bencher.iter(|| {
                    let (mut from, mut to) = frames.next();
                    let mut planes: Vec<Plane> = Vec::with_capacity(2);
                    for plane in src.iter().flatten() {
                        let (bytes, rest) = from.split_at(plane.row_bytes * plane.rows);
                        planes.push(Plane { bytes, pitch: plane.row_bytes });
                        from = rest;
                    }
                    let mut wanted: Vec<PlaneMut> = Vec::with_capacity(2);
                    for plane in dst.iter().flatten() {
                        let (bytes, rest) = to.split_at_mut(plane.row_bytes * plane.rows);
                        wanted.push(PlaneMut { bytes, pitch: plane.row_bytes });
                        to = rest;
                    }
                    converter.convert(&planes, &mut wanted).expect("planes are whole");
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, convert, frames);
criterion_main!(benches);
