// SPDX-License-Identifier: MPL-2.0
//! What the elements' one pass over a frame costs beside the floor that memory sets: `cargo bench -p tdlink-core --bench
//! floor`.
//!
//! The floor is one memcpy, in private memory, that moves as many bytes as the frame's pass reads and writes. It and
//! the passes take turns, four frames each, so that other work on the machine slows all of them alike: what is printed
//! is the median, over all turns, of a pass's time divided by the floor's time in the same turn, with the quartiles.
//! Four frames are used in turn, which together are more than the caches hold.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::pixels::Options;
use tdlink_core::protocol::copy::{CopyThreads, FrameReader, FrameWriter};
use tdlink_core::segment::{CreateOptions, OwnedSegment, SegmentName};

const SIZES: [(&str, u32, u32); 3] = [("720p", 1280, 720), ("1080p", 1920, 1080), ("4K", 3840, 2160)];
const FRAMES: usize = 4;
/// Turns that nobody counts: a segment has tried both kinds of stores after twenty frames.
const BEFORE: usize = 20;
const TURNS: usize = 40;

/// One way over a frame.
struct Pass {
    name: String,
    one: Box<dyn FnMut(usize)>,
    ratios: Vec<f64>,
}

/// Segments of `len` bytes that hold `bytes` over and over.
fn segments(len: usize, bytes: &[u8]) -> Vec<OwnedSegment> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let create = |_| {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = SegmentName::new(&format!("tdlink-floor-{}-{number}", std::process::id()));
        let owned = OwnedSegment::create(&name.expect("a short name"), len, &CreateOptions::default());
        let owned = owned.expect("/dev/shm has room");
        let content: Vec<u8> = bytes.iter().copied().cycle().take(len).collect();
        owned.segment().write(0, &content).expect("it fits");
        owned
    };
    (0..FRAMES).map(create).collect()
}

/// What becomes what, on four frames in shared memory and four in private memory, in both directions.
fn passes(desc: FrameDesc, to: PixelFormat, threads: u32) -> Vec<Pass> {
    // As floats these bytes are numbers from 0.25 to 0.75.
    const CONTENT: [u8; 8] = [0x10, 0x20, 0x30, 0x3F, 0x50, 0x60, 0x70, 0x3E];
    let way = if desc.origin == Origin::TopLeft { "straight" } else { "flipped" };
    let way = if threads > 1 { format!("{way}, {threads} threads") } else { way.to_string() };
    let threads = CopyThreads::new(threads);
    let (len, stride) = (desc.bytes().expect("a small frame"), desc.width as usize * to.bytes());
    let private = stride * desc.height as usize;
    let mut reader = FrameReader::new(desc, 0, to, Options::default(), threads.clone()).expect("it is a frame");
    let (wire, row) = (segments(len, &CONTENT), desc.row_bytes());
    let mut frames = vec![vec![1; private]; FRAMES];
    let out = move |at: usize| {
        let segment = wire[at].segment();
        reader.read(segment, (0, row), black_box(&mut frames[at]), stride).expect("it fits");
    };
    // The same conversion with shared and private memory exchanged.
    let back = FrameDesc { format: to, ..desc };
    let mut writer = FrameWriter::new(back, 0, desc.format, Options::default(), threads).expect("it is a frame");
    let wire = segments(private, &[1]);
    let frames: Vec<Vec<u8>> = vec![CONTENT.iter().copied().cycle().take(len).collect(); FRAMES];
    let into = move |at: usize| {
        writer.write(wire[at].segment(), 0, black_box(&frames[at]), row).expect("it fits");
    };
    vec![
        Pass { name: format!("out of shared memory, {way}"), one: Box::new(out), ratios: Vec::new() },
        Pass { name: format!("into shared memory, {way}"), one: Box::new(into), ratios: Vec::new() },
    ]
}

fn timed(one: &mut dyn FnMut(usize)) -> Duration {
    let began = Instant::now();
    (0..FRAMES).for_each(one);
    began.elapsed()
}

fn at_part(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn main() {
    let format = |sample, order| PixelFormat::new(sample, 4, order).expect("4 channels");
    let rgba = format(SampleType::U8, ChannelOrder::Rgba);
    let conversions = [
        ("copy", rgba, rgba),
        ("u8 rgba-bgra", rgba, format(SampleType::U8, ChannelOrder::Bgra)),
        ("f32-u8", format(SampleType::F32, ChannelOrder::Rgba), rgba),
    ];
    println!("{:<62} {:>9} {:>8} {:>8} {:>8}", "pass", "floor µs", "quarter", "median", "quarter");
    for (size, width, height) in SIZES {
        for (name, from, to) in conversions {
            let mut all = Vec::new();
            for threads in [1, 2] {
                for origin in [Origin::TopLeft, Origin::BottomLeft] {
                    all.extend(passes(FrameDesc { width, height, format: from, origin }, to, threads));
                }
            }
            let moved = width as usize * height as usize * (from.bytes() + to.bytes()) / 2;
            let src = vec![vec![1u8; moved]; FRAMES];
            let mut dst = src.clone();
            let mut floor = move |at: usize| black_box(&mut dst[at]).copy_from_slice(black_box(&src[at]));
            let mut floors = Vec::new();
            for turn in 0..BEFORE + TURNS {
                for pass in &mut all {
                    let least = timed(&mut floor).as_secs_f64();
                    let took = timed(&mut pass.one).as_secs_f64();
                    if turn >= BEFORE {
                        floors.push(least * 1e6 / FRAMES as f64);
                        pass.ratios.push(took / least);
                    }
                }
            }
            floors.sort_unstable_by(f64::total_cmp);
            for pass in &mut all {
                pass.ratios.sort_unstable_by(f64::total_cmp);
                let [low, median, high] = [0.25, 0.5, 0.75].map(|part| at_part(&pass.ratios, part));
                let line = format!("{size}/{name}/{}", pass.name);
                println!("{line:<62} {:>9.0} {low:>8.2} {median:>8.2} {high:>8.2}", at_part(&floors, 0.5));
            }
        }
    }
}
