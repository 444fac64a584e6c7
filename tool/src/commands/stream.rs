// SPDX-License-Identifier: MPL-2.0
//! `tdlink stream`: a buffer to a server, a player or a network.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::address::redacted;
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{
    Codec, Counts, Encoder, Ended, GStreamer, Line, Run, Sound, Trouble, Wire, Wish, audio, audio_encoder, encoders,
    hear_stop, missing, package, rate, shown, size, sound, stopped,
};
use crate::output::Output;
use crate::seconds::some_seconds;

mod target;

use target::{Target, read};

/// The first wait before a stream that broke is begun again; each one is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A stream that held for so long was a good one.
const HELD: Duration = Duration::from_secs(60);
/// Seconds from one key frame to the next: what servers ask for.
const KEYFRAMES: f64 = 2.0;

/// Arguments of `stream`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
URL is one of
  srt://:7001                      waits for players; srt://HOST:7001 calls a server
  rtmp://HOST/app/key, rtmps://…   YouTube, Twitch, nginx
  whip://HOST/path, whips://…      WebRTC by WHIP (http and https)
  rtsp://HOST:8554/path            to an RTSP server such as MediaMTX
  ndi://NAME                       an NDI source; needs the NDI runtime
The rate is constant, a key frame comes every 2 seconds, and nothing is held back. A stream that breaks is begun again, after \
1 second, then 2, 4 and so on up to 30. While the producer is away or stands still, its last picture is sent.
A stream key in URL is never repeated in what is said here, but --print shows it, and so does the machine's list of processes \
while the stream runs.")]
pub struct Args {
    /// The buffer
    pub name: String,
    /// Where to
    #[arg(value_name = "URL")]
    pub url: String,
    /// Frames a second; else the producer's, or 60
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub fps: Option<(u32, u32)>,
    /// Size of the stream; else that of the first frame
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub size: Option<(u32, u32)>,
    /// Kilobits a second
    #[arg(long, default_value_t = 6000, value_name = "KBPS", value_parser = clap::value_parser!(u32).range(50..))]
    pub bitrate: u32,
    /// h264, or hevc over srt
    #[arg(long, default_value = "h264")]
    pub codec: Codec,
    /// This encoder and no other, by its GStreamer name
    #[arg(long, value_name = "ELEMENT")]
    pub encoder: Option<String>,
    /// Sound: auto (the system's, if there is any), td (TouchDesigner's own, on Windows), system, tone (a test), none, or a
    /// device's name, after "device:" if it is a mere word
    #[arg(long, default_value = "auto", value_name = "SOURCE", value_parser = audio)]
    pub audio: String,
    /// Ends after this many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = some_seconds)]
    pub duration: Option<f64>,
    /// Gives up after this many broken attempts in a row; 0 never
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub attempts: u32,
    /// Of a raw buffer
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Streams.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let target = read(&args.url)?;
    target.takes(args.codec)?;
    let gstreamer = GStreamer::with_plugin()?;
    target.check(&gstreamer)?;
    hear_stop()?;
    let wire = if out.is_print() {
        Wire::look(&args.name, &args.geometry)?.ok_or_else(|| Failure::NotFound(missing(&args.name)))?
    } else {
        let Some(wire) = Wire::await_one(&args.name, &args.geometry, None, out)? else { return Ok(()) };
        wire
    };
    let (num, den) = args.fps.unwrap_or((wire.rate.num, wire.rate.den));
    let fps = f64::from(num) / f64::from(den);
    let wish = Wish {
        codec: args.codec,
        depth: 8,
        alpha: false,
        live: true,
        kbps: args.bitrate,
        keyframes: (fps * KEYFRAMES).round().max(1.0) as u32,
        fps: fps.ceil() as u32,
    };
    let mut encoders = if target.encodes_itself(&gstreamer) {
        Vec::new()
    } else {
        encoders(&gstreamer, &wish, args.encoder.as_deref())?
    };
    let sound = sound(&gstreamer, &args.audio)?;
    let sound = match sound {
        Ok(sound) => {
            out.note(format_args!("with {}", sound.what));
            Some(sound)
        }
        Err(why) => {
            out.note(format_args!("without sound: {why}"));
            None
        }
    };
    if let Some(why) = sound.as_ref().and_then(|sound| sound.instead.as_ref()) {
        out.note(format_args!("not TouchDesigner's alone: {why}"));
    }
    let line =
        |encoder: Option<&Encoder>| pipeline(&gstreamer, &args, &wire, (num, den), &target, encoder, sound.as_ref());
    if out.is_print() {
        return out.pipeline(&shown(&gstreamer.settings(), "gst-launch-1.0 -e", line(encoders.first())?.words()));
    }
    let name = encoders.first().map_or("the sink's own encoder", |encoder| encoder.name);
    out.note(format_args!(
        "{}: {}x{} at {fps:.2} a second with {name} to {}; Ctrl-C ends it",
        wire.name,
        wire.width,
        wire.height,
        redacted(&args.url)
    ));
    let began = Instant::now();
    let (mut wait, mut failed, mut sum) = (FIRST_WAIT, 0u32, Counts::default());
    loop {
        let left = args.duration.map(|seconds| Duration::from_secs_f64(seconds).saturating_sub(began.elapsed()));
        let line = line(encoders.first())?;
        let run =
            Run { gstreamer: &gstreamer, line: &line, names: &[], address: Some(&args.url), frames: None, lasts: left };
        let since = Instant::now();
        let outcome = run.run(out, |_, _| None)?;
        let counts = outcome.counts.get("src0").copied().unwrap_or_default();
        sum = sum.and(counts);
        let over = left.is_some_and(|left| since.elapsed() >= left);
        let why = match outcome.ended {
            _ if stopped() || over => break,
            Ended::Well => "the stream ended".to_owned(),
            Ended::Badly(why) => why,
            Ended::Killed => "the pipeline did not end in time and was killed".into(),
        };
        // An encoder that did not even begin is not asked again where there is another one.
        if encoders.len() > 1 && encoders.first().is_some_and(|encoder| why.starts_with(encoder.name)) {
            encoders.remove(0);
            out.note(format_args!("{why}; trying {}", encoders[0].name));
            continue;
        }
        (wait, failed) = if since.elapsed() >= HELD { (FIRST_WAIT, 1) } else { (wait, failed + 1) };
        if args.attempts > 0 && failed >= args.attempts {
            return Err(Failure::Failed(format!("{why}; given up after {failed} attempts")));
        }
        out.note(format_args!("{why}; again in {} s", wait.as_secs()));
        let due = Instant::now() + wait;
        while !stopped() && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(50));
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        if stopped() {
            break;
        }
    }
    out.line(format_args!("{}: {}", wire.name, sum.words()))?;
    out.value(&json!({ "name": wire.name, "to": redacted(&args.url), "counts": sum.value() }))
}

fn pipeline(
    gstreamer: &GStreamer,
    args: &Args,
    wire: &Wire,
    (num, den): (u32, u32),
    target: &Target,
    encoder: Option<&Encoder>,
    sound: Option<&Sound>,
) -> Result<Line, Failure> {
    let even = |side: u32| side.next_multiple_of(2);
    let (width, height) = args.size.unwrap_or((even(wire.width), even(wire.height)));
    let format = encoder.map_or(target.raw_format(), |encoder| encoder.format);
    let rgb = format.starts_with("BGR") || format.starts_with("RGB");
    let colours = if rgb { "" } else { ",colorimetry=bt709" };
    let video = wire
        .source(&args.geometry)
        .set("name", "src0")
        .set("framerate", format!("{num}/{den}"))
        .set("pacing", "constant")
        .then("queue")
        // A late picture is worth nothing.
        .set("leaky", "downstream")
        .set("max-size-buffers", 4)
        .then("videoscale")
        .set("add-borders", true)
        .then(&format!("video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1"))
        .then("videoconvert")
        .then(&format!("video/x-raw,format={format}{colours}"));
    let video = match encoder {
        Some(encoder) => video.through(encoder.line.clone()),
        None => video,
    };
    let line = target.sink(gstreamer, args.bitrate).and(video.through(target.video(gstreamer))).end();
    match sound {
        Some(sound) if target.takes_raw_sound(gstreamer) => {
            Ok(line.and(sound.line.clone().then("queue").through(target.audio(gstreamer))).end())
        }
        Some(sound) => {
            let coded = sound.line.clone().through(match target.wants_opus() {
                true if gstreamer.elements.has("opusenc") => Line::default().then("opusenc"),
                true => return Err(Trouble::Lacks { what: "opusenc".into(), package: package("opusenc") }.into()),
                false => audio_encoder(gstreamer)?,
            });
            Ok(line.and(coded.then("queue").through(target.audio(gstreamer))).end())
        }
        None => Ok(line),
    }
}
