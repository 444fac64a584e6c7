// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask emulated`: programs on the emulated CUDA driver, which looks to them like the real one.

mod chroot;
pub mod lanes;
mod newer;

pub use chroot::Chroot;
pub use newer::Newer;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};

/// What cargo builds, the name that the loader knows it by, and other names that programs ask for.
const LIBRARIES: &[(&str, &str, &[&str])] = &[
    ("libemulated_cuda.so", "libcuda.so.1", &["libcuda.so"]),
    // cuda-link asks for the runtime by its name on Windows.
    ("libemulated_cudart.so", "libcudart.so.12", &["libcudart.so", "cudart64_12.dll"]),
    ("libemulated_nvcuvid.so", "libnvcuvid.so.1", &[]),
];

const PACKAGES: &[&str] = &["emulated-cuda-driver", "emulated-cuda-runtime", "emulated-cuda-video"];

fn here(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Trouble {
    let place = format!("{what} {}", path.display());
    move |err| Trouble::Machine(format!("{place}: {err}"))
}

/// Builds the driver, and the folder from which the loader shall take it.
pub fn libraries() -> Outcome<PathBuf> {
    let mut build = run::cargo();
    build.args(["build", "--locked"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    run::check(&mut build)?;
    let folder = run::target().join("emulated-cuda");
    std::fs::create_dir_all(&folder).map_err(here("cannot make", &folder))?;
    for (built, name, others) in LIBRARIES {
        let built = run::target().join("debug").join(built);
        put(&folder, name, |path| std::fs::copy(&built, path).map(drop))?;
        for other in *others {
            put(&folder, other, |path| symlink(name, path))?;
        }
    }
    prime(&folder);
    Ok(folder)
}

/// Has GStreamer look at the driver before somebody hides a part of it: it remembers what it found.
fn prime(folder: &Path) {
    for (name, value) in settings(folder) {
        if name == "GST_REGISTRY_1_0" {
            let _ = std::fs::remove_file(value);
        }
    }
    let _ = run::ask(Command::new("gst-inspect-1.0").arg("nvcodec").envs(settings(folder)));
}

/// Puts a file in its place in one step: a program may have the old one mapped.
fn put(folder: &Path, name: &str, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Outcome {
    let (path, fresh) = (folder.join(name), folder.join(format!(".{name}.{}", std::process::id())));
    make(&fresh).and_then(|()| std::fs::rename(&fresh, &path)).map_err(here("cannot write", &path))
}

/// What a program needs around it to find the driver; GStreamer remembers which elements a machine has, so it gets a
/// memory of its own.
pub fn settings(folder: &Path) -> Vec<(&'static str, String)> {
    let before = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    // Cargo adds its own folders for what it starts, us among them.
    let of_cargo = |path: &str| path.starts_with(&run::target().display().to_string()) || path.contains("/.rustup/");
    let others = before.split(':').filter(|path| !path.is_empty() && !of_cargo(path)).map(str::to_owned);
    let search = std::iter::once(folder.display().to_string()).chain(others).collect::<Vec<_>>().join(":");
    vec![("LD_LIBRARY_PATH", search), ("GST_REGISTRY_1_0", folder.join("registry.bin").display().to_string())]
}

/// Runs a command with the emulated driver in the place of the real one. Without one, says what to set.
pub fn run(words: &[&str]) -> Outcome {
    let words = words.strip_prefix(&["--"]).unwrap_or(words);
    let folder = libraries()?;
    let settings = settings(&folder);
    let Some((program, arguments)) = words.split_first() else {
        say("a program finds the emulated driver with these settings:");
        for (name, value) in settings {
            println!("export {name}={}", run::quote(&value));
        }
        return Ok(());
    };
    let mut command = Command::new(program);
    match run::status(command.args(arguments).envs(settings))? {
        status if status.success() => Ok(()),
        status => fail!("{}: {status}", run::shown(&command)),
    }
}
