// SPDX-License-Identifier: MPL-2.0
//! Every pixel format of the Shared Mem TOPs, against tests/peers/touch.py. What every pixel must become is computed there.
#![cfg(any(target_os = "linux", windows))]

mod common;

use common::folder::Folder;
use common::frames::{buffer, pull};
use common::name::Name;
use common::peer::Peer;
use common::ring::{fed, info};
use common::run::Run;
use common::{PATIENCE, poll};
use gst_video::{VideoFormat, VideoInfo};

const VULKAN: [u32; 25] = [
    9, 16, 37, 43, 44, 50, 64, 70, 76, 77, 83, 91, 97, 100, 103, 109, 122, 0xF0001, 0xF0002, 0xF0003, 0xF0004, 0xF0005,
    0xF0006, 0xF0007, 0xF0008,
];
const GL_FORMATS: [u32; 10] = [0x1903, 0x8227, 0x1907, 0x1908, 0x190A, 0x1906, 0x1909, 0x80E0, 0x80E1, 0x8000];
const GL_TYPES: [u32; 4] = [0x1401, 0x1403, 0x1406, 0x140B];

fn peer() -> Peer {
    Peer::python("touch.py")
}

/// Samples of 16 bits that are further apart than `tolerance`.
fn differing(found: &[u8], wanted: &[u8], tolerance: u16) -> usize {
    assert_eq!(found.len(), wanted.len(), "bytes of both pictures");
    let samples = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect::<Vec<_>>();
    samples(found).iter().zip(samples(wanted)).filter(|(a, b)| a.abs_diff(*b) > tolerance).count()
}

#[test]
fn every_format_of_both_generations_becomes_the_right_picture() {
    let folder = Folder::new("touch-formats");
    let path = folder.join("wanted");
    let mut sender = peer();
    let gl = GL_FORMATS.iter().flat_map(|format| GL_TYPES.iter().map(move |kind| format!("gl:{format:x}:{kind:x}")));
    let vulkan = VULKAN.iter().map(u32::to_string);
    let all: Vec<(String, &str)> = vulkan
        .enumerate()
        .map(|(n, format)| (format, if n % 2 == 0 { "v1" } else { "v2" }))
        .chain(gl.map(|format| (format, "gl")))
        .collect();
    assert_eq!(all.len(), 65);
    for (seed, (format, header)) in all.iter().enumerate() {
        let name = Name::new("fmt");
        assert_eq!(sender.ask(&format!("send {name} 17 5 {format} {header}")), "ok");
        assert_eq!(sender.ask(&format!("paint {seed} {}", path.display())), "ok");
        let run = Run::playing(&format!(
            "tdshmsrc shm-name={name} protocol=touch ! video/x-raw,format=RGBA64_LE ! appsink name=p sync=false"
        ));
        let (found, _) = pull(&run, "p");
        let wanted = std::fs::read(&path).expect("the peer wrote the picture");
        // Floats are computed there with twice the digits.
        assert_eq!(differing(&found, &wanted, 1), 0, "{format} {header}");
        run.stop();
        assert_eq!(sender.ask("detach"), "ok");
    }
}

#[test]
fn what_a_sink_writes_a_receiver_sees() {
    use VideoFormat::{Bgr, Bgra, Bgrx, Gray8, Gray16Le, Rgb, Rgba, Rgba64Le, Rgbx};
    let folder = Folder::new("touch-seen");
    let path = folder.join("seen");
    let mut receiver = peer();
    let cases = [
        (Rgba, "", "44 version 1 at 48"),
        (Bgra, "", "44 version 1 at 48"),
        (Rgbx, "", "44 version 1 at 48"),
        (Bgrx, "touch-header=gl", "gl:80e1:1401 version 2 at 40"),
        (Rgb, "", "44 version 1 at 48"),
        (Bgr, "channel-order=rgba", "37 version 1 at 48"),
        (Gray8, "", "9 version 1 at 48"),
        (Rgba64Le, "", "91 version 1 at 48"),
        (Gray16Le, "touch-header=gl", "gl:1903:1403 version 2 at 40"),
        (Rgba, "sample-type=f16", "97 version 1 at 48"),
        (Rgba64Le, "sample-type=f32 touch-header=vulkan-v2", "109 version 2 at 56"),
        (Rgba, "channels=2", "16 version 1 at 48"),
        (Rgba, "sample-type=f32 touch-header=gl", "gl:1908:1406 version 2 at 40"),
        (Rgba, "origin=top-left touch-header=vulkan-v2", "44 version 2 at 56"),
    ];
    for (format, options, said) in cases {
        let name = Name::new("seen");
        let info = info(format, 17, 5);
        let (sink, feed) = fed(&name, &info, &format!("protocol=touch {options}"));
        let bytes = 17 * 5 * info.comp_pstride(0) as usize;
        let frame: Vec<u8> = (0..bytes).map(|i| (i * 37 + i / 13) as u8).collect();
        feed.push_buffer(buffer(&info, &frame)).expect("it is taken");
        poll("the receiver finds the sender", PATIENCE, || {
            (receiver.ask(&format!("recv {name}")) == "ok").then_some(())
        });
        let seen = poll("the first frame is there", PATIENCE, || {
            Some(receiver.ask(&format!("see {}", path.display()))).filter(|line| line != "nothing")
        });
        assert!(seen.starts_with(&format!("17x5 {said} aspect 1:1")), "{format} {options}: {seen}");
        let colour = if options.contains("v2") { "(2, 1)" } else { "None" };
        assert!(seen.ends_with(&format!("colour {colour}")), "{format} {options}: {seen}");
        let wanted = shown(&info, &frame, options);
        let found = std::fs::read(&path).expect("the peer wrote the picture");
        let tolerance = if options.contains("f16") { 16 } else { 0 };
        assert_eq!(differing(&found, &wanted, tolerance), 0, "{format} {options}");
        assert_eq!(receiver.ask("leave"), "ok");
        sink.stop();
    }
}

/// A frame as RGBA of 16 bits, top row first; as the receiver has it, which takes the first row for the lowest.
fn shown(info: &VideoInfo, frame: &[u8], options: &str) -> Vec<u8> {
    let name = info.format().to_str().to_string();
    let wide = matches!(name.as_str(), "RGBA64_LE" | "GRAY16_LE");
    let sample = |pixel: &[u8], at: usize| match wide {
        true => u16::from_le_bytes([pixel[2 * at], pixel[2 * at + 1]]),
        false => u16::from(pixel[at]) * 257,
    };
    let pixels = frame.chunks_exact(info.comp_pstride(0) as usize);
    let rgba = pixels.map(|pixel| {
        let [r, g, b] = match name.as_str() {
            "GRAY8" | "GRAY16_LE" => [0, 0, 0],
            bgr if bgr.starts_with('B') => [2, 1, 0],
            _ => [0, 1, 2],
        };
        let alpha = if name.contains('A') && !name.starts_with("GRAY") { sample(pixel, 3) } else { u16::MAX };
        match options.contains("channels=2") {
            true => [sample(pixel, r), sample(pixel, g), 0, u16::MAX],
            false => [sample(pixel, r), sample(pixel, g), sample(pixel, b), alpha],
        }
    });
    let rows: Vec<u8> = rgba.flatten().flat_map(u16::to_le_bytes).collect();
    match options.contains("top-left") {
        true => rows.chunks(17 * 8).rev().flatten().copied().collect(),
        false => rows,
    }
}
