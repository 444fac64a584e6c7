// SPDX-License-Identifier: MPL-2.0
//! A tar archive and a Debian package.
//!
//! The package is made by dpkg-deb from `packaging/control`. (cargo-deb has no binary that the package registries of this
//! lane carry; building it takes longer than all else here, for a package of one library.)

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{WHEN, copy, failed, folder, paper, papers, python_package, ship, size_of, stage, version, write};
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

const TARGET: &str = "x86_64-linux-gnu";

pub struct Packages {
    tar: PathBuf,
    deb: PathBuf,
}

pub fn build() -> Outcome<Packages> {
    setup::ensure(&[Need::Build])?;
    let version = version()?;
    let library = run::target().join("dist/libgsttdlink.so");
    let tool = run::target().join("dist/tdlink");
    ship(&mut run::cargo(), &[&library, &tool])?;
    let glibc =
        [&library, &tool].into_iter().map(|file| glibc(&std::fs::read(file).map_err(|err| failed(file, &err))?));
    let glibc = glibc.collect::<Outcome<Vec<u32>>>()?.into_iter().max().unwrap_or_default();
    let glibc = format!("2.{glibc}");
    let readme = paper("README-linux.md")?.replace("@GLIBC@", &glibc);

    let name = format!("tdlink-{version}-linux-x86_64");
    let top = stage(&name)?;
    copy(&library, &top.join("lib/gstreamer-1.0/libgsttdlink.so"))?;
    python_package(&top.join("python"))?;
    copy(&tool, &top.join("bin/tdlink"))?;
    papers(&top, &readme)?;
    let tar = folder().join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command.args(["--create", "--gzip", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    command.args([&format!("--mtime=@{WHEN}"), "--sort=name", "--file"]).arg(&tar);
    run::check(command.arg("--directory").arg(folder().join("stage")).arg(&name))?;
    say(format_args!("{name}.tar.gz: {} KB", size_of(&tar) / 1000));

    if run::which("dpkg-deb").is_none() {
        return Err(Trouble::Machine("no dpkg-deb to make the Debian package with".into()));
    }
    let name = format!("gst-plugin-tdlink_{version}_amd64");
    let top = stage(&name)?;
    copy(&library, &top.join(format!("usr/lib/{TARGET}/gstreamer-1.0/libgsttdlink.so")))?;
    python_package(&top.join("usr/lib/python3/dist-packages"))?;
    copy(&tool, &top.join("usr/bin/tdlink"))?;
    for (words, place) in [
        (&["completions", "bash"][..], "usr/share/bash-completion/completions/tdlink"),
        (&["completions", "zsh"][..], "usr/share/zsh/vendor-completions/_tdlink"),
        (&["completions", "fish"][..], "usr/share/fish/vendor_completions.d/tdlink.fish"),
    ] {
        match run::ask(Command::new(&tool).args(words)) {
            Some(text) => write(&top.join(place), &format!("{text}\n"))?,
            None => fail!("tdlink {} fails", words.join(" ")),
        }
    }
    let pages = top.join("usr/share/man/man1");
    std::fs::create_dir_all(&pages).map_err(|err| failed(&pages, &err))?;
    run::check(Command::new(&tool).arg("man").arg("--dir").arg(&pages))?;
    let papers_at = top.join("usr/share/doc/gst-plugin-tdlink");
    papers(&papers_at, &readme)?;
    std::fs::rename(papers_at.join("LICENSE"), papers_at.join("copyright")).map_err(|err| failed(&papers_at, &err))?;
    let control = paper("control")?.replace("@VERSION@", &version).replace("@GLIBC@", &glibc);
    let kilobytes = (size_of(&library) + size_of(&tool)).div_ceil(1024) + 64;
    write(&top.join("DEBIAN/control"), &control.replace("@SIZE@", &kilobytes.to_string()))?;
    let deb = folder().join(format!("{name}.deb"));
    // Whatever the umask: dpkg-deb refuses a folder that is its owner's alone.
    run::check(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&top))?;
    let mut command = Command::new("dpkg-deb");
    run::check(command.env("SOURCE_DATE_EPOCH", WHEN).args(["--build", "--root-owner-group"]).arg(&top).arg(&deb))?;
    Ok(Packages { tar, deb })
}

/// The newest version 2.x of glibc whose symbols a file asks for.
fn glibc(library: &[u8]) -> Outcome<u32> {
    const MARK: &[u8] = b"GLIBC_2.";
    let places = library.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    let newest = places.filter_map(|(at, _)| {
        let digits = library[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect()).ok()?.parse::<u32>().ok()
    });
    newest.max().ok_or_else(|| Trouble::Failed("a file asks for no glibc".into()))
}

/// Builds both, and uses what is in them.
pub fn lane() -> Outcome {
    setup::ensure(&[Need::Build, Need::Media])?;
    let packages = build()?;
    let from_tar = stage("from-tar")?;
    run::check(
        Command::new("tar").arg("--extract").arg("--file").arg(&packages.tar).arg("--directory").arg(&from_tar),
    )?;
    let inner = from_tar.join(format!("tdlink-{}-linux-x86_64/lib/gstreamer-1.0", version()?));
    works(&inner)?;
    imports(&from_tar.join(format!("tdlink-{}-linux-x86_64/python", version()?)))?;
    tool_works(&inner.join("../../bin/tdlink"), &inner, &stage("home")?)?;
    let from_deb = stage("from-deb")?;
    run::check(Command::new("dpkg-deb").arg("--extract").arg(&packages.deb).arg(&from_deb))?;
    let plugins = from_deb.join(format!("usr/lib/{TARGET}/gstreamer-1.0"));
    works(&plugins)?;
    imports(&from_deb.join("usr/lib/python3/dist-packages"))?;
    run::check(Command::new(from_deb.join("usr/bin/tdlink")).arg("list"))?;
    run::check(Command::new("dpkg-deb").arg("--info").arg(&packages.deb))?;
    cinstall()
}

/// The one file in `plugins` is a plugin whose source shows what its sink was given.
fn works(plugins: &Path) -> Outcome {
    let registry = plugins.join("registry.bin");
    let gst = |program: &str| {
        let mut command = Command::new(program);
        command.env("GST_PLUGIN_PATH", plugins).env("GST_REGISTRY", &registry);
        command
    };
    let said = run::ask(gst("gst-inspect-1.0").arg("tdlink")).unwrap_or_default();
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    if super::missing(&lines).is_some() {
        fail!("gst-inspect-1.0 with GST_PLUGIN_PATH={} says:\n{said}", plugins.display());
    }
    let name = format!("tdlink-dist-{}", std::process::id());
    let caps = "video/x-raw,format=RGBA,width=64,height=48,framerate=30/1";
    let sink = format!("videotestsrc is-live=true num-buffers=90 ! {caps} ! tdshmsink shm-name={name} slots=3");
    let source = format!("tdshmsrc shm-name={name} num-buffers=5 connection-timeout=20 ! fakesink");
    let mut ends = run::Companion::start("the source", gst("gst-launch-1.0").args(source.split(' ')))?;
    let mut writer = run::Companion::start("the sink", gst("gst-launch-1.0").args(sink.split(' ')))?;
    ends.finish(std::time::Duration::from_secs(30))?;
    writer.finish(std::time::Duration::from_secs(30))
}

/// The Python package is there, and needs nothing but Python.
fn imports(folder: &Path) -> Outcome {
    let program = "import sys; sys.path.insert(0, sys.argv[1]); import tdlink; tdlink.Reader('tdlink-dist').close(); \
                   assert tdlink.__file__.startswith(sys.argv[1]) and 'numpy' not in sys.modules and 'gi' not in sys.modules";
    let python = setup::python().ok_or_else(|| Trouble::Machine("no python3".into()))?;
    run::check(Command::new(python).args(["-B", "-c", program]).arg(folder))
}

/// The tool of a package does for a new user what it is there for: it puts the plugin where GStreamer looks, records a
/// buffer to a film, and plays the film into a buffer again.
fn tool_works(tool: &Path, plugins: &Path, home: &Path) -> Outcome {
    let tdlink = |words: &[&str]| {
        let mut command = Command::new(tool);
        command
            .args(words)
            .current_dir(home)
            .env("HOME", home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("GST_PLUGIN_PATH");
        command.env("GST_REGISTRY", plugins.join("registry-user.bin"));
        command
    };
    run::check(&mut tdlink(&["setup"]))?;
    let own = home.join(".local/share/gstreamer-1.0/plugins/libgsttdlink.so");
    if !own.is_file() {
        fail!("tdlink setup has put no {}", own.display());
    }
    run::check(&mut tdlink(&["demo", "--duration", "3", "--output", "film.mp4"]))?;
    run::check(&mut tdlink(&["list"]))
}

/// `cargo cinstall`, as distributions build it, if cargo-c is there.
fn cinstall() -> Outcome {
    if run::which("cargo-cinstall").is_none() {
        say("cargo cinstall is NOT RUN: cargo-c is not installed (its metadata is in Cargo.toml)");
        return Ok(());
    }
    let destination = stage("cinstall")?;
    run::check(run::cargo().args(["cinstall", "--locked", "--prefix=/usr", "--destdir"]).arg(&destination))?;
    let mut found = Command::new("find");
    match run::ask(found.arg(&destination).args(["-name", "libgsttdlink.so"])).filter(|path| !path.is_empty()) {
        Some(path) => works(Path::new(&path).parent().unwrap_or(&destination)),
        None => fail!("cargo cinstall put no libgsttdlink.so into {}", destination.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts_by_number_not_by_letter() {
        let glibc = |bytes: &[u8]| glibc(bytes).ok();
        assert_eq!(glibc(b"..GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE"), Some(34));
        assert_eq!(glibc(b"nothing"), None);
    }
}
