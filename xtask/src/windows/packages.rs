// SPDX-License-Identifier: MPL-2.0
//! The packages for Windows, unpacked and used as a user does, under Wine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Kit;
use crate::dist::{self, WindowsPackages};
use crate::fail;
use crate::run::{self, Companion, Outcome, Trouble, say};
use crate::setup;

/// Longest run of a program here, in seconds: GStreamer looks into 250 plugins at its first start.
const PATIENCE: u32 = 120;

/// A frame from one end to the other in one process, of the package that is first where Python looks.
const PYTHON: &str = "\
import numpy, tdlink
with tdlink.Writer('tdlink-zip', 64, 48, slots=2) as writer, tdlink.Reader('tdlink-zip') as reader:
    reader.read(timeout=0)
    writer.publish(numpy.full((48, 64, 4), 7, numpy.uint8))
    frame = reader.read(timeout=10)
    assert frame.array.shape == (48, 64, 4) and (frame.array == 7).all(), frame
    del frame
";

pub fn work(kit: &Kit, packages: &WindowsPackages) -> Outcome {
    let unpacked = fresh(kit, "from-zip")?;
    run::check(Command::new("unzip").arg("-qo").arg(&packages.zip).arg("-d").arg(&unpacked))?;
    let plugin = unpacked.join(packages.plugin);
    let Some(folder) = plugin.parent().filter(|_| plugin.is_file()) else {
        fail!("{} has no {}", packages.zip.display(), packages.plugin)
    };
    say("the zip, with one environment variable");
    let at = Kit::there(folder);
    works(kit, &unpacked, &|command| {
        command.env("GST_PLUGIN_PATH", &at);
    })?;
    say("the zip's plugin in the user's own folder, without any");
    in_the_users_folder(kit, &plugin, &unpacked)?;
    say("the zip's Python package, on PYTHONPATH");
    let mut python = kit.wine(&kit.path("python").join("python.exe"), PATIENCE);
    python.env("PYTHONPATH", Kit::there(&unpacked.join("python"))).args(["-B", "-c", PYTHON]);
    run::check(&mut python)?;
    say("the zip's tool, with an empty PATH");
    tool(kit, &unpacked.join(packages.tool), &unpacked)?;
    say("the wheel, beside GStreamer's own, by the commands that pip makes");
    wheel(kit, packages)
}

fn fresh(kit: &Kit, name: &str) -> Outcome<std::path::PathBuf> {
    let folder = kit.folder().join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|err| failed(&folder, &err))?;
    }
    std::fs::create_dir_all(&folder).map_err(|err| failed(&folder, &err))?;
    Ok(folder)
}

fn failed(file: &Path, err: &std::io::Error) -> Trouble {
    Trouble::Machine(format!("{}: {err}", file.display()))
}

/// gst-inspect lists the elements, and a frame crosses from one gst-launch to another. `set` sets what a user would.
fn works(kit: &Kit, folder: &Path, set: &dyn Fn(&mut Command)) -> Outcome {
    let registry = Kit::there(&folder.join("registry.bin"));
    let gst = |program: &str, words: &str| {
        let mut command = kit.gst(program, PATIENCE);
        command.env_remove("GST_PLUGIN_PATH").env("GST_REGISTRY", &registry).args(words.split(' '));
        set(&mut command);
        command
    };
    lists(&mut gst("gst-inspect-1.0", "tdlink"))?;
    // Wine has no driver of NVIDIA's.
    for line in ["tdcudaipcsrc ! fakesink", "videotestsrc ! tdcudaipcsink"] {
        let (status, said) = run::tee(&mut gst("gst-launch-1.0", line))?;
        if status.success() || !said.iter().any(|line| line.contains("there is no NVIDIA driver here")) {
            fail!("{line}: expected the error that there is no NVIDIA driver");
        }
    }
    frames_cross(&|words| gst("gst-launch-1.0", words))
}

fn lists(inspect: &mut Command) -> Outcome {
    let (_, lines) = run::tee(inspect)?;
    match dist::missing(&lines) {
        None => Ok(()),
        Some(missing) => fail!("{} does not list {missing}", run::shown(inspect)),
    }
}

fn frames_cross(launch: &dyn Fn(&str) -> Command) -> Outcome {
    let name = format!("tdlink-dist-{}", std::process::id());
    let caps = "video/x-raw,format=RGBA,width=64,height=48,framerate=30/1";
    let source = format!("tdshmsrc shm-name={name} num-buffers=5 connection-timeout=60 ! fakesink");
    let sink = format!("videotestsrc is-live=true num-buffers=300 ! {caps} ! tdshmsink shm-name={name} slots=3");
    let limit = Duration::from_secs(u64::from(PATIENCE));
    let mut reader = Companion::start("the source", &launch(&source))?;
    let mut writer = Companion::start("the sink", &launch(&sink))?;
    reader.finish(limit)?;
    writer.finish(limit)
}

/// `%LOCALAPPDATA%\gstreamer-1.0\plugins`, where GStreamer looks when nobody tells it otherwise.
fn in_the_users_folder(kit: &Kit, plugin: &Path, unpacked: &Path) -> Outcome {
    let users = kit.path("prefix").join("drive_c/users");
    let user = std::fs::read_dir(&users).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(user) = user.into_iter().find(|path| path.is_dir() && !path.ends_with("Public")) else {
        return Err(Trouble::Machine(format!("no user in {}", users.display())));
    };
    let own = user.join("AppData/Local/gstreamer-1.0/plugins");
    std::fs::create_dir_all(&own).map_err(|err| failed(&own, &err))?;
    let copy = own.join("gsttdlink.dll");
    std::fs::copy(plugin, &copy).map_err(|err| failed(plugin, &err))?;
    let registry = Kit::there(&unpacked.join("registry-user.bin"));
    // Not even the place of GStreamer's own plugins is set: it finds them beside its libraries.
    let mut inspect = kit.gst("gst-inspect-1.0", PATIENCE);
    inspect
        .env_remove("GST_PLUGIN_PATH")
        .env("GST_PLUGIN_SYSTEM_PATH", "")
        .env("GST_REGISTRY", &registry)
        .arg("tdlink");
    let listed = lists(&mut inspect);
    std::fs::remove_file(&copy).map_err(|err| failed(&copy, &err))?;
    listed
}

/// The tool finds GStreamer by the installer's variable alone, shows a card, and sees and judges what it shows.
fn tool(kit: &Kit, tool: &Path, folder: &Path) -> Outcome {
    let tdlink = |words: &str| {
        let mut command = kit.wine(tool, PATIENCE);
        command.env("WINEPATH", "").env("GSTREAMER_1_0_ROOT_MSVC_X86_64", Kit::there(&kit.path("gstreamer")));
        for name in ["GST_PLUGIN_PATH", "GST_PLUGIN_SYSTEM_PATH", "GST_REGISTRY"] {
            command.env(name, "");
        }
        command.args(words.split(' '));
        command
    };
    let says = |words: &str, what: &str| {
        let mut command = tdlink(words);
        let (status, lines) = run::tee(&mut command)?;
        if status.success() && lines.iter().any(|line| line.contains(what)) {
            return Ok(());
        }
        fail!("{}: {status}; expected a line with {what:?}", run::shown(&command))
    };
    says("doctor", "the installer's variable names it")?;
    let name = format!("tdlink-tool-{}", std::process::id());
    let mut card = Companion::start("the card", &tdlink(&format!("testcard --to {name} --seconds 60")))?;
    card.wait_for(&name, Duration::from_secs(30))?;
    says("list", &name)?;
    says(&format!("doctor {name}"), "as it should be")?;
    let picture = folder.join("card.png");
    says(&format!("snapshot {name} -o {}", Kit::there(&picture)), "card.png")?;
    // There is no console here: a pipeline is asked to end in one of its own.
    let film = folder.join("film.mkv");
    says(&format!("record {name} --duration 1 --audio none -o {}", Kit::there(&film)), "film.mkv")?;
    says(&format!("clean --dry-run {name}"), &name)?;
    card.finish(Duration::from_secs(u64::from(PATIENCE)))?;
    let bytes = std::fs::read(&picture).map_err(|err| failed(&picture, &err))?;
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        fail!("{} is no PNG", picture.display());
    }
    Ok(())
}

/// pip puts GStreamer's wheels and ours into one folder; then the functions that its commands call are called.
fn wheel(kit: &Kit, packages: &WindowsPackages) -> Outcome {
    let site = fresh(kit, "site-packages")?;
    let python = setup::pip().ok_or_else(|| Trouble::Machine("no python3 with pip".into()))?;
    let downloads = std::fs::read_dir(kit.path("downloads")).into_iter().flatten().flatten().map(|entry| entry.path());
    let theirs = downloads.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gstreamer_"))
            && path.extension().is_some_and(|extension| extension == "whl")
    });
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        "--no-compile",
    ]);
    pip.args([
        "--root-user-action=ignore",
        "--only-binary=:all:",
        "--platform",
        "win_amd64",
        "--python-version",
        "3.11",
    ]);
    run::check(pip.arg("--target").arg(&site).args(theirs).arg(&packages.wheel))?;

    let there = Kit::there(&site);
    let script = |program: &str, words: &str| {
        let function = format!("{}_exe", program.replace(['-', '.'], "_"));
        let code = format!(
            "import sys; sys.path.insert(0, sys.argv.pop(1)); \
             from gstreamer_cli.entrypoints import {function} as run; sys.exit(run())"
        );
        let mut command = kit.wine(&kit.path("python").join("python.exe"), PATIENCE);
        // Nothing of the other GStreamer: its programs and plugins are this folder's.
        for name in ["GST_PLUGIN_PATH", "GST_PLUGIN_SYSTEM_PATH", "GST_REGISTRY"] {
            command.env(name, "");
        }
        command.args(["-c", &code, &there]).args(words.split(' '));
        command
    };
    lists(&mut script("gst-inspect-1.0", "tdlink"))?;
    frames_cross(&|words| script("gst-launch-1.0", words))?;
    let mut module = kit.wine(&kit.path("python").join("python.exe"), PATIENCE);
    run::check(module.args([
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import tdlink; tdlink.TdlinkError",
        &there,
    ]))?;
    std::fs::remove_dir_all(&site).map_err(|err| failed(&site, &err))
}
