// SPDX-License-Identifier: MPL-2.0
//! Sound for a recording or a stream: TouchDesigner's own, the system's, or a device's.

use std::process::Command;
use std::time::{Duration, Instant};

use super::child::{Child, Ended};
use super::elements::{package, properties};
use super::{GStreamer, Line, Trouble};

/// How long a device may take to give its first sound.
const FIRST_SOUND: Duration = Duration::from_secs(4);

/// Encoders of AAC, the best first, and how many samples each puts in front of the first one without saying so in the file.
/// (Counted between a tick before and after; of those that stand here with none, nothing is known.)
const ENCODERS: [(&str, u64); 4] = [("avenc_aac", 1024), ("fdkaacenc", 0), ("mfaacenc", 0), ("voaacenc", 1600)];
/// By how much what a device gives may be late or early before silence fills the gap or samples are dropped, in
/// nanoseconds: less than a frame of 60 a second, more than the jitter of a machine that is not overloaded.
const TOLERANCE_NS: u64 = 10_000_000;
/// Bits a second of compressed sound.
const BITS: u32 = 192_000;

/// A source of sound.
#[derive(Debug)]
pub struct Sound {
    /// In the user's words.
    pub what: String,
    /// From the device to 48,000 samples a second in step with the pipeline's clock.
    pub line: Line,
    /// Whether it stands for another one that was asked for, and why.
    pub instead: Option<String>,
}

/// Words that stand for no device.
const WORDS: [&str; 5] = ["auto", "td", "system", "tone", "none"];
/// What a device's name stands behind when it looks like a word.
const DEVICE: &str = "device:";

/// A source of sound as it is typed: one of the words, or a device. Devices' names have more than letters in them, so
/// that a word with a letter wrong is none.
///
/// # Errors
/// What was expected, for clap.
pub fn audio(text: &str) -> Result<String, String> {
    let device = |name: &str| !name.trim().is_empty() && !name.contains(char::is_control);
    let taken = WORDS.contains(&text)
        || match text.strip_prefix(DEVICE) {
            Some(name) => device(name),
            None => device(text) && text.contains(|c: char| !c.is_alphabetic()),
        };
    if taken { Ok(text.to_owned()) } else { Err(format!("expected {}, a device or device:NAME", WORDS.join(", "))) }
}

/// The source that `wanted` names: `auto`, `td`, `system`, `none`, or a device. Inside, why there is no sound.
///
/// # Errors
/// When what is asked for by name is not there. `auto` is never an error: then there is no sound.
pub fn sound(gstreamer: &GStreamer, wanted: &str) -> Result<Result<Sound, String>, Trouble> {
    match wanted {
        "none" => Ok(Err("--audio none".into())),
        "auto" => Ok(match system(gstreamer).or_else(|first| td(gstreamer).map_err(|_| first)) {
            Ok(found) => match opens(gstreamer, &found) {
                Ok(()) => Ok(found),
                Err(why) => Err(format!("{} does not open: {why}", found.what)),
            },
            Err(why) => Err(why.to_string()),
        }),
        _ => {
            let found = match wanted {
                "td" => td(gstreamer)?,
                "system" => system(gstreamer)?,
                "tone" => tone(),
                device => from_device(gstreamer, device.strip_prefix(DEVICE).unwrap_or(device))?,
            };
            opens(gstreamer, &found).map_err(|why| {
                Trouble::Wish(format!(
                    "--audio {wanted}: {} does not open: {why}; --audio none goes without",
                    found.what
                ))
            })?;
            Ok(Ok(found))
        }
    }
}

/// The encoder of sound, with its parser, and what keeps its sound in step with the picture.
///
/// # Errors
/// When there is none.
pub fn audio_encoder(gstreamer: &GStreamer) -> Result<Line, Trouble> {
    let Some((name, delay)) = ENCODERS.into_iter().find(|(name, _)| gstreamer.elements.has(name)) else {
        return Err(Trouble::Lacks { what: "encoder for AAC sound".into(), package: package(ENCODERS[0].0) });
    };
    let line = Line::default();
    let line = if delay > 0 && gstreamer.elements.has("audiofirfilter") {
        // A filter that changes no sample takes the first ones away and leaves the times as they are.
        line.then("audiofirfilter").set("latency", delay).then("audioconvert")
    } else {
        line
    };
    Ok(line.then(name).set("bitrate", BITS).then("aacparse"))
}

/// A tone, to try a stream with.
fn tone() -> Sound {
    let source = Line::default().then("audiotestsrc").set("is-live", true).set("volume", 0.1);
    Sound { what: "a test tone".into(), line: in_step(source), instead: None }
}

fn system(gstreamer: &GStreamer) -> Result<Sound, Trouble> {
    let source = if cfg!(windows) {
        need(gstreamer, "wasapi2src")?.set("loopback", true).set("low-latency", true)
    } else if cfg!(target_os = "macos") {
        return Err(Trouble::Wish(
            "--audio system: macOS lends programs no system sound; name a loopback device that is installed".into(),
        ));
    } else {
        need(gstreamer, "pulsesrc")?.set("device", "@DEFAULT_MONITOR@").set("client-name", "tdlink")
    };
    Ok(Sound { what: "the system's sound".into(), line: in_step(own_clock(source)), instead: None })
}

/// TouchDesigner's own sound, where the system can part one program's from the others'.
fn td(gstreamer: &GStreamer) -> Result<Sound, Trouble> {
    if !cfg!(windows) {
        let found = system(gstreamer)?;
        let why = "only Windows parts one program's sound from the others'".to_owned();
        return Ok(Sound { instead: Some(why), ..found });
    }
    let has = properties(&gstreamer.inspect("wasapi2src").unwrap_or_default());
    let instead = match touchdesigner() {
        None => "no TouchDesigner.exe runs".to_owned(),
        Some(_) if !has.contains("loopback-target-pid") => {
            "this GStreamer's wasapi2src cannot part one program's sound from the others'".to_owned()
        }
        Some(pid) => {
            let source = need(gstreamer, "wasapi2src")?
                .set("loopback", true)
                .set("loopback-mode", "include-process-tree")
                .set("loopback-target-pid", pid);
            let what = format!("TouchDesigner's sound (process {pid}; not what it plays through ASIO)");
            return Ok(Sound { what, line: in_step(own_clock(source)), instead: None });
        }
    };
    Ok(Sound { instead: Some(instead), ..system(gstreamer)? })
}

/// The process of a TouchDesigner that runs, by Windows' own list.
fn touchdesigner() -> Option<u32> {
    let list = Command::new("tasklist").args(["/FI", "IMAGENAME eq TouchDesigner.exe", "/FO", "CSV", "/NH"]).output();
    let list = String::from_utf8_lossy(&list.ok()?.stdout).into_owned();
    let line = list.lines().find(|line| line.contains("TouchDesigner.exe"))?;
    line.split("\",\"").nth(1)?.trim_matches('"').parse().ok()
}

fn from_device(gstreamer: &GStreamer, device: &str) -> Result<Sound, Trouble> {
    let element = if cfg!(windows) {
        "wasapi2src"
    } else if cfg!(target_os = "macos") {
        "osxaudiosrc"
    } else if device.starts_with("hw:") || device.starts_with("plughw:") {
        "alsasrc"
    } else {
        "pulsesrc"
    };
    let source = need(gstreamer, element)?.set("device", device);
    Ok(Sound { what: format!("the device {device}"), line: in_step(own_clock(source)), instead: None })
}

fn need(gstreamer: &GStreamer, element: &str) -> Result<Line, Trouble> {
    if gstreamer.elements.has(element) {
        Ok(Line::default().then(element))
    } else {
        Err(Trouble::Lacks { what: element.to_owned(), package: package(element) })
    }
}

/// The pipeline's clock is the system's, which pictures are stamped by. What the device gives is stamped by it, too, so that
/// the device's own may be fast or slow.
fn own_clock(source: Line) -> Line {
    // Skew, the default, lets a device drift by several frames before it does something.
    source.set("provide-clock", false).set("slave-method", "re-timestamp")
}

fn in_step(source: Line) -> Line {
    source
        .then("queue")
        .then("audioconvert")
        .then("audioresample")
        .then("audiorate")
        .set("tolerance", TOLERANCE_NS)
        .then("audio/x-raw,rate=48000,channels=2")
        .then("audioconvert")
}

/// Whether it gives sound.
fn opens(gstreamer: &GStreamer, sound: &Sound) -> Result<(), String> {
    let line = sound.line.clone().then("fakesink").set("num-buffers", 2);
    let mut child = Child::launch(gstreamer, line.words()).map_err(|err| err.to_string())?;
    let deadline = Instant::now() + FIRST_SOUND;
    while !child.has_ended() && Instant::now() < deadline {
        child.hear(Duration::from_millis(100));
    }
    if !child.has_ended() {
        child.interrupt();
        child.end(FIRST_SOUND, |_| ());
        return Err(format!("no sound within {} s", FIRST_SOUND.as_secs()));
    }
    match child.end(FIRST_SOUND, |_| ()) {
        Ended::Well => Ok(()),
        Ended::Badly(why) => Err(why),
        Ended::Killed => Err("it does not end".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_letter_wrong_is_no_device() {
        for right in ["auto", "none", "hw:0", "alsa_output.pci.monitor", "device:loopback", r"\\?\SWD#MMDEVAPI#{0.0}"] {
            assert_eq!(audio(right).as_deref(), Ok(right));
        }
        for wrong in ["sytem", "Auto", "", " ", "device:", "a\nb"] {
            assert!(audio(wrong).is_err(), "{wrong}");
        }
    }
}
