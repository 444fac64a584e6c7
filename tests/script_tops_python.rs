// SPDX-License-Identifier: MPL-2.0
//! The Script TOPs of examples/touchdesigner, in Python under a stand-in for TouchDesigner, beside the elements.
#![cfg(target_os = "linux")]

mod common;

use common::name::Name;
use common::peer::Peer;
use common::run::Run;
use common::{PATIENCE, frames, poll, ring};
use gst_video::VideoFormat;

const SIZE: (usize, usize) = (8, 5);

fn upright(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.chunks(SIZE.0 * 4).rev().flatten().copied().collect()
}

#[test]
fn what_the_sender_cooks_is_what_the_source_pushes_upright() {
    let name = Name::new("script-send");
    let mut python = Peer::python("script_tops.py");
    let run = Run::playing(&format!(
        "tdshmsrc shm-name={name} width=8 height=5 channels=4 skip-unchanged=true ! appsink name=k sync=false"
    ));
    for seed in [1, 2, 3] {
        let sent = python.ask(&format!("send {name} {seed} 8 5"));
        // A new buffer is empty for a moment, and raw bytes can be seen half written.
        while frames::pull(&run, "k").0 != upright(&sent) {}
    }
    run.stop();
    python.ask("end");
    python.wait(PATIENCE);
}

#[test]
fn what_the_sink_renders_is_what_the_receiver_shows_and_only_when_it_is_new() {
    let name = Name::new("script-receive");
    let mut python = Peer::python("script_tops.py");
    assert_eq!(python.ask(&format!("receive {name} 8 5 4")), "nothing", "nobody sends yet");
    let info = ring::info(VideoFormat::Rgba, 8, 5);
    let (run, feed) = ring::fed(&name, &info, "");
    for number in [1u8, 2, 3] {
        let picture: Vec<u8> = (0..160).map(|byte: u8| byte.wrapping_mul(number)).collect();
        feed.push_buffer(frames::buffer(&info, &picture)).expect("it is taken");
        poll("the receiver shows it", PATIENCE, || {
            let shown = python.ask(&format!("receive {name} 8 5 4"));
            (shown != "nothing" && upright(&shown) == picture).then_some(())
        });
        assert_eq!(python.ask(&format!("receive {name} 8 5 4")), "nothing", "it has shown that");
    }
    python.ask("end");
    python.wait(PATIENCE);
    run.stop();
}

#[test]
fn a_sender_takes_away_what_it_made_and_nothing_that_it_only_attached_to() {
    let (theirs, own) = (Name::new("script-theirs"), Name::new("script-own"));
    let mut owner = Peer::python("writer.py");
    owner.ask(&format!("create {theirs} 160"));
    let mut python = Peer::python("script_tops.py");
    python.ask(&format!("send {theirs} 1 8 5"));
    python.ask(&format!("send {own} 1 8 5"));
    assert!(theirs.path().exists(), "another name was typed, and the old buffer is another program's");
    python.ask(&format!("send {theirs} 2 8 5"));
    assert!(!own.path().exists(), "its own goes with the name");
    python.ask("end");
    python.wait(PATIENCE);
    assert!(theirs.path().exists(), "neither the end nor Python's own clearing up takes it away");
    owner.ask(&format!("unlink {theirs}"));
}
