// SPDX-License-Identifier: MPL-2.0
//! Frames cross from one process to another by cuda-link's ring, on the GPU, and are what they were.
//!
//! These tests want a CUDA driver, a real one or the emulated one: `cargo xtask emulated -- cargo test --test cudaipc --
//! --ignored`. The emulated one delays the writer's copies, so that a reader who does not wait sees torn or old pictures.
#![cfg(target_os = "linux")]

mod common;

use std::time::{Duration, Instant};

use common::frames;
use common::name::Name;
use common::pictures;
use common::run::Run;
use common::sender::{ROLE, Sender};
use common::{PATIENCE, poll};
use gst::prelude::*;
use gst_video::VideoInfo;

/// Each copy of the writer takes so long, and does its halves apart: a reader that does not wait sees it.
const SLOW: [(&str, &str); 1] = [("EMULATED_CUDA_COPY_DELAY_US", "3000")];

#[test]
#[ignore = "the other process of the tests here; does nothing by itself"]
fn the_other_process() {
    assert_eq!(ROLE, "the_other_process");
    common::sender::serve();
}

/// Without the caps behind it, it would leave the upload to our sink.
const UPLOAD: &str = "cudaupload ! video/x-raw(memory:CUDAMemory) !";

fn caps(format: &str, width: u32, height: u32) -> String {
    format!("video/x-raw,format={format},width={width},height={height},framerate=60/1")
}

fn on_device(caps: &str) -> String {
    caps.replace("video/x-raw,", "video/x-raw(memory:CUDAMemory),")
}

/// `appsrc ! upload ! tdcudaipcsink`.
fn sending(name: &str, caps: &str, upload: &str, options: &str) -> String {
    format!(
        "appsrc name=a format=time is-live=true do-timestamp=true caps={caps} ! {upload} tdcudaipcsink name=k sync=false shm-name={name} {options}"
    )
}

/// A picture that came.
struct Came {
    number: u32,
    pts: gst::ClockTime,
}

/// The next picture of the appsink `k`, which must be whole.
fn next(run: &Run, limit: Duration) -> Option<Came> {
    let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let sample = sink.try_pull_sample(gst::ClockTime::try_from(left).expect("some seconds"))?;
        let info = VideoInfo::from_caps(sample.caps().expect("a sample has caps")).expect("they are video caps");
        let buffer = sample.buffer().expect("a sample has a buffer");
        if buffer.flags().contains(gst::BufferFlags::GAP) {
            continue;
        }
        let number = pictures::whole_number(&info, &frames::packed(buffer, &info));
        return Some(Came { number, pts: buffer.pts().expect("every buffer has a PTS") });
    }
}

fn must(run: &Run) -> Came {
    next(run, PATIENCE).unwrap_or_else(|| panic!("no picture came; {:#?}", run.history()))
}

/// Sends `count` pictures to `receiver` until some have come, and asserts that each is whole and the one whose publication
/// its time stamp tells.
fn crossed(sender: &mut Sender, run: &Run, from: u32, count: u32, rate: u32) -> Vec<u32> {
    sender.peer.say(&format!("send {from} {count} {rate}"));
    let mut came = Vec::new();
    while came.last().is_none_or(|last: &Came| last.number != from + count - 1) {
        came.push(must(run));
    }
    sender.peer.hear("sent all", PATIENCE);
    // An appsrc hands on what it was given when it comes to it.
    let last = from + count - 1;
    if !sender.times().contains_key(&last) {
        sender.peer.hear(&format!("frame {last} "), PATIENCE);
    }
    let base = run.pipeline.base_time().expect("a playing pipeline has a base time");
    let times = sender.times();
    for picture in &came {
        let stamp = (picture.pts + base).nseconds();
        let at = |number: u32| times.get(&number).copied();
        let since = at(picture.number).unwrap_or_else(|| panic!("picture {} was never sent", picture.number));
        // A stamp is a double of seconds.
        assert!(since <= stamp + 1000, "picture {} bears the stamp of one before", picture.number);
        let until = at(picture.number + 1).unwrap_or(u64::MAX);
        assert!(stamp <= until, "picture {} bears the stamp of a later one: it is an old one", picture.number);
    }
    let numbers: Vec<_> = came.iter().map(|picture| picture.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice: {numbers:?}");
    run.assert_no_error();
    numbers
}

/// One form of frames from one process to the other and back to what they were.
fn cross(label: &str, caps: &str, upload: &str, sink: &str, source: &str, rate: u32) {
    let name = Name::new(label);
    let mut sender = Sender::start(&SLOW);
    let capture = if upload.is_empty() {
        caps.replace(",framerate=60/1", "")
    } else {
        on_device(caps).replace(",framerate=60/1", "")
    };
    let download = if upload.is_empty() { "" } else { "! cudadownload ! video/x-raw" };
    let run = Run::new(&format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 {source} ! {capture} {download} ! appsink name=k sync=false"
    ));
    run.play();
    sender.play(&sending(&name, caps, upload, sink));
    let numbers = crossed(&mut sender, &run, 100, 12, rate);
    let enough = if rate < 10 { 2 } else { 4 };
    assert!(numbers.len() >= enough, "{label}: of 12 pictures only {numbers:?} came");
    assert_eq!(run.posted("tdlink-connected"), 1);
    if source.contains("io-mode=import") && can_import() {
        let said = run.sayings();
        assert!(!said.iter().any(|text| text.contains("nevertheless")), "it was a copy: {said:?}");
    }
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn every_device_format_crosses_upside_down_and_back() {
    for format in ["RGBA", "BGRA", "RGBx", "BGRx", "RGB", "BGR"] {
        cross(&format!("dev-{format}"), &caps(format, 320, 240), UPLOAD, "", "", 30);
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn rgba_order_and_upright_rows_cross_as_well() {
    for (sink, source) in [
        ("origin=top-left", "origin=top-left"),
        ("channel-order=rgba", "channel-order=rgba"),
        ("channel-order=rgba origin=top-left legacy-flags=true", "channel-order=rgba origin=top-left"),
        ("export-sync=true slots=2", ""),
        ("slots=10", ""),
    ] {
        cross("orders", &caps("RGBA", 322, 242), UPLOAD, sink, source, 30);
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn odd_widths_cross() {
    for (width, height) in [(1, 1), (3, 1), (17, 5), (321, 241), (641, 2)] {
        for format in ["RGBA", "RGB"] {
            cross("odd", &caps(format, width, height), UPLOAD, "", "", 30);
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn pictures_of_4k_cross() {
    // On two busy processors the emulated copies of such a picture take long.
    cross("4k", &caps("BGRA", 3840, 2160), UPLOAD, "", "", 2);
    cross("4k-odd", &caps("RGBA", 3839, 2159), UPLOAD, "origin=top-left", "origin=top-left", 2);
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn system_memory_is_uploaded_and_downloaded() {
    for format in ["RGBA", "BGRA", "RGBx", "BGR", "GRAY8", "GRAY16_LE", "RGBA64_LE"] {
        cross(&format!("sys-{format}"), &caps(format, 321, 240), "", "", "", 30);
    }
    cross("sys-top", &caps("RGB", 99, 33), "", "origin=top-left", "origin=top-left", 30);
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn imported_slots_are_what_was_sent() {
    for format in ["RGBA", "BGRA", "RGB"] {
        let order = if format == "BGRA" { "bgra" } else { "rgba" };
        let both = format!("origin=top-left channel-order={order}");
        let source = format!("{both} io-mode=import");
        cross(&format!("imp-{format}"), &caps(format, 320, 240), UPLOAD, &format!("{both} slots=6"), &source, 30);
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn upstream_writes_its_buffer_again_only_when_our_copy_has_read_it() {
    let name = Name::new("reuse");
    // The next picture's upload into the same buffer begins when the sink returns.
    let mut sender = Sender::start(&[("EMULATED_CUDA_COPY_DELAY_US", "10000")]);
    let run = Run::new(&format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw,format=RGBA ! appsink name=k sync=false"
    ));
    run.play();
    sender.play(&sending(&name, &caps("RGBA", 640, 360), UPLOAD, "slots=10"));
    let numbers = crossed(&mut sender, &run, 1, 60, 1000);
    assert!(numbers.len() > 5, "of 60 pictures only {numbers:?} came");
    run.stop();
    sender.order("stop", "stopped");
}

/// Whether this GStreamer can take foreign device memory.
fn can_import() -> bool {
    gst::version() >= (1, 24, 0, 0)
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn an_import_that_cannot_be_is_a_copy_and_says_so() {
    let name = Name::new("no-import");
    let mut sender = Sender::start(&SLOW);
    let caps = caps("BGRA", 64, 48);
    // The default origin is TouchDesigner's, whose rows must be turned.
    let run = Run::new(&format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 io-mode=import ! {} ! cudadownload ! appsink name=k sync=false",
        on_device("video/x-raw,format=BGRA")
    ));
    run.play();
    sender.play(&sending(&name, &caps, UPLOAD, ""));
    crossed(&mut sender, &run, 1, 10, 30);
    let said = run.sayings();
    // One test, one process: another pipeline's context would be a reason, too.
    let reason = if can_import() { "stand on their head" } else { "1.24" };
    assert!(said.iter().any(|text| text.contains("io-mode=import") && text.contains(reason)), "{said:?}");
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn an_imported_frame_that_is_held_for_too_long_is_counted() {
    if !can_import() {
        eprintln!("not tested: {} cannot import", gst::version_string());
        return;
    }
    let name = Name::new("held");
    let mut sender = Sender::start(&[]);
    let both = "origin=top-left";
    let run = Run::new(&format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 {both} io-mode=import ! {} ! appsink name=k sync=false max-buffers=1 drop=true",
        on_device("video/x-raw,format=BGRA")
    ));
    run.play();
    sender.play(&sending(&name, &caps("BGRA", 64, 48), UPLOAD, both));
    sender.peer.say("send 1 100 60");
    let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
    let held = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).expect("a picture comes");
    assert_eq!(run.stat("s", "overwritten"), 0);
    // Three slots: when four more have come it has been written over.
    let frames = run.stat("s", "frames");
    poll("four more frames", PATIENCE, || (run.stat("s", "frames") >= frames + 4).then_some(()));
    drop(held);
    // An appsink keeps what it gave last until it gives the next one.
    let let_go = || sink.try_pull_sample(gst::ClockTime::from_seconds(20)).map(drop);
    poll("a frame that was held while the ring went round", PATIENCE, || {
        let_go()?;
        (run.stat("s", "overwritten") >= 1).then_some(())
    });
    run.assert_no_error();
    run.stop();
    sender.peer.hear("sent all", PATIENCE);
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn size_and_format_change_in_the_middle() {
    let name = Name::new("change");
    let mut sender = Sender::start(&SLOW);
    // On the device it would be what encoders take, of the same wire.
    let run =
        Run::new(&format!("tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw ! appsink name=k sync=false"));
    run.play();
    let form = |(format, width, height): (&str, u32, u32)| caps(format, width, height);
    let forms = [("RGBA", 64, 48), ("RGBA", 320, 240), ("BGR", 320, 240), ("GRAY16_LE", 31, 17), ("BGRA", 640, 360)];
    sender.play(&sending(&name, &form(forms[0]), "", ""));
    let mut from = 0;
    for (at, next_form) in forms.into_iter().enumerate() {
        if at > 0 {
            sender.order(&format!("caps {}", form(next_form)), "caps set");
        }
        sender.peer.say(&format!("send {from} 30 60"));
        // Its own pixels come back whatever they are called.
        let caps = form(next_form).parse::<gst::Caps>().expect("the test gives caps");
        let sent = VideoInfo::from_caps(&caps).expect("they are video caps");
        let shape = |info: &VideoInfo| (info.width(), info.height(), info.comp_pstride(0));
        let (sample, info) = poll("a picture of the new form", PATIENCE, || {
            let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
            let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20))?;
            let info = VideoInfo::from_caps(sample.caps()?).expect("they are video caps");
            (shape(&info) == shape(&sent)).then_some((sample, info))
        });
        let mut picture = frames::packed(sample.buffer().expect("a sample has a buffer"), &info);
        if info.format() != sent.format() {
            // The wire's order of colours.
            let pixel = info.comp_pstride(0) as usize;
            assert!(pixel >= 3, "{info:?} of {sent:?}");
            picture.chunks_mut(pixel).for_each(|pixel| pixel.swap(0, 2));
        }
        let number = pictures::whole_number(&sent, &picture);
        assert!((from..from + 30).contains(&number), "picture {number} is of another form");
        sender.peer.hear("sent all", PATIENCE);
        from += 30;
    }
    assert_eq!(run.posted("tdlink-disconnected"), 0, "it stays the same producer");
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc -- --ignored"]
fn several_sources_read_one_name() {
    let name = Name::new("several");
    let mut sender = Sender::start(&SLOW);
    let branch = |sink: &str, capture: &str| {
        format!("tdcudaipcsrc shm-name={name} keepalive=0 ! {capture} appsink name={sink} sync=false ")
    };
    let cuda = format!("{} ! cudadownload ! video/x-raw,format=RGBA !", on_device("video/x-raw,format=RGBA"));
    let one = Run::new(&(branch("k", &cuda) + &branch("l", "video/x-raw,format=RGBA !")));
    // And another pipeline, with a context of its own if it wants one.
    let other = Run::new(&branch("k", &cuda));
    one.play();
    other.play();
    sender.play(&sending(&name, &caps("RGBA", 320, 240), UPLOAD, ""));
    sender.peer.say("send 1 60 30");
    for _ in 0..5 {
        must(&one);
        must(&other);
        let (picture, info) = frames::pull(&one, "l");
        pictures::whole_number(&info, &picture);
    }
    one.assert_no_error();
    other.assert_no_error();
    one.stop();
    must(&other);
    other.stop();
    sender.peer.hear("sent all", PATIENCE);
    sender.order("stop", "stopped");
}
