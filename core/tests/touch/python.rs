// SPDX-License-Identifier: MPL-2.0
//! Both ends against tests/peers/touch.py, which speaks the protocol from its description alone; on Windows (and under
//! Wine) over Windows' own objects.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tdlink_core::protocol::touch::Standing;

use super::*;

/// The other program. It is killed when it goes out of scope.
struct Python {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/touch.py");
        let program = if cfg!(windows) { "python" } else { "/usr/bin/python3" };
        let mut command = Command::new(program);
        command.args(["-u", "-B"]).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let answer = answer.trim_end().to_owned();
        assert!(!answer.starts_with("error") && !answer.is_empty(), "{order}: {answer:?}");
        answer
    }

    fn tell(&mut self, order: &str) {
        let answer = self.ask(order);
        assert_eq!(answer, "ok", "{order}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number that a frame is filled with.
fn read_number(consumer: &mut Consumer) -> (Outcome, Option<u32>) {
    let mut frame = vec![0xEE; consumer.desc().bytes().unwrap()];
    let stride = consumer.desc().row_bytes();
    let outcome = consumer.read(&mut frame, stride).unwrap();
    let (words, _) = frame.as_chunks();
    let whole = words.iter().all(|word| *word == words[0]);
    (outcome, whole.then(|| u32::from_le_bytes(words[0])))
}

fn numbered(desc: &FrameDesc, number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(desc.bytes().unwrap() / 4)
}

#[test]
fn a_python_sender_is_read_followed_and_missed() {
    let names = Names::new();
    let mut python = Python::start();
    let name = names.0.typed();
    python.tell(&format!("send {name} 64 48 44 v1"));
    names.missing();
    python.tell("fill 7");
    let mut consumer = names.attach();
    assert_eq!((consumer.desc(), consumer.header().version), (bgra(64, 48), 1));
    assert_eq!(read_number(&mut consumer), (NEW, Some(7)));
    assert_eq!(python.ask("resize 128 96 37").len(), 31, "we have said that we follow");
    python.tell("fill 8");
    assert!(consumer.look().unwrap());
    assert_eq!(read_number(&mut consumer).0, Outcome::Respec);
    assert_eq!(consumer.desc(), desc(128, 96, SampleType::U8, 4, ChannelOrder::Rgba));
    assert_eq!(read_number(&mut consumer), (NEW, Some(8)));
    python.tell("play 2");
    let mut last = 0;
    for _ in 0..50 {
        poll("a frame comes", || consumer.look().unwrap().then_some(()));
        let (outcome, number) = read_number(&mut consumer);
        assert!(matches!(outcome, Outcome::Whole { .. } | Outcome::Locked), "{outcome:?}");
        if matches!(outcome, Outcome::Whole { .. }) {
            let number = number.expect("every frame is whole");
            assert!(number >= last || last == 8, "{number} after {last}");
            last = number;
        }
    }
    python.ask("stop");
    python.tell("detach");
    assert!(matches!(consumer.standing().unwrap(), Standing::Ended(_)));
    assert_eq!(python.ask(&format!("exists {name}")), "mutex", "nobody keeps what it left");
}

#[test]
fn a_python_receiver_sees_what_is_written_and_follows() {
    let names = Names::new();
    let mut python = Python::start();
    let (small, large) = (bgra(8, 8), bgra(64, 48));
    let name = names.0.typed();
    assert!(python.ask(&format!("recv {name}")).starts_with("none"), "there is no sender yet");
    let mut producer = names.produce(small);
    producer.write(&numbered(&small, 1), small.row_bytes()).unwrap();
    python.tell(&format!("recv {name}"));
    assert_eq!(python.ask("number"), "1");
    for (n, desc) in [(2, large), (3, small), (4, large)] {
        producer.set_frames(desc, desc.format, ([1.0, 1.0], Colour::SRGB), &Waiter::new()).unwrap();
        assert_eq!(python.ask("number"), "nothing");
        producer.write(&numbered(&desc, n), desc.row_bytes()).unwrap();
        assert_eq!(python.ask("number"), n.to_string());
    }
    // A sender that is robbed of the name; its receivers go on.
    let mut second = names.try_produce(small, true).unwrap();
    second.write(&numbered(&small, 5), small.row_bytes()).unwrap();
    assert_eq!(python.ask("number"), "5");
    drop(second);
    assert_eq!(python.ask("number"), "detached");
    python.tell("leave");
}

#[test]
fn a_python_receiver_that_does_not_follow_is_waited_for() {
    let names = Names::new();
    let mut python = Python::start();
    let (small, large) = (bgra(8, 8), bgra(64, 480));
    let mut producer = names.produce(small);
    producer.write(&numbered(&small, 1), small.row_bytes()).unwrap();
    python.tell(&format!("recv {} old", names.0.typed()));
    assert_eq!(python.ask("number"), "1");
    std::thread::scope(|scope| {
        let resizing = scope.spawn(|| {
            producer.set_frames(large, large.format, ([1.0, 1.0], Colour::SRGB), &Waiter::new()).unwrap();
            producer.write(&numbered(&large, 2), large.row_bytes()).unwrap();
        });
        python.tell("leave");
        resizing.join().unwrap();
    });
    assert_eq!(read_number(&mut names.attach()), (NEW, Some(2)));
}

#[test]
fn a_python_program_that_is_killed_with_the_mutex_stops_nobody() {
    let names = Names::new();
    let mut python = Python::start();
    let desc = bgra(64, 64);
    let mut producer = names.produce(desc);
    producer.write(&numbered(&desc, 1), desc.row_bytes()).unwrap();
    let mut consumer = names.attach();
    read_number(&mut consumer);
    python.tell(&format!("recv {}", names.0.typed()));
    assert_eq!(python.ask("lock"), "abandoned False");
    assert_eq!(read_number(&mut consumer).0, Outcome::Locked);
    python.kill();
    assert_eq!(read_number(&mut consumer).0, Outcome::Suspect, "told once");
    producer.write(&numbered(&desc, 2), desc.row_bytes()).unwrap();
    poll("the next frame is news", || consumer.look().unwrap().then_some(()));
    assert_eq!(read_number(&mut consumer), (NEW, Some(2)));
}

#[test]
fn half_a_frame_of_a_python_sender_that_was_killed_is_not_shown() {
    let names = Names::new();
    let mut python = Python::start();
    python.tell(&format!("send {} 64 64 44 v1", names.0.typed()));
    python.tell("fill 1");
    let mut consumer = names.attach();
    assert_eq!(read_number(&mut consumer), (NEW, Some(1)));
    python.tell("half 2");
    assert!(consumer.look().unwrap());
    assert_eq!(read_number(&mut consumer).0, Outcome::Locked);
    python.kill();
    assert_eq!(read_number(&mut consumer).0, Outcome::Suspect);
    let why = poll("its end is found out", || match consumer.standing().unwrap() {
        Standing::Ended(why) => Some(why),
        _ => None,
    });
    assert!(why.contains("has gone"), "{why}");
    // The next one is not kept out.
    let mut next = Python::start();
    next.tell(&format!("send {} 64 64 44 v2", names.0.typed()));
    next.tell("fill 3");
    assert_eq!(read_number(&mut names.attach()), (NEW, Some(3)));
    next.tell("detach");
}
