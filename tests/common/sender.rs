// SPDX-License-Identifier: MPL-2.0
//! A pipeline in another process that sends numbered pictures, on orders by line. CUDA shares memory between two processes
//! only.

use std::collections::BTreeMap;
use std::io::{Write, stdin};
use std::process::Command;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::VideoInfo;
use tdlink_core::segment::monotonic_ns;

use super::peer::Peer;
use super::{PATIENCE, frames, pictures, run::Run};

/// The test that is the other process; it does nothing when it is run as a test.
pub const ROLE: &str = "the_other_process";

/// The other process's side: pipelines with an `appsrc name=a` and a sink `name=k`, and perhaps an `appsrc name=b`.
pub fn serve() {
    let mut run: Option<Run> = None;
    let mut others = Vec::new();
    for line in stdin().lines().map_while(Result::ok) {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (word, &run) {
            ("play", _) => {
                let new = Run::new(rest);
                tell_when_frames_arrive(&new.element("k"));
                if let Some(second) = new.pipeline.by_name("b") {
                    hand_on(&new.element("k"), second.downcast().expect("it is an appsrc"));
                }
                new.play();
                run = Some(new);
                say("playing");
            }
            ("also", _) => {
                let new = Run::playing(rest);
                new.wait_message("tdlink-connected");
                others.push(new);
                say("playing too");
            }
            ("caps", Some(run)) => {
                appsrc(run).set_caps(Some(&rest.parse::<gst::Caps>().expect("the test gives caps")));
                say("caps set");
            }
            ("send", Some(run)) => {
                let numbers: Vec<u32> = rest.split(' ').map(|word| word.parse().expect("a number")).collect();
                let [from, count, rate] = numbers[..] else { panic!("send FROM COUNT RATE, not {rest:?}") };
                send(run, from..from + count, rate);
                say("sent all");
            }
            ("eos", Some(run)) => {
                appsrc(run).end_of_stream().expect("the appsrc takes the end");
                say("ended");
            }
            ("errors", Some(run)) => say(&format!("said {:?}", run.sayings())),
            ("stat-of-source", Some(run)) => say(&format!("stat {}", run.stat("s", rest))),
            ("stat", Some(run)) => say(&format!("stat {}", run.stat("k", rest))),
            ("take", Some(run)) => {
                let limit = gst::ClockTime::from_seconds(PATIENCE.as_secs());
                let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
                let taken = sink.try_pull_sample(limit);
                say(&format!(
                    "taken {}",
                    taken.map_or_else(|| format!("nothing: {:?}", run.history()), |_| "one".into())
                ));
            }
            ("verify", Some(run)) => {
                let (picture, info) = frames::pull(run, "k");
                say(&format!("whole {}", pictures::whole_number(&info, &picture)));
            }
            #[cfg(target_os = "linux")]
            ("descriptors", _) => say(&format!("descriptors {}", super::machine::descriptors().len())),
            ("stop", Some(_)) => {
                run = None;
                others.clear();
                say("stopped");
            }
            other => panic!("the other process does not know {:?}", other.0),
        }
    }
}

/// Lines of two threads do not mix.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).expect("the test listens");
}

fn appsrc(run: &Run) -> gst_app::AppSrc {
    run.element("a").downcast().expect("it is an appsrc")
}

/// Says each picture's number and when it came to the sink: it is published after that, and before the next comes.
fn tell_when_frames_arrive(sink: &gst::Element) {
    let pad = sink.static_pad("sink").expect("a sink has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            say(&format!("frame {} {}", buffer.offset(), monotonic_ns()));
        }
        gst::PadProbeReturn::Ok
    })
    .expect("the probe can be set");
}

/// What comes to the sink goes to a second `appsrc name=b`, too, before the sink has seen it.
fn hand_on(sink: &gst::Element, second: gst_app::AppSrc) {
    let pad = sink.static_pad("sink").expect("a sink has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            second.set_caps(pad.current_caps().as_ref());
            second.push_buffer(buffer.clone()).expect("it plays");
        }
        gst::PadProbeReturn::Ok
    })
    .expect("the probe can be set");
}

fn send(run: &Run, numbers: std::ops::Range<u32>, rate: u32) {
    let source = appsrc(run);
    let info = VideoInfo::from_caps(&source.caps().expect("the appsrc has caps")).expect("they are video caps");
    let start = Instant::now();
    for (at, number) in numbers.enumerate() {
        let mut buffer = frames::buffer(&info, &pictures::picture(&info, number));
        buffer.get_mut().expect("nobody else has it").set_offset(number.into());
        if source.push_buffer(buffer).is_err() {
            return;
        }
        // The sender keeps the time.
        let due = start + Duration::from_secs(at as u64 + 1) / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// The test's side.
pub struct Sender {
    pub peer: Peer,
}

impl Sender {
    /// A new process, with `env` beside its own.
    pub fn start(env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test has a path"));
        command.args([ROLE, "--exact", "--ignored", "--nocapture"]);
        // Mutants and faults of this process are not the other's.
        for name in ["BREAK_SYNC", "BREAK_EVENTS", "COPY_DELAY_US", "FAIL", "LOSE", "DIE", "TRACE", "STATS"] {
            command.env_remove(format!("EMULATED_CUDA_{name}"));
        }
        command.envs(env.iter().copied());
        Self { peer: Peer::spawn(command) }
    }

    /// Plays `pipeline`.
    pub fn play(&mut self, pipeline: &str) {
        self.order(&format!("play {pipeline}"), "playing");
    }

    /// Gives an order and waits for the answer.
    pub fn order(&mut self, order: &str, answer: &str) -> String {
        self.peer.say(order);
        self.peer.hear(answer, PATIENCE)
    }

    /// Sends pictures and waits until all are gone.
    pub fn send(&mut self, from: u32, count: u32, rate: u32) {
        self.peer.say(&format!("send {from} {count} {rate}"));
        self.peer.hear("sent all", PATIENCE);
    }

    /// Sends bursts that go round the ring faster than `reader` copies. Whatever it shows is whole, and the last picture of
    /// each burst, which alone is left for long enough, comes. Gives how many frames it gave up.
    pub fn overtake(&mut self, reader: &mut Sender) -> String {
        for burst in 0..8 {
            let last = burst * 10 + 7;
            self.send(burst * 10, 8, 60);
            let mut read = String::new();
            while read != format!("whole {last}") {
                read = reader.order("verify", "whole");
            }
        }
        reader.order("stat-of-source overwritten", "stat ")
    }

    /// Ends the process in order.
    pub fn end(mut self) {
        let (status, heard) = self.peer.wait(PATIENCE);
        assert!(status.success(), "{status}: {heard:#?}");
    }

    /// When each picture so far came to the sink, on the monotonic clock.
    pub fn times(&self) -> BTreeMap<u32, u64> {
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let lines = self.peer.heard().iter().filter_map(|line| line.strip_prefix("frame ")?.split_once(' '));
        lines.map(|(frame, time)| (u32::try_from(number(frame)).expect("a small number"), number(time))).collect()
    }
}
