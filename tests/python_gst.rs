// SPDX-License-Identifier: MPL-2.0
//! The Python package `tdlink`: what it needs, and `tdlink.gst` on a CUDA driver (`tests/peers/cuda_array.py`).
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use common::folder::Folder;
use common::peer::plugin;

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
