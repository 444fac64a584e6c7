// SPDX-License-Identifier: MPL-2.0
//! The built `tdlink` with the built plugin and this machine's GStreamer: what it records plays, what it plays is read.
#![cfg(target_os = "linux")]

#[path = "../../../tests/common/folder.rs"]
mod files;
mod film;
#[allow(dead_code)] // these tests use a part of it
#[path = "../../../tests/common/name.rs"]
mod name;
#[allow(dead_code)] // as above
#[path = "../../../tests/common/peer.rs"]
mod peer;
mod playing;
#[path = "../../../tests/common/poll.rs"]
mod poll;
mod recording;
mod sound;
mod streaming;
mod there;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use peer::Peer;
use poll::poll;

/// How long something that must happen soon may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Pictures a second of the sender.
pub const FPS: u64 = 30;

/// An empty folder of one test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pipelines-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// The tool, told where the built plugin is, with a registry of its own.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdlink"));
    command.args(args).current_dir(folder).env("GST_REGISTRY", registry());
    command.env("GST_PLUGIN_PATH", peer::plugin().parent().expect("the plugin is in a folder"));
    command
}

fn registry() -> PathBuf {
    // One for all tests: filling it takes a second.
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines-registry.bin")
}

/// Runs it to its end.
fn tdlink(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("tdlink starts")
}

/// Both streams of what it says, and the exit code.
fn told(output: &Output) -> (String, Option<i32>) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code())
}

/// The tool beside the test.
fn beside(folder: &Path, args: &[&str]) -> Peer {
    Peer::spawn(command(folder, args))
}

/// A sender of pictures. It ends in order when it is dropped, so that nothing is left under its name.
struct Sender(Option<Peer>);

impl Sender {
    fn peer(&mut self) -> &mut Peer {
        self.0.as_mut().expect("the sender runs")
    }

    /// Ends it now.
    fn end(&mut self) {
        if let Some(mut peer) = self.0.take() {
            peer.say("end");
            let (status, heard) = peer.wait(PATIENCE);
            assert!(status.success() || std::thread::panicking(), "the sender: {status}, {heard:?}");
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end();
    }
}

/// A sender of so many pictures that waits for its reader.
fn lossless(name: &str, count: u64) -> Sender {
    let mut sender = python("sender.py", &[name, "320", "180", &FPS.to_string(), &count.to_string()]);
    sender.hear("sending", PATIENCE);
    Sender(Some(sender))
}

/// A sender of pictures, and the time at which its number was 0.
fn sender(name: &str, (width, height): (u32, u32)) -> (Sender, u64) {
    let mut sender = python("sender.py", &[name, &width.to_string(), &height.to_string(), &FPS.to_string()]);
    let line = sender.hear("sending", PATIENCE);
    let began = line.rsplit(' ').next().and_then(|ns| ns.parse().ok()).expect("the sender says when it began");
    (Sender(Some(sender)), began)
}

fn python(script: &str, args: &[&str]) -> Peer {
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg("-u")
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines").join(script))
        .args(args);
    Peer::spawn(command)
}

/// The number that the sender sends now.
fn number_now(began: u64) -> u64 {
    (tdlink_core::segment::monotonic_ns() - began) * FPS / 1_000_000_000
}

/// Waits until a file has something in it.
fn grows(file: &Path) {
    poll("the file grows", PATIENCE, || file.metadata().is_ok_and(|found| found.len() > 0).then_some(()));
}

/// Waits until the sender's number has gone on by so many.
fn pass(began: u64, frames: u64) {
    let due = number_now(began) + frames;
    poll("pictures pass", PATIENCE, || (number_now(began) >= due).then_some(()));
}
