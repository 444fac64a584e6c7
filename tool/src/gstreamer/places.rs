// SPDX-License-Identifier: MPL-2.0
//! Where GStreamer and our plugin may lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The plugin's file.
pub const PLUGIN: &str = if cfg!(windows) {
    "gsttdlink.dll"
} else if cfg!(target_os = "macos") {
    "libgsttdlink.dylib"
} else {
    "libgsttdlink.so"
};

/// Where the installer says that it has put GStreamer. Ours goes with the compiler of the first.
const ROOTS: [&str; 2] = ["GSTREAMER_1_0_ROOT_MSVC_X86_64", "GSTREAMER_1_0_ROOT_X86_64"];

/// What the system, or GStreamer's installer, says by an environment variable. Nothing of ours is set by one.
#[allow(clippy::disallowed_methods)]
pub fn system_says(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A folder of programs, and why it is looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub folder: PathBuf,
    /// In the user's words.
    pub why: &'static str,
}

/// Folders that may hold gst-launch-1.0, the best first, each once.
pub fn programs() -> Vec<Place> {
    let mut all = Vec::new();
    let mut add = |folder: PathBuf, why| {
        if !all.iter().any(|place: &Place| place.folder == folder) {
            all.push(Place { folder, why });
        }
    };
    for root in ROOTS.iter().filter_map(|root| system_says(root)) {
        add(Path::new(&root).join("bin"), "the installer's variable names it");
    }
    let path = system_says("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute()) {
        add(folder, "it is on PATH");
    }
    for (folder, why) in installed() {
        add(folder, why);
    }
    for folder in wheels() {
        add(folder, "it came from pip");
    }
    for folder in ours() {
        add(folder.join("bin"), "it lies beside tdlink");
        add(folder, "it lies beside tdlink");
    }
    all
}

/// Where installers put programs.
fn installed() -> Vec<(PathBuf, &'static str)> {
    let mut all = Vec::new();
    let at = |name: &str, below: &str| Some(PathBuf::from(system_says(name)?).join(below));
    if cfg!(windows) {
        // The installer for one user; the one for all users, since 1.28 and before.
        all.extend(
            at("LOCALAPPDATA", r"Programs\gstreamer\1.0\msvc_x86_64\bin").map(|path| (path, "installed for you")),
        );
        for name in ["ProgramW6432", "ProgramFiles"] {
            all.extend(at(name, r"gstreamer\1.0\msvc_x86_64\bin").map(|path| (path, "installed for all users")));
        }
        all.push((PathBuf::from(r"C:\gstreamer\1.0\msvc_x86_64\bin"), "installed for all users"));
    } else if cfg!(target_os = "macos") {
        let framework = "/Library/Frameworks/GStreamer.framework/Versions/1.0/bin";
        all.push((PathBuf::from(framework), "installed for all users"));
        all.push((PathBuf::from("/opt/homebrew/bin"), "installed by Homebrew"));
        all.push((PathBuf::from("/usr/local/bin"), "installed for all users"));
    } else {
        all.push((PathBuf::from("/usr/bin"), "the system's"));
        all.push((PathBuf::from("/usr/local/bin"), "installed for all users"));
    }
    all
}

/// Where pip puts programs: that of a virtual environment, of a user, of Python itself.
fn wheels() -> Vec<PathBuf> {
    let scripts = if cfg!(windows) { "Scripts" } else { "bin" };
    let mut all = Vec::new();
    all.extend(system_says("VIRTUAL_ENV").map(|root| PathBuf::from(root).join(scripts)));
    if cfg!(windows) {
        let pythons = [("APPDATA", "Python"), ("LOCALAPPDATA", r"Programs\Python"), ("ProgramFiles", "")];
        for (name, below) in pythons {
            let Some(root) = system_says(name) else { continue };
            let entries = std::fs::read_dir(Path::new(&root).join(below)).into_iter().flatten().flatten();
            let mut found: Vec<PathBuf> = entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("Python3"))
                .map(|entry| entry.path().join(scripts))
                .collect();
            found.sort();
            all.extend(found.into_iter().rev());
        }
    } else {
        all.extend(system_says("HOME").map(|home| PathBuf::from(home).join(".local/bin")));
    }
    all
}

/// The folder of this program, and the one above: a package has `bin` and `lib` side by side.
fn ours() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok().map(|file| whole(&file).unwrap_or(file));
    let folder = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let above = folder.as_deref().and_then(Path::parent).map(Path::to_owned);
    folder.into_iter().chain(above).collect()
}

/// A file's whole path, as people and other programs write it.
///
/// # Errors
/// There is no such file.
pub fn whole(file: &Path) -> std::io::Result<PathBuf> {
    if cfg!(windows) {
        // Windows would say it with \\?\ in front, which not even all its own programs take.
        file.metadata()?;
        std::path::absolute(file)
    } else {
        file.canonicalize()
    }
}

/// Folders beside this program that may hold our plugin.
pub fn plugins_beside_us() -> Vec<PathBuf> {
    ours().into_iter().flat_map(|folder| [folder.join("lib/gstreamer-1.0"), folder]).collect()
}

/// The folder in which GStreamer looks for one user's plugins; `None` without a home.
pub fn users_plugins() -> Option<PathBuf> {
    let data = if cfg!(windows) {
        system_says("LOCALAPPDATA").map(PathBuf::from)
    } else {
        let named = system_says("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        named.or_else(|| Some(PathBuf::from(system_says("HOME")?).join(".local/share")))
    };
    Some(data?.join("gstreamer-1.0").join("plugins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_looked_at_once() {
        let all = programs();
        for (at, place) in all.iter().enumerate() {
            assert!(!all[..at].iter().any(|other| other.folder == place.folder), "{place:?} stands there twice");
        }
        assert!(!all.is_empty());
    }

    #[test]
    fn a_whole_path_is_one_that_people_write() {
        let own = whole(&std::env::current_exe().expect("this program is a file")).expect("it is there");
        assert!(own.is_absolute() && own.is_file());
        assert!(!own.display().to_string().starts_with(r"\\?\"), "{}", own.display());
        let gone = whole(Path::new("no such file")).expect_err("it is not there");
        assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    }
}
