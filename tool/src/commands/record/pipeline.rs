// SPDX-License-Identifier: MPL-2.0
//! The pipeline of a recording.

use std::path::{Path, PathBuf};

use tdlink_core::discover::Protocol;

use super::{Args, Container};
use crate::failure::Failure;
use crate::gstreamer::{Encoder, GStreamer, Line, Sound, Wire, Wish, audio_encoder, encoders};
use crate::output::Output;

/// Bits for a pixel of a frame when nobody says how many: more than enough for a picture that moves.
const BITS_A_PIXEL: f64 = 0.12;
/// Bytes and nanoseconds of pictures that may wait for the encoder.
const WAITING_BYTES: u32 = 512 << 20;
const WAITING_NS: u64 = 2_000_000_000;
/// What all parts have in common.
#[derive(Debug)]
pub struct Plan {
    container: Container,
    encoders: Vec<Encoder>,
    chosen: usize,
    rate: (u32, u32),
    sizes: Vec<(u32, u32)>,
    /// With its encoder; or why there is none.
    sound: Result<(Sound, Line), String>,
}

impl Plan {
    /// Decides what can be decided once.
    pub fn new(
        gstreamer: &GStreamer,
        args: &Args,
        container: Container,
        sound: Result<Sound, String>,
        wires: &[Wire],
    ) -> Result<Self, Failure> {
        let codec = args.codec.unwrap_or_else(|| container.usual(args.alpha));
        container.takes(codec)?;
        let rate = args.fps.or_else(|| wires.first().map(|wire| (wire.rate.num, wire.rate.den))).unwrap_or((60, 1));
        let mut plan =
            Self { container, encoders: Vec::new(), chosen: 0, rate, sizes: Vec::new(), sound: Err(String::new()) };
        plan.take_sizes(args, wires);
        let fps = f64::from(rate.0) / f64::from(rate.1);
        let largest =
            plan.sizes.iter().map(|(width, height)| f64::from(*width) * f64::from(*height)).fold(0.0, f64::max);
        let kbps = args.bitrate.unwrap_or((largest * fps * BITS_A_PIXEL / 1000.0).clamp(500.0, 100_000.0) as u32);
        // A key frame a second: fragments begin with one.
        let keyframes = (fps.round() as u32).max(1);
        let depth = args.depth.unwrap_or(codec.usual_depth());
        let wish = Wish { codec, depth, alpha: args.alpha, live: false, kbps, keyframes, fps: fps.ceil() as u32 };
        plan.encoders = encoders(gstreamer, &wish, args.encoder.as_deref())?;
        plan.sound = match sound {
            Ok(sound) => Ok((sound, audio_encoder(gstreamer)?)),
            Err(why) => Err(why),
        };
        Ok(plan)
    }

    /// The sizes to record at: what was wished for, or what the buffers have now. Codecs want even numbers.
    pub fn take_sizes(&mut self, args: &Args, wires: &[Wire]) {
        let even = |side: u32| side.next_multiple_of(2);
        let size = |wire: &Wire| args.size.unwrap_or((even(wire.width), even(wire.height)));
        self.sizes = wires.iter().map(size).collect();
    }

    /// Goes on to the next encoder that makes the same, if there is one.
    pub fn next_encoder(&mut self) -> bool {
        let more = self.chosen + 1 < self.encoders.len();
        self.chosen += usize::from(more);
        more
    }

    /// The encoder.
    pub fn encoder(&self) -> &'static str {
        self.encoders[self.chosen].name
    }

    /// Seconds of so many frames.
    pub fn seconds(&self, frames: u64) -> f64 {
        frames as f64 * f64::from(self.rate.1) / f64::from(self.rate.0)
    }

    /// Frames of so many seconds.
    pub fn frames_in(&self, seconds: f64) -> u64 {
        (seconds * f64::from(self.rate.0) / f64::from(self.rate.1)).round().max(1.0) as u64
    }

    /// Says what will be recorded, and what will not.
    pub fn say(&self, args: &Args, wires: &[Wire], out: &Output) {
        for (wire, (width, height)) in wires.iter().zip(&self.sizes) {
            let rate = self.rate.0 as f64 / self.rate.1 as f64;
            out.note(format_args!(
                "{}: {}x{} ({}) as {width}x{height} at {rate:.2} a second with {}; Ctrl-C ends it",
                wire.name,
                wire.width,
                wire.height,
                wire.protocol.word(),
                self.encoder()
            ));
            if wire.has_alpha && !args.alpha && args.offline {
                out.note(format_args!("{}: its alpha, if it varies, is not recorded; --alpha keeps it", wire.name));
            }
            if wire.bits > 8 && args.depth.is_none() && args.codec.is_none() {
                out.note(format_args!(
                    "{}: {} bits are recorded as 8; --codec hevc --depth 10 keeps more",
                    wire.name, wire.bits
                ));
            }
            if args.offline && wire.protocol != Protocol::Control {
                out.note(format_args!(
                    "{}: --offline: its producer waits for nobody, so frames may be skipped",
                    wire.name
                ));
            }
        }
        match &self.sound {
            Ok((sound, ..)) => {
                out.note(format_args!("with {}", sound.what));
                if let Some(why) = &sound.instead {
                    out.note(format_args!("not TouchDesigner's alone: {why}"));
                }
            }
            Err(why) => out.note(format_args!("without sound: {why}")),
        }
    }

    /// The files that a part is written to.
    pub fn files(&self, args: &Args, file: &Path) -> Vec<PathBuf> {
        if is_split(file) { args.names.iter().map(|name| named(file, name)).collect() } else { vec![file.to_owned()] }
    }

    /// Nothing is written over unasked.
    pub fn refuse_what_is_there(&self, args: &Args, file: &Path) -> Result<(), Failure> {
        match self.files(args, file).into_iter().find(|file| file.exists()) {
            Some(file) if !args.overwrite => {
                Err(Failure::Usage(format!("{} is there already: --overwrite replaces it", file.display())))
            }
            _ => Ok(()),
        }
    }

    /// The words of a part.
    pub fn line(&self, args: &Args, wires: &[Wire], file: &Path, frames: Option<u64>) -> Line {
        let mut line = Line::default();
        let apart = is_split(file);
        if apart {
            for (at, file) in self.files(args, file).iter().enumerate() {
                line = line.and(self.container.line(&format!("mux{at}"), file));
            }
        } else {
            line = line.and(self.container.line("mux0", file));
        }
        for (at, (wire, size)) in wires.iter().zip(&self.sizes).enumerate() {
            let mux = if apart { at } else { 0 };
            line = line.and(self.video(args, wire, *size, at, mux, frames)).end();
        }
        if let Ok((sound, encoder)) = &self.sound {
            // In the first file, if there are several.
            line = line.and(sound.line.clone().through(encoder.clone()).then("queue").then("mux0.")).end();
        }
        line
    }

    fn video(&self, args: &Args, wire: &Wire, size: (u32, u32), at: usize, mux: usize, frames: Option<u64>) -> Line {
        let encoder = &self.encoders[self.chosen];
        let rate = format!("{}/{}", self.rate.0, self.rate.1);
        let source = wire.source(&args.geometry).set("name", format!("src{at}")).set("on-disconnect", "eos");
        let source = source.set("framerate", rate);
        let source = if args.offline {
            source.set("pacing", "as-produced").set("timestamp-mode", "count").set("keepalive", 0)
        } else {
            source.set("pacing", "constant")
        };
        let (width, height) = size;
        source
            .set_some("num-buffers", frames)
            .then("queue")
            .set("max-size-buffers", 0)
            .set("max-size-bytes", WAITING_BYTES)
            .set("max-size-time", WAITING_NS)
            .then("videoscale")
            .set("add-borders", true)
            .then(&format!("video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1"))
            .then("videoconvert")
            .then(&format!("video/x-raw,format={}{}", encoder.format, colours(encoder.format)))
            .through(encoder.line.clone())
            .then("queue")
            .then(&format!("mux{mux}."))
    }
}

/// Players take a picture of luma and chroma without a word for BT.709 or BT.601, by its size: it is said.
fn colours(format: &str) -> &'static str {
    let rgb = format.starts_with("BGR") || format.starts_with("GBR") || format.starts_with("RGB");
    if rgb { "" } else { ",colorimetry=bt709" }
}

fn is_split(file: &Path) -> bool {
    file.to_string_lossy().contains("{name}")
}

/// A buffer's own file. What is no letter of file names everywhere becomes an underscore.
fn named(file: &Path, name: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    PathBuf::from(file.to_string_lossy().replace("{name}", &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffers_own_file_has_a_name_for_every_system() {
        assert_eq!(
            named(Path::new("a/{name}.mkv"), "cudalink_ipc_TD>>Python"),
            Path::new("a/cudalink_ipc_TD__Python.mkv")
        );
    }
}
