// SPDX-License-Identifier: MPL-2.0
//! Another process that answers line by line: a Python program with a segment, or gst-launch-1.0 with our elements.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::{PATIENCE, poll};

/// Python with numpy from the system's packages, whatever else is first in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Killed when dropped.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Peer {
    /// The peer `tests/peers/SCRIPT`.
    pub fn python(script: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
        let mut command = Command::new(PYTHON);
        command.arg("-u").arg("-B").arg(path);
        Self::spawn(command)
    }

    /// `gst-launch-1.0 -m`: its messages are the lines.
    pub fn launch(pipeline: &str) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command.args(["-m", "-e"]).arg(load_plugin()).args(pipeline.split_whitespace());
        Self::spawn(command)
    }

    /// Any command; what it says on stdout are the lines, stderr goes with the test's own.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { stdin: child.stdin.take(), child, lines, heard: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far.
    pub fn heard(&self) -> &[String] {
        &self.heard
    }

    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the peer still listens");
        writeln!(stdin, "{line}")
            .unwrap_or_else(|error| panic!("'{line}' to the peer: {error}; heard {:?}", self.heard));
    }

    /// Says `line` and returns the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        let answer = self.next(PATIENCE).unwrap_or_else(|| panic!("no answer to '{line}'; heard {:?}", self.heard));
        assert!(!answer.starts_with("error"), "'{line}': {answer}");
        answer
    }

    /// The next line that has `part` in it.
    pub fn hear(&mut self, part: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(line) if line.contains(part) => return line,
                Some(line) if line.starts_with("error") => panic!("waiting for '{part}': {line}"),
                Some(_) => {}
                None => panic!("no '{part}' within {limit:?}; heard {:#?}", self.heard),
            }
        }
    }

    /// The next line that has `part` in it, if it comes within `limit`.
    pub fn try_hear(&mut self, part: &str, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        loop {
            let line = self.next(end.saturating_duration_since(Instant::now()))?;
            if line.contains(part) {
                return Some(line);
            }
        }
    }

    fn next(&mut self, limit: Duration) -> Option<String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                self.heard.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// SIGKILL, as a crash: nothing of its own is cleaned up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// A signal, as the command `kill` names it: `-STOP`, `-CONT`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} {}", self.pid());
    }

    /// Waits for it to end by itself; what it still said is in the second value.
    pub fn wait(&mut self, limit: Duration) -> (ExitStatus, Vec<String>) {
        drop(self.stdin.take());
        let status = poll("the peer ends", limit, || self.child.try_wait().expect("the peer can be waited for"));
        while self.next(Duration::from_millis(200)).is_some() {}
        (status, self.heard.clone())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The plugin that cargo built together with this test.
pub fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let deps = test.parent().expect("it lies in a folder");
    let places = [deps.join("libgsttdlink.so"), deps.join("../libgsttdlink.so")];
    let newest = places.into_iter().filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).max();
    newest.unwrap_or_else(|| panic!("libgsttdlink.so stands beside {}", test.display())).1
}

/// The option by which GStreamer's tools load that plugin.
pub fn load_plugin() -> String {
    format!("--gst-plugin-load={}", plugin().display())
}
