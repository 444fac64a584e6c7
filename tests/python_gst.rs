// SPDX-License-Identifier: MPL-2.0
//! The Python package `tdlink`: what it needs, and `tdlink.gst` on a CUDA driver (`tests/peers/cuda_array.py`).
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::folder::Folder;
use common::name::Name;
use common::peer::{Peer, plugin};
use common::recorder::Recorder;
use common::run::Run;
use common::{PATIENCE, frames, poll, ring};
use gst_video::VideoFormat;

const PYTHON: &str = "/usr/bin/python3";

/// Runs Python with the package, and with GStreamer that finds the plugin.
fn python(arguments: &[&str]) -> Output {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let folder = Folder::new(&format!("python-gst-{}", FOLDERS.fetch_add(1, Ordering::Relaxed)));
    symlink(plugin(), folder.join("libgsttdlink.so")).expect("a link in a folder of ours");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(PYTHON);
    command.arg("-B").args(arguments).current_dir(root).env("PYTHONPATH", root.join("python"));
    command.env("GST_PLUGIN_PATH", &*folder).output().expect("python3 starts")
}

#[track_caller]
fn runs(arguments: &[&str]) -> String {
    let output = python(arguments);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

#[test]
fn frames_cross_without_numpy_and_without_gstreamer() {
    // A finder that knows neither is what a machine without them is.
    let program = r#"
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numpy", "gi"):
            raise ModuleNotFoundError("No module named %r" % name)
sys.meta_path.insert(0, Absent())
import os, tdlink
name = "tdlink-python-gst-%d" % os.getpid()
for slots, origin in ((1, "bottom-left"), (4, "top-left")):
    with tdlink.Writer(name, 3, 2, channels=4, slots=slots, origin=origin) as writer, tdlink.Reader(name) as reader:
        assert reader.read(timeout=0) is None and reader.connected
        sent = bytes(range(24))
        writer.publish(sent, pts=7)
        frame = reader.read(timeout=20)
        rows = [bytes(frame.rows[y * frame.stride:][:12]) for y in range(2)]
        rows = rows if origin == "top-left" else rows[::-1]
        assert b"".join(rows) == sent and frame.pts == 7 and frame.size == (3, 2), rows
        assert frame.leased == (slots == 4)
        try:
            writer.publish(sent[1:])
        except ValueError as error:
            assert "23 bytes, but frames have 24" in str(error), error
        else:
            raise AssertionError("a frame that is too short")
        try:
            frame.array
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError("numpy is there after all")
        del frame
print("right")
"#;
    assert_eq!(runs(&["-c", program]), "right\n");
}

#[test]
fn the_module_says_by_hand_what_is_under_a_name() {
    assert!(runs(&["-m", "tdlink"]).contains("python3 -m tdlink info NAME"));
    let output = python(&["-m", "tdlink", "info", "tdlink-nobody-sends-this"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody sends under the name"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
#[ignore = "needs a CUDA driver and PyGObject: cargo xtask emulated -- cargo test --test python_gst -- --ignored"]
fn frames_on_the_gpu_are_arrays_and_arrays_are_frames() {
    assert_eq!(runs(&["tests/peers/cuda_array.py"]), "right\n");
}

#[test]
fn a_model_between_two_buffers_reads_one_and_writes_the_other() {
    let (from, to) = (Name::new("between-from"), Name::new("between-to"));
    // Not what RGBA is taken for where nobody says: it must come through.
    let info = ring::info(VideoFormat::Rgba, 16, 8);
    let colorimetry = "1:1:5:1".parse::<gst_video::VideoColorimetry>().expect("full range, BT.709");
    let info = gst_video::VideoInfo::builder(VideoFormat::Rgba, 16, 8).fps(info.fps()).colorimetry(&colorimetry);
    let info = info.build().expect("a valid format");
    let (writer, feed) = ring::fed(&from, &info, "slots=4");
    let (reader, recorder) = ring::source(&format!("shm-name={to} on-disconnect=eos"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(PYTHON);
    command.args(["-B", "-u", "examples/python/between.py", &from, &to, "--frames=40"]).current_dir(root);
    let mut between = Peer::spawn({
        command.env("PYTHONPATH", root.join("python"));
        command
    });
    let pixel = [10u8, 20, 30, 255];
    let mut ended = false;
    // Frames go on until the program has seen its forty: it takes the newest.
    poll("the program ends", PATIENCE, || {
        feed.push_buffer(frames::buffer(&info, &pixel.repeat(128))).expect("it is taken");
        ended |= between.try_hear("40 frames", Duration::from_millis(5)).is_some();
        ended.then_some(())
    });
    reader.wait_eos(PATIENCE);
    let caps = recorder.caps().pop().expect("frames came");
    assert_eq!(caps.structure(0).and_then(|caps| caps.get::<String>("colorimetry").ok()).as_deref(), Some("1:1:5:1"));
    let pictures = recorder.pictures();
    let negative = u32::from_le_bytes([245, 235, 225, 255]);
    let seen = pictures.iter().filter(|picture| !picture.is_gap() && picture.number() == negative).count();
    assert!(seen > 10, "{seen} of 40 arrived");
    assert!(between.wait(PATIENCE).0.success());
    writer.stop();
    reader.stop();
}

#[test]
#[ignore = "needs PyGObject: cargo test --test python_gst -- --ignored record"]
fn the_python_recorder_leaves_a_file_that_plays() {
    let (name, folder) = (Name::new("py-record"), Folder::new("py-record"));
    let picture = "videotestsrc is-live=true ! video/x-raw,format=RGBA,width=64,height=36,framerate=60/1";
    let mut sender = Peer::launch(&format!("{picture} ! tdshmsink shm-name={name}"));
    let file = folder.join("film.mp4");
    let said = runs(&["examples/python/record.py", &name, &file.display().to_string(), "--seconds=3"]);
    assert!(said.contains("frames"), "{said}");
    sender.interrupt();
    sender.wait(PATIENCE);
    let run = Run::playing(&format!("filesrc location={} ! decodebin ! fakesink name=k sync=false", file.display()));
    let recorder = Recorder::on(&run.element("k"), "sink");
    run.wait_eos(PATIENCE);
    assert!(recorder.count() > 30, "{} frames in the file", recorder.count());
}
