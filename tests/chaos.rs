// SPDX-License-Identifier: MPL-2.0
//! What senders do to a source: late, killed, restarted, unlinked, truncated, replaced, unreadable. Two processes each.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::folder::Folder;
use common::machine::{is_root_else_say, mappings};
use common::name::Name;
use common::peer::{Peer, plugin};
use common::recorder::Recorder;
use common::run::Run;
use common::{PATIENCE, poll};
use gst::prelude::*;

const SIZE: usize = 64 * 64 * 4;
const GEOMETRY: &str = "protocol=raw width=64 height=64 channels=4";

fn source(name: &str, options: &str) -> String {
    format!(
        "tdshmsrc name=s shm-name={name} {GEOMETRY} {options} ! video/x-raw,format=RGBA ! fakesink sync=false async=false"
    )
}

fn watched(name: &str, options: &str) -> (Run, Recorder) {
    let run = Run::new(&source(name, options));
    let recorder = Recorder::source(&run, "s");
    run.play();
    (run, recorder)
}

/// A sender that runs. Untracked: killed, it leaves its name behind.
fn sender(name: &str, size: usize) -> Peer {
    let mut writer = Peer::python("writer.py");
    assert_eq!(writer.ask(&format!("create {name} {size}")), "created");
    writer.ask(&format!("loop {name} 60"));
    writer
}

/// Waits for a picture of the sender that came after `count`, filled with `byte`.
fn wait_for_byte(recorder: &Recorder, count: usize, byte: u8) -> usize {
    let all = |picture: &common::recorder::Picture| picture.bytes.iter().all(|found| *found == byte);
    let pictures =
        recorder.wait_until(&format!("frame of {byte}s"), PATIENCE, |pictures| pictures[count..].iter().any(all));
    count + pictures[count..].iter().position(all).expect("it was found")
}

#[test]
fn either_side_may_start_first() {
    let name = Name::new("first");
    let (run, recorder) = watched(&name, "");
    run.wait_message("tdlink-waiting");
    let mut writer = sender(&name, SIZE);
    run.wait_message("tdlink-connected");
    recorder.wait_for(10, PATIENCE);
    run.stop();
    let (run, recorder) = watched(&name, "");
    run.wait_message("tdlink-connected");
    recorder.wait_for(10, PATIENCE);
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_sender_that_is_killed_and_comes_back_is_found_again() {
    let name = Name::new("killed");
    let (run, recorder) = watched(&name, "");
    let mut writer = sender(&name, SIZE);
    run.wait_message("tdlink-connected");
    recorder.wait_for(10, PATIENCE);
    for round in 1..=3 {
        writer.kill();
        run.wait_message("tdlink-stalled"); // the name is still there: no proof of anything
        let count = recorder.count();
        writer = Peer::python("writer.py");
        writer.ask(&format!("replace {name} {SIZE}"));
        writer.ask(&format!("fill {name} {}", 100 + round));
        let disconnected = run.wait_message("tdlink-disconnected");
        assert!(disconnected.get::<String>("reason").is_ok_and(|reason| !reason.is_empty()), "{disconnected}");
        run.wait_message("tdlink-connected");
        let at = wait_for_byte(&recorder, count, 100 + round);
        let pictures = recorder.pictures();
        assert!(pictures[count..=at].iter().any(|picture| picture.is_discont()), "a new sender is a discontinuity");
        assert!(pictures.windows(2).all(|pair| pair[0].pts < pair[1].pts), "PTS rise strictly across it");
        assert_eq!(run.stat("s", "reattached"), u64::from(round));
        assert_eq!(mappings(), 1, "the old segment is let go");
        writer.ask(&format!("loop {name} 60"));
        recorder.wait_until("live frames", PATIENCE, |pictures| {
            let number = |picture: &common::recorder::Picture| common::frames::whole(&picture.bytes);
            pictures[at..].iter().filter_map(number).any(|number| (7..10_000).contains(&number))
        });
    }
    run.assert_no_error();
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_sender_whose_name_python_removed_is_found_again() {
    let name = Name::new("tracked");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {SIZE} tracked"));
    let (run, recorder) = watched(&name, "");
    recorder.wait_for(5, PATIENCE);
    writer.kill(); // its resource tracker outlives it and unlinks the name
    let disconnected = run.wait_message("tdlink-disconnected");
    assert!(disconnected.has_field("reason"), "{disconnected}");
    assert!(!run.element("s").property::<bool>("connected"));
    let count = recorder.count();
    let mut writer = sender(&name, SIZE);
    run.wait_message("tdlink-connected");
    recorder.wait_for(count + 10, PATIENCE);
    run.assert_no_error();
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_sender_that_comes_back_in_another_size_is_refused_with_both_numbers() {
    for size in [32 * 32 * 4, 128 * 128 * 4] {
        let name = Name::new("resized");
        let (run, recorder) = watched(&name, "");
        let mut writer = sender(&name, SIZE);
        recorder.wait_for(10, PATIENCE);
        writer.kill();
        let mut writer = Peer::python("writer.py");
        writer.ask(&format!("replace {name} {size}"));
        poll(&format!("a message that names {size} and {SIZE}"), PATIENCE, || {
            let both = |said: &String| said.contains(&size.to_string()) && said.contains(&SIZE.to_string());
            run.history().iter().any(both).then_some(())
        });
        run.stop();
        writer.ask(&format!("unlink {name}"));
    }
}

#[test]
fn a_name_that_goes_is_proof_and_on_disconnect_decides() {
    let name = Name::new("gone");
    for (then, option) in [("eos", "on-disconnect=eos"), ("error", "on-disconnect=error"), ("wait", "")] {
        let mut writer = sender(&name, SIZE);
        let (run, recorder) = watched(&name, option);
        recorder.wait_for(10, PATIENCE);
        writer.ask(&format!("unlink {name}"));
        let disconnected = run.wait_message("tdlink-disconnected");
        assert!(disconnected.has_field("reason"), "{disconnected}");
        match then {
            "eos" => run.wait_eos(PATIENCE),
            "error" => assert!(run.wait_error(PATIENCE).contains(&*name)),
            _ => {
                recorder.wait_for_new(PATIENCE); // the sender is alive and writes on: only its name was taken
                recorder.wait_until("live frames", PATIENCE, |pictures| {
                    let numbers = pictures.iter().rev().take(2).map(|picture| picture.number());
                    numbers.collect::<std::collections::BTreeSet<_>>().len() == 2
                });
                run.assert_no_error();
            }
        }
        run.stop();
    }
}

#[test]
fn another_object_under_the_name_is_proof_and_on_disconnect_decides() {
    let name = Name::new("other");
    for (then, option) in [("eos", "on-disconnect=eos"), ("error", "on-disconnect=error"), ("wait", "")] {
        let mut writer = Peer::python("writer.py");
        writer.ask(&format!("create {name} {SIZE}"));
        writer.ask(&format!("fill {name} 10"));
        let (run, recorder) = watched(&name, option);
        wait_for_byte(&recorder, 0, 10);
        let count = recorder.count();
        writer.ask(&format!("replace {name} {SIZE}"));
        writer.ask(&format!("fill {name} 20"));
        run.wait_message("tdlink-disconnected");
        match then {
            "eos" => run.wait_eos(PATIENCE),
            "error" => assert!(run.wait_error(PATIENCE).contains(&*name)),
            _ => {
                wait_for_byte(&recorder, count, 20);
                run.assert_no_error();
            }
        }
        run.stop();
        writer.ask(&format!("unlink {name}"));
    }
}

#[test]
fn a_segment_that_shrinks_under_the_source_kills_nobody() {
    let name = Name::new("shrunk");
    for (round, size) in [(1, 0), (2, 100), (3, SIZE - 1), (4, 4096)] {
        let mut writer = sender(&name, SIZE);
        let (run, recorder) = watched(&name, "framerate=240/1");
        recorder.wait_for(20, PATIENCE);
        writer.ask("stop"); // Python itself would die of SIGBUS
        writer.ask(&format!("truncate {name} {size}"));
        run.wait_message("tdlink-disconnected");
        let count = recorder.count();
        writer.ask(&format!("replace {name} {SIZE}"));
        writer.ask(&format!("fill {name} {}", 200 + round));
        // an empty segment is one that is not there yet; a short one may be refused for good, with both numbers
        poll("the new frame, or an error with both numbers", PATIENCE, || {
            let both = |said: &String| said.contains(&size.to_string()) && said.contains(&SIZE.to_string());
            let refused = size > 0 && run.sayings().iter().any(both);
            let new = recorder.pictures()[count..].iter().any(|picture| picture.bytes == vec![200 + round; SIZE]);
            (refused || new).then_some(())
        });
        run.stop();
        writer.ask(&format!("unlink {name}"));
    }
}

#[test]
fn a_segment_that_shrinks_and_grows_again_all_the_time_kills_nobody() {
    let name = Name::new("flutter");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {SIZE}"));
    let (run, recorder) = watched(&name, "framerate=1000/1");
    recorder.wait_for(5, PATIENCE);
    for _ in 0..200 {
        writer.ask(&format!("truncate {name} 0"));
        writer.ask(&format!("truncate {name} {SIZE}"));
    }
    let count = recorder.count();
    writer.ask(&format!("replace {name} {SIZE}"));
    writer.ask(&format!("fill {name} 55"));
    wait_for_byte(&recorder, count, 55);
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn an_empty_segment_is_one_that_is_not_there_yet() {
    let name = Name::new("empty");
    std::fs::write(name.path(), "").expect("the file can be made");
    let (run, recorder) = watched(&name, "");
    run.wait_message("tdlink-waiting");
    assert_eq!(recorder.count(), 0);
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("truncate {name} {SIZE}")); // the second half of what Python's create=True does
    recorder.wait_for(3, PATIENCE);
    run.assert_no_error();
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn what_is_no_segment_hangs_and_crashes_nobody() {
    let name = Name::new("squat");
    let path = name.path();
    let (elsewhere, file) = (Folder::new("squat"), "elsewhere");
    std::fs::write(elsewhere.join(file), vec![1; SIZE]).expect("the file can be made");
    for found in ["directory", "fifo", "symlink"] {
        match found {
            "directory" => std::fs::create_dir(&path).expect("the folder can be made"),
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success()),
            _ => std::os::unix::fs::symlink(elsewhere.join(file), &path).expect("the link can be made"),
        }
        let (run, recorder) = watched(&name, "connection-timeout=1");
        let error = run.wait_error(Duration::from_secs(5));
        assert!(error.contains(&*name), "{found}: {error}");
        assert_eq!(recorder.count(), 0, "{found}");
        run.stop();
        let removed = if found == "directory" { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("the {found} is still there: {error}"));
    }
}

#[test]
fn a_segment_that_may_not_be_read_is_an_error_that_says_access_is_denied() {
    if !is_root_else_say("a segment without read permission, for root is let through and must become somebody else") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let (name, folder) = (Name::new("denied"), Folder::new("denied"));
    let library = folder.join("libgsttdlink.so"); // where anybody can read it
    std::fs::copy(plugin(), &library).expect("the plugin can be copied");
    let anybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&*folder, anybody.clone()).expect("the mode can be set");
    std::fs::set_permissions(&library, anybody).expect("the mode can be set");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {SIZE}"));
    std::fs::set_permissions(name.path(), std::fs::Permissions::from_mode(0o000)).expect("the mode can be set");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "gst-launch-1.0", "-m"]);
    command.arg(format!("--gst-plugin-load={}", library.display())).env("GST_REGISTRY", "/nonexistent");
    let pipeline = source(&name, "connection-timeout=2");
    let output = command.args(pipeline.split_whitespace()).output().expect("setpriv runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "it must fail: {said}");
    assert!(said.contains("denied") && said.contains(&*name), "{said}");
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_frame_that_is_being_written_is_not_pushed() {
    let name = Name::new("torn");
    let (width, height) = (1280, 720);
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {}", width * height * 4));
    writer.ask(&format!("loop {name} 60"));
    let geometry = format!("protocol=raw width={width} height={height} channels=4 pacing=as-produced keepalive=0");
    let chain = format!("tdshmsrc name=s shm-name={name} {geometry} ! video/x-raw,format=RGBA");
    let run = Run::playing(&format!("{chain} ! appsink name=out sync=false max-buffers=8"));
    let mixed = (0..600).filter(|_| common::frames::whole(&common::frames::pull(&run, "out").0).is_none()).count();
    let seen = run.stat("s", "torn");
    eprintln!("of 600 frames {mixed} were torn and pushed; {seen} times one was seen to be torn");
    // Nobody can see a writer that the system stops in the middle of a frame for longer than the source waits, as it
    // does on a busy machine. A reader that does not look tears most of these frames.
    assert!(mixed * 50 <= 600, "{mixed} of 600 frames were torn and pushed, {seen} were seen to be torn");
    writer.ask("stop");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_source_of_our_own_sink_survives_its_crash_and_return() {
    let name = Name::new("own");
    let pictures = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=RGBA,width=64,height=64,framerate=60/1";
    let (run, recorder) = watched(&name, "");
    for round in 0..2 {
        let mut sink = Peer::launch(&format!("{pictures} ! tdshmsink shm-name={name}"));
        run.wait_message(if round == 0 { "tdlink-connected" } else { "tdlink-resumed" });
        recorder.wait_for(recorder.count() + 10, PATIENCE);
        sink.kill();
        run.wait_message("tdlink-stalled");
    }
    let mut sink = Peer::launch(&format!("{pictures} ! tdshmsink shm-name={name}"));
    run.wait_message("tdlink-resumed"); // a sink that comes back takes the very object that it left
    recorder.wait_for(recorder.count() + 10, PATIENCE);
    sink.interrupt();
    sink.wait(PATIENCE);
    run.wait_message("tdlink-disconnected");
    name.wait_until_gone(PATIENCE);
    run.assert_no_error();
    run.stop();
}
