// SPDX-License-Identifier: MPL-2.0
//! A buffer as a pipeline reads it.

use std::time::{Duration, Instant};

use tdlink_core::discover::{Found, Look, Protocol, State, named};
use tdlink_core::protocol::control::Ratio;
use tdlink_core::segment::{SegmentName, live_names, nearest};

use super::{Line, stopped};
use crate::cli::{Geometry, Order, Sample};
use crate::failure::Failure;
use crate::output::Output;

/// How often a buffer that is not there is looked for.
const LOOK_FOR: Duration = Duration::from_millis(100);
/// What a raw buffer's frames are taken for when nobody says how many come a second.
const USUAL_RATE: Ratio = Ratio { num: 60, den: 1 };

/// A buffer that frames can be read from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Its name.
    pub name: String,
    /// The same as lists have it.
    pub listed: String,
    /// How it passes frames on.
    pub protocol: Protocol,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second that its producer says, or 60.
    pub rate: Ratio,
    /// Whether its pixels have an alpha.
    pub has_alpha: bool,
    /// Bits of a component.
    pub bits: u32,
}

impl Wire {
    /// The buffer as it stands. `None` when it is not there, or its producer has gone.
    ///
    /// # Errors
    /// When it is there, and nothing says what its bytes are.
    pub fn look(name: &str, geometry: &Geometry) -> Result<Option<Self>, Failure> {
        Self::look_for(name, geometry, Look::Processes)
    }

    /// The same, as far as `look` says.
    ///
    /// # Errors
    /// As above.
    pub fn look_for(name: &str, geometry: &Geometry, look: Look) -> Result<Option<Self>, Failure> {
        let there = named(name, look);
        let Some(found) = there.iter().find(|found| found.state != State::Stale) else { return Ok(None) };
        let wire = |width, height, has_alpha, bits| Self {
            name: name.to_owned(),
            listed: found.name.clone(),
            protocol: found.protocol(),
            width,
            height,
            rate: found.framerate.filter(|rate| rate.num > 0 && rate.den > 0).unwrap_or(USUAL_RATE),
            has_alpha,
            bits,
        };
        if let Some(frame) = &found.frame {
            let bits = 8 * frame.format.sample.bytes() as u32;
            return Ok(Some(wire(frame.width, frame.height, frame.format.has_alpha(), bits)));
        }
        match (found.protocol(), geometry.width, geometry.height) {
            (Protocol::Raw, Some(width), Some(height)) => {
                let bits = if matches!(geometry.sample_type, None | Some(Sample::U8)) { 8 } else { 16 };
                Ok(Some(wire(width, height, geometry.channels.is_none_or(|channels| channels == 4), bits)))
            }
            (Protocol::Raw, ..) => Err(Failure::Usage(format!(
                "\"{name}\" is {} bytes that say nothing of themselves: give --width and --height, and --channels where they \
                 are not 4 (\"tdlink info {name}\" guesses)",
                found.bytes
            ))),
            _ => Ok(None),
        }
    }

    /// Waits until the buffer is there. `None` when we are asked to stop meanwhile.
    ///
    /// # Errors
    /// When it is not there in time, or nothing says what its bytes are.
    pub fn await_one(
        name: &str,
        geometry: &Geometry,
        patience: Option<Duration>,
        out: &Output,
    ) -> Result<Option<Self>, Failure> {
        let began = Instant::now();
        let mut said = false;
        while !stopped() {
            if let Some(wire) = Self::look(name, geometry)? {
                return Ok(Some(wire));
            }
            if patience.is_some_and(|patience| began.elapsed() >= patience) {
                return Err(Failure::NotFound(missing(name)));
            }
            if !std::mem::replace(&mut said, true) {
                out.note(format_args!("{}; waiting for it, Ctrl-C ends that", missing(name)));
            }
            std::thread::sleep(LOOK_FOR);
        }
        Ok(None)
    }

    /// Whether `there`, a list of all buffers with their users, has it with somebody who may write it. Of raw bytes all that
    /// tells is who has them open, among whom `ours` is nobody.
    pub fn is_among(&self, there: &[Found], ours: u32) -> bool {
        let only_ours = |found: &Found| {
            found.protocol() == Protocol::Raw
                && found.users_are_all
                && !found.users.is_empty()
                && found.users.iter().all(|user| user.pid == ours)
        };
        let same = |found: &&Found| found.name == self.listed && found.protocol() == self.protocol;
        there.iter().filter(same).any(|found| found.state != State::Stale && !only_ours(found))
    }

    /// The element that reads it.
    pub fn source(&self, geometry: &Geometry) -> Line {
        let element = if self.protocol == Protocol::CudaLink { "tdcudaipcsrc" } else { "tdshmsrc" };
        let line = Line::default().then(element).set("shm-name", &self.name);
        let line = if self.protocol == Protocol::Raw {
            let channels = geometry.channels.unwrap_or(4);
            let line = line.set("width", self.width).set("height", self.height).set("channels", channels);
            let line = line.set_some("sample-type", geometry.sample_type.map(sample));
            line.set_some("channel-order", geometry.channel_order.map(order))
        } else {
            line
        };
        line.set_some(
            "origin",
            geometry.origin.map(|corner| match corner {
                crate::cli::Corner::BottomLeft => "bottom-left",
                crate::cli::Corner::TopLeft => "top-left",
            }),
        )
    }
}

fn sample(sample: Sample) -> &'static str {
    match sample {
        Sample::U8 => "u8",
        Sample::U16 => "u16",
        Sample::F16 => "f16",
        Sample::F32 => "f32",
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::Rgba => "rgba",
        Order::Bgra => "bgra",
    }
}

/// What to say of a buffer that is not there.
pub fn missing(name: &str) -> String {
    let listed = live_names();
    let near = SegmentName::new(name).ok().and_then(|wanted| nearest(&wanted, &listed).map(|found| found.name.clone()));
    match near.filter(|near| near.as_str() != name) {
        Some(near) => format!("no buffer \"{name}\" with a live producer; did you mean \"{near}\"?"),
        None => format!("no buffer \"{name}\" with a live producer (\"tdlink list\" shows those there are)"),
    }
}
