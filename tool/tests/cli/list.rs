// SPDX-License-Identifier: MPL-2.0
//! What there is, and what is removed.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tdlink_core::protocol::cudalink::layout;

use super::announced::cudalink_bytes;
use super::name::Name;
use super::{PATIENCE, Peer, json, listed, poll, python, said, tdlink, testcard};

fn one(name: &str) -> Value {
    let found = listed(name);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

/// Bytes that a CPython program holds under a name. The name goes with this value.
pub struct Writer {
    pub peer: Peer,
    path: PathBuf,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.peer.kill();
        let _ = fs::remove_file(&self.path);
    }
}

/// A CPython program that holds `bytes` under a name.
pub fn shared_memory(name: &Name, bytes: &[u8]) -> Writer {
    let mut peer = python("writer.py");
    peer.ask(&format!("create {name} {}", bytes.len()));
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    Writer { peer, path: name.path() }
}

#[test]
fn every_protocol_is_listed_with_what_it_says() {
    let control = Name::new("list-control");
    let card = testcard(&control, &["--width", "320", "--height", "180", "--framerate", "50"]);
    let found = one(&control);
    assert_eq!((&found["protocol"], &found["state"]), (&"control".into(), &"live".into()), "{found:#}");
    assert_eq!((&found["width"], &found["height"], &found["format"]), (&320.into(), &180.into(), &"u8×4 rgba".into()));
    assert_eq!((&found["framerate"], &found["consumers"]), (&"50/1".into(), &0.into()));
    assert_eq!(found["producer"]["pid"], card.pid());
    assert_eq!(found["producer"]["program"], "tdlink");

    let raw = Name::new("list-raw");
    let writer = shared_memory(&raw, &[7; 5000]);
    let found = one(&raw);
    assert_eq!((&found["protocol"], &found["bytes"]), (&"raw".into(), &5000.into()), "{found:#}");
    assert_eq!((&found["pixels"], &found["state"]), (&Value::Null, &"unknown".into()));
    assert_eq!(found["users"][0]["pid"], writer.peer.pid());

    let cuda = Name::new("list>>cuda");
    let now = tdlink_core::segment::monotonic_ns() as f64 / 1e9;
    let announcer = shared_memory(&cuda, &cudalink_bytes(7, now - 3600.0));
    let found = one(&cuda);
    assert_eq!((&found["protocol"], &found["state"]), (&"cuda-link".into(), &"stalled".into()), "{found:#}");
    assert_eq!((&found["pixels"], &found["format"]), (&"640×480 uint8×4".into(), &"u8×4 bgra".into()));
    assert_eq!(found["producer"]["pid"], announcer.peer.pid());

    let touch = Name::new("list-touch");
    let mut top = python("touch.py");
    top.ask(&format!("send {} 64 48 44 v1", &*touch));
    top.ask("fill 1");
    let found = one(&touch);
    assert_eq!((&found["protocol"], &found["state"]), (&"touch".into(), &"live".into()), "{found:#}");
    assert_eq!((&found["width"], &found["format"]), (&64.into(), &"u8×4 bgra".into()));
    // After a resize the pixels are under another name; what is typed stays.
    top.ask("resize 80 60 37");
    top.ask("fill 2");
    let found = one(&touch);
    assert_eq!((&found["width"], &found["format"]), (&80.into(), &"u8×4 rgba".into()), "{found:#}");
    let (status, _) = top.wait(PATIENCE);
    assert!(status.success(), "{status}");
}

#[test]
fn a_reader_is_counted_and_a_look_is_none() {
    let name = Name::new("list-readers");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    let mut reader = Peer::spawn(super::command(&["hz", &name]));
    reader.hear("Hz", PATIENCE);
    assert_eq!(one(&name)["consumers"], 1);
    reader.kill();
    poll("the reader is gone", PATIENCE, || (one(&name)["consumers"] == 0).then_some(()));
}

#[test]
fn a_paused_producer_is_stalled_and_a_killed_one_stale_until_it_is_cleaned() {
    let name = Name::new("list-stale");
    let mut card = testcard(&name, &["--width", "160", "--height", "90"]);
    assert_eq!(one(&name)["state"], "live");
    card.signal("-STOP");
    poll("it is stalled", PATIENCE, || (one(&name)["state"] == "stalled").then_some(()));
    card.kill();
    poll("it is stale", PATIENCE, || (one(&name)["state"] == "stale").then_some(()));

    let before = name.leftovers();
    let (fates, code) = json(&["clean", "--dry-run", &name]);
    assert_eq!((code, &fates[0]["outcome"]), (0, &"left".into()), "{fates:#?}");
    assert_eq!(name.leftovers(), before, "a dry run removes nothing");

    let (fates, code) = json(&["clean", &name]);
    assert_eq!((code, &fates[0]["outcome"]), (0, &"removed".into()), "{fates:#?}");
    assert_eq!(name.leftovers(), Vec::<String>::new());
    assert_eq!(listed(&name), Vec::<Value>::new());
}

#[test]
fn a_raw_producer_out_of_sight_is_unknown_and_not_stale() {
    let name = Name::new("list-hidden");
    let mut writer = shared_memory(&name, &[1; 4096]);
    let found = one(&name);
    assert_eq!((found["users"].as_array().map(Vec::len), &found["state"]), (Some(1), &"unknown".into()), "{found:#}");
    // As in a container that shares /dev/shm: the writer lives and is not among the processes there.
    let mut contained = std::process::Command::new("unshare");
    contained.args(["--map-root-user", "--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_tdlink")]);
    let output = contained.args(["--json", "list"]).output().expect("unshare starts");
    if output.status.success() {
        let there = super::values(&String::from_utf8_lossy(&output.stdout));
        let found = there.into_iter().find(|found| found["name"] == *name).expect("it is listed");
        assert_eq!((&found["state"], &found["users"]), (&"unknown".into(), &Value::Array(Vec::new())), "{found:#}");
        assert_eq!(found["users-are-all"], false);
    } else {
        // Containers and hardened systems allow no namespaces.
        println!("not looked at from a namespace: {}", String::from_utf8_lossy(&output.stderr));
    }
    writer.peer.kill();
    let found = one(&name);
    let wanted = if found["users-are-all"] == true { "stale" } else { "unknown" };
    assert_eq!(found["state"], wanted, "{found:#}");
}

#[test]
fn a_name_commands_no_terminal_and_adds_no_line() {
    let name = Name::new("list-escape");
    let evil = format!("{name}\x1b[31m\nNAME  PROTOCOL\r\x07");
    let path = name.path().with_file_name(&evil);
    fs::write(&path, [1; 4096]).unwrap();
    let outputs = [&["list"][..], &["info", &evil], &["clean", "--dry-run", &evil]].map(tdlink);
    let (values, _) = json(&["list"]);
    fs::remove_file(&path).unwrap();
    for output in outputs {
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(r"\u{1b}[31m\nNAME  PROTOCOL\r\u{7}"), "{text:?}");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(text.lines().skip(1).all(|line| !line.starts_with("NAME")), "{text}");
    }
    assert!(values.iter().any(|found| found["name"] == *evil), "programs get the name as it is");
}

#[test]
fn a_ring_that_was_left_goes_with_its_pixels() {
    let name = Name::new("list-ring");
    let mut card = testcard(&name, &["--width", "160", "--height", "90", "--slots", "4"]);
    assert_eq!(one(&name)["object"], format!("{name}.tdlink.1").as_str());
    card.kill();
    let (fates, _) = json(&["clean", &name]);
    assert_eq!(fates[0]["outcome"], "removed", "{fates:#?}");
    assert_eq!(name.leftovers(), Vec::<String>::new());
}

#[test]
fn a_live_producer_and_what_is_not_ours_are_left_alone_in_every_mode() {
    let live = Name::new("clean-live");
    let card = testcard(&live, &["--width", "160", "--height", "90"]);
    let raw = Name::new("clean-raw");
    let mut writer = shared_memory(&raw, &[1; 4096]);
    writer.peer.kill(); // untracked: the name stays, and nobody has it open
    let foreign = Name::new("clean-foreign");
    fs::write(foreign.path().with_extension("tdlink"), vec![0x55; 16384]).unwrap();
    for mode in
        [&["clean", "--dry-run"][..], &["clean"], &["clean", "--force"], &["clean", "--force", &live, &raw, &foreign]]
    {
        let (fates, code) = json(mode);
        assert_eq!(code, 0, "{mode:?}");
        for name in [&live, &raw, &foreign] {
            let fate = fates.iter().find(|fate| fate["name"] == **name).expect("it is listed");
            assert_eq!(fate["outcome"], "kept", "{mode:?}: {fate}");
        }
        assert!(live.exists() && raw.exists() && foreign.path().with_extension("tdlink").exists());
    }
    // It still publishes.
    let before = one(&live)["age-ms"].as_u64().expect("frames have an age");
    poll("another frame", PATIENCE, || (one(&live)["age-ms"].as_u64()? < 1000 + before).then_some(()));
    drop(card);
    fs::remove_file(foreign.path().with_extension("tdlink")).unwrap();
}

#[test]
fn a_producer_that_was_left_by_its_readers_too_is_not_cleaned_under_one_that_waits() {
    let name = Name::new("clean-waited");
    let mut card = testcard(&name, &["--width", "160", "--height", "90"]);
    let mut reader = Peer::spawn(super::command(&["--json", "watch", &name]));
    reader.hear("\"hz\"", PATIENCE);
    card.signal("-STOP");
    // Stopped, the reader keeps its row and takes nothing.
    reader.signal("-STOP");
    card.kill();
    let (fates, _) = json(&["clean", "--force", &name]);
    assert_eq!(fates[0]["outcome"], "kept", "{fates:#?}");
    reader.kill();
    let (fates, _) = json(&["clean", &name]);
    assert_eq!(fates[0]["outcome"], "removed", "{fates:#?}");
}

#[test]
fn a_producer_that_is_interrupted_leaves_nothing() {
    let name = Name::new("list-interrupted");
    let mut card = testcard(&name, &["--width", "160", "--height", "90"]);
    let status = card.end();
    assert!(status.success(), "{status}");
    assert_eq!(name.leftovers(), Vec::<String>::new());
}

#[test]
fn whatever_stands_there_a_look_ends_and_says_so() {
    // Headers of each kind with every byte turned to nonsense, one after the other.
    let name = Name::new("list-nonsense");
    let good = cudalink_bytes(3, 1.0);
    for at in (0..24).chain(good.len() - layout::TAIL..good.len()) {
        for value in [0, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            fs::write(name.path(), &bytes).unwrap();
            for command in [&["list"][..], &["info", &name]] {
                let output = tdlink(command);
                assert_eq!(output.status.code(), Some(0), "byte {at} is {value}: {output:?}");
            }
        }
    }
    fs::remove_file(name.path()).unwrap();
}

#[test]
fn fifty_buffers_are_listed_within_a_tenth_of_a_second() {
    let name = Name::new("list-fifty");
    let made: Vec<_> = (0..50).map(|number| name.path().with_extension(number.to_string())).collect();
    for path in &made {
        fs::write(path, vec![1; 1 << 20]).unwrap();
    }
    // The best of some: what other programs do meanwhile is not ours.
    let took = (0..10).map(|_| {
        let began = Instant::now();
        let text = said(&["list"]);
        assert!(text.matches(&*name).count() >= 50, "{text}");
        began.elapsed()
    });
    let best = took.min().unwrap();
    made.iter().for_each(|path| fs::remove_file(path).unwrap());
    println!("50 buffers and all others in {best:?}");
    assert!(best < Duration::from_millis(100), "{best:?}");
}
