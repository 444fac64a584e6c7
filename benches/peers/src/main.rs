// SPDX-License-Identifier: MPL-2.0
//! Both ends of `cargo xtask bench peers`. The driver starts one sender and some receivers, opens and closes a window
//! by `start` and `stop` on their standard input, and reads lines from their standard output: `playing`, `first`,
//! `result key=value ...`, `error why`. `quit`, or the end of the input, ends the program.
//!
//! ```text
//! about ELEMENT...                        the version of GStreamer, and which of the elements it has
//! send --caps C --size BYTES --memory private|proposed|proposed:COUNT [--rate FPS] --to "ELEMENT ..."
//! receive --check none|stamp|read --from "ELEMENT ..."
//! floor-send --name N --size BYTES --receivers COUNT --memory private|proposed [--rate FPS]
//! floor-receive --name N --size BYTES --index I --check none|stamp
//! ```

mod floor;
mod sink;
mod source;
mod stamp;
mod tally;

use std::collections::HashMap;
use std::io::BufRead;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use floor::Floor;
use gst::prelude::*;
use sink::Sink;
use source::{Memory, Plan, Source};
use tally::{Check, Tally};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A pipeline that has not stopped by then hangs; the program ends all the same.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let role = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    match run(&role, &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            println!("error {err}");
            ExitCode::FAILURE
        }
    }
}

fn run(role: &str, words: &[String]) -> Outcome {
    if role == "about" {
        return about(words);
    }
    let options = Options::of(words)?;
    match role {
        "send" => {
            let tally = Arc::new(Tally::default());
            start_gstreamer()?;
            let plan = Plan {
                caps: gst::Caps::from_str(options.get("caps")?)?,
                size: options.number("size")?,
                memory: options.memory()?,
                rate: options.rate()?,
            };
            let source = Source::new(plan, Arc::clone(&tally));
            play(&[source.upcast(), described(options.get("to")?)?], &tally)
        }
        "receive" => {
            let tally = Arc::new(Tally::with_latencies());
            start_gstreamer()?;
            let sink = Sink::new(options.check()?, Arc::clone(&tally));
            play(&[described(options.get("from")?)?, sink.upcast()], &tally)
        }
        "floor-send" => {
            let tally = Arc::new(Tally::default());
            let (floor, receivers, rate) = (options.floor()?, options.number("receivers")?, options.rate()?);
            let copied = options.memory()? == Memory::Private;
            beside(&tally, move |tally| floor::send(&floor, receivers, copied, rate, tally));
            Ok(())
        }
        "floor-receive" => {
            let tally = Arc::new(Tally::with_latencies());
            let (floor, index) = (options.floor()?, options.number("index")?);
            let looks = match options.check()? {
                Check::None => false,
                Check::Stamp => true,
                // Bytes of shared memory can only be copied out here, and a copy is what a floor has not.
                Check::Read => return Err("the floor does not read: --check none or stamp".into()),
            };
            beside(&tally, move |tally| floor::receive(&floor, index, looks, tally));
            Ok(())
        }
        other => Err(format!("\"{other}\" is none of about, send, receive, floor-send, floor-receive").into()),
    }
}

/// `--key value` pairs.
#[derive(Debug)]
struct Options<'a>(HashMap<&'a str, &'a str>);

impl<'a> Options<'a> {
    fn of(words: &'a [String]) -> Outcome<Self> {
        let mut options = HashMap::new();
        for pair in words.chunks(2) {
            match pair {
                [key, value] if key.starts_with("--") => options.insert(&key[2..], value.as_str()),
                other => return Err(format!("expected --key value, found {other:?}").into()),
            };
        }
        Ok(Self(options))
    }

    fn get(&self, key: &str) -> Outcome<&'a str> {
        self.0.get(key).copied().ok_or_else(|| format!("--{key} is missing").into())
    }

    fn number<T: FromStr>(&self, key: &str) -> Outcome<T> {
        let text = self.get(key)?;
        text.parse().map_err(|_| format!("--{key} {text} is no number in range").into())
    }

    fn rate(&self) -> Outcome<Option<u32>> {
        if self.0.contains_key("rate") { self.number("rate").map(Some) } else { Ok(None) }
    }

    fn check(&self) -> Outcome<Check> {
        let word = self.get("check")?;
        Check::of(word).ok_or_else(|| format!("--check {word} is none of none, stamp, read").into())
    }

    fn memory(&self) -> Outcome<Memory> {
        match self.get("memory")? {
            "private" => Ok(Memory::Private),
            "proposed" => Ok(Memory::Proposed(None)),
            other => {
                let count = other.strip_prefix("proposed:").and_then(|count| count.parse().ok());
                let count = count.ok_or_else(|| format!("--memory {other} is none of private, proposed, proposed:N"));
                Ok(Memory::Proposed(Some(count?)))
            }
        }
    }

    fn floor(&self) -> Outcome<Floor> {
        let floor = Floor { name: self.get("name")?.into(), size: self.number("size")? };
        if floor.size < stamp::FRONT + stamp::BACK {
            return Err(format!("--size {} has no room for a stamp", floor.size).into());
        }
        Ok(floor)
    }
}

fn start_gstreamer() -> Outcome {
    gst::init()?;
    gsttdlink::plugin_register_static()?;
    Ok(())
}

fn about(elements: &[String]) -> Outcome {
    start_gstreamer()?;
    let (major, minor, micro, _) = gst::version();
    println!("gstreamer {major}.{minor}.{micro}");
    for element in elements {
        let here = gst::ElementFactory::find(element).is_some();
        println!("{element} {}", if here { "here" } else { "missing" });
    }
    Ok(())
}

/// The elements of a line as one element.
fn described(line: &str) -> Outcome<gst::Element> {
    let bin = gst::parse::bin_from_description(line, true).map_err(|err| format!("\"{line}\": {err}"))?;
    Ok(bin.upcast())
}

/// Runs two linked elements until the driver has had enough.
fn play(elements: &[gst::Element; 2], tally: &Tally) -> Outcome {
    let pipeline = gst::Pipeline::new();
    pipeline.add_many(elements)?;
    gst::Element::link_many(elements)?;
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    bus.set_sync_handler(|_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default().replace('\n', " ");
                println!("error {} ({debug})", error.error());
            }
            gst::MessageView::Eos(_) => println!("error the stream has ended"),
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
    pipeline.set_state(gst::State::Playing)?;
    println!("playing");
    listen(tally);
    std::thread::spawn(|| {
        std::thread::sleep(STOPS_WITHIN);
        println!("error it does not stop within {STOPS_WITHIN:?}");
        std::process::exit(1);
    });
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

/// Runs one end of the floor on a thread of its own until the driver has had enough. Its segments go with the
/// process's end: the driver removes their names.
fn beside(tally: &Arc<Tally>, end: impl FnOnce(&Tally) -> Outcome + Send + 'static) {
    let own = Arc::clone(tally);
    std::thread::spawn(move || {
        if let Err(err) = end(&own) {
            println!("error {err}");
        }
    });
    listen(tally);
}

/// Does what the driver says until it says `quit` or is gone.
fn listen(tally: &Tally) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.as_str() {
            "start" => tally.open(),
            "stop" => println!("{}", tally.close()),
            "quit" => return,
            other => println!("error \"{other}\" is none of start, stop, quit"),
        }
    }
}
