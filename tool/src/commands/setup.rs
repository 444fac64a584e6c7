// SPDX-License-Identifier: MPL-2.0
//! `tdlink setup`: puts the plugin where this machine's GStreamer looks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::failure::Failure;
use crate::gstreamer::{GStreamer, OURS, PLUGIN, Trouble, plugins_beside_us, shown, users_plugins};
use crate::output::Output;

/// Arguments of `setup`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Copies the plugin of this package into the folder in which GStreamer looks for this user's plugins, without administrator \
rights, and then asks GStreamer for its elements. GStreamer from pip looks only into its own folder: then it goes there.")]
pub struct Args {
    /// The plugin's file; else the one that lies beside tdlink
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
}

/// Puts it there and looks.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let gstreamer = GStreamer::find()?;
    out.line(gstreamer.describe())?;
    let plugin = args
        .plugin
        .or_else(|| plugins_beside_us().into_iter().map(|folder| folder.join(PLUGIN)).find(|file| file.is_file()));
    let Some(plugin) = plugin else {
        // A system package or a wheel has put it there already.
        if gstreamer.extra.is_none() && gstreamer.elements.has(OURS) {
            return inspected(&gstreamer, None, out);
        }
        return Err(Failure::NotFound(format!("no {PLUGIN} beside tdlink: --plugin FILE names it")));
    };
    if !plugin.is_file() {
        return Err(Failure::NotFound(format!("{} is no file", plugin.display())));
    }
    let folders = folders(&gstreamer);
    if out.is_print() {
        let target = folders.first().map_or_else(PathBuf::new, |folder| folder.join(PLUGIN));
        let words = [plugin.display().to_string(), target.display().to_string()];
        return out.pipeline(&shown(&[], if cfg!(windows) { "copy" } else { "install -D" }, &words));
    }
    let mut tried = Vec::new();
    for folder in folders {
        let put = match Put::new(&plugin, &folder) {
            Ok(put) => put,
            Err(err) => {
                tried.push(format!("{}: {err}", folder.display()));
                continue;
            }
        };
        // Asked anew, as every program will: without a word of ours about where it lies.
        let looked = GStreamer { extra: None, ..GStreamer::find()? };
        let said = |err: std::io::Error| Failure::Failed(format!("{}: {err}", folder.display()));
        if looked.inspect(OURS).is_some() {
            if let Err(err) = put.keep() {
                // Windows keeps a library that a program has loaded.
                out.note(format_args!("the plugin that was there before is in use and stays beside it: {err}"));
            }
            return inspected(&looked, Some(&folder), out);
        }
        tried.push(format!("{}: GStreamer does not look there, or cannot load it", folder.display()));
        put.undo().map_err(said)?;
    }
    Err(Failure::Failed(format!(
        "GStreamer {} does not take the plugin:\n  {}\nset GST_PLUGIN_PATH to {} instead",
        gstreamer.version,
        tried.join("\n  "),
        plugin.parent().unwrap_or(Path::new(".")).display()
    )))
}

/// Folders to put it into: this user's, and that of GStreamer from pip, which looks nowhere else. A system's own folder is
/// its package manager's.
fn folders(gstreamer: &GStreamer) -> Vec<PathBuf> {
    let core = gstreamer.detail("coreelements", "Filename").map(PathBuf::from);
    let bundle = core.as_deref().and_then(|file| {
        let packages = file.ancestors().find(|above| above.file_name().is_some_and(|name| name == "site-packages"))?;
        Some(packages.join("gstreamer_plugins").join("lib").join("gstreamer-1.0")).filter(|folder| folder.is_dir())
    });
    users_plugins().into_iter().chain(bundle).collect()
}

/// A plugin that was put into a folder, and the one that was there before.
struct Put {
    target: PathBuf,
    before: Option<PathBuf>,
    kept: bool,
}

impl Put {
    fn new(plugin: &Path, folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let target = folder.join(PLUGIN);
        let beside = |what: &str| folder.join(format!("{PLUGIN}.{what}-{}", std::process::id()));
        // Beside it first: a program that has the old one loaded keeps it.
        let (fresh, before) = (beside("new"), beside("old"));
        fs::copy(plugin, &fresh)?;
        let before = target.exists().then_some(before);
        let moved = before.as_ref().map_or(Ok(()), |before| fs::rename(&target, before));
        moved.and_then(|()| fs::rename(&fresh, &target)).inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })?;
        Ok(Self { target, before, kept: false })
    }

    /// It stays.
    fn keep(mut self) -> std::io::Result<()> {
        self.kept = true;
        self.before.take().map_or(Ok(()), fs::remove_file)
    }

    /// It is of no use: what was there before comes back.
    fn undo(mut self) -> std::io::Result<()> {
        self.take_back()
    }

    fn take_back(&mut self) -> std::io::Result<()> {
        self.kept = true;
        match self.before.take() {
            Some(before) => fs::rename(before, &self.target),
            None => fs::remove_file(&self.target),
        }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        // Whatever went wrong before it was decided is already said.
        if !self.kept {
            let _ = self.take_back();
        }
    }
}

fn inspected(gstreamer: &GStreamer, put: Option<&Path>, out: &mut Output) -> Result<(), Failure> {
    let file = gstreamer
        .detail("tdlink", "Filename")
        .ok_or(Trouble::NoPlugin { gstreamer: gstreamer.bin.clone(), version: gstreamer.version.clone() })?;
    let version = gstreamer.detail("tdlink", "Version").unwrap_or_default();
    match put {
        Some(folder) => out.line(format_args!("The plugin is in {}.", folder.display()))?,
        None => out.line("The plugin was there already.")?,
    }
    out.line(format_args!("GStreamer knows tdlink {version}: {file}"))?;
    if gstreamer.other_version().is_some() {
        out.note(format_args!(
            "this tdlink is {}: that plugin comes first where GStreamer looks; remove {file}, or update it",
            env!("CARGO_PKG_VERSION")
        ));
    }
    out.value(&json!({ "gstreamer": gstreamer.version, "bin": gstreamer.bin, "plugin": file, "version": version }))
}
