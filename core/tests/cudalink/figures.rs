// SPDX-License-Identifier: MPL-2.0
//! How soon a frame is noticed, and what waiting costs. Printed, not judged: figures of a busy machine mean nothing.
//! `cargo test -p tdlink-core --features test-util --release --test cudalink -- --ignored --nocapture figures`

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tdlink_core::cuda::{Context, CudaError, DeviceMem, Plane, Rows, Stream, convert, copy_2d, rows_u8};
use tdlink_core::pixels::{
    ChromaSite, Components, Conversion, Matrix, Picture, PlaneSize, Range, Wire, WireSample, Yuv,
};
use tdlink_core::protocol::cudalink::Wait;
use tdlink_core::segment::monotonic_ns;

use super::peer::Peer;
use super::{PATIENCE, TestName, watch};

fn processor_ns() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[test]
#[ignore = "prints figures"]
fn how_soon_a_frame_is_noticed() {
    for (who, frames, micros) in [("rings", 300, 16_667), ("silent", 300, 16_667), ("silent", 300, 4_000)] {
        let name = TestName::new("figures");
        let mut peer = Peer::start();
        peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
        let mut watch = watch(&name);
        peer.order(&format!("pulse {who} {frames} {micros}"));
        let (mut late, began, busy) = (Vec::new(), Instant::now(), processor_ns());
        let mut last = 0;
        while last < frames && began.elapsed() < PATIENCE {
            if watch.wait_newer(Some(Instant::now() + Duration::from_secs(1))).unwrap() == Wait::Newer {
                let seen = monotonic_ns();
                let frame = watch.take().unwrap().unwrap();
                last = frame.index;
                late.push(seen.saturating_sub(frame.stamp.unwrap()) / 1000);
            }
        }
        let share = (processor_ns() - busy) as f64 / began.elapsed().as_nanos() as f64 * 100.0;
        late.drain(..late.len() / 8);
        late.sort_unstable();
        let (half, most) = (late[late.len() / 2], late[late.len() * 99 / 100]);
        println!("figure: {who}, every {micros} us: p50 {half} us, p99 {most} us, {share:.2} % of a processor");
        assert_eq!(peer.answer(), "done");
    }
}

/// What one of `count` that are queued one behind the other takes, the best of three times.
fn milliseconds(stream: &Stream, count: u32, work: &dyn Fn(&Stream) -> Result<(), CudaError>) -> f64 {
    let once = |count: u32| {
        let began = Instant::now();
        for _ in 0..count {
            work(stream).unwrap();
        }
        stream.synchronize().unwrap();
        began.elapsed().as_secs_f64() * 1e3 / f64::from(count)
    };
    once(1);
    (0..3).map(|_| once(count)).fold(f64::INFINITY, f64::min)
}

/// So many copies of a frame are under way at once, of frames that no cache of a GPU holds.
const BACK_TO_BACK: u32 = 64;

#[test]
#[ignore = "prints figures, needs a CUDA driver"]
fn what_copies_take_beside_plain_ones_of_as_many_bytes() {
    let context = Context::primary(0).expect("a CUDA driver");
    let name = context.driver().device_name(0).unwrap();
    // Its copies are the processor's.
    let count = if name.starts_with("Emulated") { 2 } else { BACK_TO_BACK };
    let stream = Stream::new(&context).unwrap();
    for (what, width, height, pixel) in [("4K float32", 3840usize, 2160usize, 16u32), ("8K uint8", 7680, 4320, 4)] {
        let row = width * pixel as usize;
        // As GStreamer's pools have it.
        let pitch = row.next_multiple_of(512) + 512;
        let from = DeviceMem::new(&context, row * height).unwrap();
        let to = DeviceMem::new(&context, pitch * height).unwrap();
        let (source, tight) = (from.plane(row, row, height).unwrap(), to.plane(row, row, height).unwrap());
        let pitched = to.plane(pitch, row, height).unwrap();
        let kernel = |flip, swap| {
            let rows = Rows { bytes_per_pixel: pixel, flip, swap, opaque: false };
            move |stream: &Stream| rows_u8(pitched, source, rows, stream)
        };
        let timed = |copy: &dyn Fn(&Stream) -> Result<(), CudaError>| milliseconds(&stream, count, copy);
        let plain = timed(&|stream| copy_2d(tight, source, stream));
        println!("figure: {what}, {count} back to back, on {name}: cuMemcpyDtoDAsync {plain:.3} ms a frame");
        let mut ways: Vec<(&str, f64)> =
            vec![("into rows with a pitch", timed(&|stream| copy_2d(pitched, source, stream)))];
        if pixel == 4 {
            ways.push(("upside down", timed(&kernel(true, false))));
            ways.push(("upside down, red and blue exchanged", timed(&kernel(true, true))));
        }
        for (way, ms) in ways {
            println!("figure: {what}, {way}: {ms:.3} ms a frame, {:.2} of the plain copy's speed", plain / ms);
        }
    }
}

/// Memory of one side, a piece for each plane, and its planes, whose rows are tight; and all their bytes.
fn side(context: &Context, sizes: [Option<PlaneSize>; 2]) -> (Vec<DeviceMem>, Vec<Plane>, usize) {
    let sizes: Vec<PlaneSize> = sizes.into_iter().flatten().collect();
    let memory: Vec<_> =
        sizes.iter().map(|size| DeviceMem::new(context, size.row_bytes * size.rows).unwrap()).collect();
    let plane =
        |(memory, size): (&DeviceMem, &PlaneSize)| memory.plane(size.row_bytes, size.row_bytes, size.rows).unwrap();
    let planes = memory.iter().zip(&sizes).map(plane).collect();
    (memory, planes, sizes.iter().map(|size| size.row_bytes * size.rows).sum())
}

#[test]
#[ignore = "prints figures, needs a CUDA driver"]
fn what_conversions_move_beside_a_copy() {
    let context = Context::primary(0).expect("a CUDA driver");
    let name = context.driver().device_name(0).unwrap();
    // The emulated one's kernels are the processor's.
    let (count, width, height) = if name.starts_with("Emulated") { (2, 320, 180) } else { (BACK_TO_BACK, 3840, 2160) };
    let stream = Stream::new(&context).unwrap();
    let yuv = Yuv { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    let wire = |sample| Wire { sample, components: Components::Rgba };
    let pictures = [Picture::Bgra, Picture::Rgb10A2, Picture::Nv12(yuv), Picture::P010(yuv)];
    for sample in [WireSample::U8, WireSample::U16, WireSample::F16, WireSample::F32] {
        for picture in pictures {
            let to_picture = Conversion::to_picture(wire(sample), picture).flipped(true);
            let to_wire = Conversion::to_wire(picture, wire(sample)).unwrap().flipped(true);
            for conversion in [to_picture, to_wire] {
                let (src, dst) = conversion.planes(width, height);
                let ((_from, src, read), (_to, dst, written)) = (side(&context, src), side(&context, dst));
                let converted = milliseconds(&stream, count, &|stream| convert(&dst, &src, &conversion, stream));
                // A copy that reads and writes as much.
                let half = (read + written) / 2;
                let [one, other] = [(); 2].map(|()| DeviceMem::new(&context, half).unwrap());
                let (one, other) = (one.plane(half, half, 1).unwrap(), other.plane(half, half, 1).unwrap());
                let copied = milliseconds(&stream, count, &|stream| copy_2d(other, one, stream));
                let rate = (read + written) as f64 / converted / 1e6;
                println!(
                    "figure: {width}×{height} {sample:?} RGBA and {picture:?}, {:?}, on {name}: {converted:.3} ms a frame, {rate:.1} GB/s \
                     read and written, {:.2} of a copy's speed",
                    conversion.direction(),
                    copied / converted
                );
            }
        }
    }
}
