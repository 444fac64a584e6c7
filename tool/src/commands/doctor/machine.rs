// SPDX-License-Identifier: MPL-2.0
//! What of this machine frames and pipelines stand on: each line a finding, and the way out where one is needed.

use std::process::{Command, Stdio};

use serde_json::json;
use tdlink_core::cuda::driver;
use tdlink_core::discover::{Look, Protocol, State, all};

use crate::failure::Failure;
use crate::gstreamer::{Codec, GStreamer, OURS, package, sound};
use crate::output::Output;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Fine,
    /// Something will be missed.
    Odd,
    /// Something will not work.
    Bad,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Odd => "note",
            Self::Bad => "BAD",
        }
    }
}

/// One line.
#[derive(Debug)]
struct Finding {
    level: Level,
    about: &'static str,
    text: String,
    way: Option<String>,
}

/// All lines.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level: Level::Fine, about, text: text.into(), way: None });
    }

    fn odd(&mut self, about: &'static str, text: impl Into<String>, way: impl Into<String>) {
        self.0.push(Finding { level: Level::Odd, about, text: text.into(), way: Some(way.into()) });
    }

    fn bad(&mut self, about: &'static str, text: impl Into<String>, way: impl Into<String>) {
        self.0.push(Finding { level: Level::Bad, about, text: text.into(), way: Some(way.into()) });
    }
}

/// Looks at the machine and says what it finds.
pub fn examine(out: &mut Output) -> Result<(), Failure> {
    let mut found = Findings::default();
    gstreamer(&mut found);
    cards(&mut found);
    buffers(&mut found);
    memory(&mut found);
    session(&mut found);
    for finding in &found.0 {
        out.line(format_args!("{:4} {:10} {}", finding.level.word(), finding.about, finding.text))?;
        if let Some(way) = &finding.way {
            out.line(format_args!("     {:10} -> {way}", ""))?;
        }
        out.value(&json!({
            "level": finding.level.word(),
            "about": finding.about,
            "found": finding.text,
            "way": finding.way,
        }))?;
    }
    match found.0.iter().filter(|finding| finding.level == Level::Bad).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("one thing needs mending".into())),
        count => Err(Failure::Failed(format!("{count} things need mending"))),
    }
}

fn gstreamer(found: &mut Findings) {
    let gstreamer = match GStreamer::find() {
        Ok(gstreamer) => gstreamer,
        Err(err) => return found.bad("GStreamer", err.to_string(), "then run \"tdlink setup\""),
    };
    found.fine("GStreamer", gstreamer.describe());
    for other in &gstreamer.passed_over {
        found.odd("GStreamer", format!("passed over {other}"), "remove it, or take it off PATH");
    }
    if !gstreamer.elements.has(OURS) {
        found.bad("plugin", format!("GStreamer does not know {OURS}"), "run \"tdlink setup\"");
    } else {
        let file = gstreamer.detail("tdlink", "Filename").unwrap_or_default();
        let version = gstreamer.detail("tdlink", "Version").unwrap_or_default();
        if gstreamer.other_version().is_none() {
            found.fine("plugin", format!("{version}, {file}"));
        } else {
            let ours = env!("CARGO_PKG_VERSION");
            found.odd(
                "plugin",
                format!("{file} is {version}, this tool is {ours}"),
                "run \"tdlink setup\" of the newer package",
            );
        }
        if let Some(extra) = &gstreamer.extra {
            let text = format!("it lies in {}, where only tdlink tells GStreamer to look", extra.display());
            found.odd("plugin", text, "run \"tdlink setup\", and every GStreamer program knows it");
        }
    }
    for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Prores, Codec::Ffv1] {
        let candidates = codec.candidates();
        match gstreamer.elements.among(&candidates).as_slice() {
            [] => {
                let text = format!("none for {}", codec.name());
                let way =
                    format!("{} has {}", package(candidates[candidates.len() - 1]), candidates[candidates.len() - 1]);
                if codec == Codec::H264 { found.bad("encoder", text, way) } else { found.odd("encoder", text, way) }
            }
            there => found.fine("encoder", format!("{}: {}", codec.name(), there.join(", "))),
        }
    }
    for (element, what) in [
        ("mp4mux", "mp4 files"),
        ("matroskamux", "mkv files"),
        ("srtsink", "SRT"),
        ("rtmp2sink", "RTMP"),
        ("rtspclientsink", "RTSP"),
        ("ndisink", "NDI"),
        ("autovideosink", "windows"),
    ] {
        if !gstreamer.elements.has(element) {
            found.odd("element", format!("no {element}, for {what}"), format!("it comes with {}", package(element)));
        }
    }
    match gstreamer.elements.first(&["whipclientsink", "whipsink"]) {
        Some(_) => {}
        None => found.odd("element", "no whipclientsink, for WHIP", format!("it comes with {}", package("whipsink"))),
    }
    match sound(&gstreamer, "auto") {
        Ok(Ok(sound)) => found.fine("sound", format!("{} can be recorded", sound.what)),
        Ok(Err(why)) => found.odd(
            "sound",
            format!("recordings are silent: {why}"),
            if cfg!(windows) {
                "plug in or enable a device for playback"
            } else {
                "start PulseAudio or PipeWire's pulse server as this user, or name a device with --audio"
            },
        ),
        Err(err) => found.odd("sound", err.to_string(), "--audio names a device"),
    }
}

fn cards(found: &mut Findings) {
    let driver = match driver() {
        Ok(driver) => driver,
        Err(err) => {
            let way = "without an NVIDIA driver the elements of shared memory work, those of cuda-link do not";
            return found.odd("GPU", err.to_string(), way);
        }
    };
    let version = driver.version();
    found.fine(
        "GPU",
        format!("the driver does CUDA {}.{}, {} device(s)", version / 1000, version % 1000 / 10, driver.devices()),
    );
    for device in 0..driver.devices() {
        let name = driver.device_name(device).unwrap_or_else(|err| err.to_string());
        match driver.shares_events(device) {
            Ok(true) => found.fine("GPU", format!("{device}: {name}")),
            Ok(false) => found.odd(
                "GPU",
                format!("{device}: {name} does not share events between processes"),
                "cuda-link's frames may come half drawn from it; use another card or another driver mode",
            ),
            Err(err) => {
                found.bad("GPU", format!("{device}: {name}: {err}"), "restart the machine, or renew the driver")
            }
        }
    }
    smi(found, driver.devices());
}

/// What NVIDIA's own tool knows, where it is.
fn smi(found: &mut Findings, devices: i32) {
    let query = ["--query-gpu=index,driver_version,encoder.stats.sessionCount", "--format=csv,noheader"];
    for line in ask("nvidia-smi", &query).unwrap_or_default().lines() {
        let mut fields = line.split(',').map(str::trim);
        if let (Some(index), Some(version), Some(sessions)) = (fields.next(), fields.next(), fields.next()) {
            found.fine("GPU", format!("{index}: driver {version}, {sessions} NVENC session(s) in use"));
        }
    }
    if devices < 2 {
        return;
    }
    let query = ["--query-compute-apps=gpu_bus_id,process_name", "--format=csv,noheader"];
    let apps = ask("nvidia-smi", &query).unwrap_or_default();
    match apps.lines().find(|line| line.contains("TouchDesigner")) {
        Some(line) => found.fine("GPU", format!("TouchDesigner runs on {}", line.split(',').next().unwrap_or(line))),
        None => found.odd(
            "GPU",
            "several cards, and nothing says on which TouchDesigner runs",
            "cuda-link needs both sides on one card: choose it with TouchDesigner's -gpuformonitor or in the driver's settings",
        ),
    }
}

fn buffers(found: &mut Findings) {
    let there = all(Look::Processes);
    let of_ours = there.iter().filter(|buffer| buffer.protocol() != Protocol::Raw);
    let (mut live, mut stale) = (0, 0);
    for buffer in of_ours {
        for trouble in &buffer.trouble {
            found.odd(
                "buffer",
                format!("{}: {trouble}", buffer.name),
                format!("\"tdlink info {}\" shows all of it", buffer.name),
            );
        }
        live += u32::from(matches!(buffer.state, State::Live | State::Stalled));
        stale += u32::from(buffer.state == State::Stale);
    }
    found.fine("buffer", format!("{live} with a producer"));
    if stale > 0 {
        found.odd(
            "buffer",
            format!("{stale} left by producers that have gone"),
            "\"tdlink clean\" removes what is ours of them",
        );
    }
    for (at, buffer) in there.iter().enumerate() {
        if let Some(other) = there[..at].iter().find(|other| other.name == buffer.name) {
            let protocols = format!("{} and {}", other.protocol().word(), buffer.protocol().word());
            let way = "give one of them another name, or set protocol on the source";
            found.odd("buffer", format!("the name {} stands for two: {protocols}", buffer.name), way);
        }
    }
}

/// Shared memory has a size of its own.
#[cfg(target_os = "linux")]
fn memory(found: &mut Findings) {
    /// A ring of four 4K frames of 8 bits, and as much again.
    const ENOUGH_KB: u64 = 256 << 10;
    match std::fs::metadata("/dev/shm") {
        Ok(folder) if !folder.is_dir() => found.bad("memory", "/dev/shm is no folder", "mount a tmpfs there"),
        Ok(_) => {}
        Err(err) => return found.bad("memory", format!("/dev/shm: {err}"), "mount a tmpfs there"),
    }
    let said = ask("df", &["-kP", "/dev/shm"]).unwrap_or_default();
    let fields: Vec<u64> =
        said.lines().nth(1).unwrap_or_default().split_whitespace().filter_map(|f| f.parse().ok()).collect();
    match fields[..] {
        [size, _, free, ..] => {
            let text = format!("/dev/shm: {} MB of {} MB free", free >> 10, size >> 10);
            if free < ENOUGH_KB {
                let way = "sudo mount -o remount,size=2G /dev/shm (in a container: --shm-size=2g)";
                found.bad("memory", text, way);
            } else {
                found.fine("memory", text);
            }
        }
        _ => found.odd("memory", "df does not tell the size of /dev/shm", "nothing, if buffers work"),
    }
    let probe = std::env::temp_dir();
    if std::fs::metadata(&probe).is_err() {
        found.odd("memory", format!("no folder for temporary files: {}", probe.display()), "set TMPDIR");
    }
}

/// Elsewhere it is memory like any other.
#[cfg(not(target_os = "linux"))]
fn memory(_: &mut Findings) {}

/// Sections have names within one session, and an elevated program's are closed to others.
#[cfg(windows)]
fn session(found: &mut Findings) {
    /// The group of programs that run as administrator.
    const ELEVATED: &str = "S-1-16-12288";
    let elevated = ask("whoami", &["/groups"]).unwrap_or_default().contains(ELEVATED);
    if elevated {
        let way = "start both sides the same way, best without";
        found.odd("session", "this runs as administrator: buffers of programs that do not may be closed to it", way);
    } else {
        found.fine("session", "this runs without administrator rights; so must TouchDesigner");
    }
    let session = |filter: &str| {
        let said = ask("tasklist", &["/FI", filter, "/FO", "CSV", "/NH"])?;
        said.lines().find(|line| line.starts_with('"'))?.split("\",\"").nth(3).map(str::to_owned)
    };
    let ours = session(&format!("PID eq {}", std::process::id()));
    match (ours, session("IMAGENAME eq TouchDesigner.exe")) {
        (_, None) => found.odd("session", "no TouchDesigner.exe runs", "start it, if it is to be one of the two sides"),
        (Some(ours), Some(theirs)) if ours != theirs => found.bad(
            "session",
            format!("TouchDesigner runs in session {theirs}, this in {ours}: they see none of each other's buffers"),
            "start both in one session (a service and a remote desktop have sessions of their own)",
        ),
        (Some(ours), Some(_)) => found.fine("session", format!("TouchDesigner runs in this session, {ours}")),
        (None, Some(_)) => {
            found.odd("session", "Windows does not tell this program's session", "nothing, if buffers are seen")
        }
    }
}

/// Buffers belong to a user.
#[cfg(not(windows))]
fn session(found: &mut Findings) {
    let user = ask("id", &["-un"]).unwrap_or_else(|| "an unknown user".into());
    found.fine("session", format!("this runs as {user}; so must the other side, or set allow-other-user and perms"));
}

/// What a program prints, if it runs.
fn ask(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
