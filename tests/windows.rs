// SPDX-License-Identifier: MPL-2.0
//! What is Windows' own: names that live as long as anybody has them open, sections that cannot grow.
#![cfg(windows)]

mod common;

use std::time::Duration;

use common::name::Name;
use common::peer::Peer;
use common::recorder::Recorder;
use common::run::Run;
use common::{PATIENCE, poll};
use gst::prelude::*;

const FILTER: &str = "video/x-raw,format=RGBA,framerate=60/1";

/// A source of 64 × 64 RGBA, and everything that it pushes.
fn source(name: &Name, options: &str) -> (Run, Recorder) {
    let geometry = "protocol=raw width=64 height=64 channels=4";
    let run =
        Run::new(&format!("tdshmsrc name=s shm-name={name} {geometry} {options} ! fakesink sync=false async=false"));
    let recorder = Recorder::source(&run, "s");
    run.play();
    (run, recorder)
}

/// CPython makes the section, as soon as nobody has the old one open.
fn create(writer: &mut Peer, name: &Name) {
    poll("a section of its own", PATIENCE, || {
        writer.say(&format!("try-create {name} {}", 64 * 64 * 4));
        (writer.hear("created", PATIENCE) == "created").then_some(())
    });
}

#[test]
fn a_sender_that_is_killed_comes_back_under_its_name_though_the_source_waits_for_it() {
    for options in ["", "pacing=as-produced"] {
        let name = Name::new("back");
        let (run, recorder) = source(&name, options);
        for byte in [11, 22, 33] {
            let mut writer = Peer::python("writer.py");
            create(&mut writer, &name);
            writer.ask(&format!("fill {name} {byte}"));
            recorder.wait_until("the sender's frame", PATIENCE, |all| {
                all.last().is_some_and(|picture| picture.bytes.iter().all(|found| *found == byte))
            });
            writer.kill();
            run.wait_message("tdlink-disconnected");
        }
        run.assert_no_error();
        run.stop();
    }
}

#[test]
fn a_sink_that_is_killed_is_followed_in_the_section_that_its_reader_has_open() {
    let name = Name::new("followed");
    let picture = |pattern| format!("videotestsrc is-live=true pattern={pattern} ! {FILTER},width=64,height=64");
    let mut first = Peer::launch(&format!("{} ! tdshmsink shm-name={name}", picture("white")));
    first.hear("tdlink-published", PATIENCE);
    let mut reader = Peer::python("reader.py");
    assert_eq!(reader.ask(&format!("attach {name}")), "attached 16384");
    let shows = |reader: &mut Peer, pixel: &str| {
        poll(&format!("pixels {pixel}"), PATIENCE, || {
            (reader.ask("bytes 0 4") == pixel && reader.ask("bytes 16380 4") == pixel).then_some(())
        });
    };
    shows(&mut reader, "ffffffff");
    first.kill();
    let second = Run::playing(&format!("{} ! tdshmsink name=k shm-name={name}", picture("red")));
    second.wait_message("tdlink-published");
    shows(&mut reader, "ff0000ff");
    second.assert_no_error();
    second.stop();
}

#[test]
fn a_sink_waits_for_a_reader_of_smaller_frames_to_let_go_and_says_so() {
    for control in ["true", "false"] {
        let name = Name::new("grow");
        let caps = |side: u32| format!("{FILTER},width={side},height={side}");
        let chain = format!("videotestsrc is-live=true ! videoconvertscale ! capsfilter name=f caps={}", caps(64));
        let run = Run::playing(&format!("{chain} ! tdshmsink name=k shm-name={name} control={control}"));
        run.wait_message("tdlink-published");
        let mut reader = Peer::python("reader.py");
        assert_eq!(reader.ask(&format!("attach {name}")), "attached 16384");
        run.element("f").set_property("caps", caps(128).parse::<gst::Caps>().expect("they are caps"));
        poll("a warning", PATIENCE, || run.sayings().iter().any(|said| said.contains("too small")).then_some(()));
        let dropped = run.stat("k", "dropped");
        poll("frames are dropped", PATIENCE, || (run.stat("k", "dropped") > dropped).then_some(()));
        reader.ask("detach");
        run.wait_message("tdlink-published");
        let size = 128 * 128 * 4;
        name.wait_for_size(size);
        assert_eq!(reader.ask(&format!("attach {name}")), format!("attached {size}"));
        // A part of the test picture is snow.
        assert_eq!(reader.ask("changes 10"), "changed");
        run.assert_no_error();
        run.stop();
    }
}

#[test]
fn the_source_keeps_its_rate_without_the_systems_coarse_tick() {
    let name = Name::new("tick");
    let mut writer = Peer::python("writer.py");
    create(&mut writer, &name);
    let (run, recorder) = source(&name, "framerate=250/1 pacing=constant");
    // A tick of 15.6 ms would give 64 a second, four at a time.
    recorder.wait_for(500, Duration::from_secs(10));
    let jitter = run.stat("s", "wake-jitter-us");
    println!("wake-jitter-us {jitter}");
    assert!(jitter < 8_000, "{jitter} µs");
    run.stop();
}
