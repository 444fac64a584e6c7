// SPDX-License-Identifier: MPL-2.0
//! Sound of a recording, out of a PulseAudio of the test's own: what is seen and heard at once stays so in the file.

use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::files::Folder;
use super::name::Name;
use super::*;

/// Samples a second.
const RATE: usize = 48_000;
/// Pictures a second.
const PICTURES: usize = 60;
/// A frame, in milliseconds.
const FRAME_MS: f64 = 1000.0 / PICTURES as f64;

/// PulseAudio with an output that nobody hears, `out`, and a device that reads its samples from a pipe, `mic`.
struct Server {
    /// Ends the server when it is dropped, before the folder goes, in which it writes to its end.
    _process: Peer,
    folder: Folder,
}

impl Server {
    /// `None`, and a line that says so, where there is none.
    fn start(test: &str) -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
        let gst = Command::new("gst-inspect-1.0").args(["--exists", "pulsesrc"]).status();
        if !has("pulseaudio") || !has("pacat") || !gst.is_ok_and(|status| status.success()) {
            println!(
                "NOT RUN: no pulseaudio, pacat or pulsesrc (packages pulseaudio, pulseaudio-utils, gstreamer1.0-pulseaudio)"
            );
            return None;
        }
        // A socket's name must be short.
        let folder = Folder::new(test);
        let socket = folder.join("native");
        let mut command = Command::new("pulseaudio");
        command.args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error"]);
        command.arg(format!("--load=module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()));
        command.arg(format!("--load=module-null-sink sink_name=out rate={RATE}"));
        let pipe = folder.join("mic");
        command.arg(format!(
            "--load=module-pipe-source source_name=mic file={} rate={RATE} channels=2 format=s16le",
            pipe.display()
        ));
        for variable in ["XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "HOME"] {
            command.env(variable, &*folder);
        }
        let process = Peer::spawn(command);
        poll("the sound server answers", PATIENCE, || {
            (UnixStream::connect(&socket).is_ok() && pipe.exists()).then_some(())
        });
        Some(Self { _process: process, folder })
    }

    /// A command that finds this server.
    fn with(&self, mut command: Command) -> Command {
        command.env("PULSE_SERVER", format!("unix:{}", self.folder.join("native").display()));
        for variable in ["XDG_RUNTIME_DIR", "HOME"] {
            command.env(variable, &*self.folder);
        }
        command
    }

    /// Somebody who always has the device open: one that nobody listens to takes no samples out of its pipe.
    fn listener(&self) -> Peer {
        let mut command = Command::new("sh");
        command.args(["-c", "exec pacat --record --device=mic > /dev/null"]);
        Peer::spawn(self.with(command))
    }

    /// The world in which flash and beep are at once.
    fn world(&self, arguments: &[&str]) -> Sender {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines/sound.py");
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-u", "-B"]).arg(script).args(arguments);
        let mut world = Peer::spawn(self.with(command));
        world.hear("sending", PATIENCE);
        Sender(Some(world))
    }
}

/// By how many milliseconds each beep is later than its flash, in a file whose times are its own (mkv): that a track of an mp4
/// begins later is written in an edit list, after which videorate begins to count anew.
fn late(file: &Path, folder: &Path) -> Vec<f64> {
    let (pictures, samples) = (folder.join("pictures"), folder.join("samples"));
    let all = "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0";
    let line = format!(
        "filesrc location={} ! decodebin name=d \
         d. ! {all} ! videoconvert ! videoscale ! videorate ! \
         video/x-raw,format=GRAY8,width=16,height=16,framerate={PICTURES}/1 ! filesink location={} \
         d. ! {all} ! audioconvert ! audioresample ! audiorate ! \
         audio/x-raw,format=S16LE,rate={RATE},channels=1 ! filesink location={}",
        file.display(),
        pictures.display(),
        samples.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(line.split_whitespace()).env("GST_REGISTRY", registry()).stdin(Stdio::null());
    assert!(command.status().is_ok_and(|status| status.success()), "{} plays", file.display());
    let bytes = std::fs::read(pictures).expect("pictures");
    let white: Vec<bool> = bytes.chunks_exact(16 * 16).map(|picture| picture[128] > 127).collect();
    let flashes = (1..white.len()).filter(|at| white[*at] && !white[at - 1]);
    let flashes: Vec<f64> = flashes.map(|at| at as f64 / PICTURES as f64).collect();
    let beeps = beeps(&std::fs::read(samples).expect("samples"));
    let nearest = |flash: &f64| {
        let near = beeps.iter().map(|beep| (beep - flash) * 1000.0).filter(|late| late.abs() < 450.0);
        near.min_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    flashes.iter().filter_map(nearest).collect()
}

/// When each beep in samples of 16 bits begins, in seconds.
fn beeps(bytes: &[u8]) -> Vec<f64> {
    let samples = bytes.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample));
    let mut beeps: Vec<f64> = Vec::new();
    let mut last: Option<usize> = None;
    for (at, _) in samples.enumerate().filter(|(_, sample)| sample.unsigned_abs() > 3000) {
        // A fifth of a second of silence is none within a beep.
        if last.is_none_or(|last| at - last > RATE / 5) {
            beeps.push(at as f64 / RATE as f64);
        }
        last = Some(at);
    }
    beeps
}

/// The middle one: a machine that was busy for a moment moves one or two.
fn middle(late: &[f64]) -> f64 {
    let mut sorted = late.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Records `seconds` of sound, and says of the first and of the last beeps how late they are.
fn recorded(server: &Server, test: &str, name: &Name, audio: &str, seconds: usize) -> (f64, f64) {
    let folder = folder(test);
    let length = seconds.to_string();
    let args = ["record", name, "--fps", "60", "-o", "a.mkv", "-d", &length, "--audio", audio];
    let output = server.with(command(&folder, &args)).output().expect("tdlink starts");
    let (text, code) = told(&output);
    assert_eq!(code, Some(0), "{text}");
    let late = late(&folder.join("a.mkv"), &folder);
    println!("{test}: beeps are late by {late:.1?} ms");
    assert!(late.len() + 2 >= seconds, "{} of {seconds} beeps are heard with their flashes: {late:?}", late.len());
    let part = late.len() / 3;
    (middle(&late[..part]), middle(&late[late.len() - part..]))
}

/// The recorder's own encoder, given a tick at each whole second.
#[test]
fn an_encoder_does_not_make_sound_late() {
    let name = Name::new("encoderlate");
    let folder = folder("encoderlate");
    let (_sender, _) = sender(&name, (320, 180));
    let (text, code) = told(&tdlink(&folder, &["record", &name, "-o", "a.mkv", "--audio", "tone", "--print"]));
    assert_eq!(code, Some(0), "{text}");
    let (_, after) = text.split_once("channels=2 !").unwrap_or_else(|| panic!("no sound in it: {text}"));
    let (encoder, _) = after.split_once("! queue").unwrap_or_else(|| panic!("no queue in it: {after}"));
    let through = |what: &str, file: &str| {
        let raw = folder.join(file);
        let line = format!(
            "audiotestsrc wave=ticks samplesperbuffer=480 num-buffers=400 ! audio/x-raw,rate={RATE},channels=2 ! \
             audioconvert ! {what} ! matroskamux ! matroskademux ! decodebin ! audioconvert ! audiorate ! \
             audio/x-raw,format=S16LE,rate={RATE},channels=1 ! filesink location={}",
            raw.display()
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(line.split_whitespace()).env("GST_REGISTRY", registry()).stdin(Stdio::null());
        assert!(command.status().is_ok_and(|status| status.success()), "{line}");
        beeps(&std::fs::read(raw).expect("samples"))
    };
    let (coded, plain) = (through(encoder, "coded"), through("audio/x-raw,format=S16LE", "plain"));
    // The first one is at the very beginning, which an encoder has no room in front of.
    let pairs = || coded.iter().rev().zip(plain.iter().rev()).take(3);
    assert_eq!(pairs().count(), 3, "{coded:?} of {plain:?}");
    for (coded, plain) in pairs() {
        let late = (coded - plain) * 1000.0;
        assert!(late.abs() <= 2.0, "a tick is {late:.1} ms late");
    }
}

/// A device whose clock is wrong by more than any is: 3000 ppm are 36 ms in the twelve seconds between first and last beeps.
fn a_device_that_is_off_by(ppm: &str, test: &str) {
    let Some(server) = Server::start(test) else { return };
    let name = Name::new(test);
    let pipe = server.folder.join("mic").display().to_string();
    let _listener = server.listener();
    let _world = server.world(&[&name, "device", &pipe, ppm]);
    let (first, last) = recorded(&server, test, &name, "device:mic", 18);
    // A flash is known to a half of its frame.
    for late in [first, last] {
        assert!(late.abs() <= 1.5 * FRAME_MS, "a beep is {late:.1} ms late");
    }
    assert!((last - first).abs() <= FRAME_MS, "beeps drift from {first:.1} to {last:.1} ms");
}

#[test]
fn a_device_that_is_fast_stays_in_step_with_the_picture() {
    a_device_that_is_off_by("3000", "fastclock");
}

#[test]
fn a_device_that_is_slow_stays_in_step_with_the_picture() {
    a_device_that_is_off_by("-3000", "slowclock");
}

#[test]
fn the_systems_sound_is_in_step_with_the_picture() {
    let Some(server) = Server::start("syssound") else { return };
    let name = Name::new("syssound");
    let _world = server.world(&[&name, "system"]);
    let (first, last) = recorded(&server, "syssound", &name, "system", 8);
    // To play it takes up to 30 ms itself: 20 in a pipe, 10 in the server.
    for late in [first, last] {
        assert!((-FRAME_MS..=FRAME_MS + 30.0).contains(&late), "a beep is {late:.1} ms late");
    }
}
