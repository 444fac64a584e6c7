// SPDX-License-Identifier: MPL-2.0
//! What `tdlink play` promises of a buffer.

use super::name::Name;
use super::*;

/// A film of the sender's pictures, without loss.
fn film(test: &str) -> (PathBuf, u64) {
    let name = Name::new(&format!("{test}film"));
    let folder = folder(test);
    let _sender = lossless(&name, 45);
    let args = ["record", &name, "--fps", "30", "-o", "film.mkv", "--codec", "ffv1", "--offline", "--once"];
    let (text, code) = told(&tdlink(&folder, &args));
    assert_eq!(code, Some(0), "{text}");
    (folder, 45)
}

/// The number in a reader's line, which must have no complaint.
fn number(line: &str) -> u64 {
    let rest = line.strip_prefix("frame ").unwrap_or_else(|| panic!("{line}"));
    let (number, size) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    assert_eq!(size, "320x180", "{line}");
    number.parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn a_recorded_film_is_read_by_python_to_the_pixel() {
    let (folder, frames) = film("playonce");
    let name = Name::new("playonce");
    let mut reader = python("reader.py", &[&name, "20"]);
    let output = tdlink(&folder, &["play", "film.mkv", "--to", &name, "--as", "ring", "--once"]);
    let (text, code) = told(&output);
    assert_eq!(code, Some(0), "{text}");
    let (status, heard) = reader.wait(PATIENCE);
    assert!(status.success(), "{heard:?}");
    let numbers: Vec<u64> = heard.iter().map(|line| number(line)).collect();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]) && numbers[19] < frames, "{numbers:?}");
}

#[test]
fn a_film_begins_again_and_its_end_leaves_nothing() {
    let (folder, frames) = film("playloop");
    let name = Name::new("playloop");
    let mut tool = beside(&folder, &["play", "film.mkv", "--to", &name]);
    name.wait_for_size(320 * 180 * 4);
    // More pictures than the film has.
    let count = frames + 20;
    let mut reader = python("reader.py", &[&name, &count.to_string()]);
    if !gaps() {
        let (status, heard) = reader.wait(PATIENCE);
        assert!(status.success(), "{heard:?}");
        let numbers: Vec<u64> = heard.iter().map(|line| number(line)).collect();
        assert!(numbers.windows(2).any(|pair| pair[1] < pair[0]), "it never began again: {numbers:?}");
    } else {
        reader.hear("frame", PATIENCE);
    }
    tool.interrupt();
    let (status, heard) = tool.wait(PATIENCE);
    assert!(status.success(), "{status}: {heard:?}");
    // `name` finds nothing left.
}

/// Whether GStreamer here has no player that goes on without a gap.
fn gaps() -> bool {
    !Command::new("gst-play-1.0").arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_player_that_fails_without_a_word_is_no_film_that_is_over() {
    let name = Name::new("fakeplay");
    let folder = folder("fakeplay");
    std::fs::write(folder.join("film.mkv"), "no film").expect("a file");
    // GStreamer's other programs, and a player that goes at once.
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for program in ["gst-launch-1.0", "gst-inspect-1.0"] {
        let real = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh starts");
        let real = String::from_utf8_lossy(&real.stdout).trim().to_owned();
        std::os::unix::fs::symlink(real, bin.join(program)).expect("a link");
    }
    for code in ["1", "0"] {
        let player = bin.join("gst-play-1.0");
        std::fs::write(&player, format!("#!/bin/sh\necho >> {}/runs\nexit {code}\n", folder.display()))
            .expect("a script");
        std::fs::set_permissions(&player, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can run");
        let mut command = command(&folder, &["play", "film.mkv", "--to", &name]);
        command.env("PATH", &bin).env("TMPDIR", &bin);
        let mut tool = Peer::spawn(command);
        let (status, heard) = tool.wait(PATIENCE);
        assert_eq!(status.code(), Some(3), "{heard:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("runs")).expect("it ran").lines().count(), 2, "once each time");
    assert_eq!(std::fs::read_dir(&bin).expect("a folder").count(), 3, "the list of films is left");
}
