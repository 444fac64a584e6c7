// SPDX-License-Identifier: MPL-2.0
//! What `tdlink record` promises of a file.

use std::path::Path;

use super::film::{Film, assert_in_order};
use super::name::Name;
use super::*;

const SIZE: (u32, u32) = (320, 180);
const FILM: (usize, usize) = (320, 180);

/// Process of the pipeline that a tool runs.
fn pipeline_of(tool: &Peer) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", tool.pid());
    poll("the tool runs a pipeline", PATIENCE, || {
        let children = std::fs::read_to_string(&children).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "process {pid} is killed");
}

/// Kills the pipeline of a recording after some seconds, and says how many seconds before that the film ends.
fn seconds_lost(test: &str, file: &str, more: &[&str]) -> f64 {
    let name = Name::new(test);
    let folder = folder(test);
    let (_sender, began) = sender(&name, SIZE);
    let args = [&["record", &name, "--fps", "30", "-o", file, "--audio", "none", "--once"], more].concat();
    let mut tool = beside(&folder, &args);
    grows(&folder.join(file));
    pass(began, 6 * FPS);
    let at = number_now(began);
    kill(pipeline_of(&tool));
    let (status, _) = tool.wait(PATIENCE);
    assert_eq!(status.code(), Some(3), "a pipeline that was killed is a failure");
    let numbers = Film::decode(&folder.join(file), FILM).numbers();
    assert_in_order(&numbers);
    (at - numbers.last().expect("the film has pictures")) as f64 / FPS as f64
}

#[test]
fn an_mp4_whose_recorder_is_killed_plays_to_within_two_seconds() {
    let lost = seconds_lost("killmp4", "killed.mp4", &[]);
    assert!(lost <= 2.0, "{lost:.2} s are missing");
}

#[test]
fn an_mkv_whose_recorder_is_killed_plays_to_within_two_seconds() {
    let lost = seconds_lost("killmkv", "killed.mkv", &["--codec", "hevc"]);
    assert!(lost <= 2.0, "{lost:.2} s are missing");
}

#[test]
fn a_tool_that_is_killed_leaves_a_film_and_no_process() {
    let name = Name::new("killtool");
    let folder = folder("killtool");
    let (_sender, began) = sender(&name, SIZE);
    let tool = beside(&folder, &["record", &name, "--fps", "30", "-o", "whole.mp4", "--audio", "none"]);
    grows(&folder.join("whole.mp4"));
    pass(began, 3 * FPS);
    let pipeline = pipeline_of(&tool);
    let at = number_now(began);
    kill(tool.pid());
    poll("the pipeline ends", PATIENCE, || (!Path::new(&format!("/proc/{pipeline}")).exists()).then_some(()));
    let numbers = Film::decode(&folder.join("whole.mp4"), FILM).numbers();
    let lost = at.saturating_sub(*numbers.last().expect("the film has pictures"));
    // The kernel may interrupt the pipeline once for each of our threads that dies, and the second time is its end.
    assert!(lost <= 2 * FPS, "{lost} pictures are missing");
}

#[test]
fn so_many_seconds_are_recorded_as_were_asked_for() {
    let name = Name::new("seconds");
    let folder = folder("seconds");
    let (_sender, _) = sender(&name, SIZE);
    let output =
        tdlink(&folder, &["--json", "record", &name, "--fps", "30", "-o", "a.mp4", "-d", "2", "--audio", "tone"]);
    let (text, code) = told(&output);
    assert_eq!(code, Some(0), "{text}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!(said["buffers"][name.to_string()]["frames"], 2 * FPS, "{said}");
    let film = Film::decode(&folder.join("a.mp4"), FILM);
    assert_eq!(film.len() as u64, 2 * FPS);
    assert_in_order(&film.numbers());
    let (text, code) = told(&tdlink(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "-d", "1"]));
    assert_eq!(code, Some(2), "a file that is there is not written over: {text}");
}

#[test]
fn a_picture_that_changes_its_size_is_letterboxed() {
    let name = Name::new("letter");
    let folder = folder("letter");
    let (mut sender, began) = sender(&name, SIZE);
    let mut tool = beside(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--audio", "none"]);
    grows(&folder.join("a.mp4"));
    pass(began, FPS);
    assert_eq!(sender.peer().ask("resize 180 180"), "resized");
    pass(began, 3 * FPS);
    tool.interrupt();
    let (status, _) = tool.wait(PATIENCE);
    assert!(status.success(), "{status}");
    let film = Film::decode(&folder.join("a.mp4"), FILM);
    let (beside, within) = (film.last_at(4, 8), film.last_at(160, 8));
    assert!(beside < 30, "black stands beside the picture: {beside}");
    assert!(within > 40, "the red above is in its middle: {within}");
}

#[test]
fn a_change_of_size_splits_where_that_is_wished() {
    let name = Name::new("split");
    let folder = folder("split");
    let (mut sender, began) = sender(&name, SIZE);
    let mut tool =
        beside(&folder, &["record", &name, "--fps", "30", "-o", "a.mkv", "--audio", "none", "--on-resize", "split"]);
    grows(&folder.join("a.mkv"));
    pass(began, FPS);
    assert_eq!(sender.peer().ask("resize 160 160"), "resized");
    grows(&folder.join("a-002.mkv"));
    pass(began, 2 * FPS);
    tool.interrupt();
    assert!(tool.wait(PATIENCE).0.success());
    let first = Film::decode(&folder.join("a.mkv"), FILM).numbers();
    let second = Film::decode(&folder.join("a-002.mkv"), (160, 160)).numbers();
    assert_in_order(&second);
    assert!(second[0] >= first[0] + FPS / 2, "{} then {}", first[0], second[0]);
}

#[test]
fn a_producer_that_comes_back_begins_the_next_part() {
    let name = Name::new("parts");
    let folder = folder("parts");
    let (mut first, began) = sender(&name, SIZE);
    let mut tool = beside(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--audio", "none"]);
    grows(&folder.join("a.mp4"));
    pass(began, 2 * FPS);
    first.end();
    let (_second, began) = sender(&name, SIZE);
    grows(&folder.join("a-002.mp4"));
    pass(began, 2 * FPS);
    tool.interrupt();
    let (status, heard) = tool.wait(PATIENCE);
    assert!(status.success(), "{status}: {heard:?}");
    for part in ["a.mp4", "a-002.mp4"] {
        let film = Film::decode(&folder.join(part), FILM);
        assert!(film.len() as u64 > FPS, "{part} has {} pictures", film.len());
        assert_in_order(&film.numbers());
    }
}

#[test]
fn offline_takes_every_frame_of_a_producer_that_waits() {
    const COUNT: u64 = 50;
    let name = Name::new("offline");
    let folder = folder("offline");
    let _sender = lossless(&name, COUNT);
    let args = ["record", &name, "--fps", "30", "-o", "a.mkv", "--codec", "ffv1", "--offline", "--strict", "--once"];
    let (text, code) = told(&tdlink(&folder, &args));
    assert_eq!(code, Some(0), "{text}");
    let numbers = Film::decode(&folder.join("a.mkv"), FILM).numbers();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn an_encoder_that_is_not_there_is_named_with_who_has_it() {
    let name = Name::new("noenc");
    let folder = folder("noenc");
    let (_sender, _) = sender(&name, SIZE);
    let (text, code) =
        told(&tdlink(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--encoder", "mfh264enc"]));
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("mfh264enc") && text.contains("Windows"), "{text}");
    let (text, code) =
        told(&tdlink(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--alpha", "--codec", "h264"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("ffv1") && text.contains("prores"), "what keeps alpha is named: {text}");
    assert!(!folder.join("a.mp4").exists());
}

#[test]
fn a_buffer_that_is_not_there_is_not_found_in_time() {
    let name = Name::new("nobody");
    let folder = folder("nobody");
    let (text, code) = told(&tdlink(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--timeout", "1"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&*name), "{text}");
}

#[test]
fn an_encoder_that_fails_at_once_hands_over_to_the_next_and_leaves_no_file() {
    let name = Name::new("nextenc");
    let folder = folder("nextenc");
    let (_sender, _) = sender(&name, SIZE);
    // More than the encoders of H.264 take: all of them are tried, and the last one's error is the answer.
    let args =
        ["record", &name, "--fps", "30", "--size", "16386x16", "-o", "a.mp4", "--audio", "none", "--once", "-d", "1"];
    let (text, code) = told(&tdlink(&folder, &args));
    let tried = text.matches("; trying ").count();
    assert!(!text.contains("is there already"), "{text}");
    if tried > 0 && code == Some(0) {
        assert!(folder.join("a.mp4").metadata().is_ok_and(|found| found.len() > 0), "{text}");
    } else {
        assert_eq!(code, Some(3), "{text}");
        assert!(!folder.join("a.mp4").exists(), "an empty file is left: {text}");
    }
}

#[test]
fn an_older_part_is_stepped_over_and_an_older_first_file_refused() {
    let name = Name::new("oldpart");
    let folder = folder("oldpart");
    std::fs::write(folder.join("a-002.mp4"), "older").expect("a file");
    let (mut first, began) = sender(&name, SIZE);
    let mut tool = beside(&folder, &["record", &name, "--fps", "30", "-o", "a.mp4", "--audio", "none"]);
    grows(&folder.join("a.mp4"));
    pass(began, FPS);
    first.end();
    let (_second, began) = sender(&name, SIZE);
    grows(&folder.join("a-003.mp4"));
    pass(began, FPS);
    tool.interrupt();
    let (status, heard) = tool.wait(PATIENCE);
    assert!(status.success(), "{status}: {heard:?}");
    assert_eq!(std::fs::read(folder.join("a-002.mp4")).expect("it is there"), b"older");
}

#[test]
fn alpha_that_is_dropped_is_said_of_where_it_varies_and_nowhere_else() {
    let folder = folder("alpha");
    for (more, warns) in [(None, false), (Some("alpha"), true)] {
        let name = Name::new(more.unwrap_or("opaque"));
        let mut sender = python("sender.py", &[&[&*name, "320", "180", "30"], more.as_slice()].concat());
        sender.hear("sending", PATIENCE);
        let _sender = Sender(Some(sender));
        let file = format!("{warns}.mp4");
        let args = ["record", &name, "--fps", "30", "-o", &file, "-d", "2", "--audio", "none"];
        let (text, code) = told(&tdlink(&folder, &args));
        assert_eq!((code, text.contains("alpha varies")), (Some(0), warns), "{text}");
        let file = format!("{warns}.mkv");
        let args = ["record", &name, "--fps", "30", "-o", &file, "-d", "1", "--audio", "none", "--alpha"];
        let (text, code) = told(&tdlink(&folder, &args));
        assert_eq!((code, text.contains("its alpha")), (Some(0), false), "{text}");
    }
}
