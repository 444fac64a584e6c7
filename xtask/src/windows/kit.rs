// SPDX-License-Identifier: MPL-2.0
//! Compiler, GStreamer, CPython and Wine, as `.ci/windows-setup` left them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ci;
use crate::fail;
use crate::run::{self, Outcome, Trouble};

/// Longest run of one program under Wine, in seconds: a whole binary of tests, at worst.
const PATIENCE: u32 = 900;
/// Longest look into all of GStreamer's plugins, in seconds.
const FIRST_LOOK: u32 = 300;

/// What the script leaves; [`Kit`] asks for nothing else.
const SETTINGS: [&str; 9] =
    ["rust", "target", "run", "wineserver", "prefix", "gstreamer", "python", "downloads", "pkgconfig"];

#[derive(Debug)]
pub struct Kit {
    folder: PathBuf,
    settings: HashMap<String, String>,
}

impl Kit {
    pub const TARGET: &str = "x86_64-pc-windows-gnu";
    /// Takes Debian's Rust though rustup's would do.
    pub const DEBIAN: &str = "--debian-rust";

    /// Downloads and installs what is missing.
    pub fn set_up(options: &[&str]) -> Outcome<Self> {
        let folder = run::target().join("windows");
        let mut command = Command::new(run::root().join(".ci/windows-setup"));
        match run::status(command.arg(&folder).args(options))?.code() {
            Some(0) => {}
            Some(3) => return Err(Trouble::Machine("what Windows programs need is not to be had (see above)".into())),
            code => fail!(".ci/windows-setup ended with {code:?}"),
        }
        let file = folder.join("settings");
        let text =
            std::fs::read_to_string(&file).map_err(|err| Trouble::Machine(format!("{}: {err}", file.display())))?;
        let settings = text.lines().filter_map(|line| line.split_once('='));
        let settings: HashMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        match SETTINGS.iter().find(|name| settings.get(**name).is_none_or(String::is_empty)) {
            None => Ok(Self { folder, settings }),
            Some(missing) => fail!("{} does not say {missing}", file.display()),
        }
    }

    fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.setting(name))
    }

    /// A folder for what is made on the way.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn has_clippy(&self) -> bool {
        self.setting("rust") == "rustup" && run::ask(run::cargo().args(["clippy", "--version"])).is_some()
    }

    /// What a build for Windows made.
    pub fn built(&self, what: &str) -> PathBuf {
        self.builds().join(Self::TARGET).join(what)
    }

    /// Two compilers' outputs do not mix.
    fn builds(&self) -> PathBuf {
        self.folder.join(format!("target-{}", self.setting("rust")))
    }

    /// cargo that builds for Windows.
    pub fn cargo(&self, target: &str) -> Command {
        self.cargo_of(self.setting("rust") == "debian", target)
    }

    /// cargo that can check, but neither link nor run, for another system. Where rustup cannot have its standard library,
    /// Debian's compiler makes it.
    pub fn cargo_to_check(&self, target: &str) -> Outcome<Command> {
        if self.setting("rust") == "debian" {
            return Ok(self.cargo_of(true, target));
        }
        if run::status(Command::new("rustup").args(["target", "add", target])).is_ok_and(|status| status.success()) {
            return Ok(self.cargo_of(false, target));
        }
        let debian = Self::set_up(&[Self::DEBIAN])?;
        Ok(debian.cargo_of(true, target))
    }

    fn cargo_of(&self, debian: bool, target: &str) -> Command {
        let mut command = if debian { Command::new("/usr/bin/cargo") } else { run::cargo() };
        if debian {
            ci::without_cargo(&mut command).current_dir(run::root());
            command.env("RUSTC", "/usr/bin/rustc").env("RUSTDOC", "/usr/bin/rustdoc").env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_unwind,panic_abort,proc_macro,test");
        }
        // `RUSTC_WRAPPER` would be another compiler's.
        command.env_remove("RUSTC_WRAPPER").env("CARGO_TARGET_DIR", self.builds()).env("CARGO_BUILD_TARGET", target);
        command.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", "x86_64-w64-mingw32-gcc");
        let libraries = format!("PKG_CONFIG_LIBDIR_{}", target.replace('-', "_"));
        command.env("PKG_CONFIG_ALLOW_CROSS", "1").env(libraries, self.setting("pkgconfig"));
        command
    }

    /// A program of Windows, for `seconds` at most.
    pub fn wine(&self, program: &Path, seconds: u32) -> Command {
        let mut command = Command::new(self.path("run"));
        // Wine's own GStreamer takes the variables of Windows' for its own, and a path of theirs for one in this folder.
        command.arg(program).env("WINDOWS_TIMEOUT", seconds.to_string()).current_dir(self.folder());
        command
    }

    /// A program of tests.
    pub fn test(&self, program: &Path) -> Command {
        let mut command = Command::new(self.path("run"));
        command.arg(program).env("WINDOWS_TIMEOUT", PATIENCE.to_string());
        command
    }

    /// A program of GStreamer's own Windows build, for `seconds` at most.
    pub fn gst(&self, program: &str, seconds: u32) -> Command {
        self.wine(&self.path("gstreamer").join("bin").join(format!("{program}.exe")), seconds)
    }

    /// How a program of Windows says a path of this machine.
    pub fn there(path: &Path) -> String {
        format!("Z:{}", path.display())
    }

    /// Starts Windows, which stays until [`Self::end`] and has nobody's output open, and looks into GStreamer's plugins.
    pub fn begin(&self) -> Outcome {
        // A server that runs already would stay as it is.
        self.end()?;
        let mut server = Command::new("timeout");
        server.args(["--kill-after=10", "60"]).arg(self.path("wineserver")).arg("--persistent");
        server.env("WINEPREFIX", self.path("prefix")).stdout(Stdio::null()).stderr(Stdio::null());
        run::check(&mut server)?;
        // Of several programs that look at a time, each with a scanner of its own, one's stood still.
        let mut first = self.gst("gst-inspect-1.0", FIRST_LOOK);
        run::check(first.args(["--exists", "videotestsrc"]).env("WINDOWS_UNHEARD", "yes"))
    }

    /// Ends every program of Windows that is left.
    pub fn end(&self) -> Outcome {
        let mut server = Command::new("timeout");
        server.args(["--kill-after=10", "60"]).arg(self.path("wineserver")).arg("--kill");
        server.env("WINEPREFIX", self.path("prefix"));
        // It fails when nothing runs any more, which is as good.
        run::status(&mut server)?;
        server = Command::new("timeout");
        server.args(["--kill-after=10", "60"]).arg(self.path("wineserver")).arg("--wait");
        run::check(server.env("WINEPREFIX", self.path("prefix")))
    }
}
