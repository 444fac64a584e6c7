// SPDX-License-Identifier: MPL-2.0
//! Where this machine's GStreamer is, and whether it knows our elements.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elements::Elements;
use super::{Trouble, places};

/// The element that tells whether GStreamer knows the plugin.
pub const OURS: &str = "tdshmsrc";

/// A GStreamer that answers.
#[derive(Debug)]
pub struct GStreamer {
    /// The folder of its programs.
    pub bin: PathBuf,
    /// Why this one.
    pub chosen: &'static str,
    /// What it says of itself, "1.22.0".
    pub version: String,
    /// Folder that its programs are told to look for plugins in, beside their own: ours lies there and nowhere that
    /// they look.
    pub extra: Option<PathBuf>,
    /// What it has.
    pub elements: Elements,
    /// Places that had a gst-launch-1.0 which did not answer, and why.
    pub passed_over: Vec<String>,
}

impl GStreamer {
    /// Looks for GStreamer in the environment, where its installers put it, among Python's packages and beside this
    /// program, in this order, and takes the first that answers.
    ///
    /// # Errors
    /// When there is none, with the places that were looked at.
    pub fn find() -> Result<Self, Trouble> {
        let mut passed_over = Vec::new();
        let candidates = places::programs();
        for place in &candidates {
            if !program(&place.folder, "gst-launch-1.0").is_file() {
                continue;
            }
            match Self::at(&place.folder, place.why) {
                Ok(found) => return Ok(Self { passed_over, ..found }),
                Err(err) => passed_over.push(format!("{}: {err}", place.folder.display())),
            }
        }
        Err(Trouble::NoGStreamer { looked: candidates.into_iter().map(|place| place.folder).collect(), passed_over })
    }

    /// The one whose programs are in `folder`.
    fn at(folder: &Path, chosen: &'static str) -> Result<Self, String> {
        let mut found = Self {
            bin: folder.to_owned(),
            chosen,
            version: String::new(),
            extra: None,
            elements: Elements::default(),
            passed_over: Vec::new(),
        };
        let said = found.ask("gst-launch-1.0", &["--version"])?;
        let version = said.lines().find_map(|line| line.strip_prefix("GStreamer ")).unwrap_or_default();
        version.trim().clone_into(&mut found.version);
        found.elements = Elements::parse(&found.ask("gst-inspect-1.0", &[])?);
        if !found.elements.has(OURS) {
            found.extra = places::plugins_beside_us().into_iter().find(|folder| folder.join(places::PLUGIN).is_file());
            if found.extra.is_some() {
                found.elements = Elements::parse(&found.ask("gst-inspect-1.0", &[])?);
            }
        }
        Ok(found)
    }

    /// The same, for those who cannot do without the plugin.
    ///
    /// # Errors
    /// When there is no GStreamer, or it does not know the plugin.
    pub fn with_plugin() -> Result<Self, Trouble> {
        let found = Self::find()?;
        if found.elements.has(OURS) {
            Ok(found)
        } else {
            Err(Trouble::NoPlugin { gstreamer: found.bin, version: found.version })
        }
    }

    /// One of its programs, told where our plugin lies. What it says is read here, so that it is to say it in English,
    /// whatever the user's language.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(&self.bin, name));
        // LANGUAGE comes before all others wherever the locale is not plain C. (LANG=C is none of Windows' names: GLib ends
        // at it there.)
        command.env_remove("LANGUAGE");
        command.env("LC_ALL", if cfg!(windows) { "C" } else { "C.UTF-8" });
        for (name, value) in self.settings() {
            command.env(name, value);
        }
        command
    }

    /// What its programs are to find in their environment.
    pub fn settings(&self) -> Vec<(&'static str, OsString)> {
        let Some(extra) = &self.extra else { return Vec::new() };
        // GStreamer looks at the versioned name first and then no more.
        let name =
            ["GST_PLUGIN_PATH_1_0", "GST_PLUGIN_PATH"].into_iter().find(|name| places::system_says(name).is_some());
        let name = name.unwrap_or("GST_PLUGIN_PATH");
        let before = places::system_says(name).unwrap_or_default();
        let before = std::env::split_paths(&before).filter(|path| !path.as_os_str().is_empty());
        let all = std::iter::once(extra.clone()).chain(before);
        vec![(name, std::env::join_paths(all).unwrap_or_else(|_| extra.into()))]
    }

    /// What a program of it prints.
    fn ask(&self, name: &str, words: &[&str]) -> Result<String, String> {
        let output = self.command(name).args(words).stdin(Stdio::null()).output();
        let output = output.map_err(|err| format!("{name}: {err}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name}: {}, {}", output.status, said.lines().next().unwrap_or("without a word")))
        }
    }

    /// All that gst-inspect-1.0 says of a plugin or an element, or nothing.
    pub fn inspect(&self, what: &str) -> Option<String> {
        self.ask("gst-inspect-1.0", &[what]).ok()
    }

    /// The value of a line of gst-inspect-1.0's details of a plugin, "Filename" or "Version".
    pub fn detail(&self, plugin: &str, what: &str) -> Option<String> {
        let said = self.inspect(plugin)?;
        let value = said.lines().find_map(|line| line.trim_start().strip_prefix(what))?;
        Some(value.trim().trim_start_matches(':').trim().to_owned())
    }

    /// The plugin's version as GStreamer says it, if that is not this program's own. Builds from a clone have the commit
    /// behind it.
    pub fn other_version(&self) -> Option<String> {
        let version = self.detail("tdlink", "Version")?;
        (version.split('-').next() != Some(env!("CARGO_PKG_VERSION"))).then_some(version)
    }

    /// In one line.
    pub fn describe(&self) -> String {
        format!("GStreamer {} in {} ({})", self.version, self.bin.display(), self.chosen)
    }
}

/// The file of a program.
pub fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
