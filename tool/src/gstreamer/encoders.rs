// SPDX-License-Identifier: MPL-2.0
//! Which encoder makes what is wished for, and how it is told.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::elements::{nicks, package, properties};
use super::{GStreamer, Line, Trouble};

/// How pictures are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// H.264: plays everywhere
    H264,
    /// H.265: half the bytes, or 10 bits
    Hevc,
    /// AV1
    Av1,
    /// ProRes 422, with --alpha 4444: for editing
    Prores,
    /// FFV1: lossless
    Ffv1,
}

/// What an encoder is to make.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// How.
    pub codec: Codec,
    /// Bits of a component.
    pub depth: u8,
    /// With transparency.
    pub alpha: bool,
    /// Nothing is held back for a better picture: for streams.
    pub live: bool,
    /// Kilobits a second.
    pub kbps: u32,
    /// Frames from one key frame to the next.
    pub keyframes: u32,
    /// Frames a second, rounded up.
    pub fps: u32,
}

/// An encoder that makes it.
#[derive(Debug)]
pub struct Encoder {
    /// The element.
    pub name: &'static str,
    /// The format that it is given.
    pub format: &'static str,
    /// It, with its properties, and the parser behind it.
    pub line: Line,
}

/// Bits of a component that an encoder takes, and the formats for 8, 10 and 12.
struct Kind {
    name: &'static str,
    codec: Codec,
    plain: [Option<&'static str>; 3],
    alpha: [Option<&'static str>; 3],
}

const NONE: [Option<&str>; 3] = [None; 3];
const HARDWARE: [Option<&str>; 3] = [Some("NV12"), None, None];
const HARDWARE_10: [Option<&str>; 3] = [Some("NV12"), Some("P010_10LE"), None];

const fn kind(name: &'static str, codec: Codec, plain: [Option<&'static str>; 3]) -> Kind {
    Kind { name, codec, plain, alpha: NONE }
}

/// All of them, the best first.
const KINDS: [Kind; 24] = [
    kind("nvh264enc", Codec::H264, HARDWARE),
    kind("mfh264enc", Codec::H264, HARDWARE),
    kind("amfh264enc", Codec::H264, HARDWARE),
    kind("qsvh264enc", Codec::H264, HARDWARE),
    kind("vah264enc", Codec::H264, HARDWARE),
    kind("vtenc_h264", Codec::H264, HARDWARE),
    kind("x264enc", Codec::H264, [Some("I420"), Some("I420_10LE"), None]),
    kind("openh264enc", Codec::H264, [Some("I420"), None, None]),
    kind("nvh265enc", Codec::Hevc, HARDWARE_10),
    kind("mfh265enc", Codec::Hevc, HARDWARE_10),
    kind("amfh265enc", Codec::Hevc, HARDWARE_10),
    kind("qsvh265enc", Codec::Hevc, HARDWARE_10),
    kind("vah265enc", Codec::Hevc, HARDWARE_10),
    kind("vtenc_h265", Codec::Hevc, HARDWARE_10),
    kind("x265enc", Codec::Hevc, [Some("I420"), Some("I420_10LE"), Some("I420_12LE")]),
    kind("nvav1enc", Codec::Av1, HARDWARE_10),
    kind("amfav1enc", Codec::Av1, HARDWARE_10),
    kind("qsvav1enc", Codec::Av1, HARDWARE_10),
    kind("vaav1enc", Codec::Av1, HARDWARE_10),
    kind("svtav1enc", Codec::Av1, [Some("I420"), Some("I420_10LE"), None]),
    kind("av1enc", Codec::Av1, [Some("I420"), None, None]),
    kind("vtenc_prores", Codec::Prores, [None, Some("v216"), None]),
    Kind {
        name: "avenc_prores_ks",
        codec: Codec::Prores,
        plain: [None, Some("I422_10LE"), None],
        alpha: [None, Some("A444_10LE"), None],
    },
    Kind {
        name: "avenc_ffv1",
        codec: Codec::Ffv1,
        plain: [Some("BGRx"), Some("GBR_10LE"), Some("GBR_12LE")],
        alpha: [Some("BGRA"), Some("GBRA_10LE"), Some("GBRA_12LE")],
    },
];

impl Codec {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::Prores => "prores",
            Self::Ffv1 => "ffv1",
        }
    }

    /// Bits of a component when none are wished for.
    pub fn usual_depth(self) -> u8 {
        if self == Self::Prores { 10 } else { 8 }
    }

    fn parser(self) -> Option<&'static str> {
        match self {
            Self::H264 => Some("h264parse"),
            Self::Hevc => Some("h265parse"),
            Self::Av1 => Some("av1parse"),
            Self::Prores | Self::Ffv1 => None,
        }
    }

    /// Encoders of this codec, the best first.
    pub fn candidates(self) -> Vec<&'static str> {
        KINDS.iter().filter(|kind| kind.codec == self).map(|kind| kind.name).collect()
    }
}

/// The encoders of this machine that make what is wished for, the best first. `only`: this one and no other.
///
/// # Errors
/// When there is none, with what would be one.
pub fn encoders(gstreamer: &GStreamer, wish: &Wish, only: Option<&str>) -> Result<Vec<Encoder>, Trouble> {
    let Some(depth) = [8, 10, 12].iter().position(|depth| *depth == wish.depth) else {
        return Err(Trouble::Wish(format!("--depth {}: expected 8, 10 or 12", wish.depth)));
    };
    let format = |kind: &Kind| if wish.alpha { kind.alpha[depth] } else { kind.plain[depth] };
    let of_codec: Vec<&Kind> = KINDS.iter().filter(|kind| kind.codec == wish.codec).collect();
    let able: Vec<&Kind> = of_codec.iter().copied().filter(|kind| format(kind).is_some()).collect();
    if able.is_empty() {
        return Err(Trouble::Wish(impossible(wish, &of_codec)));
    }
    let wanted = |kind: &&Kind| only.is_none_or(|only| only == kind.name) && gstreamer.elements.has(kind.name);
    let found: Vec<Encoder> = able
        .iter()
        .copied()
        .filter(wanted)
        .filter_map(|kind| Some(encoder(gstreamer, kind.name, format(kind)?, wish)))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names: Vec<&str> = able.iter().map(|kind| kind.name).collect();
    match only {
        Some(only) if !names.contains(&only) => Err(Trouble::Wish(format!(
            "--encoder {only} is none that makes {} with {} bits{}: expected one of {}",
            wish.codec.name(),
            wish.depth,
            if wish.alpha { " and alpha" } else { "" },
            names.join(", ")
        ))),
        Some(only) => Err(Trouble::Lacks { what: only.to_owned(), package: package(only) }),
        None => {
            // The last one is software: that can be installed anywhere.
            let software = names.iter().rev().copied().find(|name| !name.starts_with("vt")).unwrap_or(names[0]);
            let software = if names.contains(&"x264enc") { "x264enc" } else { software };
            Err(Trouble::Lacks {
                what: format!(
                    "encoder for {} with {} bits{} (none of {}); {software}",
                    wish.codec.name(),
                    wish.depth,
                    if wish.alpha { " and alpha" } else { "" },
                    names.join(", ")
                ),
                package: package(software),
            })
        }
    }
}

fn impossible(wish: &Wish, kinds: &[&Kind]) -> String {
    let depths = |alpha: bool| {
        let has = |at: usize| kinds.iter().any(|kind| if alpha { kind.alpha[at] } else { kind.plain[at] }.is_some());
        let found: Vec<&str> =
            ["8", "10", "12"].iter().enumerate().filter(|(at, _)| has(*at)).map(|(_, d)| *d).collect();
        found.join(", ")
    };
    let codec = wish.codec.name();
    match (wish.alpha, depths(true)) {
        (true, depths) if depths.is_empty() => {
            format!("--alpha: {codec} has none here; --codec prores (in mov or mkv) or --codec ffv1 (in mkv) keep it")
        }
        (true, depths) => format!("--depth {}: {codec} with alpha has {depths}", wish.depth),
        (false, _) => format!("--depth {}: {codec} has {} here", wish.depth, depths(false)),
    }
}

fn encoder(gstreamer: &GStreamer, name: &'static str, format: &'static str, wish: &Wish) -> Encoder {
    let line = Line::default().then(name);
    let line = match name {
        "x264enc" => {
            let line =
                line.set("speed-preset", "veryfast").set("bitrate", wish.kbps).set("key-int-max", wish.keyframes);
            if wish.live {
                line.set("tune", "zerolatency")
            } else {
                // What it looks ahead at is lost when it dies: half a second at most.
                line.set("rc-lookahead", (wish.fps / 2).clamp(1, 20)).set("bframes", if wish.fps < 20 { 0 } else { 2 })
            }
        }
        "x265enc" => {
            let line =
                line.set("speed-preset", "superfast").set("bitrate", wish.kbps).set("key-int-max", wish.keyframes);
            let ahead = (wish.fps / 2).clamp(1, 20);
            // Its own frames of look-ahead must be more than its B frames.
            if wish.live || ahead < 6 {
                line.set("tune", "zerolatency")
            } else {
                line.set("option-string", format!("rc-lookahead={ahead}:bframes=3"))
            }
        }
        "openh264enc" => {
            line.set("rate-control", "bitrate").set("bitrate", wish.kbps * 1000).set("gop-size", wish.keyframes)
        }
        "av1enc" => line
            .set("usage-profile", "realtime")
            .set("cpu-used", 8)
            .set("end-usage", "vbr")
            .set("target-bitrate", wish.kbps)
            .set("keyframe-max-dist", wish.keyframes)
            .set("lag-in-frames", 0),
        "avenc_prores_ks" if wish.alpha => line.set("profile", "4444"),
        "avenc_prores_ks" => line.set("profile", "hq"),
        "avenc_ffv1" => line,
        _ => hardware(line, &gstreamer.inspect(name).unwrap_or_default(), wish),
    };
    let line = match wish.codec.parser().filter(|parser| gstreamer.elements.has(parser)) {
        Some(parser) => line.then(parser),
        None => line,
    };
    Encoder { name, format, line }
}

/// Encoders of hardware name the same things differently, and not in every version all of them.
fn hardware(mut line: Line, inspected: &str, wish: &Wish) -> Line {
    let has: BTreeSet<String> = properties(inspected);
    let words = |value: u32| value.to_string();
    let ways = [
        (&["bitrate", "target-bitrate"][..], words(wish.kbps)),
        (&["gop-size", "key-int-max", "max-keyframe-interval", "intra-period-length"][..], words(wish.keyframes)),
    ];
    for (names, value) in ways {
        if let Some(name) = names.iter().find(|name| has.contains(**name)) {
            line = line.set(name, value);
        }
    }
    // Servers and networks count on what a stream was said to need.
    let constant = |name: &&str| nicks(inspected, name).contains("cbr");
    if let Some(name) = ["rc-mode", "rate-control"].iter().find(|name| wish.live && constant(name)) {
        line = line.set(name, "cbr");
    }
    for switch in ["zerolatency", "low-latency", "realtime"] {
        if wish.live && has.contains(switch) {
            line = line.set(switch, true);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_encoder_makes_is_refused_with_what_would_go() {
        let wish = |codec, depth, alpha| Wish { codec, depth, alpha, live: false, kbps: 1, keyframes: 1, fps: 30 };
        let of = |codec| KINDS.iter().filter(|kind| kind.codec == codec).collect::<Vec<_>>();
        let text = impossible(&wish(Codec::H264, 8, true), &of(Codec::H264));
        assert!(text.contains("prores") && text.contains("ffv1"), "{text}");
        let text = impossible(&wish(Codec::Prores, 8, false), &of(Codec::Prores));
        assert!(text.contains("prores has 10"), "{text}");
    }

    #[test]
    fn a_live_stream_has_a_constant_rate_where_the_encoder_has_one() {
        let said = "Element Properties:\n\n  bitrate             : Bitrate in kbit/sec\n\
                    \x20                       flags: readable, writable\n  rc-mode             : Rate Control Mode\n\
                    \x20                       flags: readable, writable\n\
                    \x20                       Enum \"Mode\" Default: 0, \"default\"\n\
                    \x20                          (0): default          - Default\n\
                    \x20                          (2): cbr              - Constant bit rate\n";
        let wish = |live| Wish { codec: Codec::H264, depth: 8, alpha: false, live, kbps: 9, keyframes: 1, fps: 30 };
        let line = |said: &str, live| hardware(Line::default().then("e"), said, &wish(live)).words().join(" ");
        assert_eq!(line(said, true), "e bitrate=9 rc-mode=cbr");
        assert_eq!(line(said, false), "e bitrate=9");
        assert_eq!(line(&said.replace("cbr ", "cbr2"), true), "e bitrate=9");
        assert_eq!(line(&said.replace("rc-mode     ", "rate-control"), true), "e bitrate=9 rate-control=cbr");
    }

    #[test]
    fn each_encoder_stands_there_once() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert!(!KINDS[..at].iter().any(|other| other.name == kind.name), "{}", kind.name);
        }
    }
}
