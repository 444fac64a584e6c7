// SPDX-License-Identifier: MPL-2.0
//! The built `tdlink` against real segments: our own producers, CPython's SharedMemory, the Shared Mem TOPs' protocol and
//! cuda-link's bytes.
#![cfg(target_os = "linux")]

#[path = "../../../tests/common/announced.rs"]
mod announced;
mod card;
mod list;
mod look;
#[allow(dead_code)] // these tests use a part of it
#[path = "../../../tests/common/name.rs"]
mod name;
#[allow(dead_code)] // as above
#[path = "../../../tests/common/peer.rs"]
mod peer;
#[path = "../../../tests/common/poll.rs"]
mod poll;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use name::Name;
use peer::Peer;
use poll::poll;
use serde_json::Value;

/// How long something that must happen soon may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdlink"));
    command.args(args);
    command
}

/// Runs it to its end.
fn tdlink(args: &[&str]) -> Output {
    command(args).output().expect("tdlink starts")
}

/// What it says on the standard output; it must end well.
fn said(args: &[&str]) -> String {
    let output = tdlink(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))).collect()
}

/// One JSON value a line, whatever the exit code.
fn json(args: &[&str]) -> (Vec<Value>, i32) {
    let output = tdlink(&[&["--json"], args].concat());
    (values(&String::from_utf8_lossy(&output.stdout)), output.status.code().expect("it ended by itself"))
}

/// What a list says about a name, and nothing else.
fn listed(name: &str) -> Vec<Value> {
    let (all, code) = json(&["list"]);
    assert_eq!(code, 0);
    all.into_iter().filter(|found| found["name"] == name).collect()
}

/// A Python peer of the repository's.
fn python(script: &str) -> Peer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers").join(script);
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-u").arg("-B").arg(path);
    Peer::spawn(command)
}

/// A test card that is published, until it goes out of scope: then it ends in order.
struct Card {
    peer: Peer,
    lives: bool,
}

impl Card {
    /// SIGKILL: nothing of its own is cleaned up.
    fn kill(&mut self) {
        self.peer.kill();
        self.lives = false;
    }

    /// Control-C.
    fn end(&mut self) -> std::process::ExitStatus {
        self.peer.interrupt();
        self.lives = false;
        self.peer.wait(PATIENCE).0
    }
}

impl std::ops::Deref for Card {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if self.lives && !std::thread::panicking() {
            self.end();
        }
    }
}

/// The test card, live under `name`.
fn testcard(name: &Name, more: &[&str]) -> Card {
    let mut peer = Peer::spawn(command(&[&["testcard", "--to", name], more].concat()));
    peer.hear(name, PATIENCE);
    // Said before the first frame, which follows at once.
    poll("a frame", PATIENCE, || listed(name).into_iter().find(|found| found["age-ms"].is_u64()).map(drop));
    Card { peer, lives: true }
}

/// A file of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tdlink-cli-{}-{name}", std::process::id())))
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("temporary folders have names in UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_command_has_a_page_and_is_completed() {
    let folder = Scratch::new("pages");
    said(&["man", "--dir", folder.text()]);
    let help = said(&["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    let script = said(&["completions", "bash"]);
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(folder.0.join(format!("tdlink-{command}.1"))).expect("the page is there");
        assert!(page.contains(".SH"), "{command}");
        assert!(script.contains(&format!("tdlink__subcmd__{command}")), "{command}");
    }
    std::fs::remove_dir_all(&folder.0).expect("the folder is ours");
}

#[test]
fn with_json_everything_said_is_json_or_refused() {
    for args in [
        &["snapshot", "--json"][..],
        &["--json", "no-such-command"],
        &["--json", "hz", "cam1", "--seconds", "18446744073709551615"],
        &["--json", "completions", "bash"],
        &["--json", "man"],
        &["--json", "testcard", "--glsl"],
        &["--json", "snapshot", "cam1", "-o", "-"],
    ] {
        let output = tdlink(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        let said = values(&String::from_utf8_lossy(&output.stderr));
        assert_eq!((said.len(), &said[0]["code"]), (1, &2.into()), "{args:?}: {said:?}");
        assert!(said[0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{args:?}: {said:?}");
    }
}

#[test]
fn seconds_that_no_clock_takes_are_refused() {
    for args in [
        &["snapshot", "cam1", "-o", "x.png", "--timeout"][..],
        &["hz", "cam1", "--seconds"],
        &["bw", "cam1", "--seconds"],
        &["watch", "cam1", "--seconds"],
        &["testcard", "--to", "cam1", "--seconds"],
    ] {
        let output = tdlink(&[args, &["18446744073709551615"]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}

#[test]
fn a_printed_line_is_quoted_for_gst_launch_and_for_the_shell() {
    let name = Name::new("print a\"b");
    std::fs::write(name.path(), vec![1; 64 * 64 * 4]).expect("/dev/shm is writable");
    let geometry = ["--width", "64", "--height", "64"];
    let printed = said(&[&["snapshot", "--print", &*name, "-o", "my film.png"], &geometry[..]].concat());
    std::fs::remove_file(name.path()).expect("it is ours");
    let quoted = format!("'shm-name=\"{}\"'", name.replace('"', "\\\""));
    for wanted in ["gst-launch-1.0", &quoted, "'location=\"my film.png\"'", "width=64", "! pngenc snapshot=true !"] {
        assert!(printed.contains(wanted), "{wanted} is missing: {printed}");
    }
}

#[test]
fn exit_codes_are_those_that_are_promised() {
    assert_eq!(tdlink(&["list"]).status.code(), Some(0));
    let missing = tdlink(&["info", "tdt-no-such-buffer"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("tdt-no-such-buffer.tdlink"), "{missing:?}");
    assert_eq!(tdlink(&["snapshot"]).status.code(), Some(2));
    assert_eq!(tdlink(&["testcard", "--to", "a/b"]).status.code(), Some(2));
    let name = Name::new("exit");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    assert_eq!(tdlink(&["testcard", "--to", &name]).status.code(), Some(3), "the name has a live producer");
    let (_, code) = json(&["snapshot", &name, "-o", "/no/such/folder/x.png"]);
    assert_eq!(code, 3);
}
