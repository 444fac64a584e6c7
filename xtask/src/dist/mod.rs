// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask dist`: what users install, in `target/dist/`.

mod linux;
mod windows;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

pub use linux::lane;
pub use windows::{Packages as WindowsPackages, build as build_for_windows};

pub fn run(words: &[&str]) -> Outcome {
    match words {
        [] => {
            linux::build()?;
            build_for_windows(&crate::windows::Kit::set_up(&[])?).map(drop)
        }
        ["linux"] => linux::build().map(drop),
        ["windows", options @ ..] => build_for_windows(&crate::windows::Kit::set_up(options)?).map(drop),
        _ => Err(Trouble::Usage(format!("dist {}: expected nothing, linux or windows", words.join(" ")))),
    }?;
    say(format_args!("packages are in {}", folder().display()));
    Ok(())
}

/// What a package has to list.
const ELEMENTS: [&str; 4] = ["tdshmsink", "tdshmsrc", "tdcudaipcsink", "tdcudaipcsrc"];

/// Lines of gst-inspect-1.0 that list everything; otherwise what is missing.
pub fn missing(inspected: &[String]) -> Option<&'static str> {
    let lists = |element: &&str| inspected.iter().any(|line| line.trim_start().starts_with(&format!("{element}:")));
    ELEMENTS.into_iter().find(|element| !lists(element))
}

/// Builds plugin and tool as they are shipped, at `files`: without the places of this machine in them.
fn ship(cargo: &mut Command, files: &[&Path]) -> Outcome {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let places = [(Some(run::root().to_owned()), "/tdlink"), (home, "/cargo")];
    let places: Vec<(String, &str)> =
        places.into_iter().filter_map(|(place, name)| Some((place?.display().to_string(), name))).collect();
    // One flag a field; what separates them may not be in a path.
    let flags: Vec<String> = places.iter().map(|(place, name)| format!("--remap-path-prefix={place}={name}")).collect();
    cargo.args(["build", "--locked", "--profile", "dist", "--package", "gst-plugin-tdlink", "--package", "tdlink"]);
    run::check(cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))?;
    for file in files {
        let bytes = std::fs::read(file).map_err(|err| failed(file, &err))?;
        for (place, _) in &places {
            if bytes.windows(place.len()).any(|part| part == place.as_bytes()) {
                crate::fail!("{} names {place}, a place of this machine", file.display());
            }
        }
    }
    Ok(())
}

/// When everything in a package was changed last, in seconds since 1970: the same package from the same sources.
const WHEN: &str = "1767225600";

/// Where packages go.
fn folder() -> PathBuf {
    run::target().join("dist")
}

/// The version of the workspace.
fn version() -> Outcome<String> {
    let manifest = read(&run::root().join("Cargo.toml"))?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| Trouble::Failed("Cargo.toml has no version".into()))
}

/// An empty folder to put a package's files into.
fn stage(name: &str) -> Outcome<PathBuf> {
    let folder = folder().join("stage").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|err| failed(&folder, &err))?;
    }
    std::fs::create_dir_all(&folder).map_err(|err| failed(&folder, &err))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Outcome {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|err| failed(folder, &err))?;
    }
    std::fs::copy(from, to).map(drop).map_err(|err| failed(from, &err))
}

fn write(to: &Path, text: &str) -> Outcome {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|err| failed(folder, &err))?;
    }
    std::fs::write(to, text).map_err(|err| failed(to, &err))
}

fn read(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|err| failed(file, &err))
}

fn failed(file: &Path, err: &std::io::Error) -> Trouble {
    Trouble::Machine(format!("{}: {err}", file.display()))
}

/// The files that every package has: licence, changes, and how to install this one.
fn papers(folder: &Path, readme: &str) -> Outcome {
    for paper in ["LICENSE", "CHANGELOG.md"] {
        copy(&run::root().join(paper), &folder.join(paper))?;
    }
    write(&folder.join("README.md"), readme)
}

/// Puts the Python package into a folder that Python looks into.
fn python_package(folder: &Path) -> Outcome {
    let package = run::root().join("python/tdlink");
    let files = std::fs::read_dir(&package).map_err(|err| failed(&package, &err))?;
    for file in files.flatten().map(|file| file.path()) {
        if let (Some(name), true) = (file.file_name(), file.extension().is_some_and(|ending| ending == "py")) {
            copy(&file, &folder.join("tdlink").join(name))?;
        }
    }
    Ok(())
}

fn paper(name: &str) -> Outcome<String> {
    read(&run::root().join("packaging").join(name))
}

/// Packs `from` as packaging/pack.py does, and gives the archive.
fn pack(kind: &str, from: &Path, name: &str) -> Outcome<PathBuf> {
    setup::ensure(&[Need::Python])?;
    let python = setup::python().ok_or_else(|| Trouble::Machine("no python3".into()))?;
    let archive = folder().join(name);
    let mut command = Command::new(python);
    command.arg("-B").arg(run::root().join("packaging/pack.py")).arg(kind).arg(from).arg(&archive);
    run::check(&mut command)?;
    say(format_args!("{name}: {} KB", size_of(&archive) / 1000));
    Ok(archive)
}

fn size_of(file: &Path) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}
