// SPDX-License-Identifier: MPL-2.0
//! The CUDA IPC elements beside an end of cuda-link's ring that is written in Python, from the layout alone, on the CUDA
//! runtime: `tests/peers/cudalink.py`. It wants numpy and a CUDA runtime, a real one or the emulated one:
//! `cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored`.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::name::Name;
use common::peer::Peer;
use common::run::Run;
use common::{PATIENCE, frames};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use md5::{Digest, Md5};

fn peer(arguments: &str) -> Peer {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/cudalink.py");
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-u", "-B"]).arg(path).args(arguments.split(' ').filter(|word| !word.is_empty()));
    for name in ["BREAK_SYNC", "BREAK_EVENTS"] {
        command.env_remove(format!("EMULATED_CUDA_{name}"));
    }
    // On its copies, and so before its events: a source that does not wait sees it.
    command.env("EMULATED_CUDA_COPY_DELAY_US", "2000");
    Peer::spawn(command)
}

/// The value of `key` in one line of JSON of the peer's: it has no nested ones.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{key}\": "))?;
    Some(rest.split([',', '}']).next()?.trim_matches('"'))
}

/// The peer's picture of a number, 8 bits a component, rows and components as they are on the wire.
fn numbered(number: u32, width: usize, height: usize, comps: usize) -> Vec<u8> {
    let mark = number.to_le_bytes();
    let mut bytes = Vec::with_capacity(width * height * comps);
    for y in 0..height {
        for x in 0..width {
            for k in 0..comps {
                let plain = (x * 3 + y * 5 + k * 64 + number as usize * 7) as u8;
                bytes.push(mark.get(x).copied().filter(|_| k == 1.min(comps - 1)).unwrap_or(plain));
            }
        }
    }
    bytes
}

fn flipped(picture: &[u8], row: usize) -> Vec<u8> {
    picture.chunks(row).rev().flatten().copied().collect()
}

fn hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the peer's picture is as `format`: the wire's components in the order R, G, B, A, or B, G, R, A for 4 × `uint8`.
fn expected(number: u32, info: &VideoInfo, comps: usize, bgra: bool) -> Vec<u8> {
    let (width, height) = (info.width() as usize, info.height() as usize);
    let wire = flipped(&numbered(number, width, height, comps), width * comps);
    let mut out = Vec::new();
    for pixel in wire.chunks(comps) {
        let at = |k: usize| pixel.get(k).copied();
        let [r, g, b, a] = match (comps, bgra) {
            (1, _) => [pixel[0], pixel[0], pixel[0], 255],
            (_, true) => [pixel[2], pixel[1], pixel[0], pixel[3]],
            _ => [pixel[0], pixel[1], at(2).unwrap_or(0), at(3).unwrap_or(255)],
        };
        let wide = |values: &[u8], out: &mut Vec<u8>| values.iter().for_each(|value| out.extend([*value, *value]));
        match info.format() {
            VideoFormat::Rgba => out.extend([r, g, b, a]),
            VideoFormat::Bgra => out.extend([b, g, r, a]),
            VideoFormat::Rgb => out.extend([r, g, b]),
            VideoFormat::Gray8 => out.push(r),
            // 257 times as much is the byte twice.
            VideoFormat::Gray16Le => wide(&[r], &mut out),
            VideoFormat::Rgba64Le => wide(&[r, g, b, a], &mut out),
            other => panic!("{other:?} is not expected here"),
        }
    }
    out
}

/// The number in one of our pictures of the peer's.
fn number_in(picture: &[u8], info: &VideoInfo) -> u32 {
    let pixel = info.comp_pstride(0) as usize;
    let row = info.width() as usize * pixel;
    // Green, or the only component, of the first row's first pixels; of 16 bits the upper byte.
    let green = match info.format() {
        VideoFormat::Gray8 => 0,
        VideoFormat::Gray16Le => 1,
        VideoFormat::Rgba64Le => 3,
        _ => 1,
    };
    let last = picture.len() - row;
    u32::from_le_bytes(std::array::from_fn(|k| picture[last + k * pixel + green]))
}

#[test]
#[ignore = "needs a CUDA driver and runtime: cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored"]
fn every_type_and_number_of_components_of_a_python_sender_arrives() {
    for (dtype, comps, format) in [
        ("uint8", 4, "(memory:CUDAMemory),format=BGRA"),
        ("uint8", 4, "(memory:CUDAMemory),format=RGBA"),
        ("uint8", 4, ",format=RGBA"),
        ("uint8", 3, "(memory:CUDAMemory),format=RGB"),
        ("uint8", 2, ",format=RGBA"),
        ("uint8", 1, ",format=GRAY8"),
        ("uint16", 4, ",format=RGBA64_LE"),
        ("uint16", 1, ",format=GRAY16_LE"),
        ("float16", 4, ",format=RGBA"),
        ("float32", 4, ",format=RGBA64_LE"),
        ("float32", 2, ",format=RGBA"),
        ("float32", 1, ",format=GRAY16_LE"),
        ("float32", 4, "(memory:CUDAMemory),format=RGBA"),
        ("float16", 3, "(memory:CUDAMemory),format=RGB"),
        ("uint16", 2, "(memory:CUDAMemory),format=BGRA"),
        ("uint8", 1, "(memory:CUDAMemory),format=RGBA"),
        ("bfloat16", 4, "(memory:CUDAMemory),format=RGBA"),
        ("bfloat16", 1, "(memory:CUDAMemory),format=RGB"),
        // The host has no name for it: the device converts, and the host gets what comes out.
        ("bfloat16", 3, ",format=RGBA"),
    ] {
        let name = Name::new(&format!("py-{dtype}-{comps}"));
        let download = if format.starts_with('(') { "! cudadownload" } else { "" };
        let run = Run::playing(&format!(
            "tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw{format} {download} ! appsink name=k sync=false"
        ));
        let mut python =
            peer(&format!("send {name} --size 67x31 --comps {comps} --dtype {dtype} --first 1000 --steps"));
        for number in 1000..1006 {
            // One frame for each line, so that none is skipped.
            python.say("");
            let (picture, info) = frames::pull(&run, "k");
            assert_eq!(number_in(&picture, &info), number, "{dtype}×{comps} as {format}");
            let right = expected(number, &info, comps, dtype == "uint8" && comps == 4);
            assert!(picture == right, "{dtype}×{comps} as {format}: picture {number} is not what was sent");
        }
        run.assert_no_error();
        run.stop();
        python.wait(PATIENCE);
    }
}

#[test]
#[ignore = "needs a CUDA driver and runtime: cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored"]
fn grey_with_alpha_is_grey_with_alpha() {
    for format in ["(memory:CUDAMemory),format=RGBA ! cudadownload", ",format=RGBA"] {
        let name = Name::new("py-mono-alpha");
        let run = Run::playing(&format!(
            "tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw{format} ! appsink name=k sync=false"
        ));
        let mut python = peer(&format!("send {name} --size 67x31 --comps 2 --flags 2 --first 1000 --frames 1 --steps"));
        python.say("");
        let (picture, _) = frames::pull(&run, "k");
        let wire = flipped(&numbered(1000, 67, 31, 2), 67 * 2);
        let right: Vec<u8> = wire.chunks(2).flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]).collect();
        assert!(picture == right, "{format}: grey is in three components, alpha in the fourth");
        run.assert_no_error();
        run.stop();
        python.wait(PATIENCE);
    }
}

#[test]
#[ignore = "needs a CUDA driver and runtime: cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored"]
fn frames_that_no_video_format_has_are_an_error_that_says_so() {
    let name = Name::new("py-int8");
    let run = Run::playing(&format!("tdcudaipcsrc name=s shm-name={name} ! fakesink"));
    let mut python = peer(&format!("send {name} --dtype int8 --frames 20"));
    let error = run.wait_error(PATIENCE);
    assert!(error.contains("int8") && error.contains("float16"), "{error}");
    run.stop();
    python.wait(PATIENCE);
}

#[test]
#[ignore = "needs a CUDA driver and runtime: cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored"]
fn a_python_sender_may_change_size_and_slots_or_start_anew() {
    for (label, options) in [
        ("py-anew", "--size 64x48,32x24 --slots 3,2,4"),
        ("py-inplace", "--size 64x48,32x24 --in-place"),
        ("py-racy", "--size 64x48,32x24 --in-place --version-first"),
    ] {
        let name = Name::new(label);
        let run = Run::playing(&format!(
            "tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw,format=BGRA ! appsink name=k sync=false"
        ));
        let mut python = peer(&format!("send {name} --frames 60 --fps 30 --restart 15 {options}"));
        let mut sizes = Vec::new();
        while sizes.len() < 4 {
            let (picture, info) = frames::pull(&run, "k");
            let number = number_in(&picture, &info);
            assert!(picture == expected(number, &info, 4, true), "{label}: picture {number} is not what was sent");
            if sizes.last() != Some(&info.width()) {
                sizes.push(info.width());
            }
        }
        assert_eq!(sizes, [64, 32, 64, 32], "{label}");
        run.assert_no_error();
        run.stop();
        python.wait(PATIENCE);
    }
}

#[test]
#[ignore = "needs a CUDA driver and runtime: cargo xtask emulated -- cargo test --test cudaipc_python -- --ignored"]
fn a_python_reader_gets_the_bytes_that_touchdesigner_expects() {
    common::init();
    for (caps, upload, options, bgra, upside_down, flags) in [
        ("BGRA", "cudaupload ! video/x-raw(memory:CUDAMemory) !", "", true, true, "4"),
        ("RGBA", "cudaupload ! video/x-raw(memory:CUDAMemory) !", "", true, true, "4"),
        ("RGBA", "", "", true, true, "4"),
        (
            "RGBA",
            "cudaupload ! video/x-raw(memory:CUDAMemory) !",
            "channel-order=rgba origin=top-left",
            false,
            false,
            "0",
        ),
        ("RGBA", "", "legacy-flags=true", true, true, "0"),
        ("RGB", "cudaupload ! video/x-raw(memory:CUDAMemory) !", "", false, true, "0"),
        ("GRAY8", "", "origin=top-left", false, false, "0"),
    ] {
        let name = Name::new("py-read");
        let comps = match caps {
            "GRAY8" => 1,
            "RGB" => 3,
            _ => 4,
        };
        let info = VideoInfo::builder(VideoFormat::from_string(caps), 67, 31).build().expect("the caps are right");
        let run = Run::playing(&format!(
            "appsrc name=a format=time is-live=true do-timestamp=true caps=video/x-raw,format={caps},width=67,height=31,framerate=60/1 ! {upload} tdcudaipcsink name=k sync=false shm-name={name} {options}"
        ));
        let source = run.element("a").downcast::<gst_app::AppSrc>().expect("it is an appsrc");
        let mut wire = BTreeMap::new();
        let mut python = peer(&format!("receive {name} --frames 8 --timeout 20"));
        let mut numbers = 1..;
        let mut came = 0;
        while came < 8 {
            // In wire order B, G, R, A or R, G, B, A; the caps' own order is what goes in.
            let number: u32 = numbers.next().expect("numbers do not end");
            let picture = numbered(number, 67, 31, comps);
            let swapped: Vec<u8> = picture
                .chunks(comps)
                .flat_map(|pixel| {
                    let mut pixel = pixel.to_vec();
                    if comps == 4 && (caps == "BGRA") != bgra {
                        pixel.swap(0, 2);
                    }
                    pixel
                })
                .collect();
            let rows = if upside_down { flipped(&swapped, 67 * comps) } else { swapped };
            wire.insert(number, hex(&rows));
            source.push_buffer(frames::buffer(&info, &picture)).expect("the pipeline takes it");
            while let Some(line) = python.try_hear("\"frame\"", std::time::Duration::from_millis(30)) {
                let number: u32 = value(&line, "number").and_then(|number| number.parse().ok()).expect("a number");
                assert_eq!(value(&line, "torn"), Some("false"), "{line}");
                assert_eq!(value(&line, "md5"), wire.get(&number).map(String::as_str), "{caps} {options}: {line}");
                assert_eq!(value(&line, "flags"), Some(flags), "{caps} {options}: {line}");
                came += 1;
            }
            run.assert_no_error();
        }
        python.wait(PATIENCE);
        run.stop();
    }
}
