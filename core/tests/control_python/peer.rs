// SPDX-License-Identifier: MPL-2.0
//! The other process: a Python program, or this test program, started again, told line by line what to do.

use std::io::{BufRead, BufReader, Write, stdin};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tdlink_core::protocol::control::{Interrupt, Producer, ProducerOptions};
use tdlink_core::segment::SegmentName;

use super::{send, spec};

/// Python with numpy: from the system's packages, whatever else is first in PATH; on Windows the one in PATH.
const PYTHON: &str = if cfg!(windows) { "python" } else { "/usr/bin/python3" };
/// Marks answers of this program among what the test harness prints.
const ANSWER: &str = "answer: ";

/// A running peer. It ends as a program ends when it goes out of scope.
pub struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    mark: &'static str,
}

impl Peer {
    pub fn python() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/ring.py");
        let mut command = Command::new(PYTHON);
        command.arg("-B").arg(script);
        Self::start(command, "")
    }

    /// A producer in another process.
    pub fn rust() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "peer::peer", "--ignored", "--nocapture", "--test-threads=1"]);
        Self::start(command, ANSWER)
    }

    fn start(mut command: Command, mark: &'static str) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers, mark }
    }

    /// Gives an order whose answer is asked for later.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    pub fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the peer died");
            // The harness may have begun the line.
            if let Some((_, answer)) = line.trim_end().split_once(self.mark) {
                return answer.to_owned();
            }
        }
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    #[track_caller]
    pub fn expect(&mut self, order: &str, answer: &str) {
        assert_eq!(self.ask(order), answer, "to {order:?}");
    }

    /// SIGKILL, or TerminateProcess, and gone when it returns.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end as a program ends.
    #[track_caller]
    pub fn exit(mut self) {
        self.orders = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.orders = None;
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn peer() {
    let mut producer = None;
    for order in stdin().lock().lines() {
        let order = order.unwrap();
        let words: Vec<&str> = order.split(' ').collect();
        let answer = match words[..] {
            ["produce", name, slots] => {
                let options = ProducerOptions::latest(slots.parse().unwrap());
                let name = SegmentName::new(name).unwrap();
                producer = Some(Producer::create(&name, spec(64, 16), options, Interrupt::new()).unwrap());
                "ready".to_owned()
            }
            ["send", number] => send(producer.as_ref().unwrap(), number.parse().unwrap()).to_string(),
            _ => return,
        };
        println!("{ANSWER}{answer}");
    }
}
