// SPDX-License-Identifier: MPL-2.0
//! A Debian with a newer GStreamer, in a folder: built by debootstrap when it is missing, kept for the next run.
//!
//! What is mounted into it is mounted in a namespace of the command that needs it, and goes with it: nothing has to be
//! unmounted, and nobody deletes through a mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::here;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

/// Debian 14, with GStreamer 1.28.
const SUITE: &str = "forky";
const PACKAGES: &[&str] = &[
    "gstreamer1.0-tools",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "python3",
    "python3-numpy",
];
/// Says that the folder is complete, and what was installed.
const STAMP: &str = ".tdlink-complete";

/// A complete system in a folder.
#[derive(Debug, Clone)]
pub struct Chroot {
    root: PathBuf,
}

fn folder() -> Outcome<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache =
        cache.ok_or_else(|| Trouble::Machine("neither XDG_CACHE_HOME nor HOME says where to keep it".into()))?;
    Ok(cache.join("tdlink").join(SUITE))
}

/// The archive from which this machine installs.
fn mirror() -> Option<String> {
    let sites = run::ask(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    sites.lines().find(|site| site.trim_end_matches('/').ends_with("debian")).map(str::to_owned)
}

impl Chroot {
    /// The folder, made if need be. Root only.
    pub fn ensure() -> Outcome<Chroot> {
        if run::ask(Command::new("id").arg("-u")).is_none_or(|user| user != "0") {
            return Err(Trouble::Machine("only root can run programs in another system's folder".into()));
        }
        for program in ["unshare", "chroot"] {
            if run::which(program).is_none() {
                return Err(Trouble::Machine(format!("{program} is not installed")));
            }
        }
        let chroot = Chroot { root: folder()? };
        let stamp = chroot.root.join(STAMP);
        if std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == PACKAGES.join("\n")) {
            return Ok(chroot);
        }
        setup::ensure(&[Need::Newer])?;
        chroot.build()?;
        std::fs::write(&stamp, PACKAGES.join("\n")).map_err(here("cannot write", &stamp))?;
        Ok(chroot)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn build(&self) -> Outcome {
        say(format_args!("building a Debian {SUITE} in {}: some minutes, once", self.root.display()));
        self.clear()?;
        std::fs::create_dir_all(&self.root).map_err(here("cannot make", &self.root))?;
        // Older debootstraps do not know the suite by name; its script is that of all recent ones.
        let script = "/usr/share/debootstrap/scripts/sid";
        let mirror = mirror();
        let mut debootstrap = Command::new("unshare");
        debootstrap.args(["--mount", "--propagation", "private", "--", "debootstrap", "--variant=minbase", SUITE]);
        must(debootstrap.arg(&self.root).args([mirror.as_deref().unwrap_or_default(), script]))?;
        // A mirror may be a snapshot that has outlived its date; signatures are checked all the same.
        let snapshot = self.root.join("etc/apt/apt.conf.d/99-snapshot");
        std::fs::write(&snapshot, "Acquire::Check-Valid-Until \"false\";\n")
            .map_err(here("cannot write", &snapshot))?;
        let resolve = self.root.join("etc/resolv.conf");
        std::fs::copy("/etc/resolv.conf", &resolve).map_err(here("cannot write", &resolve))?;
        let apt = "DEBIAN_FRONTEND=noninteractive apt-get -qq";
        let install = format!("{apt} update; {apt} install --yes --no-install-recommends {}", PACKAGES.join(" "));
        must(&mut self.shell(&install, &[]))
    }

    /// Deletes what an interrupted run left.
    fn clear(&self) -> Outcome {
        let inside = format!(" {}/", self.root.display());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        if mounts.contains(&inside) {
            let why =
                format!("{} is incomplete, and something is mounted in it: unmount that first", self.root.display());
            return Err(Trouble::Machine(why));
        }
        match std::fs::remove_dir_all(&self.root) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(here("cannot delete", &self.root)(err)),
            _ => Ok(()),
        }
    }

    /// A shell script in the folder; these paths of this machine are the same in there.
    pub fn shell(&self, script: &str, paths: &[&Path]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-euc", ENTER, SUITE]);
        command.arg(&self.root).arg(script).args(paths);
        command
    }
}

/// Root, script and paths to its arguments; its mounts are of its own namespace.
const ENTER: &str = r#"
root=$1 script=$2; shift 2
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc proc "$root/proc"; mount --rbind /sys "$root/sys"; mount --rbind /dev "$root/dev"
for path; do
  if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root$(dirname "$path")"; touch "$root$path"; fi
  mount --bind "$path" "$root$path"
done
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 sh -euc "$script"
"#;

/// A step that fails is the machine's fault: the network, the archive, the disk.
fn must(command: &mut Command) -> Outcome {
    match run::status(command)? {
        status if status.success() => Ok(()),
        status => Err(Trouble::Machine(format!("the Debian {SUITE} cannot be made: {status}"))),
    }
}
