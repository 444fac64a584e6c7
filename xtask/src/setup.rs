// SPDX-License-Identifier: MPL-2.0
//! What a fresh machine lacks: found by asking for the thing itself, installed by apt where that is known to work.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::run::{self, Outcome, Trouble, say};

/// What a word of xtask stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To compile the plugin.
    Build,
    /// To run pipelines: gst-launch, an H.264 encoder and decoder, mp4.
    Media,
    /// The other side of the segment: Python with numpy.
    Python,
    /// GStreamer from Python, for the benchmark's other half.
    PythonGst,
    /// Python's package installer, for tools that are published as wheels.
    Pip,
    /// A C++ compiler, for the fuzzer's run-time.
    Cxx,
    /// To have a newer Debian in a folder.
    Newer,
}

/// How to see whether something is there.
enum Probe {
    Program(&'static str),
    /// A pkg-config module and the oldest version that will do.
    Library(&'static str, &'static str),
    Element(&'static str),
    Numpy,
    /// GStreamer's bindings, with appsink and appsrc.
    PythonGst,
    Pip,
}

struct Item {
    need: Need,
    probe: Probe,
    package: &'static str,
    why: &'static str,
}

const fn item(need: Need, probe: Probe, package: &'static str, why: &'static str) -> Item {
    Item { need, probe, package, why }
}

/// Debian's and Ubuntu's package names; the order is that of the report.
const ITEMS: &[Item] = &[
    item(Need::Build, Probe::Program("pkg-config"), "pkg-config", "finds GStreamer"),
    item(Need::Build, Probe::Library("gstreamer-1.0", "1.22"), "libgstreamer1.0-dev", "GStreamer's core"),
    item(
        Need::Build,
        Probe::Library("gstreamer-video-1.0", "1.22"),
        "libgstreamer-plugins-base1.0-dev",
        "its video library",
    ),
    item(Need::Media, Probe::Program("gst-launch-1.0"), "gstreamer1.0-tools", "runs pipelines"),
    item(Need::Media, Probe::Program("gst-inspect-1.0"), "gstreamer1.0-tools", "shows elements"),
    item(
        Need::Media,
        Probe::Program("gst-device-monitor-1.0"),
        "gstreamer1.0-plugins-base-apps",
        "lists devices, plays URIs",
    ),
    item(Need::Media, Probe::Element("videoconvert"), "gstreamer1.0-plugins-base", "videoconvert"),
    item(Need::Media, Probe::Element("videotestsrc"), "gstreamer1.0-plugins-base", "videotestsrc"),
    item(Need::Media, Probe::Element("mp4mux"), "gstreamer1.0-plugins-good", "mp4mux, qtdemux"),
    item(Need::Media, Probe::Element("matroskamux"), "gstreamer1.0-plugins-good", "matroskamux"),
    item(Need::Media, Probe::Element("pngdec"), "gstreamer1.0-plugins-good", "pngdec"),
    item(Need::Media, Probe::Element("h264parse"), "gstreamer1.0-plugins-bad", "h264parse"),
    item(Need::Media, Probe::Element("shmsink"), "gstreamer1.0-plugins-bad", "shmsink"),
    item(Need::Media, Probe::Element("x264enc"), "gstreamer1.0-plugins-ugly", "x264enc"),
    item(Need::Media, Probe::Element("pulsesrc"), "gstreamer1.0-pulseaudio", "sound in recordings"),
    item(Need::Media, Probe::Program("pulseaudio"), "pulseaudio", "a sound server of a test's own"),
    item(Need::Media, Probe::Program("pacat"), "pulseaudio-utils", "plays to it"),
    item(Need::Media, Probe::Element("avdec_h264"), "gstreamer1.0-libav", "avdec_h264, avenc_aac"),
    item(Need::Media, Probe::Program("glslangValidator"), "glslang-tools", "compiles the test card's shader"),
    item(Need::Python, Probe::Program("/usr/bin/python3"), "python3", "the stand-in for TouchDesigner"),
    item(Need::Python, Probe::Numpy, "python3-numpy", "its arrays"),
    item(Need::PythonGst, Probe::PythonGst, "python3-gst-1.0", "GStreamer's bindings for Python"),
    item(Need::PythonGst, Probe::PythonGst, "gir1.2-gst-plugins-base-1.0", "their appsink and appsrc"),
    item(Need::Pip, Probe::Pip, "python3-pip", "fetches tools that come as wheels"),
    item(Need::Newer, Probe::Program("debootstrap"), "debootstrap", "a Debian with a newer GStreamer"),
    item(
        Need::Cxx,
        Probe::Program("c++"),
        "g++",
        "compiles the kernels' source for the processor, and the fuzzer's run-time",
    ),
];

/// Installs what is missing of `needs`, or says what to install and stops.
pub fn ensure(needs: &[Need]) -> Outcome {
    let missing = missing(needs);
    if missing.is_empty() {
        say("everything that is needed is installed");
        return Ok(());
    }
    say("missing on this machine:");
    let mut packages: Vec<&str> = missing.iter().map(|item| item.package).collect();
    packages.dedup();
    for package in &packages {
        let why: Vec<_> = missing.iter().filter(|item| item.package == *package).map(|item| item.why).collect();
        println!("           {package:<34} {}", why.join(", "));
    }
    install(&packages)?;
    match self::missing(needs).as_slice() {
        [] => Ok(()),
        still => {
            let still: Vec<_> = still.iter().map(|item| format!("{} ({})", item.package, item.why)).collect();
            Err(Trouble::Machine(format!("apt installed the packages, yet these are not usable: {}", still.join(", "))))
        }
    }
}

fn missing(needs: &[Need]) -> Vec<&'static Item> {
    let mut no_inspect = false;
    let wanted = ITEMS.iter().filter(|item| needs.contains(&item.need));
    wanted
        .filter(|item| {
            let here = match item.probe {
                // Without the tool no element can be asked for: take the packages as missing unless dpkg has them.
                Probe::Element(_) if no_inspect => dpkg_has(item.package),
                ref probe => there(probe),
            };
            no_inspect |= !here && matches!(item.probe, Probe::Program("gst-inspect-1.0"));
            !here
        })
        .collect()
}

fn there(probe: &Probe) -> bool {
    match *probe {
        Probe::Program(name) if name.starts_with('/') => std::path::Path::new(name).exists() || python().is_some(),
        Probe::Program(name) => run::which(name).is_some(),
        Probe::Library(module, version) => {
            run::ask(Command::new("pkg-config").args(["--atleast-version", version, module])).is_some()
        }
        Probe::Element(name) => run::ask(Command::new("gst-inspect-1.0").args(["--exists", name])).is_some(),
        Probe::Numpy => python().is_some(),
        Probe::PythonGst => python().is_some_and(|python| {
            let script = "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstApp', '1.0'); \
                          from gi.repository import Gst, GstApp";
            run::ask(Command::new(python).args(["-c", script])).is_some()
        }),
        Probe::Pip => pip().is_some(),
    }
}

fn dpkg_has(package: &str) -> bool {
    run::ask(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

/// A Python with numpy: the system's, and only if that lacks it the one on PATH.
pub fn python() -> Option<PathBuf> {
    let candidates = [Some(PathBuf::from("/usr/bin/python3")), run::which("python3")];
    let numpy = |python: &PathBuf| run::ask(Command::new(python).args(["-c", "import numpy"])).is_some();
    candidates.into_iter().flatten().find(numpy)
}

/// A Python with pip.
pub fn pip() -> Option<PathBuf> {
    let candidates = [Some(PathBuf::from("/usr/bin/python3")), run::which("python3")];
    let pip = |python: &PathBuf| run::ask(Command::new(python).args(["-m", "pip", "--version"])).is_some();
    candidates.into_iter().flatten().find(pip)
}

/// `ID VERSION_ID` of the running system, as in /etc/os-release.
fn system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or("?").trim_matches('"').to_string()
    };
    format!("{} {}", field("ID"), field("VERSION_ID"))
}

/// How apt can be run here.
enum Rights {
    Root,
    /// sudo, with nobody to ask for a password.
    Sudo,
    /// sudo, which may ask for a password: there is a terminal.
    SudoAsks,
    No,
}

fn rights() -> Rights {
    if run::ask(Command::new("id").arg("-u")).is_some_and(|uid| uid == "0") {
        return Rights::Root;
    }
    match run::which("sudo") {
        None => Rights::No,
        Some(sudo) if run::ask(Command::new(&sudo).args(["-n", "true"])).is_some() => Rights::Sudo,
        Some(_) if std::io::stdin().is_terminal() => Rights::SudoAsks,
        Some(_) => Rights::No,
    }
}

fn install(packages: &[&str]) -> Outcome {
    let by_hand = format!(
        "install these and run the command again:\n\n  sudo apt-get update\n  sudo apt-get install --no-install-recommends {}\n",
        packages.join(" ")
    );
    let system = system();
    if !["debian 12", "debian 13", "ubuntu 24.04"].contains(&system.as_str()) {
        return Err(Trouble::Machine(format!(
            "this is \"{system}\", where the packages are not known by name (known: Debian 12 and 13, Ubuntu 24.04). On a Debian relative {by_hand}\nElsewhere install what provides the same."
        )));
    }
    let rights = rights();
    if matches!(rights, Rights::No) {
        return Err(Trouble::Machine(format!("neither root nor sudo without a password: {by_hand}")));
    }
    say(format_args!("installing by apt: {}", packages.join(" ")));
    apt(&rights, packages).map_err(|trouble| match trouble {
        Trouble::Machine(why) => Trouble::Machine(format!("{why}\nBy hand, {by_hand}")),
        other => other,
    })
}

/// Updates the lists and installs, again after a pause when it fails: mirrors come and go.
fn apt(rights: &Rights, packages: &[&str]) -> Outcome {
    const PAUSES: [u64; 3] = [0, 10, 30];
    for (attempt, pause) in PAUSES.into_iter().enumerate() {
        if pause > 0 {
            say(format_args!("attempt {} of {} in {pause} s", attempt + 1, PAUSES.len()));
            std::thread::sleep(Duration::from_secs(pause));
        }
        // A stale list of one source need not stop the installation; the installation itself decides.
        if !run::status(apt_get(rights).arg("update"))?.success() {
            say("apt-get update failed; trying to install all the same");
        }
        let install = ["install", "--yes", "--no-install-recommends"];
        if run::status(apt_get(rights).args(install).args(packages))?.success() {
            return Ok(());
        }
    }
    Err(Trouble::Machine(format!("`apt-get install {}` failed {} times", packages.join(" "), PAUSES.len())))
}

fn apt_get(rights: &Rights) -> Command {
    let mut command = match rights {
        Rights::Root | Rights::No => Command::new("env"),
        Rights::Sudo | Rights::SudoAsks => {
            let mut sudo = Command::new("sudo");
            if matches!(rights, Rights::Sudo) {
                sudo.arg("-n");
            }
            sudo.arg("env");
            sudo
        }
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
    // Another apt may hold the lock for a while; a download may break off.
    command.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"]);
    command
}
