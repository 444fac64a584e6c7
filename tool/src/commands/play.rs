// SPDX-License-Identifier: MPL-2.0
//! `tdlink play`: a file, an address or a camera into a buffer.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::json;
use tdlink_core::protocol::control::{ConsumeError, clean};
use tdlink_core::segment::{SegmentError, SegmentName};

use crate::address::redacted;
use crate::failure::Failure;
use crate::gstreamer::{
    Child, Ended, GStreamer, Line, Run, Said, Trouble, hear_stop, package, program, rate, shown, size, stopped, whole,
};
use crate::output::Output;

/// How often a film is named in the list that it is repeated from: an hour of a film of four seconds.
const TIMES: usize = 1000;
/// How long a silence of a pipeline lasts before other things are looked at.
const SILENCE: Duration = Duration::from_millis(50);
/// How long a player may take to go once it is told to.
const TO_GO: Duration = Duration::from_secs(5);

/// What plays a film many times takes at least so long.
const AT_LEAST: Duration = Duration::from_secs(1);

/// How the buffer passes frames on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum As {
    /// Bytes, for a Shared Memory LOP or Python
    Raw,
    /// A ring of four, for GStreamer and programs that know the control segment
    Ring,
    /// For a Shared Mem In TOP
    Touch,
    /// In GPU memory, for cuda-link
    CudaLink,
}

/// Arguments of `play`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file that is repeated goes on without a gap where GStreamer has gst-play-1.0 (Debian: gstreamer1.0-plugins-base-apps); \
without it the buffer goes and comes back between two times, and tdlink says so. Sound is not played.")]
pub struct Args {
    /// A file, an address such as https://… or rtsp://…, or camera, camera:1
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// The buffer
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// How the buffer passes frames on
    #[arg(long = "as", default_value = "raw", value_name = "KIND")]
    pub kind: As,
    /// Size of the buffer's pictures; what has another shape gets black beside it
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub size: Option<(u32, u32)>,
    /// Frames a second, 60 or 30000/1001
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub fps: Option<(u32, u32)>,
    /// Plays a file once; else it is repeated until Ctrl-C
    #[arg(long)]
    pub once: bool,
}

/// What is played.
#[derive(Debug, PartialEq, Eq)]
enum What {
    File(PathBuf),
    Address(String),
    Camera(u32),
}

/// Plays.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let what = read(&args.what)?;
    SegmentName::new(&args.to).map_err(|err| Failure::Usage(format!("--to {}: {err}", args.to)))?;
    let gstreamer = GStreamer::with_plugin()?;
    hear_stop()?;
    let picture = picture(&args);
    let player = program(&gstreamer.bin, "gst-play-1.0");
    let repeats = matches!(what, What::File(_)) && !args.once;
    // The player drops its elements without a word, and a sink in GPU memory has more to end than a name.
    let gapless = args.kind != As::CudaLink;
    if repeats && gapless && player.is_file() {
        return repeat(&args, &gstreamer, &what, &picture, out);
    }
    let line = source(&gstreamer, &what)?.through(picture);
    if out.is_print() {
        return out.pipeline(&shown(&gstreamer.settings(), "gst-launch-1.0 -e", line.words()));
    }
    if repeats && !gapless {
        out.note("the buffer goes and comes back each time the film begins again");
    } else if repeats {
        let package = package("gst-play-1.0");
        out.note(format_args!(
            "no gst-play-1.0 ({package}): the buffer goes and comes back each time the film begins again"
        ));
    }
    say(&args, out)?;
    loop {
        let run = Run {
            gstreamer: &gstreamer,
            line: &line,
            names: &[],
            address: Some(&args.what),
            frames: None,
            lasts: None,
        };
        match run.run(out, |_, _| None)?.ended {
            Ended::Badly(why) => return Err(Failure::Failed(why)),
            Ended::Killed => return Err(Failure::Failed("the pipeline did not end in time and was killed".into())),
            Ended::Well if repeats && !stopped() => {}
            Ended::Well => return Ok(()),
        }
    }
}

fn say(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let what = if args.what.contains("://") { redacted(&args.what) } else { args.what.clone() };
    out.note(format_args!("{what} into \"{}\"; Ctrl-C ends it", args.to));
    out.value(&json!({ "playing": what, "to": args.to }))
}

/// Without a gap: a player that is given the file many times.
fn repeat(args: &Args, gstreamer: &GStreamer, what: &What, picture: &Line, out: &mut Output) -> Result<(), Failure> {
    let What::File(file) = what else { return Err(Failure::failed("only files are repeated")) };
    let uri = uri(file);
    let mut words = vec!["--no-interactive".to_owned(), "--gapless".into(), "--audiosink=fakesink".into()];
    words.push(format!("--videosink={}", picture.words().join(" ")));
    if out.is_print() {
        words.extend([uri.clone(), uri]);
        return out.pipeline(&shown(&gstreamer.settings(), "gst-play-1.0", &words));
    }
    let list = Playlist::new(&format!("{uri}\n").repeat(TIMES))?;
    words.push(format!("--playlist={}", list.0.display()));
    say(args, out)?;
    let ended = again_and_again(gstreamer, &words, out);
    // The player goes without a word to its elements: what they leave is removed like that of any producer that died.
    if let Ok(name) = SegmentName::new(&args.to)
        && matches!(args.kind, As::Raw | As::Ring)
        && let Err(err) = clean(&name)
        && !matches!(err, ConsumeError::Segment(SegmentError::NotFound { .. }))
    {
        out.note(format_args!("\"{}\" is left: {err}", args.to));
    }
    ended
}

/// A list of films in a file of its own, which is removed with it.
struct Playlist(PathBuf);

impl Playlist {
    fn new(text: &str) -> Result<Self, Failure> {
        // A name that nobody can have taken before: the hasher's keys are random.
        let random = RandomState::new().build_hasher().finish();
        let file = std::env::temp_dir().join(format!("tdlink-play-{random:016x}.txt"));
        let failed = |err| Failure::Failed(format!("{}: {err}", file.display()));
        let mut opened = File::create_new(&file).map_err(failed)?;
        let list = Self(file.clone());
        opened.write_all(text.as_bytes()).map_err(failed)?;
        Ok(list)
    }
}

impl Drop for Playlist {
    fn drop(&mut self) {
        // The system clears the folder of such files where we cannot.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn again_and_again(gstreamer: &GStreamer, words: &[String], out: &Output) -> Result<(), Failure> {
    while !stopped() {
        let mut command = gstreamer.command("gst-play-1.0");
        command.args(words);
        let began = Instant::now();
        let mut child = Child::start(command)?;
        let mut trouble = None;
        while !stopped() && !child.has_ended() {
            if let Some(said) = child.hear(SILENCE) {
                trouble = trouble.or_else(|| complaint(&said));
            }
            if trouble.is_some() {
                break;
            }
        }
        child.interrupt();
        let ended = child.end(TO_GO, |said| trouble = trouble.take().or_else(|| complaint(said)));
        if let Some(why) = trouble {
            return Err(Failure::Failed(why));
        }
        // It is told to end without ceremony; how it takes that does not matter.
        if !stopped() {
            match ended {
                Ended::Badly(why) => return Err(Failure::Failed(format!("gst-play-1.0: {why}"))),
                Ended::Killed => return Err(Failure::Failed("gst-play-1.0 did not end and was killed".into())),
                Ended::Well if began.elapsed() < AT_LEAST => {
                    return Err(Failure::Failed(
                        "gst-play-1.0 ended at once and gave no reason; --once plays the film by gst-launch-1.0".into(),
                    ));
                }
                Ended::Well => {}
            }
            out.note("the film has been played many times; it begins again after a moment");
        }
    }
    Ok(())
}

/// A player's error: it goes on to the next file of its list, which is the same.
fn complaint(said: &Said) -> Option<String> {
    match said {
        Said::Error { element, text } => Some(format!("{element}: {text}")),
        Said::Line(line) => line.strip_prefix("ERROR ").map(str::to_owned),
        _ => None,
    }
}

fn read(what: &str) -> Result<What, Failure> {
    if let Some(rest) = what.strip_prefix("camera") {
        match rest.strip_prefix(':').map(str::parse) {
            None if rest.is_empty() => return Ok(What::Camera(0)),
            Some(Ok(number)) => return Ok(What::Camera(number)),
            _ => {}
        }
    }
    if what.contains("://") {
        return Ok(What::Address(what.to_owned()));
    }
    match whole(Path::new(what)) {
        Ok(file) if file.is_file() => Ok(What::File(file)),
        Ok(_) => Err(Failure::Usage(format!("{what} is no file"))),
        Err(err) => Err(Failure::NotFound(format!("{what}: {err}; expected a file, an address or camera:N"))),
    }
}

/// From the source to frames of any kind.
fn source(gstreamer: &GStreamer, what: &What) -> Result<Line, Failure> {
    let decoder = |uri: &str| Line::default().then("uridecodebin").set("uri", uri);
    match what {
        What::File(file) => Ok(decoder(&uri(file))),
        What::Address(address) => Ok(decoder(address)),
        What::Camera(number) => {
            let (element, line) = if cfg!(windows) {
                ("mfvideosrc", Line::default().then("mfvideosrc").set("device-index", number))
            } else if cfg!(target_os = "macos") {
                ("avfvideosrc", Line::default().then("avfvideosrc").set("device-index", number))
            } else {
                ("v4l2src", Line::default().then("v4l2src").set("device", format!("/dev/video{number}")))
            };
            if gstreamer.elements.has(element) {
                // Most cameras give their best rates compressed.
                Ok(line.then("decodebin"))
            } else {
                Err(Trouble::Lacks { what: element.into(), package: package(element) }.into())
            }
        }
    }
}

/// From frames of any kind to the buffer.
fn picture(args: &Args) -> Line {
    let line = Line::default().then("queue").then("videoconvert");
    let mut caps =
        String::from(if args.kind == As::Touch { "video/x-raw,format=BGRA" } else { "video/x-raw,format=RGBA" });
    let line = match args.size {
        Some((width, height)) => {
            caps.push_str(&format!(",width={width},height={height},pixel-aspect-ratio=1/1"));
            line.then("videoscale").set("add-borders", true)
        }
        None => line,
    };
    let line = match args.fps {
        Some((num, den)) => {
            caps.push_str(&format!(",framerate={num}/{den}"));
            line.then("videorate")
        }
        None => line,
    };
    let line = line.then(&caps);
    match args.kind {
        As::Raw => line.then("tdshmsink").set("shm-name", &args.to),
        As::Ring => line.then("tdshmsink").set("shm-name", &args.to).set("slots", 4),
        As::Touch => line.then("tdshmsink").set("shm-name", &args.to).set("protocol", "touch"),
        As::CudaLink => line.then("tdcudaipcsink").set("shm-name", &args.to),
    }
}

/// A file's address.
fn uri(file: &Path) -> String {
    let text = file.to_string_lossy().replace('\\', "/");
    // Windows' own way of saying that a path is long.
    let text = text.strip_prefix("//?/").unwrap_or(&text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let path: String = text.bytes().map(encode).collect();
    if path.starts_with('/') { format!("file://{path}") } else { format!("file:///{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_has_a_number() {
        assert_eq!(read("camera").unwrap(), What::Camera(0));
        assert_eq!(read("camera:2").unwrap(), What::Camera(2));
        assert!(matches!(read("camera:x"), Err(Failure::NotFound(_))));
    }

    #[test]
    fn a_file_with_a_blank_has_an_address() {
        assert_eq!(uri(Path::new("/a b/é.mp4")), "file:///a%20b/%C3%A9.mp4");
        assert_eq!(uri(Path::new(r"\\?\C:\x.mp4")), "file:///C:/x.mp4");
    }
}
