// SPDX-License-Identifier: MPL-2.0
//! What an mp4 file says about its one video track, read from the file's own boxes: a second opinion that shares no code
//! with the program that wrote it.

use crate::demo::sps::{self, Sps};
use crate::fail;
use crate::run::{Outcome, Trouble};

#[derive(Debug)]
pub struct Track {
    pub width: u16,
    pub height: u16,
    pub frames: u32,
    /// The sum of all frame durations.
    pub seconds: f64,
    /// `avcC`: what a player looks at before it decodes anything.
    pub profile: u8,
    pub sps: Sps,
    /// `colr`/`nclx`: primaries, transfer, matrix.
    pub colours: Option<[u16; 3]>,
}

/// The body of the first box named by `path`, each name inside the one before.
fn find<'a>(bytes: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let (name, rest) = path.split_first()?;
    let body = boxes(bytes).find(|(kind, _)| kind == name.as_bytes())?.1;
    if rest.is_empty() { Some(body) } else { find(body, rest) }
}

/// The boxes that stand one after the other in `bytes`: kind and body.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        let (head, size) = match u32_at(bytes, 0)? {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(u64_at(bytes, 8)?).ok()?),
            size => (8, size as usize),
        };
        let body = bytes.get(head..size)?;
        bytes = &bytes[size..];
        Some((kind, body))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Reads the file's only track, which must be H.264.
pub fn parse(file: &[u8]) -> Outcome<Track> {
    let bad = |what: &str| Trouble::Failed(format!("the mp4 file has no readable {what}"));
    let Some(movie) = find(file, &["moov"]) else {
        fail!("the mp4 file ({} bytes) has no `moov`: it was cut off before EOS was through", file.len());
    };
    let tracks = boxes(movie).filter(|(kind, _)| kind == b"trak").count();
    if tracks != 1 {
        fail!("the mp4 file has {tracks} tracks, expected 1");
    }
    let media = find(movie, &["trak", "mdia"]).ok_or_else(|| bad("mdia"))?;
    let timescale =
        find(media, &["mdhd"]).and_then(|body| u32_at(body, if body.first() == Some(&1) { 20 } else { 12 }));
    let timescale = timescale.filter(|&scale| scale > 0).ok_or_else(|| bad("mdhd"))?;
    let table = find(media, &["minf", "stbl"]).ok_or_else(|| bad("stbl"))?;

    let times = find(table, &["stts"]).ok_or_else(|| bad("stts"))?;
    let entries = u32_at(times, 4).ok_or_else(|| bad("stts"))?;
    let (mut frames, mut ticks) = (0u32, 0u64);
    for entry in 0..entries as usize {
        let count = u32_at(times, 8 + 8 * entry).ok_or_else(|| bad("stts"))?;
        let delta = u32_at(times, 12 + 8 * entry).ok_or_else(|| bad("stts"))?;
        frames = frames.saturating_add(count);
        ticks = ticks.saturating_add(u64::from(count) * u64::from(delta));
    }

    let description = find(table, &["stsd"]).and_then(|body| body.get(8..)).ok_or_else(|| bad("stsd"))?;
    let entry = find(description, &["avc1"]).ok_or_else(|| bad("avc1 (is it H.264?)"))?;
    // A visual sample entry: 24 bytes, width, height, 50 more bytes, then boxes.
    let (width, height) = u16_at(entry, 24).zip(u16_at(entry, 26)).ok_or_else(|| bad("avc1"))?;
    let boxes_of_entry = entry.get(78..).ok_or_else(|| bad("avc1"))?;
    let config = find(boxes_of_entry, &["avcC"]).ok_or_else(|| bad("avcC"))?;
    // version, profile, compatibility, level, length size, number of SPS, then each with a length of 16 bits.
    let profile = *config.get(1).ok_or_else(|| bad("avcC"))?;
    let sps = u16_at(config, 6).and_then(|length| config.get(8..8 + usize::from(length))).ok_or_else(|| bad("SPS"))?;
    let sps = sps::parse(sps).ok_or_else(|| bad("SPS"))?;
    let colours = find(boxes_of_entry, &["colr"])
        .filter(|body| body.starts_with(b"nclx"))
        .and_then(|body| Some([u16_at(body, 4)?, u16_at(body, 6)?, u16_at(body, 8)?]));

    Ok(Track { width, height, frames, seconds: ticks as f64 / f64::from(timescale), profile, sps, colours })
}
