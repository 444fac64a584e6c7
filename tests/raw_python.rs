// SPDX-License-Identifier: MPL-2.0
//! Raw segments against independent peers: CPython's `SharedMemory` with numpy, and the Rust crate `shared_memory`.
//! What every pixel must become is computed by tests/peers/pixels.py; nothing of the plugin's own is asked.
#![cfg(any(target_os = "linux", windows))]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::PATIENCE;
use common::folder::Folder;
use common::frames;
use common::name::Name;
use common::peer::Peer;
#[cfg(target_os = "linux")]
use common::poll;
use common::run::Run;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

const CAPS: [&str; 9] = ["RGBA", "BGRA", "RGBx", "BGRx", "RGB", "BGR", "GRAY8", "RGBA64_LE", "GRAY16_LE"];
const SAMPLES: [&str; 4] = ["u8", "u16", "f16", "f32"];
const ORDERS: [&str; 2] = ["rgba", "bgra"];
const ORIGINS: [&str; 2] = ["bottom-left", "top-left"];
const SMALL: [(u32, u32); 3] = [(1, 1), (3, 5), (17, 5)];

/// A wire format with its size, as the peers and the properties spell it.
#[derive(Debug, Clone, Copy)]
struct Wire {
    size: (u32, u32),
    sample: &'static str,
    channels: u32,
    order: &'static str,
    origin: &'static str,
}

impl Wire {
    /// Every wire format in `size`.
    fn all(size: (u32, u32)) -> impl Iterator<Item = Self> {
        SAMPLES.into_iter().flat_map(move |sample| {
            (1..=4).flat_map(move |channels| {
                ORDERS.into_iter().flat_map(move |order| {
                    ORIGINS.into_iter().map(move |origin| Self { size, sample, channels, order, origin })
                })
            })
        })
    }

    /// What a source can make of it: grey is everything, but colour is no grey. (Which mix of R, G and B would it be?)
    fn takers(&self) -> impl Iterator<Item = &'static str> {
        let grey = self.channels == 1;
        CAPS.into_iter().filter(move |format| grey || !format.starts_with("GRAY"))
    }

    /// As matrix.py reads it.
    fn line(&self) -> String {
        let Self { size: (width, height), sample, channels, order, origin } = self;
        format!("{width} {height} {sample} {channels} {order} {origin}")
    }

    /// Properties that both elements have.
    fn properties(&self) -> String {
        let Self { sample, channels, order, origin, .. } = self;
        format!("sample-type={sample} channels={channels} channel-order={order} origin={origin}")
    }

    fn source(&self, name: &str) -> String {
        let (width, height) = self.size;
        format!("tdshmsrc shm-name={name} protocol=raw width={width} height={height} {}", self.properties())
    }
}

fn video_info(format: &str, (width, height): (u32, u32)) -> VideoInfo {
    common::init();
    let format = VideoFormat::from_string(format);
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(30, 1)).build().expect("the format is known")
}

/// Pushes one packed frame and EOS through `sinks`, which are branches of a tee, and returns once all have it.
fn sink_one(info: &VideoInfo, buffer: gst::Buffer, sinks: &str) -> Run {
    let caps = info.to_caps().expect("the info has caps");
    let run = Run::new(&format!("appsrc name=in format=time ! tee name=t {sinks}"));
    let input = run.element("in").downcast::<gst_app::AppSrc>().expect("it is an appsrc");
    input.set_caps(Some(&caps));
    run.play();
    input.push_buffer(buffer).expect("appsrc takes the frame");
    input.end_of_stream().expect("appsrc takes EOS");
    run.wait_eos(PATIENCE);
    run
}

/// A frame in caps format `format`, as the Python side makes it from `seed`.
fn python_frame(python: &mut Peer, folder: &Path, format: &str, (width, height): (u32, u32), seed: u32) -> Vec<u8> {
    let path = folder.join("frame");
    assert_eq!(python.ask(&format!("caps {} {format} {width} {height} {seed}", path.display())), "ok");
    std::fs::read(&path).expect("the peer wrote the frame")
}

/// What the Python side finds wrong with `frame`, which the source made of `wire`.
fn wrong_frame(python: &mut Peer, folder: &Path, frame: &[u8], format: &str, seed: u32, wire: &Wire) -> Option<String> {
    let path = folder.join("frame");
    std::fs::write(&path, frame).expect("the frame can be written");
    let verdict = python.ask(&format!("sourced {} {format} {seed} {}", path.display(), wire.line()));
    (verdict != "ok").then(|| format!("{wire:?} as {format}: {verdict}"))
}

fn assert_none(wrong: Vec<String>, of: usize) {
    assert!(of > 0, "something was compared");
    assert!(
        wrong.is_empty(),
        "{} of {of} differ, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

#[test]
fn every_frame_of_python_reaches_every_caps_format_pixel_by_pixel() {
    let (name, folder) = (Name::new("src"), Folder::new("src"));
    let mut python = Peer::python("matrix.py");
    let (mut wrong, mut compared, mut seed) = (Vec::new(), 0, 0);
    let [one, few, odd] = SMALL.map(|size| Wire::all(size).collect::<Vec<_>>());
    for wires in one.iter().zip(&few).zip(&odd).map(|((one, few), odd)| [one, few, odd]) {
        seed += 1;
        let mut description = String::new();
        for (at, wire) in wires.into_iter().enumerate() {
            assert_eq!(python.ask(&format!("wire {name}-{at} {seed} {}", wire.line())), "ok");
            for format in wire.takers() {
                let source = wire.source(&format!("{name}-{at}"));
                let sink = format!("appsink name={format}{at} sync=false max-buffers=1 drop=true");
                write!(description, "{source} ! video/x-raw,format={format} ! {sink} ").expect("a String takes all");
            }
        }
        let run = Run::playing(&description);
        for (at, wire) in wires.into_iter().enumerate() {
            for format in wire.takers() {
                let (frame, info) = frames::pull(&run, &format!("{format}{at}"));
                assert_eq!((info.width(), info.height()), wire.size);
                wrong.extend(wrong_frame(&mut python, &folder, &frame, format, seed, wire));
                compared += 1;
            }
            assert_eq!(python.ask(&format!("drop {name}-{at}")), "ok");
        }
    }
    assert_none(wrong, compared);
    assert_eq!(compared, 4 * 2 * 2 * (9 + 3 * 7) * 3);
}

#[test]
fn every_caps_format_reaches_python_in_every_wire_format_pixel_by_pixel() {
    let (name, folder) = (Name::new("sink"), Folder::new("sink"));
    let mut python = Peer::python("matrix.py");
    let (mut wrong, mut compared, mut seed) = (Vec::new(), 0, 1000);
    for size in SMALL {
        let wires: Vec<_> = Wire::all(size).collect();
        for format in CAPS {
            seed += 1;
            let frame = python_frame(&mut python, &folder, format, size, seed);
            let info = video_info(format, size);
            let mut sinks = String::new();
            for (at, wire) in wires.iter().enumerate() {
                let options = "sync=false async=false";
                write!(sinks, "t. ! tdshmsink shm-name={name}-{at} {} {options} ", wire.properties())
                    .expect("a String takes all");
            }
            let run = sink_one(&info, frames::buffer(&info, &frame), &sinks);
            for (at, wire) in wires.iter().enumerate() {
                let verdict = python.ask(&format!("sunk {name}-{at} {format} {seed} {}", wire.line()));
                if verdict != "ok" {
                    wrong.push(format!("{format} as {wire:?}: {verdict}"));
                }
                compared += 1;
            }
            run.stop();
        }
    }
    assert_none(wrong, compared);
    assert_eq!(compared, 4 * 4 * 2 * 2 * 9 * 3);
}

#[test]
fn with_nothing_said_the_sink_writes_what_the_lop_reads() {
    let (name, folder) = (Name::new("auto"), Folder::new("auto"));
    let mut python = Peer::python("matrix.py");
    let wires = [("RGBA", "u8", 4), ("BGRA", "u8", 4), ("RGBx", "u8", 4), ("BGRx", "u8", 4), ("RGB", "u8", 3)];
    let more = [("BGR", "u8", 3), ("GRAY8", "u8", 1), ("RGBA64_LE", "u16", 4), ("GRAY16_LE", "u16", 1)];
    for (format, sample, channels) in wires.into_iter().chain(more) {
        let wire = Wire { size: (17, 5), sample, channels, order: "rgba", origin: "bottom-left" };
        let frame = python_frame(&mut python, &folder, format, wire.size, 7);
        let info = video_info(format, wire.size);
        let run = sink_one(&info, frames::buffer(&info, &frame), &format!("t. ! tdshmsink shm-name={name}"));
        assert_eq!(python.ask(&format!("sunk {name} {format} 7 {}", wire.line())), "ok", "{format}");
        run.stop();
    }
}

#[test]
fn the_source_takes_its_geometry_from_a_capsfilter_downstream() {
    let (name, folder) = (Name::new("filter"), Folder::new("filter"));
    let mut python = Peer::python("matrix.py");
    for (format, channels) in [("RGBA", 4), ("RGB", 3), ("GRAY8", 1)] {
        let wire = Wire { size: (17, 5), sample: "u8", channels, order: "rgba", origin: "bottom-left" };
        assert_eq!(python.ask(&format!("wire {name} 3 {}", wire.line())), "ok");
        let caps = format!("video/x-raw,format={format},width=17,height=5");
        let run = Run::playing(&format!("tdshmsrc shm-name={name} protocol=raw ! {caps} ! appsink name=out"));
        let (frame, _) = frames::pull(&run, "out");
        assert_eq!(wrong_frame(&mut python, &folder, &frame, format, 3, &wire), None);
        assert_eq!(python.ask(&format!("drop {name}")), "ok");
    }
}

#[test]
fn large_and_odd_frames_of_python_arrive_whole() {
    let (name, folder) = (Name::new("bigsrc"), Folder::new("bigsrc"));
    let mut python = Peer::python("matrix.py");
    let (odd, square) = ((1921, 1081), (4096, 4096));
    let cases = [
        ("RGBA", Wire { size: odd, sample: "u8", channels: 4, order: "rgba", origin: "bottom-left" }),
        ("RGB", Wire { size: odd, sample: "u8", channels: 3, order: "bgra", origin: "top-left" }),
        ("BGRx", Wire { size: odd, sample: "f32", channels: 3, order: "rgba", origin: "bottom-left" }),
        ("GRAY16_LE", Wire { size: odd, sample: "f16", channels: 1, order: "rgba", origin: "bottom-left" }),
        ("RGBA64_LE", Wire { size: odd, sample: "f32", channels: 4, order: "bgra", origin: "top-left" }),
        ("RGBA", Wire { size: square, sample: "u8", channels: 4, order: "rgba", origin: "bottom-left" }),
        ("BGRA", Wire { size: square, sample: "u8", channels: 4, order: "rgba", origin: "top-left" }),
        ("GRAY8", Wire { size: square, sample: "u8", channels: 1, order: "rgba", origin: "bottom-left" }),
    ];
    for (format, wire) in cases {
        assert_eq!(python.ask(&format!("wire {name} 5 {}", wire.line())), "ok");
        let sink = "appsink name=out sync=false max-buffers=1 drop=true";
        let run = Run::playing(&format!("{} ! video/x-raw,format={format} ! {sink}", wire.source(&name)));
        let (frame, _) = frames::pull(&run, "out");
        drop(run); // no matter how soon: without optimisation one copy of these takes its time
        assert_eq!(wrong_frame(&mut python, &folder, &frame, format, 5, &wire), None);
        assert_eq!(python.ask(&format!("drop {name}")), "ok");
    }
}

#[test]
fn large_and_odd_frames_reach_python_whole() {
    let (name, folder) = (Name::new("bigsink"), Folder::new("bigsink"));
    let mut python = Peer::python("matrix.py");
    let (odd, square) = ((1921, 1081), (4096, 4096));
    let cases = [
        ("RGBA", Wire { size: odd, sample: "u8", channels: 4, order: "rgba", origin: "bottom-left" }),
        ("RGB", Wire { size: odd, sample: "u8", channels: 3, order: "bgra", origin: "top-left" }),
        ("BGRx", Wire { size: odd, sample: "f32", channels: 4, order: "rgba", origin: "bottom-left" }),
        ("GRAY16_LE", Wire { size: odd, sample: "f16", channels: 1, order: "rgba", origin: "bottom-left" }),
        ("RGBA64_LE", Wire { size: odd, sample: "u16", channels: 2, order: "bgra", origin: "top-left" }),
        ("RGBA", Wire { size: square, sample: "u8", channels: 4, order: "rgba", origin: "bottom-left" }),
        ("BGRA", Wire { size: square, sample: "u8", channels: 4, order: "rgba", origin: "top-left" }),
        ("GRAY8", Wire { size: square, sample: "u8", channels: 1, order: "rgba", origin: "bottom-left" }),
    ];
    for (format, wire) in cases {
        let frame = python_frame(&mut python, &folder, format, wire.size, 9);
        let info = video_info(format, wire.size);
        let sink = format!("t. ! tdshmsink shm-name={name} {} sync=false", wire.properties());
        let run = sink_one(&info, frames::buffer(&info, &frame), &sink);
        let verdict = python.ask(&format!("sunk {name} {format} 9 {}", wire.line()));
        assert_eq!(verdict, "ok", "{format} as {wire:?}");
        run.stop();
    }
}

#[test]
fn the_sink_heeds_strides_and_offsets_that_only_a_video_meta_tells() {
    let (name, folder) = (Name::new("stride"), Folder::new("stride"));
    let mut python = Peer::python("matrix.py");
    for (format, extra, skip) in [("RGB", 0, 64), ("RGB", 52, 0), ("GRAY8", 7, 3), ("RGBA", 20, 8), ("BGRx", 4, 4)] {
        let wire = Wire { size: (17, 5), sample: "u8", channels: 4, order: "rgba", origin: "bottom-left" };
        let frame = python_frame(&mut python, &folder, format, wire.size, 11);
        let info = video_info(format, wire.size);
        let sink = format!("t. ! tdshmsink shm-name={name} channels=4");
        let run = sink_one(&info, frames::strided_buffer(&info, &frame, extra, skip), &sink);
        let verdict = python.ask(&format!("sunk {name} {format} 11 {}", wire.line()));
        assert_eq!(verdict, "ok", "{format}, rows {extra} bytes further apart, {skip} bytes before them");
        run.stop();
    }
}

#[test]
fn alpha_and_transfer_follow_their_definitions() {
    let (name, folder) = (Name::new("option"), Folder::new("option"));
    let mut python = Peer::python("matrix.py");
    let path = folder.join("frame");
    let mut wrong = Vec::new();
    for (property, option) in [
        ("alpha", "opaque"),
        ("alpha", "premultiplied-to-straight"),
        ("alpha", "straight-to-premultiplied"),
        ("transfer", "linear-to-srgb"),
        ("transfer", "srgb-to-linear"),
        ("transfer", "linear-to-pq"),
        ("transfer", "linear-to-hlg"),
    ] {
        for sample in ["u8", "f32"] {
            let size = python.ask(&format!("option-wire {name} {sample}"));
            let (width, height) = size.split_once(' ').expect("width and height");
            let geometry = format!("width={width} height={height} channels=4 sample-type={sample}");
            let source = format!("tdshmsrc shm-name={name} protocol=raw {geometry} {property}={option}");
            let run = Run::playing(&format!("{source} ! video/x-raw,format=RGBA ! appsink name=out sync=false"));
            std::fs::write(&path, frames::pull(&run, "out").0).expect("the frame can be written");
            let verdict = python.ask(&format!("option {} {option} {sample}", path.display()));
            wrong.extend((verdict != "ok").then(|| format!("{property}={option} from {sample}: {verdict}")));
            run.stop();
            assert_eq!(python.ask(&format!("drop {name}")), "ok");
        }
    }
    assert_none(wrong, 14);
}

/// The crate `shared_memory` reads and writes by raw pointers only.
#[cfg(target_os = "linux")] // on Windows it keeps a file beside each section, which only it knows
#[allow(unsafe_code)] // an independent peer: nothing here is ours
mod rust_peer {
    use shared_memory::{Shmem, ShmemConf};

    pub fn create(name: &str, len: usize) -> Shmem {
        ShmemConf::new().os_id(name).size(len).create().expect("shared_memory creates the segment")
    }

    pub fn open(name: &str) -> Option<Shmem> {
        ShmemConf::new().os_id(name).open().ok()
    }

    pub fn read(segment: &Shmem) -> Vec<u8> {
        // SAFETY: the mapping has `len` bytes and lives as long as `segment`; the sink has written its last frame.
        unsafe { std::slice::from_raw_parts(segment.as_ptr(), segment.len()) }.to_vec()
    }

    pub fn write(segment: &Shmem, bytes: &[u8]) {
        assert_eq!(bytes.len(), segment.len());
        // SAFETY: the mapping has `len` bytes and `bytes` is memory of our own. The source may read meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), segment.as_ptr(), bytes.len()) };
    }
}

#[cfg(target_os = "linux")]
/// 17×5 RGBA, every byte another one, top row first and bottom row first.
fn two_ways_up() -> (Vec<u8>, Vec<u8>) {
    let upright: Vec<u8> = (0..17 * 5 * 4u32).map(|at| (at * 7 % 251) as u8).collect();
    let turned = upright.chunks(17 * 4).rev().flatten().copied().collect();
    (upright, turned)
}

#[cfg(target_os = "linux")]
#[test]
fn a_rust_peer_reads_what_the_sink_wrote() {
    let name = Name::new("rustr");
    let (upright, turned) = two_ways_up();
    let info = video_info("RGBA", (17, 5));
    let run = sink_one(&info, frames::buffer(&info, &upright), &format!("t. ! tdshmsink shm-name={name}"));
    let segment = rust_peer::open(&name).expect("the sink's segment can be opened");
    assert_eq!(rust_peer::read(&segment), turned);
    drop(segment);
    run.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn the_source_reads_what_a_rust_peer_wrote_and_writes_next() {
    let name = Name::new("rustw");
    let (upright, turned) = two_ways_up();
    let segment = rust_peer::create(&name, turned.len());
    rust_peer::write(&segment, &turned);
    let source = format!("tdshmsrc shm-name={name} protocol=raw width=17 height=5 channels=4");
    let sink = "appsink name=out sync=false max-buffers=1 drop=true";
    let run = Run::playing(&format!("{source} ! video/x-raw,format=RGBA ! {sink}"));
    assert_eq!(frames::pull(&run, "out").0, upright);
    rust_peer::write(&segment, &upright);
    poll("the next frame", PATIENCE, || (frames::pull(&run, "out").0 == turned).then_some(()));
    run.stop();
}
