// SPDX-License-Identifier: MPL-2.0
//! From GStreamer to TouchDesigner: a test picture through `tdshmsink`, taken out by a Python receiver, looked at.

use std::path::Path;
use std::time::Duration;

use crate::demo::checks::Checks;
use crate::demo::picture::Picture;
use crate::demo::{Buffer, Stage};
use crate::run::{self, Companion, Outcome, Trouble, say};

pub const PICTURE: &str = "received.png";

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// The seven bars that fill the upper two thirds of videotestsrc's `smpte` pattern, from the left.
const BARS: [(&str, [u8; 3]); 7] = [
    ("white bar", [255, 255, 255]),
    ("yellow bar", [255, 255, 0]),
    ("cyan bar", [0, 255, 255]),
    ("green bar", [0, 255, 0]),
    ("magenta bar", [255, 0, 255]),
    ("red bar", [255, 0, 0]),
    ("blue bar", [0, 0, 255]),
];

pub fn run(stage: &Stage) -> Outcome {
    let png = stage.folder.join(PICTURE);
    let buffer = Buffer::new("play");
    let line = format!(
        "-e videotestsrc is-live=true pattern=smpte ! video/x-raw,format=RGBA,width={WIDTH},height={HEIGHT},framerate=60/1 \
         ! tdshmsink shm-name={}",
        buffer.0
    );
    let mut player = Companion::start("gst-launch-1.0", &stage.launch(&line, Path::new("")))?;
    let mut command = stage.python("touchdesigner_receiver.py");
    command.args(["--name", &buffer.0, "--width", &WIDTH.to_string(), "--height", &HEIGHT.to_string()]);
    command.arg("--output").arg(&png);
    let mut receiver = Companion::start("the receiver", &command)?;
    receiver.finish(Duration::from_secs(30))?;
    let after_reader = buffer.files().len();
    player.interrupt();
    player.finish(Duration::from_secs(10))?;
    let left = buffer.files();

    say("reading the picture back");
    let raw = stage.folder.join("received.rgb");
    run::check(&mut decode(stage, &png, &raw))?;
    let rgb = std::fs::read(&raw).map_err(|err| Trouble::Failed(format!("{}: {err}", raw.display())))?;
    let _ = std::fs::remove_file(&raw);

    let mut checks = Checks::default();
    let stride = (3 * WIDTH).next_multiple_of(4);
    checks.add("bytes of the picture", rgb.len() == stride * HEIGHT, rgb.len(), stride * HEIGHT);
    if rgb.len() == stride * HEIGHT {
        let picture = Picture { width: WIDTH, height: HEIGHT, stride, rgb: &rgb };
        for (bar, (name, expected)) in BARS.into_iter().enumerate() {
            let found = picture.middle(bar * WIDTH / 7, HEIGHT / 12, WIDTH / 7, HEIGHT / 2);
            let near = found.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 2);
            checks.add(name, near, format!("{found:?}"), format!("{expected:?}"));
        }
    }
    checks.add(
        "buffer after the reader left",
        after_reader > 0,
        if after_reader > 0 { "there" } else { "gone" },
        "there",
    );
    checks.add("left in /dev/shm at the end", left.is_empty(), format!("{left:?}"), "nothing");
    checks.conclude(&format!("{PICTURE}: what a Python receiver saw of a test picture"))
}

fn decode(stage: &Stage, png: &Path, raw: &Path) -> std::process::Command {
    let mut command = stage.launch("-q filesrc location=FILE ! pngdec ! videoconvert ! video/x-raw,format=RGB", png);
    command.args(["!", "filesink"]).arg(format!("location={}", raw.display()));
    command
}
