// SPDX-License-Identifier: MPL-2.0
//! What discovery has found, in words and as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use tdlink_core::discover::{Found, Look, Program, Protocol};
use tdlink_core::frame::{ChannelOrder, Origin};
use tdlink_core::protocol::control::Ratio;

use super::locate::find;
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{GStreamer, Line, shown};

/// `60`, `59.94`: frames per second.
pub fn rate(rate: Ratio) -> String {
    let text = format!("{:.3}", f64::from(rate.num) / f64::from(rate.den.max(1)));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12 ms`, `3.4 s`, `2 h`.
pub fn age(age: Duration) -> String {
    match age.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", age.as_millis()),
        seconds if seconds < 60.0 => format!("{seconds:.1} s"),
        seconds if seconds < 3600.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / 3600.0),
    }
}

/// The corner where row 0 stands.
pub fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::TopLeft => "top-left",
        Origin::BottomLeft => "bottom-left",
    }
}

fn program(program: &Program) -> Value {
    json!({ "pid": program.pid, "program": program.name })
}

/// Everything that a list says about a buffer.
pub fn value(found: &Found) -> Value {
    let frame = found.frame;
    json!({
        "name": found.name,
        "protocol": found.protocol().word(),
        "state": found.state.word(),
        "object": found.object.as_str(),
        "bytes": found.bytes,
        "uid": found.uid,
        "pixels": found.pixels,
        "width": frame.map(|frame| frame.width),
        "height": frame.map(|frame| frame.height),
        "sample-type": frame.map(|frame| frame.format.sample.to_string()),
        "channels": frame.map(|frame| frame.format.channels),
        "format": frame.map(|frame| frame.format.to_string()),
        "origin": frame.map(|frame| origin(frame.origin)),
        "framerate": found.framerate.map(|rate| format!("{}/{}", rate.num, rate.den)),
        "producer": found.producer.as_ref().map(program),
        "consumers": found.consumers,
        "users": found.users.iter().map(program).collect::<Vec<_>>(),
        "users-are-all": found.users_are_all,
        "age-ms": found.age.map(|age| age.as_millis() as u64),
        "trouble": found.trouble,
    })
}

/// The `gst-launch-1.0` line that reads the buffer, and hands it to `rest`.
pub fn pipeline(name: &str, geometry: &Geometry, rest: Line) -> Result<String, Failure> {
    let found = find(name, Look::Segments)?;
    let element = if found.protocol() == Protocol::CudaLink { "tdcudaipcsrc" } else { "tdshmsrc" };
    let mut line = Line::default().then(element).set("shm-name", name);
    if found.protocol() == Protocol::Raw {
        let desc = geometry.of(&found)?;
        let order = if desc.format.order == ChannelOrder::Rgba { "rgba" } else { "bgra" };
        line = line.set("width", desc.width).set("height", desc.height).set("channels", desc.format.channels);
        line = line.set("sample-type", desc.format.sample).set("channel-order", order);
    }
    let line = line.set_some("origin", geometry.origin.map(|corner| origin(corner.into())));
    Ok(launched(&line.through(rest)))
}

/// The command that runs a pipeline and says what passes. GStreamer is told where our plugin lies, if it must be; where
/// there is no GStreamer, the line is right on another machine.
pub fn launched(line: &Line) -> String {
    let settings = GStreamer::find().map(|gstreamer| gstreamer.settings()).unwrap_or_default();
    shown(&settings, "gst-launch-1.0 -v", line.words())
}
