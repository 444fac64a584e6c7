// SPDX-License-Identifier: MPL-2.0
//! The test card in a buffer: found even where width, height or pixels are not what was said.

use std::time::{Duration, Instant};

use serde_json::json;
use tdlink_core::discover::{Found, Look, Protocol, geometries};
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat};
use tdlink_core::segment::{OpenOptions, Segment};

use crate::buffer::describe;
use crate::buffer::locate::find;
use crate::buffer::picture::Picture;
use crate::buffer::source::{News, Source, Want};
use crate::card::judge::{self, AlphaFault, Greys, Verdict, View, Way};
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::output::Output;

/// How long a frame is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Geometries that are tried on bytes that say none.
const GUESSES: usize = 60;
/// Narrowest and widest rows that are looked for.
const PITCHES: std::ops::RangeInclusive<usize> = 16..=16_384;

/// What is wrong, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// One word for programs.
    id: &'static str,
    /// What is seen.
    what: String,
    /// What mends it.
    mend: String,
}

/// The card where it was found.
struct Reading {
    verdict: Verdict,
    /// What the frame was taken for.
    desc: FrameDesc,
    faults: Vec<Fault>,
}

/// Reads the card and says what is wrong.
pub fn run(name: &str, geometry: &Geometry, out: &mut Output) -> Result<(), Failure> {
    let found = find(name, Look::Segments)?;
    let said = geometry.of(&found);
    let reading = match said {
        Ok(desc) => told(name, geometry, &found, desc)?,
        Err(failure) if found.protocol() != Protocol::Raw || geometry.width.is_some() => return Err(failure),
        // Nobody said what the bytes are.
        Err(_) => untold(&found, Vec::new(), None)?,
    };
    let Some(mut reading) = reading else {
        return Err(Failure::NotFound(format!(
            "{name:?} holds no test card: `tdlink testcard --to NAME` publishes one, and `tdlink testcard --glsl` \
             prints it for TouchDesigner's GLSL TOP"
        )));
    };
    reading.faults.extend(faults(&reading.verdict, &reading.desc));
    for fault in &reading.faults {
        out.value(&json!({ "fault": fault.id, "what": fault.what, "mend": fault.mend }))?;
        out.line(format_args!("! {}", fault.what))?;
        out.line(format_args!("  mend: {}", fault.mend))?;
    }
    match reading.faults.len() {
        0 => {
            out.value(&json!({ "fault": null, "frame": reading.verdict.number }))?;
            out.line(format_args!(
                "{name}: the test card is as it should be ({}, frame {}).",
                reading.desc, reading.verdict.number
            ))
        }
        1 => Err(Failure::Failed(format!("{name:?}: one fault"))),
        faults => Err(Failure::Failed(format!("{name:?}: {faults} faults"))),
    }
}

/// The card in frames that somebody has described.
fn told(name: &str, geometry: &Geometry, found: &Found, said: FrameDesc) -> Result<Option<Reading>, Failure> {
    let (mut source, _) = Source::open(name, geometry, Want::Pixels)?;
    let mut picture = Picture::blank(&source.desc())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match source.next(deadline, &mut picture)? {
            News::Frame { .. } => break,
            News::Changed => {}
            News::Gone(why) => return Err(Failure::Failed(format!("{name:?}: {why}"))),
            News::Nothing => {
                let seconds = PATIENCE.as_secs();
                return Err(Failure::Failed(format!("{name:?} had no frame for {seconds} s: is its producer paused?")));
            }
        }
    }
    let desc = source.desc();
    let pixels = picture.floats()?;
    let (width, height) = (desc.width as usize, desc.height as usize);
    let view = View { pixels: &pixels, pitch: width, width, height };
    if let Some(way) = judge::find(view) {
        let verdict = judge::judge(view, way, desc.format.has_alpha());
        return Ok(Some(Reading { verdict, desc, faults: Vec::new() }));
    }
    // As the bytes stand on the wire, row after row without padding.
    let row = picture.row_bytes();
    let wire = match desc.origin {
        Origin::TopLeft => picture.bytes,
        Origin::BottomLeft => picture.bytes.chunks_exact(row).rev().flatten().copied().collect(),
    };
    let bytes = if found.protocol() == Protocol::Raw { all_bytes(found)? } else { wire };
    untold(found, bytes, Some(said))
}

/// Looks for the card in bytes whose geometry is unknown, or not the one that was said.
fn untold(found: &Found, bytes: Vec<u8>, said: Option<FrameDesc>) -> Result<Option<Reading>, Failure> {
    let bytes = if bytes.is_empty() { all_bytes(found)? } else { bytes };
    if let Some(said) = said
        && let Some(reading) = sheared(&bytes, said)?
    {
        return Ok(Some(reading));
    }
    for guess in geometries(&bytes, GUESSES) {
        let desc = said.map_or(guess.desc, |said| FrameDesc { origin: said.origin, ..guess.desc });
        let (width, height) = (desc.width as usize, desc.height as usize);
        let Some(reading) = read_as(&bytes, desc, (width, width, height))? else { continue };
        let is = format!(
            "width={} height={} channels={} sample-type={}",
            desc.width, desc.height, desc.format.channels, desc.format.sample
        );
        let what = match said {
            Some(said) => format!("The frames are {}×{} {}, not {said}.", desc.width, desc.height, desc.format),
            None => format!(
                "{:?} does not say what its frames are: they are {}×{} {}.",
                found.name, desc.width, desc.height, desc.format
            ),
        };
        let fault =
            Fault { id: "geometry", what, mend: format!("tdshmsrc {is}, or the same of the Shared Memory LOP") };
        return Ok(Some(Reading { faults: vec![fault], ..reading }));
    }
    Ok(None)
}

/// The same pixels in rows of another length.
fn sheared(bytes: &[u8], said: FrameDesc) -> Result<Option<Reading>, Failure> {
    let pixels = bytes.len() / said.format.bytes();
    let (width, height) = (said.width as usize, said.height as usize);
    let mut pitches: Vec<usize> =
        PITCHES.filter(|pitch| *pitch != width && *pitch * 9 <= pixels && *pitch <= 4 * width).collect();
    pitches.sort_by_key(|pitch| pitch.abs_diff(width));
    let floats = floats(bytes, said.format)?;
    for pitch in pitches {
        // The picture may fill its rows, or be followed by padding; all rows may be there, or as many as fit.
        for (wide, high) in [(pitch, pixels / pitch), (pitch, height), (width, height), (width, pixels / pitch)] {
            if wide > pitch || high == 0 {
                continue;
            }
            let view = View { pixels: &floats, pitch, width: wide, height: high };
            let Some(way) = judge::find(view) else { continue };
            let verdict = judge::judge(view, way, said.format.has_alpha());
            let verdict = Verdict { way: relative(way, said.origin), ..verdict };
            let mend = match wide == pitch {
                true => format!("tdshmsrc width={wide} height={high}, or the same of the Shared Memory LOP"),
                false => format!(
                    "let the sender write rows without padding: {wide} pixels are followed by {} more; or read with width={pitch} and crop",
                    pitch - wide
                ),
            };
            let what = format!("The picture is sheared: its rows are {pitch} pixels apart, not {width}.");
            let fault = Fault { id: "sheared", what, mend };
            let desc = FrameDesc { width: wide as u32, height: high as u32, ..said };
            return Ok(Some(Reading { verdict, desc, faults: vec![fault] }));
        }
    }
    Ok(None)
}

/// How the picture stands once its rows are in the order that the origin says.
fn relative(way: Way, origin: Origin) -> Way {
    Way { upside_down: way.upside_down != (origin == Origin::BottomLeft), ..way }
}

/// The card in `bytes`, taken for frames of `desc`.
fn read_as(
    bytes: &[u8],
    desc: FrameDesc,
    (pitch, width, height): (usize, usize, usize),
) -> Result<Option<Reading>, Failure> {
    let floats = floats(bytes, desc.format)?;
    let view = View { pixels: &floats, pitch, width, height };
    let Some(way) = judge::find(view) else { return Ok(None) };
    let verdict = judge::judge(view, way, desc.format.has_alpha());
    Ok(Some(Reading { verdict: Verdict { way: relative(way, desc.origin), ..verdict }, desc, faults: Vec::new() }))
}

fn floats(bytes: &[u8], format: PixelFormat) -> Result<Vec<[f32; 4]>, Failure> {
    let whole = bytes.len() / format.bytes() * format.bytes();
    let width = (whole / format.bytes()) as u32;
    Picture { width, height: 1, format, bytes: bytes[..whole].to_vec() }.floats()
}

fn all_bytes(found: &Found) -> Result<Vec<u8>, Failure> {
    let segment = Segment::open(&found.object, OpenOptions { allow_other_user: true }).map_err(Failure::failed)?;
    let mut bytes = vec![0; segment.len()];
    segment.read(0, &mut bytes).map_err(Failure::failed)?;
    Ok(bytes)
}

/// What is wrong with a card, in words.
fn faults(verdict: &Verdict, desc: &FrameDesc) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |id, what: &str, mend: String| faults.push(Fault { id, what: what.to_owned(), mend });
    if verdict.way.upside_down {
        let other = match desc.origin {
            Origin::TopLeft => Origin::BottomLeft,
            Origin::BottomLeft => Origin::TopLeft,
        };
        let other = describe::origin(other);
        fault(
            "upside-down",
            "The picture stands upside down.",
            format!("origin={other} (tdshmsrc, or tdshmsink where it is written)"),
        );
    }
    if verdict.way.mirrored {
        fault(
            "mirrored",
            "Left and right are exchanged.",
            "a Flip TOP with Flip X in TouchDesigner, or videoflip method=horizontal-flip".to_owned(),
        );
    }
    if verdict.swapped {
        let other = if desc.format.order == ChannelOrder::Rgba { "bgra" } else { "rgba" };
        fault(
            "red-blue-swapped",
            "Red and blue are exchanged.",
            format!("channel-order={other} (tdshmsrc, or tdshmsink where it is written)"),
        );
    }
    if verdict.off_colours {
        fault(
            "colours",
            "The bars have other colours than the card: components are exchanged, the matrix is another one, or colour is \
             taken out.",
            "the same colorimetry on both sides (601 is not 709), and no Reorder, HSV Adjust or Level TOP in between"
                .to_owned(),
        );
    }
    if verdict.limited {
        fault(
            "limited-range",
            "Black is 16 and white is 235: limited range is taken for full range.",
            "colorimetry=2:1:7:1 (tdshmsrc), or let the sender write full range (colorimetry=sRGB in its caps)"
                .to_owned(),
        );
    }
    match verdict.greys {
        Greys::Right => {}
        Greys::Linear => fault(
            "linear-as-srgb",
            "Linear light is shown as sRGB: it is too dark.",
            "transfer=linear-to-srgb (tdshmsrc)".to_owned(),
        ),
        Greys::TwiceCoded => fault(
            "srgb-twice",
            "sRGB was made sRGB once more: it is too bright.",
            "transfer=srgb-to-linear (tdshmsrc), or leave one of the two conversions out".to_owned(),
        ),
        Greys::Unknown => fault(
            "greys",
            "The greys are neither even, nor linear light, nor sRGB made twice.",
            "take colour corrections out between the card and this buffer".to_owned(),
        ),
    }
    match verdict.alpha {
        AlphaFault::Right => {}
        AlphaFault::Premultiplied => fault(
            "premultiplied",
            "Colours are multiplied by alpha, which dark edges come from where straight alpha is expected.",
            "alpha=premultiplied-to-straight (tdshmsrc)".to_owned(),
        ),
        AlphaFault::Lost => fault(
            "alpha-lost",
            "Alpha is opaque everywhere.",
            "look for a conversion to RGBx or RGB on the way, or alpha=opaque where it is read or written".to_owned(),
        ),
        AlphaFault::Unknown => fault(
            "alpha",
            "Alpha is not the card's.",
            "take compositing out between the card and this buffer".to_owned(),
        ),
    }
    faults
}
