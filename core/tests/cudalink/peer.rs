// SPDX-License-Identifier: MPL-2.0
//! The other process: this test program, started again, told line by line what to do.

use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tdlink_core::cuda::{
    Context, DeviceMem, Driver, Event, Imports, PinnedMem, Rows, Stream, Usual, copy_2d, driver, rows_u8,
};
use tdlink_core::frame::SampleType;
use tdlink_core::protocol::cudalink::{Consumer, Frame, Interrupt, Offer, Producer, ProducerOptions, Wait};

use super::loans::Loan;
use tdlink_core::segment::{CreateOptions, OpenOptions, Segment, SegmentName, monotonic_ns};

use super::{PATIENCE, described, frame, handles};

/// Marks answers among what the test harness prints.
const ANSWER: &str = "answer: ";

/// A running peer. It is killed when it goes out of scope.
pub struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With settings of the emulated driver's, for this process alone.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "peer::peer", "--ignored", "--nocapture", "--test-threads=1"]);
        for (name, value) in settings {
            command.env(format!("EMULATED_CUDA_{name}"), value);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this very program runs");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order that is answered later, or never.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    pub fn answer(&mut self) -> String {
        let order = "the last order";
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the peer died of {order:?}");
            // The harness may have begun the line.
            if let Some((_, answer)) = line.trim_end().split_once(ANSWER) {
                return answer.to_owned();
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, order: &str, answer: &str) {
        assert_eq!(self.ask(order), answer, "to {order:?}");
    }

    /// SIGKILL, and gone when it returns.
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn peer() {
    let mut state = State::default();
    for order in stdin().lock().lines() {
        let order = order.unwrap();
        let words: Vec<&str> = order.split(' ').collect();
        let answer = state.obey(&words).unwrap_or_else(|error| format!("error: {error}"));
        println!("{ANSWER}{}", answer.replace('\n', " "));
    }
}

type Answer = Result<String, Box<dyn std::error::Error>>;

#[derive(Default)]
struct State {
    name: String,
    offer: Option<Offer>,
    opened: Option<Segment>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    kept: Vec<Frame>,
    loan: Option<Loan>,
    /// For work of its own.
    stream: Option<Stream>,
    device: i32,
}

impl State {
    fn obey(&mut self, words: &[&str]) -> Answer {
        let create = |takeover| CreateOptions { takeover, ..CreateOptions::default() };
        Ok(match *words {
            // Without a GPU.
            ["offer", name, slots, width, how] => {
                let (slots, width) = (slots.parse()?, width.parse()?);
                self.name = name.to_owned();
                let mut offer = Offer::create(&SegmentName::new(name)?, slots, &create(how == "takeover"))?;
                let generation = offer.announce(described(width), handles(slots, 1))?;
                let answer = format!("{:?} {generation}", offer.acquired());
                self.offer = Some(offer);
                answer
            }
            ["publish"] => self.offer.as_mut().ok_or("no offer")?.publish(1_000_000_000)?.to_string(),
            ["tend"] => format!("{:?}", self.offer.as_mut().ok_or("no offer")?.tend()?),
            ["open", name] => {
                self.opened = Some(Segment::open(&SegmentName::new(name)?, OpenOptions::default())?);
                "open".to_owned()
            }
            ["flood"] => loop {
                self.offer.as_mut().ok_or("no offer")?.publish(1_000_000_000)?;
            },
            ["pulse", who, frames, micros] => {
                let (frames, pause) = (frames.parse()?, Duration::from_micros(micros.parse()?));
                let offer = self.offer.as_mut().ok_or("no offer")?;
                // As other programs write: nobody is woken.
                let silent = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{}", self.name))?;
                let mut due = Instant::now();
                for index in 1..=frames {
                    due += pause;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    if who == "rings" {
                        offer.publish(monotonic_ns())?;
                    } else {
                        silent.write_all_at(&(monotonic_ns() as f64 / 1e9).to_le_bytes(), 425)?;
                        silent.write_all_at(&u32::to_le_bytes(index), 16)?;
                    }
                }
                "done".to_owned()
            }
            // With one.
            ["device", number] => {
                self.device = number.parse()?;
                "chosen".to_owned()
            }
            ["device-of-consumer"] => {
                let receiver = self.receiver.as_ref().ok_or("no consumer")?;
                receiver.consumer.context().device().to_string()
            }
            ["lend", name] => {
                let receiver = self.receiver.as_mut().ok_or("no consumer")?;
                self.loan = Some(Loan::of(&SegmentName::new(name)?, receiver)?);
                "lent".to_owned()
            }
            ["give-back"] => self.loan.as_ref().ok_or("no loan")?.give_back().to_string(),
            ["judge"] => self.loan.as_ref().ok_or("no loan")?.judge()?.to_string(),
            ["finish"] => self.loan.as_ref().ok_or("no loan")?.finish().to_string(),
            ["close"] => {
                self.receiver = None;
                self.loan.take().ok_or("no loan")?.outlives_its_memory()?
            }
            ["card"] => {
                let driver = driver()?;
                format!("{}, CUDA {}, of {}", driver.device_name(0)?, driver.version(), driver.devices())
            }
            ["driver"] => driver().map(|driver| driver.version().to_string())?,
            ["symbols"] => Driver::symbols().join(" "),
            ["produce", name, slots, width, height, sample, channels, how] => {
                let frame = frame(width.parse()?, height.parse()?, sample_type(sample), channels.parse()?);
                let options =
                    ProducerOptions { slots: slots.parse()?, export_sync: how == "sync", ..ProducerOptions::default() };
                let context = Context::primary(self.device)?;
                let producer = Producer::create(&SegmentName::new(name)?, &context, frame, &options)?;
                self.sender = Some(Sender { stream: Stream::new(&context)?, memory: None, producer });
                "ready".to_owned()
            }
            ["resize", width, height, sample, channels] => {
                let frame = frame(width.parse()?, height.parse()?, sample_type(sample), channels.parse()?);
                let sender = self.sender.as_mut().ok_or("no producer")?;
                sender.producer.set_frame(frame)?;
                format!("{}", sender.producer.generation())
            }
            ["send", number] => self.sender.as_mut().ok_or("no producer")?.send(number.parse()?)?.to_string(),
            ["consume", name] => {
                self.receiver = Some(Receiver::attach(&SegmentName::new(name)?, &Context::primary(self.device)?)?);
                "ready".to_owned()
            }
            ["receive"] => self.receiver.as_mut().ok_or("no consumer")?.receive()?,
            ["take"] => self.receiver.as_mut().ok_or("no consumer")?.take()?,
            ["await"] => self.receiver.as_mut().ok_or("no consumer")?.complete()?,
            ["keep"] => {
                let receiver = self.receiver.as_mut().ok_or("no consumer")?;
                self.kept.push(receiver.next()?.map_err(|wait| format!("{wait:?}"))?);
                "kept".to_owned()
            }
            ["flip"] => {
                let context = Context::primary(self.device)?;
                let memory = [DeviceMem::new(&context, 64)?, DeviceMem::new(&context, 64)?];
                let stream = self.stream.get_or_insert(Stream::new(&context)?);
                let rows = Rows { bytes_per_pixel: 4, flip: true, ..Rows::default() };
                rows_u8(memory[0].plane(16, 16, 4)?, memory[1].plane(16, 16, 4)?, rows, stream)?;
                stream.synchronize()?;
                "flipped".to_owned()
            }
            ["drop"] => {
                self.stream = None;
                (self.offer, self.opened, self.sender, self.receiver) = (None, None, None, None);
                self.loan = None;
                self.kept.clear();
                format!("{} imports", Imports::count())
            }
            ["end", "consumer"] => {
                self.receiver = None;
                format!("{} imports", Imports::count())
            }
            _ => format!("no such order: {words:?}"),
        })
    }
}

pub fn sample_type(text: &str) -> SampleType {
    SampleType::ALL.into_iter().find(|sample| sample.to_string() == text).unwrap()
}

/// What stands in frame `number`.
pub fn picture(number: u64, len: usize) -> Vec<u8> {
    let seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes: Vec<u8> = (0..len as u64).map(|at| (seed.rotate_left((at % 64) as u32) ^ (at * 31)) as u8).collect();
    for (byte, of_number) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = of_number;
    }
    bytes
}

pub struct Sender {
    stream: Stream,
    memory: Option<PinnedMem>,
    pub producer: Producer,
}

impl Sender {
    /// Uploads frame `number` into the next slot and publishes it. The copy goes on when this returns.
    pub fn send(&mut self, number: u64) -> Result<u32, Box<dyn std::error::Error>> {
        self.producer.tend()?;
        let len = self.producer.frame().bytes().ok_or("too large")?;
        let context = self.producer.context().clone();
        let slot = self.producer.begin()?;
        let plane = slot.plane()?;
        let memory = match &mut self.memory {
            Some(memory) if memory.len() == len => memory,
            memory => memory.insert(PinnedMem::new(&context, len)?),
        };
        memory.bytes_mut()?.copy_from_slice(&picture(number, len));
        memory.upload(plane, plane.row_bytes(), &self.stream)?;
        Ok(slot.publish(&self.stream)?)
    }
}

pub struct Receiver {
    stream: Stream,
    copied: Event,
    memory: Option<PinnedMem>,
    pub consumer: Consumer,
    /// Taken, but not looked at yet.
    taken: Option<Frame>,
}

impl Receiver {
    pub fn attach(name: &SegmentName, context: &Context) -> Result<Self, Box<dyn std::error::Error>> {
        let began = Instant::now();
        let consumer = loop {
            match Consumer::attach(name, context, &OpenOptions::default(), Interrupt::new()) {
                Ok(consumer) => break consumer,
                Err(error) if error.may_pass() && began.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        };
        let context = consumer.context().clone();
        let (stream, copied) = (Stream::new(&context)?, Event::new(&context)?);
        Ok(Self { stream, copied, memory: None, consumer, taken: None })
    }

    pub fn next(&mut self) -> Result<Result<Frame, Wait>, Box<dyn std::error::Error>> {
        loop {
            let wait = self.consumer.wait_newer(Some(Instant::now() + PATIENCE))?;
            if wait != Wait::Newer {
                return Ok(Err(wait));
            }
            if let Some(frame) = self.consumer.take()? {
                return Ok(Ok(frame));
            }
        }
    }

    /// Takes a frame that the next look is at, however late that is.
    fn take(&mut self) -> Answer {
        let frame = self.next()?.map_err(|wait| format!("{wait:?}"))?;
        let answer = format!("took {}", frame.published.index);
        self.taken = Some(frame);
        Ok(answer)
    }

    /// Waits for the copy of the next frame, which is looked at later, as the elements do.
    fn complete(&mut self) -> Answer {
        self.take()?;
        let frame = self.taken.as_ref().ok_or("no frame")?;
        let is_complete = self.consumer.complete_by(frame, Instant::now() + PATIENCE, || false)?;
        Ok(if is_complete { "complete" } else { "late" }.to_owned())
    }

    /// One frame, through memory of our own on the GPU: "INDEX NUMBER whole|torn right|WRONG", or what happened instead.
    pub fn receive(&mut self) -> Answer {
        let frame = match self.taken.take() {
            Some(frame) => frame,
            None => match self.next()? {
                Ok(frame) => frame,
                Err(wait) => return Ok(format!("{wait:?} {}", self.consumer.description())),
            },
        };
        let context = self.consumer.context().clone();
        let len = self.consumer.description().frame_bytes() as usize;
        let copy = DeviceMem::new(&context, len)?;
        let plane = copy.plane(frame.plane.pitch(), frame.plane.row_bytes(), frame.plane.rows())?;
        if !self.consumer.complete_by(&frame, Instant::now() + PATIENCE, || false)? {
            return Ok("the producer's copy does not end".to_owned());
        }
        copy_2d(plane, frame.plane, &self.stream)?;
        self.copied.record(&self.stream)?;
        if !self.copied.synchronize_by(Instant::now() + PATIENCE, &mut Usual::default(), || false)? {
            return Ok("the copy does not end".to_owned());
        }
        let whole = self.consumer.still_whole(&frame)?;
        let memory = match &mut self.memory {
            Some(memory) if memory.len() == len => memory,
            memory => memory.insert(PinnedMem::new(&context, len)?),
        };
        memory.download(plane, plane.row_bytes(), &self.stream)?;
        let bytes = memory.bytes()?;
        let number = u64::from_le_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)));
        let right = bytes == picture(number, len);
        let (whole, right) = (if whole { "whole" } else { "torn" }, if right { "right" } else { "WRONG" });
        Ok(format!("{} {number} {whole} {right}", frame.published.index))
    }
}
