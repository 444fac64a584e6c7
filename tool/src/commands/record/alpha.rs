// SPDX-License-Identifier: MPL-2.0
//! Whether transparency is lost: the first second's frames are looked at while the recording runs.

use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Args;
use crate::buffer::picture::Picture;
use crate::buffer::source::{News, Source, Want};
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::Wire;
use crate::output::Output;

/// How long frames are looked at.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Looks at the buffers whose alpha is dropped.
#[derive(Debug)]
pub struct Lost {
    lookers: Vec<JoinHandle<()>>,
    said: Receiver<String>,
}

impl Lost {
    /// Begins to look. Not at what `--offline` reads: its producer would wait for this reader, too, and need no other.
    pub fn look(args: &Args, wires: &[Wire]) -> Self {
        let (sender, said) = channel();
        let lost = wires.iter().filter(|wire| wire.has_alpha && !args.alpha && !args.offline);
        let lookers = lost.map(|wire| {
            let (name, geometry, sender) = (wire.name.clone(), args.geometry.clone(), sender.clone());
            std::thread::spawn(move || {
                let note = match varies(&name, &geometry) {
                    Ok(false) => return,
                    Ok(true) => format!("{name}: its alpha varies and is not recorded; --alpha keeps it"),
                    Err(why) => format!("{name}: its alpha is not recorded, and whether it varies was not seen: {why}"),
                };
                // Who no longer listens has ended.
                let _ = sender.send(note);
            })
        });
        Self { lookers: lookers.collect(), said }
    }

    /// Says what was found so far.
    pub fn tell(&self, out: &Output) {
        self.said.try_iter().for_each(|note| out.note(note));
    }

    /// Says all of it, at the end of a recording that may have been shorter than the look.
    pub fn tell_all(self, out: &Output) {
        for looker in self.lookers {
            // What it panicked of is on stderr.
            let _ = looker.join();
        }
        self.said.try_iter().for_each(|note| out.note(note));
    }
}

/// Whether two pixels of the first second have another alpha.
fn varies(name: &str, geometry: &Geometry) -> Result<bool, Failure> {
    let (mut source, _) = Source::open(name, geometry, Want::Pixels)?;
    let mut picture = Picture::blank(&source.desc())?;
    let deadline = Instant::now() + LOOKED_AT;
    let mut first = None;
    loop {
        match source.next(deadline, &mut picture)? {
            News::Frame { .. } if is_other(&picture, &mut first) => return Ok(true),
            News::Frame { .. } if Instant::now() < deadline => {}
            News::Changed => first = None,
            News::Frame { .. } | News::Gone(_) | News::Nothing => return Ok(false),
        }
    }
}

/// Whether a pixel's alpha is not the `first` one that was seen, byte for byte.
fn is_other(picture: &Picture, first: &mut Option<Vec<u8>>) -> bool {
    let format = picture.format;
    let (pixel, sample) = (format.bytes(), format.sample.bytes());
    if !format.has_alpha() {
        return false;
    }
    let mut alphas = picture.bytes.chunks_exact(pixel).map(|pixel| &pixel[pixel.len() - sample..]);
    let Some(seen) = alphas.next() else { return false };
    let first = first.get_or_insert_with(|| seen.to_vec());
    seen != first.as_slice() || alphas.any(|alpha| alpha != first.as_slice())
}

#[cfg(test)]
mod tests {
    use tdlink_core::frame::SampleType;

    use super::*;
    use crate::buffer::picture::rgba;

    #[test]
    fn one_alpha_of_another_pixel_or_frame_is_seen_and_colours_are_none() {
        let picture =
            |bytes: [u8; 8]| Picture { width: 2, height: 1, format: rgba(SampleType::U8), bytes: bytes.to_vec() };
        let mut first = None;
        assert!(!is_other(&picture([1, 2, 3, 200, 4, 5, 6, 200]), &mut first));
        assert!(!is_other(&picture([9, 9, 9, 200, 7, 7, 7, 200]), &mut first));
        assert!(is_other(&picture([1, 2, 3, 201, 4, 5, 6, 201]), &mut first), "another frame");
        assert!(is_other(&picture([1, 2, 3, 200, 4, 5, 6, 0]), &mut first), "another pixel");
    }
}
