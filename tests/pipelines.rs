// SPDX-License-Identifier: MPL-2.0
//! The elements in pipelines: messages, events, queries, caps changes, change detection, many starts and many frames.
#![cfg(target_os = "linux")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::machine::{descriptors, mappings, resident_kib};
use common::name::Name;
use common::peer::Peer;
use common::recorder::Recorder;
use common::run::Run;
use common::{PATIENCE, PROMPT, frames, poll, prompt};
use gst::prelude::*;

const SIZE: usize = 16 * 16 * 4;
const GEOMETRY: &str = "protocol=raw width=16 height=16 channels=4";
const RGBA: &str = "video/x-raw,format=RGBA";

fn source(name: &str, options: &str) -> String {
    format!("tdshmsrc name=s shm-name={name} {GEOMETRY} {options} ! {RGBA} ! fakesink name=out sync=false async=false")
}

fn pictures(name: &str, options: &str) -> String {
    format!(
        "videotestsrc is-live=true pattern=ball ! {RGBA},width=16,height=16,framerate=60/1 ! tdshmsink name=s shm-name={name} {options}"
    )
}

/// A Python sender with one segment of 16×16 RGBA.
fn sender(name: &str) -> Peer {
    let mut writer = Peer::python("writer.py");
    assert_eq!(writer.ask(&format!("create {name} {SIZE}")), "created");
    writer
}

#[test]
fn a_connection_says_what_it_is_connected_to() {
    let name = Name::new("said");
    let mut writer = sender(&name);
    let run = Run::playing(&source(&name, ""));
    let connected = run.wait_message("tdlink-connected");
    assert_eq!(connected.get::<String>("name").as_deref(), Ok(&*name));
    assert_eq!(connected.get::<String>("protocol").as_deref(), Ok("raw"));
    let number = |field: &str| {
        let value = connected.value(field).unwrap_or_else(|_| panic!("{field} is in {connected}"));
        value.get::<i32>().ok().or_else(|| value.get::<u32>().ok().and_then(|value| value.try_into().ok()))
    };
    assert_eq!((number("width"), number("height")), (Some(16), Some(16)));
    assert!(connected.has_field("format"), "{connected}");
    assert!(run.element("s").property::<bool>("connected"));
    run.stop();
    assert!(!run.element("s").property::<bool>("connected"));
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn the_sink_says_what_to_type_on_the_other_side() {
    let name = Name::new("type");
    let run = Run::playing(&pictures(&name, ""));
    let published = run.wait_message("tdlink-published");
    assert_eq!(published.get::<String>("name").as_deref(), Ok(&*name), "{published}");
    poll("an INFO message", PATIENCE, || {
        let told = |said: &String| said.contains(&*name) && said.contains("Shared Memory") && said.contains("16");
        run.sayings().iter().any(told).then_some(())
    });
    run.stop();
}

#[test]
fn counters_count() {
    let name = Name::new("stats");
    let sink = Run::playing(&pictures(&name, ""));
    sink.wait_message("tdlink-published");
    let source = Run::new(&source(&name, "framerate=60/1"));
    let recorder = Recorder::source(&source, "s");
    source.play();
    recorder.wait_for(20, PATIENCE);
    for field in [
        "frames",
        "repeated",
        "skipped",
        "torn",
        "overwritten",
        "reattached",
        "last-frame-age-ms",
        "latency-ns",
        "wake-jitter-us",
    ] {
        source.stat("s", field);
    }
    let before = recorder.count() as u64;
    let counted = source.stat("s", "frames") + source.stat("s", "repeated");
    assert!(counted >= before, "{counted} counted, {before} seen before");
    for field in ["frames", "frames-copied", "dropped", "rendered"] {
        sink.stat("s", field);
    }
    assert!(sink.stat("s", "frames") >= 1 && sink.stat("s", "frames-copied") >= 1);
    let stats = sink.element("s").property::<gst::Structure>("stats");
    assert!(stats.has_field("average-rate"), "GstBaseSink's own fields stay: {stats}");
    source.stop();
    sink.stop();
}

#[test]
fn the_source_is_live_and_its_latency_is_within_two_frames() {
    let name = Name::new("latency");
    let mut writer = sender(&name);
    let run = Run::new(&source(&name, "framerate=50/1"));
    let recorder = Recorder::source(&run, "s");
    assert_eq!(run.pipeline.set_state(gst::State::Paused), Ok(gst::StateChangeSuccess::NoPreroll), "live");
    run.play();
    recorder.wait_for(2, PATIENCE);
    let mut latency = gst::query::Latency::new();
    assert!(run.element("s").query(&mut latency), "the source answers the latency query");
    let (live, min, max) = latency.result();
    assert!(live);
    assert!(min <= gst::ClockTime::from_mseconds(40), "{min}");
    assert!(max.is_none_or(|max| max >= min), "{max:?} is at least {min}");
    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    if run.element("s").query(&mut seeking) {
        assert!(!seeking.result().0, "nobody can seek in what is live");
    }
    let clock = run.element("s").provide_clock().expect("the source provides a clock");
    assert!(clock.is::<gst::SystemClock>(), "{clock:?}");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn the_source_ends_after_num_buffers() {
    let name = Name::new("num");
    let mut writer = sender(&name);
    let run = Run::new(&source(&name, "num-buffers=7 framerate=60/1"));
    let recorder = Recorder::source(&run, "s");
    run.play();
    run.wait_eos(PATIENCE);
    assert_eq!(recorder.count(), 7);
    assert!(recorder.pictures()[0].is_discont(), "the first buffer is a discontinuity");
    assert!(recorder.pictures()[1..].iter().all(|picture| !picture.is_discont()), "and no other");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn caps_carry_size_rate_and_colorimetry() {
    let name = Name::new("caps");
    let mut writer = sender(&name);
    for (options, rate, colorimetry) in [
        ("framerate=25/1", gst::Fraction::new(25, 1), "sRGB"),
        ("framerate=30000/1001 pacing=constant colorimetry=bt709", gst::Fraction::new(30000, 1001), "bt709"),
        ("framerate=0/1", gst::Fraction::new(60, 1), "sRGB"),
    ] {
        let run = Run::new(&source(&name, options));
        let recorder = Recorder::source(&run, "s");
        run.play();
        recorder.wait_for(1, PATIENCE);
        let caps = recorder.caps();
        let video = caps[0].structure(0).expect("caps are fixed");
        assert_eq!(video.get::<gst::Fraction>("framerate"), Ok(rate), "{options}: {video}");
        assert_eq!(video.get::<String>("colorimetry").as_deref(), Ok(colorimetry), "{options}: {video}");
        assert_eq!((video.get("width"), video.get("height")), (Ok(16), Ok(16)));
        run.stop();
    }
    writer.ask(&format!("unlink {name}"));
}

/// Hashes of `pattern` as Python knows them: md5, crc32, checksum (adler32).
fn hashes(answer: &str) -> Vec<String> {
    answer.split(' ').skip(1).map(str::to_owned).collect()
}

#[test]
fn a_change_is_told_with_the_hash_that_python_computes() {
    let name = Name::new("hash");
    let mut writer = sender(&name);
    for (method, at) in [("md5", 0), ("crc32", 1), ("checksum", 2)] {
        let run = Run::new(&source(&name, &format!("change-detection={method} framerate=60/1")));
        let (sender, signals) = channel();
        run.element("s").connect("image-changed", false, move |values| {
            let hash = values[1].get::<String>().expect("the hash is a string");
            let _ = sender.send(hash);
            None
        });
        let mut expected = Vec::new();
        for seed in ["a", "b", "c"] {
            expected.push(hashes(&writer.ask(&format!("pattern {name} {method}{seed}")))[at].clone());
            if seed == "a" {
                run.play();
            }
            let told = run.wait_message("tdlink-image-changed");
            let hash = signals.recv_timeout(PATIENCE).expect("the signal comes with the message");
            assert_eq!(&hash, expected.last().expect("one was pushed"), "{method} of the wire's bytes");
            assert!(told.to_string().contains(&hash), "{told} carries {hash}");
        }
        writer.ask("rest 0.3");
        assert_eq!(run.posted("tdlink-image-changed"), 3, "{method}: one message for each change");
        assert!(signals.try_recv().is_err(), "{method}: one signal for each change");
        run.stop();
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn skip_unchanged_pushes_each_change_once_and_beats_keepalive() {
    let name = Name::new("skip");
    let mut writer = sender(&name);
    for pacing in ["constant", "as-produced"] {
        for method in ["checksum", "crc32", "md5"] {
            writer.ask(&format!("fill {name} 1"));
            let options =
                format!("skip-unchanged=true change-detection={method} pacing={pacing} framerate=60/1 keepalive=50");
            let run = Run::new(&source(&name, &options));
            let recorder = Recorder::source(&run, "s");
            run.play();
            recorder.wait_for(1, PATIENCE);
            for byte in [2, 3, 3, 4, 1] {
                let before = recorder.count();
                let changed = recorder.pictures()[before - 1].bytes[0] != byte;
                writer.ask(&format!("fill {name} {byte}"));
                if changed {
                    recorder.wait_for(before + 1, PATIENCE);
                } else {
                    writer.ask("rest 0.2");
                }
            }
            writer.ask("rest 0.3");
            let values: Vec<_> = recorder.pictures().iter().map(|picture| picture.bytes[0]).collect();
            assert_eq!(values, [1, 2, 3, 4, 1], "{pacing} {method}");
            run.stop();
        }
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_caps_change_republishes_under_the_same_name() {
    let name = Name::new("change");
    let filter = format!("capsfilter name=f caps={RGBA},width=320,height=240,framerate=60/1");
    let chain = "videotestsrc is-live=true pattern=ball ! videoconvertscale";
    let run = Run::playing(&format!("{chain} ! {filter} ! tdshmsink name=s shm-name={name}"));
    run.wait_message("tdlink-published");
    let (mut old, mut new) = (Peer::python("reader.py"), Peer::python("reader.py"));
    assert_eq!(old.ask(&format!("attach {name}")), format!("attached {}", 320 * 240 * 4));
    assert_eq!(old.ask("changes 10"), "changed");
    for (format, width, height, bytes) in [("RGBA", 160, 120, 4), ("RGB", 161, 121, 3), ("RGBA64_LE", 641, 3, 8)] {
        let caps = format!("video/x-raw,format={format},width={width},height={height},framerate=60/1");
        run.element("f").set_property("caps", caps.parse::<gst::Caps>().expect("they are caps"));
        run.wait_message("tdlink-published");
        let size = u64::try_from(width * height * bytes).expect("it is small");
        name.wait_for_size(size);
        assert_eq!(new.ask(&format!("attach {name}")), format!("attached {size}"));
        assert_eq!(new.ask("changes 10"), "changed", "{format}");
        assert_eq!(old.ask("md5").len(), 36, "a reader of the old size is not torn away");
        new.ask("detach");
    }
    run.assert_no_error();
    run.stop();
}

#[test]
fn the_source_gives_each_downstream_what_it_can_take() {
    let name = Name::new("renego");
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 90"));
    let chain = format!("tdshmsrc name=s shm-name={name} {GEOMETRY} framerate=60/1 ! capsfilter name=f caps={RGBA}");
    let run = Run::playing(&format!("{chain} ! appsink name=out sync=false max-buffers=1 drop=true"));
    frames::pull(&run, "out");
    for format in ["BGR", "RGBA64_LE", "RGBx", "BGRA"] {
        let caps = format!("video/x-raw,format={format}").parse::<gst::Caps>().expect("they are caps");
        run.element("f").set_property("caps", caps);
        let frame = poll(&format!("{format} arrives"), PATIENCE, || {
            let (frame, info) = frames::pull(&run, "out");
            (info.format() == gst_video::VideoFormat::from_string(format)).then_some(frame)
        });
        let padding = if format == "RGBx" { 255 } else { 90 };
        assert!(frame.iter().enumerate().all(|(at, byte)| *byte == if at % 4 == 3 { padding } else { 90 }), "{format}");
    }
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn it_stops_within_a_second_in_every_phase() {
    let name = Name::new("stop");
    for options in ["", "while-waiting=black", "connection-timeout=60", "pacing=as-produced", "pacing=constant"] {
        let run = Run::playing(&source(&name, options));
        run.wait_message("tdlink-waiting");
        run.stop(); // asserts that it is prompt
    }
    let mut writer = sender(&name);
    for pacing in ["as-produced", "constant"] {
        let run = Run::new(&source(&name, &format!("pacing={pacing} framerate=1/5 keepalive=0")));
        let recorder = Recorder::source(&run, "s");
        run.play();
        recorder.wait_for(1, PATIENCE);
        run.stop(); // in the middle of a period of five seconds
        let run = Run::playing(&source(&name, &format!("pacing={pacing} framerate=60/1")));
        run.wait_message("tdlink-stalled");
        run.stop();
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn eos_is_through_within_a_second_in_every_phase() {
    let name = Name::new("eos");
    let end = |run: &Run, phase: &str| {
        run.pipeline.send_event(gst::event::Eos::new());
        prompt(&format!("EOS while {phase}"), PROMPT, || run.wait_eos(PROMPT));
        run.stop();
    };
    let run = Run::playing(&source(&name, ""));
    run.wait_message("tdlink-waiting");
    end(&run, "waiting");
    let mut writer = sender(&name);
    for pacing in ["as-produced", "constant"] {
        let run = Run::new(&source(&name, &format!("pacing={pacing} framerate=1/5 keepalive=0")));
        let recorder = Recorder::source(&run, "s");
        run.play();
        recorder.wait_for(1, PATIENCE);
        end(&run, "streaming slowly");
        let run = Run::playing(&source(&name, &format!("pacing={pacing} framerate=60/1")));
        run.wait_message("tdlink-stalled");
        end(&run, "stalled");
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_flush_wakes_the_source_and_it_goes_on() {
    let name = Name::new("flush");
    let mut writer = sender(&name);
    let run = Run::new(&source(&name, "framerate=1/5 pacing=constant"));
    let recorder = Recorder::source(&run, "s");
    run.play();
    recorder.wait_for(1, PATIENCE);
    let source = run.element("s");
    prompt("the flush", PROMPT, || assert!(source.send_event(gst::event::FlushStart::new())));
    prompt("the end of the flush", PROMPT, || assert!(source.send_event(gst::event::FlushStop::new(true))));
    recorder.wait_for_new(Duration::from_secs(8));
    run.assert_no_error();
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn pause_and_play_go_on_where_they_were() {
    let name = Name::new("pause");
    let mut writer = sender(&name);
    let run = Run::new(&source(&name, "framerate=60/1"));
    let recorder = Recorder::source(&run, "s");
    run.play();
    recorder.wait_for(5, PATIENCE);
    for _ in 0..3 {
        prompt("PAUSED", PROMPT, || run.pipeline.set_state(gst::State::Paused)).expect("it pauses");
        writer.ask("rest 0.3");
        run.play();
        recorder.wait_for_new(PATIENCE);
    }
    let pictures = recorder.wait_for(recorder.count() + 5, PATIENCE);
    for pair in pictures.windows(2) {
        assert!(pair[0].pts < pair[1].pts, "PTS {} comes after {}", pair[1].pts, pair[0].pts);
    }
    run.assert_no_error();
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_hundred_starts_and_stops_leave_nothing_behind() {
    let name = Name::new("cycle");
    let sink = Run::new(&pictures(&name, ""));
    let source = Run::new(&source(&name, "framerate=60/1"));
    let recorder = Recorder::source(&source, "s");
    let mut before = None;
    for cycle in 0..100 {
        let first = if cycle % 2 == 0 { [&sink, &source] } else { [&source, &sink] };
        first.iter().for_each(|run| run.play());
        recorder.wait_for_new(PATIENCE);
        assert!(mappings() >= 2, "both have the segment mapped");
        let last = if cycle % 4 < 2 { [&sink, &source] } else { [&source, &sink] };
        last.iter().for_each(|run| run.stop());
        assert_eq!(mappings(), 0, "nothing is mapped after stop {cycle}");
        assert_eq!(name.leftovers(), [""; 0], "nothing is published after stop {cycle}");
        let after = descriptors();
        // A test before this one, in the same process, may still be letting go of its own.
        let before: &Vec<String> = before.get_or_insert_with(|| after.clone());
        let new: Vec<&String> = after.iter().filter(|descriptor| !before.contains(descriptor)).collect();
        assert!(new.is_empty() && after.len() <= before.len(), "after stop {cycle} there are {new:?} more: {after:?}");
    }
    sink.assert_no_error();
    source.assert_no_error();
}

/// Lets 10,000 frames pass `pad` and compares memory and descriptors after the first thousand with those at the end.
fn assert_flat(run: &Run, pad: &gst::Pad) {
    let (sender, marks) = channel();
    let count = AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if [1_000, 10_000].contains(&(count.fetch_add(1, Ordering::Relaxed) + 1)) {
            let _ = sender.send((resident_kib(), descriptors()));
        }
        gst::PadProbeReturn::Ok
    })
    .expect("the probe can be set");
    run.play();
    let limit = Duration::from_secs(60);
    let (early, first) = marks.recv_timeout(limit).unwrap_or_else(|_| panic!("1,000 frames: {:#?}", run.history()));
    let (late, last) = marks.recv_timeout(limit).unwrap_or_else(|_| panic!("10,000 frames: {:#?}", run.history()));
    assert_eq!(first, last, "descriptors");
    assert!(late <= early + 512, "{early} KiB after 1,000 frames, {late} KiB after 10,000");
    run.assert_no_error();
    run.stop();
}

#[test]
fn ten_thousand_frames_out_need_no_more_memory_than_a_thousand() {
    let name = Name::new("flatout");
    let chain = format!("videotestsrc num-buffers=10001 ! {RGBA},width=64,height=64");
    let run = Run::new(&format!("{chain} ! tdshmsink name=s shm-name={name} sync=false"));
    assert_flat(&run, &run.element("s").static_pad("sink").expect("a sink has it"));
}

#[test]
fn ten_thousand_frames_in_need_no_more_memory_than_a_thousand() {
    let name = Name::new("flatin");
    let mut writer = sender(&name);
    writer.ask(&format!("loop {name} 500"));
    for options in ["framerate=2000/1 pacing=constant change-detection=md5", "pacing=as-produced keepalive=1"] {
        let run = Run::new(&source(&name, options));
        if options.contains("as-produced") {
            writer.ask("stop"); // all but the first are repeats then
        }
        let start = Instant::now();
        // the bus keeps what nobody reads, and changes are told on it
        run.pipeline.bus().expect("a pipeline has a bus").set_sync_handler(|_, _| gst::BusSyncReply::Drop);
        assert_flat(&run, &run.element("s").static_pad("src").expect("a source has it"));
        assert!(start.elapsed() >= Duration::from_secs(4), "not faster than asked for: {:?}", start.elapsed());
    }
    writer.ask(&format!("unlink {name}"));
}
