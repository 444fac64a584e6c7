// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask demo`: records a stand-in for TouchDesigner to an mp4 file, then plays a test picture to one; looks at
//! what came out with code that shares nothing with the plugin.

mod checks;
mod mp4;
mod picture;
mod record;
mod replay;
mod sheet;
mod sps;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

/// Where the plugin, the recording and the pictures go, and how to run programs against that plugin.
pub struct Stage {
    folder: PathBuf,
    plugins: PathBuf,
    python: PathBuf,
}

impl Stage {
    /// A GStreamer program that finds our plugin, with a registry of its own: the user's is left alone.
    pub fn gst(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("GST_PLUGIN_PATH", &self.plugins).env("GST_REGISTRY", self.folder.join("registry.bin"));
        command
    }

    /// `gst-launch-1.0` with `words` as its arguments, split at blanks; `FILE` in them stands for `file`, which may have
    /// blanks of its own.
    pub fn launch(&self, words: &str, file: &Path) -> Command {
        let mut command = self.gst("gst-launch-1.0");
        let file = file.to_string_lossy();
        command.args(words.split_whitespace().map(|word| word.replace("FILE", &file)));
        command
    }

    pub fn interpreter(&self) -> &Path {
        &self.python
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn python(&self, example: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(Path::new("examples/python").join(example)).current_dir(run::root());
        command
    }
}

/// A buffer name of this run, and the promise that /dev/shm has nothing of it afterwards, whatever happens in between.
struct Buffer(String);

impl Buffer {
    fn new(what: &str) -> Buffer {
        Buffer(format!("tdlink-demo-{}-{what}", std::process::id()))
    }

    /// The files in /dev/shm that carry the name, hidden ones included.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        entries.filter(|file| file.file_name().to_string_lossy().contains(&self.0)).map(|file| file.path()).collect()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        for file in self.files() {
            let _ = std::fs::remove_file(file);
        }
    }
}

pub fn run(options: &[&str]) -> Outcome {
    if !options.is_empty() {
        return Err(Trouble::Usage("demo takes no options".into()));
    }
    setup::ensure(&[Need::Build, Need::Media, Need::Python])?;
    let stage = prepare()?;
    let recorded = record::run(&stage);
    let replayed = replay::run(&stage);
    say("what came out, to look at:");
    for file in [record::MOVIE, record::SHEET, replay::PICTURE] {
        println!("           {}", stage.folder.join(file).display());
    }
    recorded.and(replayed)
}

/// Builds the plugin and puts it, alone, into a clean folder.
pub fn prepare() -> Outcome<Stage> {
    say("building the plugin (release; a few minutes the first time)");
    run::check(run::cargo().args(["build", "--release", "--locked", "--package", "gst-plugin-tdlink"]))?;
    let folder = run::target().join("demo");
    let plugins = folder.join("plugins");
    let io = |what: &str, err| Trouble::Machine(format!("{what}: {err}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|err| io("clearing the demo's folder", err))?;
    }
    std::fs::create_dir_all(&plugins).map_err(|err| io("making the demo's folder", err))?;
    let built = run::target().join("release/libgsttdlink.so");
    std::fs::copy(&built, plugins.join("libgsttdlink.so")).map_err(|err| io(&built.display().to_string(), err))?;
    let python = setup::python().ok_or_else(|| Trouble::Machine("no python3 with numpy".into()))?;
    let stage = Stage { folder, plugins, python };
    // Also fills the registry, so that the first recording does not wait for it.
    for element in ["tdshmsrc", "tdshmsink"] {
        let inspect = stage.gst("gst-inspect-1.0").arg(element).output();
        match inspect.map_err(|err| io("gst-inspect-1.0", err))? {
            output if output.status.success() => say(format_args!("GStreamer knows {element}")),
            output => fail!("GStreamer does not know {element}:\n{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    Ok(stage)
}
