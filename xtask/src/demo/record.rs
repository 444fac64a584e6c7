// SPDX-License-Identifier: MPL-2.0
//! From TouchDesigner to a file: five seconds of a stand-in's buffer, recorded, read back and looked at.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::demo::checks::Checks;
use crate::demo::picture::Picture;
use crate::demo::sheet::{self, Sheet};
use crate::demo::{Buffer, Stage, mp4};
use crate::fail;
use crate::run::{self, Companion, Outcome, Trouble, say};

pub const MOVIE: &str = "touchdesigner.mp4";
pub const SHEET: &str = "contact-sheet.png";

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FPS: f64 = 60.0;
const SECONDS: f64 = 5.0;

/// How often to try on a machine that is too busy to send 60 pictures a second in the first place.
const ATTEMPTS: u32 = 3;

pub fn run(stage: &Stage) -> Outcome {
    for attempt in 1..=ATTEMPTS {
        let sent = record(stage, &stage.folder.join(MOVIE))?;
        println!("           the sender says: {sent}");
        let verdict = look(stage);
        let kept_pace = rate(&sent).is_some_and(|rate| rate >= 0.98 * FPS);
        match verdict {
            Ok(()) => return Ok(()),
            Err(trouble) if kept_pace => return Err(trouble),
            Err(trouble) => println!("{trouble}"),
        }
        say(format_args!("this machine is too busy: the sender itself fell behind (attempt {attempt} of {ATTEMPTS})"));
    }
    Err(Trouble::Machine(format!(
        "the sender never managed {FPS} pictures a second: the machine is too busy for the demo"
    )))
}

/// Pictures per second, out of the sender's last line.
fn rate(sent: &str) -> Option<f64> {
    sent.split_once(" per second")?.0.rsplit(' ').next()?.parse().ok()
}

fn look(stage: &Stage) -> Outcome {
    let movie = stage.folder.join(MOVIE);
    say("reading the file back");
    let file = std::fs::read(&movie).map_err(|err| Trouble::Failed(format!("{}: {err}", movie.display())))?;
    let track = mp4::parse(&file)?;
    let mut checks = Checks::default();
    check_track(&mut checks, &track, file.len());
    let seen = decode(stage, &movie, track.frames)?;
    check_frames(&mut checks, &seen);
    checks.conclude(&format!("{MOVIE}: what the file is"))
}

/// Starts the sender, records it and stops both; gives the sender's own account.
fn record(stage: &Stage, movie: &Path) -> Outcome<String> {
    let buffer = Buffer::new("record");
    let mut command = stage.python("touchdesigner_sender.py");
    command.args(["--name", &buffer.0, "--width", &WIDTH.to_string(), "--height", &HEIGHT.to_string()]);
    let mut sender = Companion::start("the sender", command.args(["--fps", &FPS.to_string()]))?;
    sender.wait_for("sending ", Duration::from_secs(20))?;

    // The queue lets the source keep its pace while the encoder takes its time.
    let line = format!(
        "-e tdshmsrc shm-name={} width={WIDTH} height={HEIGHT} channels=4 framerate={FPS}/1 ! queue ! videoconvert \
         ! video/x-raw,format=I420,colorimetry=bt709 ! x264enc speed-preset=superfast bitrate=8000 key-int-max=60 \
         ! h264parse ! mp4mux ! filesink location=FILE",
        buffer.0
    );
    let mut recorder = Companion::start("gst-launch-1.0", &stage.launch(&line, movie))?;
    recorder.wait_for("Setting pipeline to PLAYING", Duration::from_secs(30))?;
    std::thread::sleep(Duration::from_secs_f64(SECONDS));
    say("five seconds are over: Ctrl-C, which -e turns into EOS");
    recorder.interrupt();
    let asked = Instant::now();
    recorder.finish(Duration::from_secs(20))?;
    say(format_args!("the file was complete {:.1} s later", asked.elapsed().as_secs_f64()));

    sender.interrupt();
    sender.finish(Duration::from_secs(10))?;
    let left = buffer.files();
    if !left.is_empty() {
        fail!("left in /dev/shm after the sender's end: {left:?}");
    }
    Ok(sender.transcript().lines().last().unwrap_or_default().trim().to_string())
}

fn check_track(checks: &mut Checks, track: &mp4::Track, bytes: usize) {
    let sps = &track.sps;
    let name = |profile: u8| match profile {
        66 => "baseline".to_string(),
        77 => "main".to_string(),
        100 => "high".to_string(),
        other => format!("number {other}"),
    };
    let playable = |profile| matches!(profile, 66 | 77 | 100);
    let profile = format!("{}, {} in the stream", name(track.profile), name(sps.profile));
    checks.add("H.264 profile", playable(track.profile) && track.profile == sps.profile, profile, "high or below");
    let chroma = match sps.chroma_format {
        1 => "4:2:0".to_string(),
        other => format!("chroma_format_idc {other}"),
    };
    checks.add("chroma", sps.chroma_format == 1, chroma, "4:2:0");
    let bt709 = sps.colours == Some([1, 1, 1]) && !sps.full_range;
    let tags = format!("{:?}, full range {}", sps.colours, sps.full_range);
    checks.add("colour tags of the stream", bt709, tags, "BT.709: [1, 1, 1], full range false");
    let tags = format!("{:?}", track.colours);
    checks.add("colour tags of the file", track.colours.is_none_or(|tags| tags == [1, 1, 1]), tags, "BT.709 or none");
    let size = format!("{}x{}, {}x{} in the stream", track.width, track.height, sps.width, sps.height);
    let (width, height) = (usize::from(track.width), usize::from(track.height));
    let good = (width, height) == (WIDTH, HEIGHT) && (sps.width as usize, sps.height as usize) == (WIDTH, HEIGHT);
    checks.add("size", good, size, format!("{WIDTH}x{HEIGHT}"));
    let good = (track.seconds - SECONDS).abs() <= 0.5;
    checks.add("duration", good, format!("{:.2} s", track.seconds), format!("{SECONDS} s, give or take 0.5"));
    let fps = f64::from(track.frames) / track.seconds;
    let good = (fps - FPS).abs() <= 0.5;
    checks.add("rate", good, format!("{fps:.2} per second"), format!("{FPS} per second, give or take 0.5"));
    let due = FPS * SECONDS;
    let good = (f64::from(track.frames) - due).abs() <= FPS * 0.5;
    checks.add("frames", good, track.frames, format!("about {due}"));
    checks.add("bytes", bytes > 100_000, bytes, "more than 100000");
}

/// What the decoded pictures show.
#[derive(Default)]
struct Seen {
    frames: u32,
    /// Of each whole picture.
    numbers: Vec<u16>,
    unreadable: Vec<u32>,
    torn: Vec<u32>,
    wrong_corner: Option<String>,
}

/// Decodes the whole file, looks at each picture, and puts some on the contact sheet.
fn decode(stage: &Stage, movie: &Path, frames: u32) -> Outcome<Seen> {
    let line = "-q filesrc location=FILE ! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=RGB \
                ! fdsink fd=1";
    let mut command: Command = stage.launch(line, movie);
    say(format_args!("$ {}", run::shown(&command)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|err| Trouble::Machine(format!("gst-launch-1.0: {err}")))?;
    let mut pipe = child.stdout.take().ok_or_else(|| Trouble::Machine("no pipe to gst-launch-1.0".into()))?;

    let stride = (3 * WIDTH).next_multiple_of(4);
    let mut rgb = vec![0; stride * HEIGHT];
    let mut seen = Seen::default();
    let cells = sheet::COLUMNS * sheet::ROWS;
    let mut sheet = Sheet::new(&format!("tdlink: {frames} frames of {WIDTH}x{HEIGHT}, {MOVIE}"), WIDTH, HEIGHT);
    while pipe.read_exact(&mut rgb).is_ok() {
        let picture = Picture { width: WIDTH, height: HEIGHT, stride, rgb: &rgb };
        let numbers = picture.numbers();
        match numbers {
            [Some(above), Some(below)] if above == below => seen.numbers.push(above),
            [Some(_), Some(_)] => seen.torn.push(seen.frames),
            _ => seen.unreadable.push(seen.frames),
        }
        if seen.wrong_corner.is_none() {
            let wrong = picture.wrong_corner();
            seen.wrong_corner = wrong.map(|wrong| format!("frame {}: {wrong}", seen.frames));
        }
        // The frames in the middle of as many equal shares as the sheet has cells.
        let cell = seen.frames as usize * cells / usize::max(frames as usize, 1);
        if cell < cells && seen.frames as usize == (2 * cell + 1) * frames as usize / (2 * cells) {
            let number = numbers[0].map_or("unreadable".to_string(), |number| number.to_string());
            let caption = format!("{:.2} s, number {number}", f64::from(seen.frames) / FPS);
            sheet.put(cell, &picture, &caption);
        }
        seen.frames += 1;
    }
    drop(pipe);
    let status = child.wait().map_err(|err| Trouble::Machine(format!("gst-launch-1.0: {err}")))?;
    if !status.success() || seen.frames != frames {
        fail!("decoding ended with {status} after {} frames; the file says {frames}", seen.frames);
    }
    let file = stage.folder.join(SHEET);
    std::fs::write(&file, sheet.png()).map_err(|err| Trouble::Machine(format!("{}: {err}", file.display())))?;
    Ok(seen)
}

/// Sender and recorder both run at 60 per second on clocks that know nothing of each other, so the recorder sees each
/// picture once, and now and then, as the two drift or a process wakes late, one twice or not at all: from one frame to
/// the next the number rises by 0, 1 or 2. A larger step means that one of them was held up; a busy machine does that
/// now and then, so up to 2 frames of 100 may show one, none of more than a quarter of a second. Never may a number fall.
fn check_frames(checks: &mut Checks, seen: &Seen) {
    let steps: Vec<i32> = seen.numbers.windows(2).map(|pair| i32::from(pair[1].wrapping_sub(pair[0]) as i16)).collect();
    let corner = seen.wrong_corner.clone();
    checks.add(
        "corners of every picture",
        corner.is_none(),
        corner.unwrap_or("upright".into()),
        "upright, colours true",
    );
    checks.add("unreadable numbers", seen.unreadable.is_empty(), few(&seen.unreadable), "none");
    checks.add("torn pictures", seen.torn.is_empty(), few(&seen.torn), "none");
    let back = steps.iter().filter(|&&step| step < 0).count();
    checks.add("numbers that fall", back == 0, back, 0);
    let count = |wanted: i32| steps.iter().filter(|&&step| step == wanted).count();
    let far = steps.iter().filter(|&&step| step > 2).count();
    let found = format!("{} by 1, {} by 0, {} by 2, {far} by more", count(1), count(0), count(2));
    checks.add("steps of the number", far * 50 <= steps.len(), found, "0, 1 or 2; of 100 at most 2 more");
    let largest = steps.iter().copied().max().unwrap_or(0);
    checks.add("largest step", f64::from(largest) <= FPS / 4.0, largest, format!("at most {}", FPS / 4.0));
    let rise: i32 = steps.iter().sum();
    let share = f64::from(rise) / usize::max(steps.len(), 1) as f64;
    let range = format!("{:?} to {:?}", seen.numbers.first(), seen.numbers.last()).replace("Some", "");
    let found = format!("{share:.3} a frame, {range}");
    checks.add("rise of the number", (0.95..=1.05).contains(&share), found, "1 a frame, give or take 0.05");
}

/// How many frames, and the first of them.
fn few(frames: &[u32]) -> String {
    let first: Vec<_> = frames.iter().take(5).map(u32::to_string).collect();
    match frames.len() {
        0 => "none".into(),
        count if count <= first.len() => format!("{count}: frames {}", first.join(", ")),
        count => format!("{count}: frames {}, ...", first.join(", ")),
    }
}
