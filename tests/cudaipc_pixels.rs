// SPDX-License-Identifier: MPL-2.0
//! What the CUDA IPC elements make of pixels on the device is what GStreamer's own videoconvert makes of them, upright.
//!
//! These tests want a CUDA driver, a real one or the emulated one: `cargo xtask emulated -- cargo test --test
//! cudaipc_pixels -- --ignored`.
#![cfg(target_os = "linux")]

mod common;

use std::path::PathBuf;

use common::PATIENCE;
use common::folder::Folder;
use common::name::Name;
use common::run::Run;
use common::sender::{ROLE, Sender};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

#[test]
#[ignore = "the other process of the tests here; does nothing by itself"]
fn the_other_process() {
    assert_eq!(ROLE, "the_other_process");
    common::sender::serve();
}

/// The codes of a frame: each plane's samples, row after row without padding.
#[derive(Debug, PartialEq)]
struct Codes {
    planes: Vec<Vec<u32>>,
    /// Samples of a row of each plane.
    rows: Vec<usize>,
}

/// Reads the codes of a frame that the host can look at.
fn codes(buffer: &gst::BufferRef, info: &VideoInfo) -> Codes {
    use gst_video::prelude::*;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("a frame of its caps");
    let (width, height) = (info.width() as usize, info.height() as usize);
    let (bytes, shift, planes) = match info.format() {
        VideoFormat::Nv12 => (1, 0, vec![(width, height), (width.div_ceil(2) * 2, height.div_ceil(2))]),
        VideoFormat::P01010le => (2, 6, vec![(width, height), (width.div_ceil(2) * 2, height.div_ceil(2))]),
        VideoFormat::Rgba64Le => (2, 0, vec![(width * 4, height)]),
        VideoFormat::Rgb10a2Le => (4, 0, vec![(width, height)]),
        _ => (1, 0, vec![(width * info.comp_pstride(0) as usize, height)]),
    };
    let mut found = Codes { planes: Vec::new(), rows: Vec::new() };
    for (at, (row, height)) in (0..).zip(planes) {
        let (stride, data) = (frame.plane_stride()[at as usize] as usize, frame.plane_data(at).expect("it is there"));
        let mut plane = Vec::new();
        for y in 0..height {
            for sample in data[y * stride..y * stride + row * bytes].chunks_exact(bytes) {
                let word = sample.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
                match info.format() {
                    VideoFormat::Rgb10a2Le => plane.extend([0, 10, 20].map(|shift| word >> shift & 1023)),
                    _ => plane.push(word >> shift),
                }
            }
        }
        found.planes.push(plane);
        found.rows.push(if info.format() == VideoFormat::Rgb10a2Le { row * 3 } else { row });
    }
    found
}

/// Asserts that no code is more than `most` away from the right one.
fn assert_near(found: &Codes, right: &Codes, most: u32, what: &str) {
    assert_eq!(found.rows, right.rows, "{what}");
    let rows = &found.rows;
    for (plane, (found, right)) in found.planes.iter().zip(&right.planes).enumerate() {
        assert_eq!(found.len(), right.len(), "{what}: plane {plane}");
        let apart = found.iter().zip(right).enumerate().max_by_key(|(_, (a, b))| a.abs_diff(**b));
        if let Some((at, (code, wanted))) = apart {
            let (x, y) = (at % rows[plane], at / rows[plane]);
            let wrong = found.iter().zip(right).filter(|(a, b)| a.abs_diff(**b) > most).count();
            assert!(
                wrong == 0,
                "{what}: plane {plane}, {wrong} wrong, sample {x} of row {y} is {code} and not {wanted}"
            );
        }
    }
}

/// How far videoconvert's numbers may be away: two codes of 8 bits. It weighs by numbers of 8 bits where there are 10, too.
fn most(format: VideoFormat) -> u32 {
    match format {
        VideoFormat::P01010le | VideoFormat::Rgb10a2Le => 8,
        _ => 2,
    }
}

/// A picture of one frame.
struct Picture {
    buffer: gst::Buffer,
    caps: gst::Caps,
}

impl Picture {
    fn info(&self) -> VideoInfo {
        VideoInfo::from_caps(&self.caps).expect("they are video caps")
    }

    fn codes(&self) -> Codes {
        codes(&self.buffer, &self.info())
    }

    /// SMPTE's colour bars.
    fn bars(width: u32, height: u32) -> Self {
        let run = Run::playing(&format!(
            "videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,format=RGBA,width={width},height={height},framerate=30/1,colorimetry=sRGB ! appsink name=k sync=false"
        ));
        Self::of(&run)
    }

    /// The next frame of the appsink `k`, on the host.
    fn of(run: &Run) -> Self {
        let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
        let patience = gst::ClockTime::from_seconds(PATIENCE.as_secs());
        let sample = sink.try_pull_sample(patience);
        let sample = sample.unwrap_or_else(|| panic!("no picture came; {:?}; {:#?}", run.sayings(), run.history()));
        let caps = sample.caps_owned().expect("a sample has caps");
        Self { buffer: sample.buffer_owned().expect("a sample has a buffer"), caps }
    }

    /// What videoconvert makes of it.
    fn converted(&self, caps: &str, options: &str) -> Self {
        let run = Run::new(&format!(
            "appsrc name=a format=time ! videoconvert dither=none {options} ! {caps} ! appsink name=k sync=false"
        ));
        let source = run.element("a").downcast::<gst_app::AppSrc>().expect("it is an appsrc");
        source.set_caps(Some(&self.caps));
        run.play();
        source.push_buffer(self.buffer.clone()).expect("the pipeline takes it");
        Self::of(&run)
    }

    /// The same with components of 16 bits, of which `change` makes others: values from 0 to 1.
    fn changed(&self, change: impl Fn([f64; 4]) -> [f64; 4]) -> Self {
        let (info, codes) = (self.info(), self.codes());
        assert_eq!(info.format(), VideoFormat::Rgba);
        let mut bytes = Vec::new();
        for pixel in codes.planes[0].chunks_exact(4) {
            let pixel = change([0, 1, 2, 3].map(|at| f64::from(pixel[at]) / 255.0));
            bytes.extend(pixel.iter().flat_map(|value| ((value * 65535.0).round() as u16).to_le_bytes()));
        }
        let (width, height) = (info.width(), info.height());
        let caps = format!(
            "video/x-raw,format=RGBA64_LE,width={width},height={height},framerate=30/1,colorimetry=sRGB,pixel-aspect-ratio=1/1,interlace-mode=progressive"
        );
        Self { buffer: gst::Buffer::from_slice(bytes), caps: caps.parse().expect("they are caps") }
    }

    /// A file with its bytes, and a pipeline that plays it over and over.
    fn played(&self, folder: &Folder) -> String {
        let path: PathBuf = folder.join("picture");
        let map = self.buffer.map_readable().expect("the host can read it");
        std::fs::write(&path, &map).expect("the file can be written");
        let caps = self.caps.to_string().replace(' ', "");
        format!("multifilesrc location={} loop=true caps=\"{caps}\" ! identity sleep-time=20000", path.display())
    }
}

fn on_device(caps: &str) -> String {
    caps.replace("video/x-raw,", "video/x-raw(memory:CUDAMemory),")
}

/// What a source gives of `picture` that a sink in another process sends.
fn crossed(picture: &Picture, sink: &str, source: &str, capture: &str) -> Picture {
    let (name, folder) = (Name::new("pixels"), Folder::new("pixels"));
    let mut sender = Sender::start(&[]);
    sender.play(&format!("{} ! tdcudaipcsink name=k sync=false shm-name={name} {sink}", picture.played(&folder)));
    let run =
        Run::playing(&format!("tdcudaipcsrc name=s shm-name={name} {source} ! {capture} ! appsink name=k sync=false"));
    let came = Picture::of(&run);
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
    came
}

/// Downstream that takes these caps on the device, and no other.
fn device(caps: &str) -> String {
    format!("{} ! cudadownload", on_device(caps))
}

/// The caps of a picture as videoconvert is to make it: those that came.
fn caps_of(came: &Picture) -> String {
    let info = came.info();
    let yuv = info.format_info().is_yuv();
    let site = if yuv { format!(",chroma-site={}", info.chroma_site().to_str()) } else { String::new() };
    format!("video/x-raw,format={},colorimetry={}{site}", info.format(), info.colorimetry())
}

const NEEDS: &str = "video/x-raw,format=";

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn bars_arrive_upright_and_in_their_colours() {
    for (width, height) in [(320, 240), (321, 241), (17, 5), (2, 1), (1, 1)] {
        let bars = Picture::bars(width, height);
        for format in ["NV12", "P010_10LE", "RGB10A2_LE", "RGBA", "BGRx", "RGB"] {
            let came = crossed(&bars, "", "", &device(&format!("{NEEDS}{format}")));
            let right = bars.converted(&caps_of(&came), "");
            assert_near(
                &came.codes(),
                &right.codes(),
                most(came.info().format()),
                &format!("{width}×{height} {format}"),
            );
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn ten_bits_are_those_of_the_formula() {
    let bars = Picture::bars(33, 17);
    let colours = bars.codes();
    let pixels = || colours.planes[0].chunks_exact(4).map(|pixel| [0, 1, 2].map(|at| f64::from(pixel[at]) / 255.0));
    let came = crossed(&bars, "sample-type=f32", "", &device("video/x-raw,format=P010_10LE,colorimetry=bt709"));
    let luma: Vec<_> =
        pixels().map(|[r, g, b]| (64.0 + 876.0 * (0.2126 * r + 0.7152 * g + 0.0722 * b)).round() as u32).collect();
    let codes = came.codes();
    assert_near(
        &Codes { planes: vec![codes.planes[0].clone()], rows: vec![33] },
        &Codes { planes: vec![luma], rows: vec![33] },
        1,
        "luma",
    );
    let came = crossed(&bars, "sample-type=u16", "", &device("video/x-raw,format=RGB10A2_LE"));
    let right: Vec<_> = pixels().flatten().map(|value| (value * 1023.0).round() as u32).collect();
    assert_near(&came.codes(), &Codes { planes: vec![right], rows: vec![33 * 3] }, 1, "colour");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn downstream_chooses_matrix_and_range() {
    let bars = Picture::bars(320, 240);
    for colorimetry in ["2:3:7:1", "bt709", "2:3:5:1", "bt601", "2:4:5:4", "1:3:7:1", "1:4:7:1", "2:4:7:1"] {
        for format in ["NV12", "P010_10LE"] {
            let came = crossed(&bars, "", "", &device(&format!("{NEEDS}{format},colorimetry={colorimetry}")));
            assert_eq!(Some(came.info().colorimetry()), colorimetry.parse().ok());
            let right = bars.converted(&caps_of(&came), "");
            assert_near(&came.codes(), &right.codes(), most(came.info().format()), &format!("{colorimetry} {format}"));
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn every_wire_becomes_what_encoders_take() {
    let bars = Picture::bars(67, 31);
    for channels in 1..=4 {
        // One component is grey, two are red and green, and four have an alpha that says nothing here.
        let seen = bars.changed(|[r, g, b, _]| match channels {
            1 => [r, r, r, 1.0],
            2 => [r, g, 0.0, 1.0],
            _ => [r, g, b, 1.0],
        });
        for sample in ["u8", "u16", "f16", "f32"] {
            let sink = format!("sample-type={sample} channels={channels}");
            for format in ["NV12", "P010_10LE", "RGB10A2_LE", "BGRA"] {
                let came = crossed(&bars, &sink, "", &device(&format!("{NEEDS}{format}")));
                let right = seen.converted(&caps_of(&came), "");
                assert_near(
                    &came.codes(),
                    &right.codes(),
                    most(came.info().format()),
                    &format!("{sample}×{channels} {format}"),
                );
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn an_upright_wire_and_the_other_order_come_as_well() {
    let bars = Picture::bars(64, 48);
    for both in ["origin=top-left", "channel-order=rgba", "origin=top-left channel-order=rgba"] {
        let came = crossed(&bars, both, both, &device(&format!("{NEEDS}NV12")));
        let right = bars.converted(&caps_of(&came), "");
        assert_near(&came.codes(), &right.codes(), 2, both);
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn formats_of_encoders_are_offered_first() {
    let bars = Picture::bars(64, 48);
    for (sink, first) in [("", "NV12"), ("sample-type=u16", "P010_10LE"), ("sample-type=f32 channels=3", "P010_10LE")] {
        let came = crossed(&bars, sink, "", "video/x-raw(memory:CUDAMemory)");
        let structure = came.caps.structure(0).expect("caps of a picture");
        let field = |name: &str| structure.get::<String>(name).expect("a text");
        assert_eq!(field("format"), first, "{}", came.caps);
        // sRGB's curve and primaries; luma by BT.709 at any size, since an encoder would guess by size.
        assert_eq!((field("colorimetry").as_str(), field("chroma-site").as_str()), ("2:3:7:1", "mpeg2"));
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn light_becomes_the_signals_of_bt2100_and_caps_say_so() {
    // White is 203 nits, of which the reports give the signals: 58 % of PQ, 75 % of HLG.
    let white = Picture::bars(16, 16).changed(|_| [1.0, 1.0, 1.0, 1.0]);
    for (transfer, colorimetry, luma, rgb) in
        [("linear-to-pq", "bt2100-pq", 64 + 509, 594), ("linear-to-hlg", "bt2100-hlg", 64 + 657, 767)]
    {
        for (sink, most) in [("sample-type=u16", 203), ("sample-type=f16", 0)] {
            let options = format!("transfer={transfer}");
            let came = crossed(&white, sink, &options, &device("video/x-raw,format=P010_10LE"));
            assert_eq!(came.info().colorimetry().to_string(), colorimetry, "{}", came.caps);
            let level = gst_video::VideoContentLightLevel::from_caps(&came.caps).expect("caps tell of the content");
            assert_eq!((level.max_content_light_level(), level.max_frame_average_light_level()), (most, most));
            let display = gst_video::VideoMasteringDisplayInfo::from_caps(&came.caps).expect("and of the display");
            assert_eq!(display.max_display_mastering_luminance(), 10_000_000, "1000 nits");
            let codes = came.codes();
            assert!(
                codes.planes[0].iter().all(|code| code.abs_diff(luma) <= 2),
                "{transfer}: {:?}",
                codes.planes[0][0]
            );
            assert!(codes.planes[1].iter().all(|code| code.abs_diff(512) <= 1), "grey has no colour");
            let came = crossed(&white, sink, &options, &device("video/x-raw,format=RGB10A2_LE"));
            assert_eq!(came.info().colorimetry().primaries(), gst_video::VideoColorPrimaries::Bt2020);
            assert!(came.codes().planes[0].iter().all(|code| code.abs_diff(rgb) <= 2), "{transfer}");
        }
    }
    // Red of BT.709 has some of BT.2020's green and blue.
    let red = white.converted("video/x-raw,format=RGBA", "").changed(|_| [1.0, 0.0, 0.0, 1.0]);
    let came = crossed(&red, "sample-type=f32", "transfer=linear-to-pq", &device("video/x-raw,format=RGB10A2_LE"));
    let pixel: [u32; 3] = came.codes().planes[0][..3].try_into().expect("a pixel");
    assert!(pixel[0] > pixel[1] && pixel[1] > pixel[2] && pixel[2] > 200, "{pixel:?}");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn transfer_and_alpha_are_of_the_same_pass() {
    let half = Picture::bars(16, 16).changed(|_| [0.25, 0.125, 0.5, 0.5]);
    for (options, right) in [
        ("alpha=premultiplied-to-straight", [128, 64, 255, 128]),
        ("alpha=straight-to-premultiplied", [32, 16, 64, 128]),
        ("alpha=opaque transfer=linear-to-srgb", [137, 99, 188, 255]),
        ("transfer=srgb-to-linear", [13, 4, 55, 128]),
    ] {
        for sink in ["sample-type=u16", "sample-type=f32", "sample-type=u8 channel-order=rgba"] {
            let source = format!("{options} {}", if sink.contains("rgba") { "channel-order=rgba" } else { "" });
            let came = crossed(&half, sink, &source, &device("video/x-raw,format=RGBA"));
            for pixel in came.codes().planes[0].chunks_exact(4) {
                assert!(pixel.iter().zip(right).all(|(a, b)| a.abs_diff(b) <= 2), "{options} {sink}: {pixel:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn what_encoders_take_becomes_any_wire() {
    for (width, height) in [(64, 48), (33, 17)] {
        let bars = Picture::bars(width, height);
        for format in ["NV12", "P010_10LE", "RGB10A2_LE"] {
            let site = if format == "RGB10A2_LE" { "" } else { ",chroma-site=jpeg" };
            let sent = bars.converted(&format!("video/x-raw,format={format}{site}"), "");
            // Each of four pixels has the chroma of all. To 8 bits videoconvert takes a short way that is off by five.
            let wide = sent.converted("video/x-raw,format=RGBA64_LE,colorimetry=sRGB", "chroma-mode=none").codes();
            // And of 2 bits of alpha it makes three quarters where they are full.
            let code = |(at, code): (usize, &u32)| if at % 4 == 3 { 255 } else { (code + 128) / 257 };
            let narrow = |plane: &Vec<u32>| plane.iter().enumerate().map(code).collect();
            let right = Codes { planes: wide.planes.iter().map(narrow).collect(), rows: wide.rows };
            for sink in ["", "sample-type=u8", "sample-type=u16", "sample-type=f16 channels=3", "sample-type=f32"] {
                let folder = Folder::new("wires");
                let name = Name::new("wires");
                let mut sender = Sender::start(&[]);
                sender.play(&format!(
                    "{} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink name=k sync=false shm-name={name} {sink}",
                    sent.played(&folder)
                ));
                let run = Run::playing(&format!(
                    "tdcudaipcsrc name=s shm-name={name} ! video/x-raw,format=RGBA ! appsink name=k sync=false"
                ));
                let came = Picture::of(&run);
                run.assert_no_error();
                run.stop();
                sender.order("stop", "stopped");
                assert_near(&came.codes(), &right, 2, &format!("{width}×{height} {format} as {sink:?}"));
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn pictures_of_another_context_go_over_the_host_and_are_the_same() {
    let bars = Picture::bars(33, 17);
    let (name, folder) = (Name::new("contexts"), Folder::new("contexts"));
    let mut sender = Sender::start(&[]);
    sender.play(&format!("{} ! tdcudaipcsink name=k sync=false shm-name={name} sample-type=f16", bars.played(&folder)));
    let source = format!(
        "tdcudaipcsrc name=s shm-name={name} ! {} ! appsink name=k sync=false",
        device("video/x-raw,format=NV12")
    );
    // Two pipelines have a context each, and memory of one producer is open in one of them.
    let runs = [Run::playing(&source), Run::playing(&source)];
    for run in &runs {
        let came = Picture::of(run);
        let right = bars.converted(&caps_of(&came), "");
        assert_near(&came.codes(), &right.codes(), 2, "f16 as NV12");
        run.assert_no_error();
    }
    let said: Vec<_> = runs.iter().flat_map(Run::sayings).collect();
    assert!(said.iter().any(|text| text.contains("another CUDA context")), "{said:?}");
    runs.iter().for_each(Run::stop);
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn one_kernel_a_frame_and_no_download() {
    let bars = Picture::bars(64, 48);
    let (name, folder) = (Name::new("passes"), Folder::new("passes"));
    let counts = folder.join("counts");
    let mut sender = Sender::start(&[]);
    sender.play(&format!("{} ! tdcudaipcsink name=k sync=false shm-name={name} sample-type=f32", bars.played(&folder)));
    let mut reader = Sender::start(&[("EMULATED_CUDA_STATS", counts.to_str().expect("a path of ours"))]);
    reader.play(&format!(
        "tdcudaipcsrc name=s num-buffers=10 shm-name={name} alpha=opaque transfer=linear-to-srgb keepalive=0 ! {} ! fakesink name=k sync=false",
        on_device("video/x-raw,format=NV12")
    ));
    common::poll("ten frames", PATIENCE, || {
        let line = reader.order("stat-of-source frames", "stat ");
        (line.trim_start_matches("stat ").parse() == Ok(10u32)).then_some(())
    });
    reader.order("stop", "stopped");
    reader.end();
    let counts = std::fs::read_to_string(&counts).expect("the driver has counted");
    let of =
        |call: &str| counts.lines().find_map(|line| line.strip_prefix(call)?.trim().parse::<u32>().ok()).unwrap_or(0);
    assert_eq!(of("cuLaunchKernel "), 10, "{counts}");
    assert!(!counts.contains("DtoH") && !counts.contains("HtoD") && !counts.contains("cuMemcpy2D"), "{counts}");
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn black_is_black_in_the_formats_of_encoders() {
    for (format, black) in [
        ("NV12,colorimetry=bt709", [16, 128]),
        ("NV12,colorimetry=1:3:7:1", [0, 128]),
        ("P010_10LE,colorimetry=bt709", [64, 512]),
        ("RGB10A2_LE", [0, 0]),
    ] {
        let name = Name::new("black");
        let capture = device(&format!("video/x-raw,format={format},width=33,height=17"));
        let run = Run::playing(&format!(
            "tdcudaipcsrc shm-name={name} while-waiting=black ! {capture} ! appsink name=k sync=false"
        ));
        let came = Picture::of(&run).codes();
        for (plane, black) in came.planes.iter().zip(black) {
            assert!(plane.iter().all(|code| *code == black), "{format}: {:?} is not {black}", plane.first());
        }
        run.assert_no_error();
        run.stop();
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn planes_that_reach_beyond_their_memory_are_an_error() {
    for (chroma, stride) in [(true, 0), (false, 1 << 20)] {
        let name = Name::new("beyond");
        let run = Run::new(&format!(
            "videotestsrc ! video/x-raw,format=NV12,width=64,height=48 ! cudaupload ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink name=k sync=false shm-name={name}"
        ));
        let pad = run.element("k").static_pad("sink").expect("a sink has a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let meta =
                    buffer.meta::<gst_video::VideoMeta>().expect("a frame on the device says where its planes are");
                let mut strides = [meta.stride()[0], meta.stride()[1]];
                let offset = if chroma { buffer.size() - strides[1] as usize } else { meta.offset()[1] };
                strides[1] += stride;
                // The same memory, and another word of it.
                let mut told = gst::Buffer::new();
                let fields = told.make_mut();
                fields.append_memory(buffer.memory(0).expect("a frame has memory"));
                let flags = gst_video::VideoFrameFlags::empty();
                gst_video::VideoMeta::add_full(fields, flags, VideoFormat::Nv12, 64, 48, &[0, offset], &strides)
                    .expect("GStreamer takes what it is told");
                *buffer = told;
            }
            gst::PadProbeReturn::Ok
        });
        run.play();
        let error = run.wait_error(PATIENCE);
        assert!(error.contains("cannot be mapped"), "{error}");
        run.stop();
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn the_wire_may_change_in_the_middle() {
    let name = Name::new("change");
    let mut sender = Sender::start(&[]);
    let run = Run::playing(&format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw(memory:CUDAMemory) ! cudadownload ! appsink name=k sync=false"
    ));
    let caps = |format: &str, width: u32, height: u32| {
        format!("video/x-raw,format={format},width={width},height={height},framerate=60/1")
    };
    sender.play(&format!(
        "appsrc name=a format=time is-live=true do-timestamp=true caps={} ! tdcudaipcsink name=k sync=false shm-name={name}",
        caps("RGBA", 64, 48)
    ));
    for (at, (format, width, height, wanted)) in [
        ("RGBA", 64, 48, VideoFormat::Nv12),
        ("RGBA64_LE", 64, 48, VideoFormat::P01010le),
        ("GRAY8", 33, 17, VideoFormat::Nv12),
        ("GRAY16_LE", 33, 17, VideoFormat::P01010le),
        ("BGR", 640, 2, VideoFormat::Nv12),
    ]
    .into_iter()
    .enumerate()
    {
        if at > 0 {
            sender.order(&format!("caps {}", caps(format, width, height)), "caps set");
        }
        sender.send(at as u32 * 20, 20, 60);
        common::poll("a picture of the new wire", PATIENCE, || {
            let came = Picture::of(&run);
            let info = came.info();
            let found = (info.format(), info.width(), info.height()) == (wanted, width, height);
            found.then(|| came.codes())
        });
    }
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn chroma_stands_where_downstream_takes_it() {
    for (width, height) in [(320, 240), (67, 31), (2, 1), (1, 1)] {
        let bars = Picture::bars(width, height);
        for format in ["NV12", "P010_10LE"] {
            for site in ["jpeg", "mpeg2"] {
                let came = crossed(&bars, "", "", &device(&format!("{NEEDS}{format},chroma-site={site}")));
                assert_eq!(
                    came.caps.structure(0).and_then(|said| said.get::<String>("chroma-site").ok()),
                    Some(site.into())
                );
                let right = bars.converted(&caps_of(&came), "");
                let what = format!("{width}×{height} {format} {site}");
                assert_near(&came.codes(), &right.codes(), most(came.info().format()), &what);
            }
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_pixels -- --ignored"]
fn chroma_at_another_site_is_read_as_the_nearer_one_with_a_warning() {
    for (format, site, warned) in [
        ("NV12", "mpeg2", false),
        ("P010_10LE", "cosited", true),
        ("NV12", "dv", true),
        ("NV12", "jpeg", false),
        ("RGBA", "cosited", false),
    ] {
        let name = Name::new("site");
        let run = Run::playing(&format!(
            "videotestsrc is-live=true ! video/x-raw,format={format},width=64,height=48 ! capssetter caps=video/x-raw,chroma-site={site} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink name=k sync=false shm-name={name}"
        ));
        common::poll("frames", PATIENCE, || (run.stat("k", "frames") > 2).then_some(()));
        run.assert_no_error();
        let told = run.history().join("\n");
        assert_eq!(told.contains(&format!("chroma-site={site} is read as mpeg2")), warned, "{format} {site}: {told}");
        run.stop();
    }
}
