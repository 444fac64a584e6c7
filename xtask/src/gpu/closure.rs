// SPDX-License-Identifier: MPL-2.0
//! A GStreamer in a folder: its programs and plugins, and every library that they and our programs ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{copy, failed};
use crate::emulated::Chroot;
use crate::fail;
use crate::run::{self, Outcome, Trouble};

const PLACE: &str = "/usr/lib/x86_64-linux-gnu";
/// What the pipelines of tests and benches are made of, and GStreamer's own CUDA elements.
const PLUGINS: &[&str] = &["coreelements", "coretracers", "app", "videotestsrc", "videoconvertscale", "nvcodec"];
const PROGRAMS: &[&str] = &["/usr/bin/gst-launch-1.0", "/usr/bin/gst-inspect-1.0"];
const SCANNER: &str = "/usr/lib/x86_64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-plugin-scanner";
/// Parts of the C library: those of the machine where the kit runs, unless the loader comes along as well.
const C_LIBRARY: &[&str] =
    &["ld-linux", "libc", "libm", "libpthread", "libdl", "librt", "libresolv", "libutil", "libmvec"];

/// The loader that programs name. What takes its place must not be longer.
const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2\0";

/// Where a system's files are.
pub enum System<'a> {
    /// This machine, whose C library is older than that of any machine the kit is for.
    Here,
    /// A Debian in a folder, which brings its own.
    In(&'a Chroot),
}

impl System<'_> {
    fn root(&self) -> &Path {
        match self {
            Self::Here => Path::new("/"),
            Self::In(chroot) => chroot.root(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn ldd(&self, files: &[String]) -> Outcome<String> {
        let words = files.iter().map(|file| run::quote(file)).collect::<Vec<_>>().join(" ");
        let said = match self {
            Self::Here => run::ask(Command::new("ldd").args(files)),
            Self::In(chroot) => run::ask(&mut chroot.shell(&format!("ldd {words}"), &[run::target()])),
        };
        said.ok_or_else(|| Trouble::Machine(format!("ldd {words} fails")))
    }

    /// Puts everything that GStreamer and `ours` need into `folder`: `bin`, `plugins`, `lib`, and with a C library of its own
    /// `ld.so`.
    pub fn pack(&self, folder: &Path, ours: &[&Path]) -> Outcome {
        let mut files: Vec<String> = ours.iter().map(|path| path.display().to_string()).collect();
        for plugin in PLUGINS {
            let name = format!("libgst{plugin}.so");
            let path = format!("{PLACE}/gstreamer-1.0/{name}");
            copy(&self.at(&path), &folder.join("plugins").join(name))?;
            files.push(path);
        }
        for program in PROGRAMS.iter().chain([&SCANNER]) {
            let name = Path::new(program).file_name().unwrap_or_default();
            copy(&self.at(program), &folder.join("bin").join(name))?;
            files.push((*program).to_string());
        }
        for (name, path) in libraries(&self.ldd(&files)?)? {
            let of_c =
                C_LIBRARY.iter().any(|part| name.strip_prefix(part).is_some_and(|rest| rest.starts_with(['.', '-'])));
            match self {
                Self::Here if of_c => {}
                _ => copy(&self.at(&path), &folder.join("lib").join(&name))?,
            }
        }
        if let Self::In(_) = self {
            copy(&self.at("/lib64/ld-linux-x86-64.so.2"), &folder.join("ld.so"))?;
        }
        Ok(())
    }
}

/// Names and places in what ldd says.
fn libraries(said: &str) -> Outcome<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for line in said.lines().filter(|line| line.starts_with('\t')) {
        match line.trim().split_once(" => ") {
            Some((name, place)) if place.starts_with("not found") => fail!("{name} is not installed"),
            Some((name, place)) => {
                let place = place.split(" (").next().unwrap_or_default();
                found.insert(name.to_string(), place.to_string());
            }
            // The loader and what the kernel lends.
            None => {}
        }
    }
    Ok(found)
}

/// Has a program start by another loader, whose path is not longer than the usual one.
pub fn start_by(program: &Path, loader: &str) -> Outcome {
    let mut bytes = std::fs::read(program).map_err(|err| failed(program, &err))?;
    let Some(at) = bytes.windows(LOADER.len()).position(|window| window == LOADER) else {
        fail!("{} does not name a loader", program.display());
    };
    if loader.len() >= LOADER.len() {
        fail!("{loader} is longer than the usual loader's path");
    }
    let place = &mut bytes[at..at + LOADER.len()];
    place.fill(0);
    place[..loader.len()].copy_from_slice(loader.as_bytes());
    std::fs::write(program, bytes).map_err(|err| failed(program, &err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_named_and_a_missing_one_is_said() {
        let said = "/usr/bin/a:\n\tlinux-vdso.so.1 (0x1)\n\tlibx.so.1 => /lib/libx.so.1 (0x2)\n\t/lib64/ld.so (0x3)\n\
                    /usr/bin/b:\n\tliby.so => /usr/lib/liby.so (0x4)\n";
        let found = libraries(said).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found["libx.so.1"].as_str(), found["liby.so"].as_str()), ("/lib/libx.so.1", "/usr/lib/liby.so"));
        let missing = libraries("\tlibz.so => not found\n").unwrap_err().to_string();
        assert!(missing.contains("libz.so is not installed"), "{missing}");
    }

    #[test]
    fn a_program_names_another_loader_and_keeps_its_length() {
        let file = std::env::temp_dir().join(format!("tdlink-loader-{}", std::process::id()));
        std::fs::write(&file, [b"ELF..", LOADER, b"rest"].concat()).unwrap();
        start_by(&file, "/tmp/x/ld.so").unwrap();
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(bytes.len(), 5 + LOADER.len() + 4);
        assert!(bytes[5..].starts_with(b"/tmp/x/ld.so\0\0") && bytes.ends_with(b"\0rest"));
        assert!(start_by(&file, "/tmp/x/ld.so").is_err(), "the usual one is not there any more");
        std::fs::write(&file, LOADER).unwrap();
        assert!(start_by(&file, &"/x".repeat(20)).is_err());
        std::fs::remove_file(&file).unwrap();
    }
}
