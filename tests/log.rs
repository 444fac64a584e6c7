// SPDX-License-Identifier: MPL-2.0
//! What `GST_DEBUG=tdlink:6` tells of the core: each attach, resize, wait, copy, publication and detach, with names and
//! numbers; and nothing of it when it is off.
#![cfg(target_os = "linux")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::PATIENCE;
use common::folder::Folder;
use common::name::Name;
use common::peer::{Peer, load_plugin};

fn logged(pipeline: &str, level: &str, file: &PathBuf) -> Peer {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-m", "-e"]).arg(load_plugin()).args(pipeline.split_whitespace());
    command.env("GST_DEBUG", level).env("GST_DEBUG_FILE", file).env("GST_DEBUG_NO_COLOR", "1");
    Peer::spawn(command)
}

/// What both sides log of two sizes of frames, one after the other.
fn both(label: &str, level: &str, options: &str) -> (Name, String, String) {
    let (name, folder) = (Name::new(label), Folder::new(label));
    let (sent, taken) = (folder.join("sent"), folder.join("taken"));
    let source = format!("tdshmsrc shm-name={name} on-disconnect=eos ! fakesink async=false sync=false");
    let mut reader = logged(&source, level, &taken);
    reader.hear("tdlink-waiting", PATIENCE);
    let part = |width: u32| {
        let caps = format!("video/x-raw,format=RGBA,width={width},height=36,framerate=60/1");
        format!("videotestsrc is-live=true num-buffers=40 ! {caps} ! c. ")
    };
    let sink = format!("{}{}concat name=c ! tdshmsink shm-name={name} {options}", part(64), part(32));
    let mut sender = logged(&sink, level, &sent);
    sender.wait(PATIENCE);
    reader.wait(PATIENCE);
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    (name, read(sent), read(taken))
}

/// Whether a line has all of these.
fn has(log: &str, parts: &[&str]) -> bool {
    log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn level_six_tells_of_each_frame_and_of_what_surrounds_them() {
    let (name, sent, taken) = both("log", "tdlink:6", "slots=3");
    let name = format!("name={}", &*name);
    for parts in [
        &["DEBUG", "attach", "protocol=\"control\"", "frame=64", "took-us="][..],
        &["DEBUG", "resize", "frame=32", "took-us="],
        &["LOG", "publish", "slot=", "sequence=1 ", "took-us="],
        &["DEBUG", "detach"],
    ] {
        assert!(has(&sent, &[parts, &[&name]].concat()), "{parts:?} {name} in:\n{sent}");
    }
    for parts in [
        &["DEBUG", "attach", "protocol=\"control\"", "took-us="][..],
        &["LOG", "wait", "came=Newer", "took-us="],
        &["DEBUG", "detach", "skipped="],
    ] {
        assert!(has(&taken, &[parts, &[&name]].concat()), "{parts:?} {name} in:\n{taken}");
    }
}

#[test]
fn what_the_elements_say_themselves_is_told_too() {
    let (name, sent, _) = both("log-elements", "tdlink:4", "slots=3");
    let parts = ["INFO", &format!("{}: ", &*name)];
    assert!(has(&sent, &parts), "how the name came to be the sink's: {parts:?} in:\n{sent}");
}

#[test]
fn copies_of_a_buffer_with_one_slot_are_told_of_with_their_bytes() {
    let (name, _, taken) = both("log-copies", "tdlink:6", "");
    let (name, bytes) = (format!("name={}", &*name), format!("bytes={}", 64 * 36 * 4));
    let parts = ["LOG", "copy", &name, "sequence=", &bytes, "took-us="];
    assert!(has(&taken, &parts), "{parts:?} in:\n{taken}");
}

#[test]
fn nothing_of_it_is_told_below_its_level() {
    let (_, sent, taken) = both("log-off", "tdlink:4", "slots=3");
    assert!(!sent.contains("took-us=") && !taken.contains("took-us="), "{sent}\n{taken}");
    let (_, sent, taken) = both("log-five", "tdlink:5", "slots=3");
    for part in ["publish", "wait ", "copy"] {
        assert!(!has(&sent, &[part, "took-us="]) && !has(&taken, &[part, "took-us="]), "{part}: {sent}\n{taken}");
    }
    assert!(has(&sent, &["attach", "took-us="]) && has(&taken, &["attach", "took-us="]), "{sent}\n{taken}");
}
