// SPDX-License-Identifier: MPL-2.0
//! What a file's ending says of what may be in it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::gstreamer::{Codec, GStreamer, Line, Trouble, package};

/// Milliseconds of a fragment: what is lost at most when the recorder dies, beside what the encoder holds.
const FRAGMENT_MS: u32 = 1000;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MPEG-4
    Mp4,
    /// QuickTime
    Mov,
    /// Matroska
    Mkv,
}

impl Container {
    /// By a file's ending.
    pub fn of(file: &Path) -> Result<Self, Failure> {
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("mp4" | "m4v") => Ok(Self::Mp4),
            Some("mov") => Ok(Self::Mov),
            Some("mkv") => Ok(Self::Mkv),
            _ => Err(Failure::Usage(format!("{}: expected a name that ends in .mp4, .mov or .mkv", file.display()))),
        }
    }

    /// The codec when none is wished for.
    pub fn usual(self, alpha: bool) -> Codec {
        match (self, alpha) {
            (_, false) => Codec::H264,
            (Self::Mkv, true) => Codec::Ffv1,
            (Self::Mp4 | Self::Mov, true) => Codec::Prores,
        }
    }

    /// Refuses what players do not find in such a file.
    pub fn takes(self, codec: Codec) -> Result<(), Failure> {
        let fits = match self {
            Self::Mp4 => matches!(codec, Codec::H264 | Codec::Hevc | Codec::Av1),
            Self::Mov => matches!(codec, Codec::H264 | Codec::Hevc | Codec::Prores),
            Self::Mkv => true,
        };
        let other = if codec == Codec::Prores { ".mov or .mkv" } else { ".mkv" };
        if fits {
            Ok(())
        } else {
            Err(Failure::Usage(format!("{} does not go into this kind of file: name it {other}", codec.name())))
        }
    }

    fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4mux",
            Self::Mov => "qtmux",
            Self::Mkv => "matroskamux",
        }
    }

    /// Whether there is its muxer.
    pub fn check(self, gstreamer: &GStreamer) -> Result<(), Failure> {
        let muxer = self.muxer();
        if gstreamer.elements.has(muxer) {
            Ok(())
        } else {
            Err(Trouble::Lacks { what: muxer.into(), package: package(muxer) }.into())
        }
    }

    /// The muxer, and the file behind it.
    pub fn line(self, name: &str, file: &Path) -> Line {
        let line = Line::default().then(self.muxer()).set("name", name);
        let line = match self {
            // Fragments while it runs, one index at the end.
            Self::Mp4 | Self::Mov => {
                line.set("fragment-duration", FRAGMENT_MS).set("fragment-mode", "first-moov-then-finalise")
            }
            Self::Mkv => line,
        };
        line.then("filesink").file("location", file).set("buffer-mode", "unbuffered").end()
    }
}

/// The file of a part, counted from 1: the first is the file itself.
pub fn part(file: &Path, number: usize) -> PathBuf {
    if number <= 1 {
        return file.to_owned();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-{number:03}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_from_the_second() {
        let file = Path::new("/a b/take.one.mp4");
        assert_eq!(part(file, 1), file);
        assert_eq!(part(file, 2), Path::new("/a b/take.one-002.mp4"));
    }

    #[test]
    fn a_file_that_no_player_would_open_is_refused() {
        assert!(Container::Mp4.takes(Codec::Prores).is_err());
        assert!(Container::Mov.takes(Codec::Ffv1).is_err());
        assert!(Container::Mkv.takes(Codec::Ffv1).is_ok());
        assert!(Container::of(Path::new("x.avi")).is_err());
    }
}
