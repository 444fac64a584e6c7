// SPDX-License-Identifier: MPL-2.0
//! Pixels that lie in GPU memory: `snapshot` and `watch` of what `tdcudaipcsink` writes.
#![cfg(target_os = "linux")]

#[allow(dead_code)] // these tests use a part of it
#[path = "../../tests/common/folder.rs"]
mod folder;
#[allow(dead_code)] // as above
#[path = "../../tests/common/name.rs"]
mod name;
#[allow(dead_code)] // as above
#[path = "../../tests/common/peer.rs"]
mod peer;
#[path = "../../tests/common/poll.rs"]
mod poll;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use folder::Folder;
use name::Name;
use peer::Peer;
use png::{BitDepth, ColorType, Decoder};
use poll::poll;
use serde_json::Value;

/// How long something that must happen soon may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// No multiple of anything.
const SIZE: (usize, usize) = (37, 19);

fn tdlink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tdlink"));
    command.args(args);
    command
}

/// Bytes without a pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(byte).collect()
}

/// The same picture again and again, top row first, into GPU memory.
fn sender(name: &Name, format: &str, picture: &[u8], folder: &Folder) -> Peer {
    let file = folder.join("picture");
    std::fs::write(&file, picture).expect("a file in a folder of ours");
    let caps = format!("video/x-raw,format={format},width={},height={},framerate=30/1", SIZE.0, SIZE.1);
    let source = format!("multifilesrc location={} loop=true caps={caps}", file.display());
    Peer::launch(&format!("{source} ! tdcudaipcsink shm-name={}", &**name))
}

/// Waits for the first frame.
fn announced(name: &Name) {
    poll("a frame", PATIENCE, || {
        let said = tdlink(&["--json", "info", name]).output().expect("tdlink starts");
        let first = String::from_utf8_lossy(&said.stdout).lines().next().map(str::to_owned)?;
        let found: Value = serde_json::from_str(&first).ok()?;
        found["age-ms"].is_u64().then_some(())
    });
}

fn decoded(file: &Path) -> (usize, usize, ColorType, BitDepth, Vec<u8>) {
    let mut reader = Decoder::new(BufReader::new(File::open(file).expect("it is there"))).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    (info.width as usize, info.height as usize, info.color_type, info.bit_depth, bytes)
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test -p tdlink --test cuda -- --ignored"]
fn a_snapshot_of_gpu_memory_has_every_pixel_upright() {
    let (width, height) = SIZE;
    for (format, bytes) in [("RGBA", 1), ("BGRA", 1), ("RGBA64_LE", 2)] {
        let (name, folder) = (Name::new("gpu-snapshot"), Folder::new("gpu-snapshot"));
        let picture = noise(width * height * 4 * bytes);
        let mut sender = sender(&name, format, &picture, &folder);
        announced(&name);
        let file = folder.join("shot.png");
        let shot = tdlink(&["snapshot", &name, "--alpha", "-o"]).arg(&file).output().expect("tdlink starts");
        assert!(shot.status.success(), "{format}: {}", String::from_utf8_lossy(&shot.stderr));
        let depth = if bytes == 2 { BitDepth::Sixteen } else { BitDepth::Eight };
        let found = decoded(&file);
        assert_eq!((found.0, found.1, found.2, found.3), (width, height, ColorType::Rgba, depth), "{format}");
        // The file has R G B A, and its 16 bits are big-endian.
        let wanted: Vec<u8> = match (format, bytes) {
            (_, 2) => picture.chunks(2).flat_map(|sample| [sample[1], sample[0]]).collect(),
            ("BGRA", _) => picture.chunks(4).flat_map(|bgra| [bgra[2], bgra[1], bgra[0], bgra[3]]).collect(),
            _ => picture,
        };
        assert!(found.4 == wanted, "{format}: not the pixels that were sent");
        sender.interrupt();
        sender.wait(PATIENCE);
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test -p tdlink --test cuda -- --ignored"]
fn a_watch_of_gpu_memory_sees_frames_come_and_their_producer_go() {
    let (name, folder) = (Name::new("gpu-watch"), Folder::new("gpu-watch"));
    let mut sender = sender(&name, "RGBA", &noise(SIZE.0 * SIZE.1 * 4), &folder);
    announced(&name);
    let mut watch = Peer::spawn(tdlink(&["--json", "watch", &name]));
    poll("a rate", PATIENCE, || {
        let value: Value = serde_json::from_str(&watch.hear("\"gone\":null", PATIENCE)).expect("JSON");
        assert_eq!(value["protocol"], "cuda-link");
        (value["hz"].as_f64()? > 1.0).then_some(())
    });
    sender.interrupt();
    sender.wait(PATIENCE);
    watch.hear("\"gone\":\"", PATIENCE);
    watch.kill();
}
