// SPDX-License-Identifier: MPL-2.0
//! The lanes that stand on the emulated driver.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::chroot::Chroot;
use super::{here, libraries, settings};
use crate::ci::without_cargo;
use crate::fail;
use crate::run::{self, Companion, Outcome, Trouble, say};
use crate::setup::{self, Need};
use crate::test;

/// The tests of the plugin, the tool and the core that want a CUDA driver, ignored or not: this lane has one.
const WANT_A_DRIVER: &str = "binary(~cuda)";

/// The emulated driver by itself, through ctypes, and under this machine's GStreamer.
pub fn driver() -> Outcome {
    let folder = libraries()?;
    nextest("package(emulated-cuda-driver)", &[])?;
    let python = setup::python().ok_or_else(|| Trouble::Machine("no python3 with numpy".into()))?;
    run::check(
        Command::new(&python)
            .args(["-B", "emulated-cuda/selftest.py"])
            .current_dir(run::root())
            .envs(settings(&folder)),
    )?;
    peers(&python, &folder)?;
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).map_err(here("cannot make", &pictures))?;
    for format in FORMATS {
        let mut launch = Command::new("gst-launch-1.0");
        run::check(launch.arg("-q").args(up_and_down(format, &pictures).split(' ')).envs(settings(&folder)))?;
        same(&pictures, format)?;
    }
    Ok(())
}

/// Both ends of the Python peer, the sender slow.
fn peers(python: &Path, folder: &Path) -> Outcome {
    let peer = |words: &[&str]| {
        let mut command = Command::new(python);
        command.args(["-B", "tests/peers/cudalink.py"]).args(words).current_dir(run::root()).envs(settings(folder));
        command
    };
    let name = format!("tdlink-ci-{}", std::process::id());
    let mut send = peer(&["send", &name, "--frames", "30", "--comps", "3", "--dtype", "float32", "--size", "63x17"]);
    let mut sender = Companion::start("the sender", send.env("EMULATED_CUDA_COPY_DELAY_US", "4000"))?;
    let mut receiver = Companion::start("the receiver", &peer(&["receive", &name, "--once"]))?;
    sender.finish(Duration::from_secs(60))?;
    receiver.finish(Duration::from_secs(60))?;
    let digest = |line: &str| Some(line.split_once("\"md5\": \"")?.1.split('"').next()?.to_owned());
    let sent: HashSet<String> = sender.transcript().lines().filter_map(digest).collect();
    let received: Vec<String> = receiver.transcript().lines().filter_map(digest).collect();
    let wrong = received.iter().filter(|digest| !sent.contains(*digest)).count();
    match (received.len(), wrong) {
        (15.., 0) => Ok(()),
        (count, wrong) => {
            fail!("the Python peers: {} pictures sent, {count} received, {wrong} of them wrong", sent.len())
        }
    }
}

const FORMATS: &[&str] = &["RGBA", "BGRx", "RGB", "NV12", "I420"];

/// Pictures, of a width that leaves no padding in any of the formats, to a file, and up to the device and down again to another.
fn up_and_down(format: &str, folder: &Path) -> String {
    let caps = format!("video/x-raw,format={format},width=328,height=242");
    let file = |name: &str| format!("filesink location={}", folder.join(name).display());
    format!(
        "videotestsrc num-buffers=20 pattern=ball ! {caps} ! tee name=t ! queue ! {} t. ! queue ! cudaupload ! cudadownload ! \
         {caps} ! {}",
        file("before"),
        file("after")
    )
}

fn same(folder: &Path, format: &str) -> Outcome {
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(here("cannot read", &folder.join(name)));
    let (before, after) = (read("before")?, read("after")?);
    if before.is_empty() || before != after {
        fail!("{format} is not what it was after cudaupload ! cudadownload");
    }
    Ok(())
}

/// The driver's rules on threads under ThreadSanitizer, and those between processes.
pub fn tsan() -> Outcome {
    crate::ci::rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])?;
    let mut command = Command::new("cargo");
    command.args(["+nightly", "test", "--locked", "-Zbuild-std", "--target", "x86_64-unknown-linux-gnu"]);
    command.args(["--package", "emulated-cuda-driver", "--lib", "--test", "rules", "--test", "processes", "--"]);
    // These race on purpose, or die by a signal that the sanitiser takes for itself.
    for race in ["legacy_stream", "not_pinned", "hostile", "is_seen", "are_seen", "cannot_be_reached"] {
        command.args(["--skip", race]);
    }
    without_cargo(&mut command).current_dir(run::root()).env("CARGO_TARGET_DIR", run::target().join("tsan"));
    run::check(command.env("RUSTFLAGS", "-Zsanitizer=thread"))
}

/// The plugin and the core on the emulated driver, under this machine's GStreamer.
pub fn cuda() -> Outcome {
    setup::ensure(&[Need::PythonGst])?;
    let settings = settings(&libraries()?);
    // Chosen by the filter and not by `--package`, which would have what we depend on built anew, with fewer features.
    let ours = "(package(tdlink-core) | package(gst-plugin-tdlink) | package(tdlink))";
    nextest(&format!("{ours} & ({WANT_A_DRIVER} | binary(python_gst))"), &settings)
}

/// Without cargo-nextest there is no process for each test, which a driver's state wants.
fn nextest(filter: &str, settings: &[(&str, String)]) -> Outcome {
    if run::which("cargo-nextest").is_none() {
        return Err(Trouble::Machine("cargo-nextest is not installed".into()));
    }
    let mut command = run::cargo();
    command.args(["nextest", "run", "--locked", "--no-fail-fast", "--run-ignored=all", "-E", filter]);
    command.args(test::EVERYTHING);
    run::check(command.env("G_DEBUG", "fatal_warnings").envs(settings.iter().map(|(name, value)| (name, value))))
}

/// The same binaries of the plugin's tests under GStreamer 1.28, and its own CUDA elements.
pub fn cuda_newer() -> Outcome {
    let folder = libraries()?;
    let chroot = Chroot::ensure()?;
    let nextest = run::which("cargo-nextest");
    let nextest = nextest.ok_or_else(|| Trouble::Machine("cargo-nextest is not installed".into()))?;
    // In the folder of the libraries, which both systems see.
    let inside = folder.join("newer");
    std::fs::create_dir_all(&inside).map_err(here("cannot make", &inside))?;
    let paths: Vec<&Path> = vec![run::root(), run::target(), &nextest];
    let exports: String = [
        ("LD_LIBRARY_PATH", folder.display().to_string()),
        ("GST_REGISTRY_1_0", inside.join("registry.bin").display().to_string()),
    ]
    .iter()
    .map(|(name, value)| format!("export {name}={}; ", run::quote(value)))
    .collect();
    let shell = |script: &str| chroot.shell(&format!("{exports}cd {}; {script}", quoted(run::root())), &paths);
    let check = |script: &str| {
        say(format_args!("with GStreamer 1.28: {script}"));
        match shell(script).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => fail!("with GStreamer 1.28: {script}: {status}"),
            Err(err) => Err(Trouble::Machine(format!("unshare: {err}"))),
        }
    };

    check("gst-inspect-1.0 --version; gst-inspect-1.0 nvcodec")?;
    for format in FORMATS {
        check(&format!("gst-launch-1.0 -q {}", up_and_down(format, &inside)))?;
        same(&inside, format)?;
    }
    own_ipc(&shell, &check, &inside)?;

    let metadata = run::ask(run::cargo().args(["metadata", "--format-version=1", "--locked"]));
    let list = ["nextest", "list", "--locked", "--list-type=binaries-only", "--message-format=json"];
    let binaries = run::ask(run::cargo().args(list).args(test::EVERYTHING));
    let (Some(metadata), Some(binaries)) = (metadata, binaries) else { fail!("the plugin's tests cannot be listed") };
    let save = |name: &str, text: &str| {
        let path = inside.join(name);
        std::fs::write(&path, text).map_err(here("cannot write", &path)).map(|()| quoted(&path))
    };
    let (metadata, binaries) = (save("metadata.json", &metadata)?, save("binaries.json", &binaries)?);
    check(&format!(
        "export G_DEBUG=fatal_warnings; {} nextest run --no-fail-fast --run-ignored=all --cargo-metadata {metadata} \
         --binaries-metadata {binaries} -E 'package(gst-plugin-tdlink) & {WANT_A_DRIVER}'",
        quoted(&nextest)
    ))
}

fn quoted(path: &Path) -> String {
    run::quote(&path.display().to_string())
}

const FRAMES: usize = 60;
const SIZE: usize = 320 * 240 * 4;

/// What the emulated driver fills memory with that is freed.
const FREED: u8 = 0xDD;

/// GStreamer's own CUDA elements between processes: what arrives was sent, in order, and most of it arrives.
fn own_ipc(shell: &dyn Fn(&str) -> Command, check: &dyn Fn(&str) -> Outcome, folder: &Path) -> Outcome {
    for (mode, io) in [("legacy", "copy"), ("legacy", "import"), ("mmap", "copy"), ("mmap", "import")] {
        let file = |name: &str| folder.join(name);
        let [socket, before, after] = ["socket", "before", "after"].map(file);
        for old in [&socket, &before, &after] {
            let _ = std::fs::remove_file(old);
        }
        let receive = format!(
            "timeout 60 gst-launch-1.0 -q cudaipcsrc address={} io-mode={io} connection-timeout=30 ! cudadownload ! \
             video/x-raw,format=RGBA ! filesink location={}",
            quoted(&socket),
            quoted(&after)
        );
        let send = format!(
            "export EMULATED_CUDA_COPY_DELAY_US=3000; timeout 60 gst-launch-1.0 -q videotestsrc is-live=true pattern=ball \
             num-buffers={FRAMES} ! video/x-raw,format=RGBA,width=320,height=240,framerate=30/1 ! tee name=t ! queue ! \
             filesink location={} t. ! queue ! cudaupload ! cudaipcsink address={} ipc-mode={mode} sync=false",
            quoted(&before),
            quoted(&socket)
        );
        let mut receiver = Companion::start("cudaipcsrc", &shell(&receive))?;
        check(&send)?;
        // At the end it sometimes reports a lost connection instead of the end of the stream, with any driver.
        match receiver.finish(Duration::from_secs(60)) {
            Err(Trouble::Failed(end)) => say(format_args!(
                "as expected when its sink goes, GStreamer's receiver ended with a lost connection ({end}); its pictures are judged"
            )),
            other => other?,
        }
        let sent = std::fs::read(&before).map_err(here("cannot read", &before))?;
        let received = std::fs::read(&after).map_err(here("cannot read", &after))?;
        let sent: Vec<&[u8]> = sent.chunks(SIZE).collect();
        // A sink that ends frees its memory although its receiver may not have read the last picture yet.
        let is_freed = |picture: &[u8]| picture.len() == SIZE && picture.iter().all(|byte| *byte == FREED);
        let mut received: Vec<&[u8]> = received.chunks(SIZE).collect();
        if received.pop_if(|last| is_freed(last)).is_some() {
            say(format_args!("the last picture of {mode}, {io} was read when its sink had freed it"));
        }
        let mut at = 0;
        for frame in &received {
            match sent[at..].iter().position(|picture| picture == frame) {
                Some(skipped) => at += skipped + 1,
                None => fail!("cudaipcsink ! cudaipcsrc, {mode}, {io}: a picture that was not sent, or not in order"),
            }
        }
        let count = received.len();
        say(format_args!("cudaipcsink ! cudaipcsrc, {mode}, {io}: {count} of {} pictures, each right", sent.len()));
        if count < FRAMES / 2 {
            fail!("cudaipcsink ! cudaipcsrc, {mode}, {io}: only {count} of {FRAMES} pictures");
        }
    }
    Ok(())
}
