// SPDX-License-Identifier: MPL-2.0
//! The other process: this test program, started again, told line by line what to do.

use std::fs::{self, File, OpenOptions as FileOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tdlink_core::segment::{CreateOptions, OpenOptions, OwnedSegment, Segment, SegmentName};

/// Marks answers among what the test harness prints.
const ANSWER: &str = "answer: ";

/// A running peer. It is killed when it goes out of scope.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start() -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap())).expect("this very program runs")
    }

    /// A peer of another user, or the reason why that cannot be had.
    pub fn start_as(uid: u32) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can start another user's process".to_owned());
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.uid(uid).gid(uid);
        // A build directory may be closed to others.
        Self::start_by(command).map_err(|err| format!("another user cannot run this program: {err}"))
    }

    /// A peer with a file system of its own under `/dev/shm`, or the reason why that cannot be had.
    pub fn start_apart() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
        let mut peer = Self::start_by(command).map_err(|err| format!("unshare: {err}"))?;
        // No answer at all when unshare refused.
        match peer.try_ask("mount 1m").as_deref() {
            Some("done") => Ok(peer),
            answer => Err(format!("no private mount: {answer:?}")),
        }
    }

    fn start_by(mut command: Command) -> io::Result<Self> {
        command.args(["--exact", "peer::peer", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Ok(Self { child, orders, answers })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.try_ask(order).unwrap_or_else(|| panic!("the peer died of {order:?}"))
    }

    /// Gives an order that is never answered.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    fn try_ask(&mut self, order: &str) -> Option<String> {
        writeln!(self.orders, "{order}").ok()?;
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The harness may have begun the line.
            if let Some((_, answer)) = line.trim_end().split_once(ANSWER) {
                return Some(answer.to_owned());
            }
        }
    }

    /// SIGKILL, and gone when it returns.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Holdings {
    owned: Option<OwnedSegment>,
    mapped: Option<Segment>,
    file: Option<File>,
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn peer() {
    let mut holdings = Holdings::default();
    for order in io::stdin().lock().lines() {
        let answer = obey(&order.unwrap(), &mut holdings).unwrap_or_else(|error| format!("refused {error}"));
        println!("{ANSWER}{answer}");
    }
}

fn obey(order: &str, holdings: &mut Holdings) -> Result<String, String> {
    let words: Vec<&str> = order.split(' ').collect();
    let name = |text: &str| SegmentName::new(text).map_err(|err| err.to_string());
    let number = |text: &str| text.parse::<usize>().map_err(|err| err.to_string());
    match words[..] {
        ["create", text, len, takeover] => {
            let options = CreateOptions { takeover: takeover == "takeover", ..CreateOptions::default() };
            let owned = OwnedSegment::create(&name(text)?, number(len)?, &options).map_err(|err| err.to_string())?;
            let origin = format!("{:?}", owned.origin());
            holdings.owned = Some(owned);
            Ok(origin)
        }
        ["fill", byte] => {
            let segment = holdings.owned.as_ref().unwrap().segment();
            segment.write(0, &vec![number(byte)? as u8; segment.len()]).map_err(|err| err.to_string())?;
            Ok("done".to_owned())
        }
        ["keep"] => {
            let kept = holdings.owned.as_mut().unwrap().keep_published().map_err(|err| err.to_string())?;
            Ok(format!("{kept:?}"))
        }
        ["resize", "for", "ever"] => {
            let owned = holdings.owned.as_mut().unwrap();
            for len in (10..20).cycle() {
                owned.resize(len).map_err(|err| err.to_string())?;
            }
            Ok("never".to_owned())
        }
        ["map", text] => {
            let mapped = Segment::open(&name(text)?, OpenOptions::default()).map_err(|err| err.to_string())?;
            holdings.mapped = Some(mapped);
            Ok("done".to_owned())
        }
        ["map", text, "of", "anybody"] => {
            let options = OpenOptions { allow_other_user: true };
            let mapped = Segment::open(&name(text)?, options).map_err(|err| err.to_string())?;
            let mut first = [0];
            mapped.read(0, &mut first).map_err(|err| err.to_string())?;
            Ok(format!("{first:?}"))
        }
        ["adopt", text, len] => {
            let options = CreateOptions { allow_other_user: true, ..CreateOptions::default() };
            OwnedSegment::create(&name(text)?, number(len)?, &options)
                .map(|owned| format!("{:?}", owned.origin()))
                .map_err(|err| err.to_string())
        }
        ["hold", path] => {
            let file = FileOptions::new().read(true).open(path).map_err(|err| err.to_string())?;
            holdings.file = Some(file);
            Ok("done".to_owned())
        }
        ["drop"] => {
            *holdings = Holdings::default();
            Ok("done".to_owned())
        }
        ["umask", mask] => {
            let mask = u32::from_str_radix(mask, 8).map_err(|err| err.to_string())?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
            Ok("done".to_owned())
        }
        ["mount", size] => {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", "/dev/shm"]);
            let outcome = mount.output().map_err(|err| err.to_string())?;
            if outcome.status.success() { Ok("done".to_owned()) } else { Err(format!("{outcome:?}")) }
        }
        ["write", path, len] => {
            fs::write(path, vec![1; number(len)?]).map_err(|err| err.to_string())?;
            Ok("done".to_owned())
        }
        ["list", path] => {
            let names = fs::read_dir(path).map_err(|err| err.to_string())?;
            Ok(format!("{:?}", names.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()))
        }
        _ => Err(format!("{order:?} is no order")),
    }
}
