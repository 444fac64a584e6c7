// SPDX-License-Identifier: MPL-2.0
//! Programs of this machine under the newer GStreamer, on the emulated driver.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::chroot::Chroot;
use super::libraries;
use crate::run::{self, Outcome};

/// The newer system, and what programs in it need around them.
#[derive(Debug, Clone)]
pub struct Newer {
    chroot: Chroot,
    libraries: PathBuf,
    /// Where GStreamer remembers its elements, and what is the same outside.
    folder: PathBuf,
    /// Of programs, beside those.
    settings: Vec<(&'static str, String)>,
}

impl Newer {
    /// The system, built if need be, with the driver. `folder` keeps what its GStreamer remembers.
    pub fn ensure(folder: &Path) -> Outcome<Newer> {
        let libraries = libraries()?;
        Ok(Newer { chroot: Chroot::ensure()?, libraries, folder: folder.to_owned(), settings: Vec::new() })
    }

    /// The same with one more setting.
    pub fn with(&self, name: &'static str, value: String) -> Newer {
        let mut newer = self.clone();
        newer.settings.push((name, value));
        newer
    }

    /// A program of this machine's, started in there. Its process is the one that the command starts.
    pub fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let own = [
            ("LD_LIBRARY_PATH", self.libraries.display().to_string()),
            ("GST_REGISTRY_1_0", self.folder.join("registry-newer.bin").display().to_string()),
        ];
        let exports =
            own.iter().chain(&self.settings).map(|(name, value)| format!("export {name}={}; ", run::quote(value)));
        let words = std::iter::once(program.display().to_string()).chain(arguments.iter().map(|word| word.to_string()));
        let line = words.map(|word| run::quote(&word)).collect::<Vec<_>>().join(" ");
        let temporary = std::env::temp_dir();
        let script = format!(
            "{}cd {}; exec {line}",
            exports.collect::<String>(),
            run::quote(&run::root().display().to_string())
        );
        self.chroot.shell(&script, &[run::root(), run::target(), &temporary])
    }
}
