// SPDX-License-Identifier: MPL-2.0
//! What is known of a buffer that is watched.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tdlink_core::discover::{Look, named};
use tdlink_core::frame::{FrameDesc, SampleType};
use tdlink_core::pixels::{Alpha, Options};

use crate::buffer::picture::{Picture, rgba};
use crate::buffer::source::Losses;
use crate::failure::Failure;
use crate::measure::{EDGES_US, Latency, Meter, Summary};

/// Seconds of rates that are kept.
const SECONDS: usize = 120;
/// Cells of the coarse picture.
pub const COARSE: (u16, u16) = (96, 54);
/// How often the picture is made coarse.
const PICTURE_EVERY: Duration = Duration::from_millis(200);

/// What is known of a buffer.
#[derive(Debug)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// How it is passed on.
    pub protocol: &'static str,
    /// What its frames are.
    pub frame: Option<FrameDesc>,
    /// Who writes it.
    pub producer: Option<String>,
    /// How many read it, where that is known.
    pub consumers: Option<u32>,
    /// Frames that were seen.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What was lost.
    pub losses: Losses,
    /// The last second.
    pub summary: Option<Summary>,
    /// Frames per second of the seconds before.
    pub rates: VecDeque<u64>,
    /// From publication to here.
    pub latency: Latency,
    /// When the last frame came.
    pub last: Option<Instant>,
    /// Why the producer has gone, if it has.
    pub gone: Option<String>,
    /// A coarse picture: [`COARSE`] pixels, R G B.
    pub coarse: Option<Vec<[u8; 3]>>,
    meter: Meter,
    made_coarse: Option<Instant>,
}

impl Watched {
    /// Nothing yet.
    pub fn new(name: &str) -> Self {
        let mut watched = Self {
            name: name.to_owned(),
            protocol: "",
            frame: None,
            producer: None,
            consumers: None,
            frames: 0,
            bytes: 0,
            losses: Losses::default(),
            summary: None,
            rates: VecDeque::new(),
            latency: Latency::default(),
            last: None,
            gone: None,
            coarse: None,
            meter: Meter::default(),
            made_coarse: None,
        };
        watched.look();
        watched
    }

    /// A frame that was published and arrived at these times, in ns of the monotonic clock.
    pub fn frame(
        &mut self,
        desc: &FrameDesc,
        losses: Losses,
        published: u64,
        arrived: u64,
        picture: Option<&Picture>,
    ) -> Result<(), Failure> {
        // The first frame may have stood there for long.
        if self.last.is_some() {
            self.latency.frame(Duration::from_nanos(arrived.saturating_sub(published)));
        }
        self.meter.frame(published);
        self.frames += 1;
        self.bytes += desc.bytes().unwrap_or(0) as u64;
        (self.frame, self.losses, self.last, self.gone) = (Some(*desc), losses, Some(Instant::now()), None);
        let due = self.made_coarse.is_none_or(|made| made.elapsed() >= PICTURE_EVERY);
        if let Some(picture) = picture.filter(|_| due) {
            self.coarse = Some(coarse(picture)?);
            self.made_coarse = Some(Instant::now());
        }
        Ok(())
    }

    /// Looks at who is there. It takes nothing from anybody.
    pub fn look(&mut self) {
        let found = named(&self.name, Look::Segments);
        let Some(found) = found.into_iter().min_by_key(|found| found.state == tdlink_core::discover::State::Stale)
        else {
            return;
        };
        self.protocol = found.protocol().word();
        // One of the readers is this program.
        self.consumers = found.consumers.map(|consumers| consumers.saturating_sub(1));
        self.producer = found.producer.as_ref().map(ToString::to_string);
    }

    /// A second is over.
    pub fn second(&mut self) {
        self.summary = self.meter.take();
        if self.rates.len() == SECONDS {
            self.rates.pop_front();
        }
        self.rates.push_back(self.summary.map_or(0, |summary| summary.rate.round() as u64));
    }

    /// Everything, for programs.
    pub fn value(&self) -> Value {
        let buckets: Vec<Value> = EDGES_US
            .iter()
            .map(|edge| json!(edge))
            .chain([Value::Null])
            .zip(self.latency.buckets)
            .map(|(edge, frames)| json!({ "us": edge, "frames": frames }))
            .collect();
        json!({
            "name": self.name,
            "protocol": self.protocol,
            "frames": self.frames,
            "bytes": self.bytes,
            "hz": self.summary.map_or(0.0, |summary| summary.rate),
            "jitter-ms": self.summary.map(|summary| summary.jitter),
            "skipped": self.losses.skipped,
            "torn": self.losses.torn,
            "consumers": self.consumers,
            "latency-us": self.latency.mean().map(|mean| mean.as_micros() as u64),
            "latency": buckets,
            "gone": self.gone,
        })
    }
}

/// Every so many pixels one: enough to see what it is.
fn coarse(picture: &Picture) -> Result<Vec<[u8; 3]>, Failure> {
    let (width, height, pixel) = (picture.width as usize, picture.height as usize, picture.format.bytes());
    let (wide, high) = (usize::from(COARSE.0), usize::from(COARSE.1));
    let mut bytes = Vec::with_capacity(wide * high * pixel);
    for y in 0..high {
        for x in 0..wide {
            let (x, y) = ((2 * x + 1) * width / (2 * wide), (2 * y + 1) * height / (2 * high));
            let at = (y * width + x) * pixel;
            bytes.extend_from_slice(picture.bytes.get(at..at + pixel).unwrap_or(&vec![0; pixel]));
        }
    }
    let small = Picture { width: wide as u32, height: high as u32, format: picture.format, bytes };
    let options = Options { alpha: Alpha::Opaque, ..Options::default() };
    let small = small.to(rgba(SampleType::U8), options)?;
    Ok(small.bytes.as_chunks::<4>().0.iter().map(|[red, green, blue, _]| [*red, *green, *blue]).collect())
}
