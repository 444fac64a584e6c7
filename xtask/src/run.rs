// SPDX-License-Identifier: MPL-2.0
//! Child processes: shown, timed, and never left behind.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{LazyLock, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why a word ended without success.
#[derive(Debug)]
pub enum Trouble {
    /// The project is not as it says it is.
    Failed(String),
    /// The command line is wrong.
    Usage(String),
    /// Something around the project failed: apt, the network, a tool that cannot be had.
    Machine(String),
}

pub type Outcome<T = ()> = Result<T, Trouble>;

impl Trouble {
    pub fn status(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Machine(_) => 3,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Usage(why) => write!(f, "{why}"),
            Self::Machine(why) => write!(f, "NOT THE PROJECT'S FAULT: {why}"),
        }
    }
}

/// `Err(Failed)` with a formatted message.
#[macro_export]
macro_rules! fail {
    ($($message:tt)*) => { return Err($crate::run::Trouble::Failed(format!($($message)*))) };
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Says what is being done, with the seconds since the start in front.
pub fn say(what: impl fmt::Display) {
    println!("[{:4} s] {what}", START.elapsed().as_secs());
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // As cargo says now; what it said when this was compiled may have moved since.
        let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&own).parent().unwrap_or(Path::new(".")).to_path_buf()
    });
    &ROOT
}

/// The folder cargo builds into.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let metadata = cargo().args(["metadata", "--format-version=1", "--no-deps"]).current_dir(root()).output();
        let text = metadata.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let found = text.split("\"target_directory\":\"").nth(1).and_then(|rest| rest.split('"').next());
        found.map_or_else(|| root().join("target"), PathBuf::from)
    })
}

/// The cargo that started us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A program on PATH, if it is there.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// One word as a POSIX shell wants it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The command as a person would type it: programs without their folder, and `!` of gst-launch bare, which
/// shells take as it is between blanks.
pub fn shown(command: &Command) -> String {
    let word = |word: &OsStr| match word.to_string_lossy() {
        bang if bang == "!" => "!".to_string(),
        word => quote(&word),
    };
    let settings = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let settings = settings.map(|(name, value)| format!("{}={}", name.to_string_lossy(), word(value)));
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(word);
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end with its output shown, and a line every half minute so that nobody thinks it hangs.
pub fn status(command: &mut Command) -> Outcome<ExitStatus> {
    say(format_args!("$ {}", shown(command)));
    let mut child = command.spawn().map_err(|err| cannot_start(command, &err))?;
    let started = Instant::now();
    let mut told = started;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(err) => return Err(Trouble::Machine(format!("waiting for {}: {err}", shown(command)))),
        }
        if told.elapsed() >= Duration::from_secs(30) {
            told = Instant::now();
            let program = program_of(command);
            say(format_args!("... {program} has been running for {} s", started.elapsed().as_secs()));
        }
    }
}

/// The program that a command is about, behind sudo and env.
fn program_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_string_lossy);
    let mut words =
        words.skip_while(|word| matches!(&**word, "sudo" | "env") || word.contains('=') || word.starts_with('-'));
    let word = words.next().unwrap_or_default().into_owned();
    Path::new(&word).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs a command that must succeed.
pub fn check(command: &mut Command) -> Outcome {
    match status(command)? {
        status if status.success() => Ok(()),
        status => fail!("{}: {status}", shown(command)),
    }
}

/// What a command prints to its standard output, trimmed; `None` if it cannot be run or fails.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Runs a command to its end, shows its output and gives the lines back as well.
pub fn tee(command: &mut Command) -> Outcome<(ExitStatus, Vec<String>)> {
    say(format_args!("$ {}", shown(command)));
    let program = program_of(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|err| cannot_start(command, &err))?;
    let started = Instant::now();
    let (sender, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, sender.clone())),
        child.stderr.take().map(|pipe| forward(pipe, sender.clone())),
    ];
    drop(sender);
    let mut all = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(30)) {
            Ok(line) => {
                println!("{line}");
                all.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                say(format_args!("... {program} has been running for {} s", started.elapsed().as_secs()));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.wait().map_err(|err| Trouble::Machine(format!("waiting for {program}: {err}")))?;
    Ok((status, all))
}

fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            line.clear();
            if lines.send(text).is_err() {
                break;
            }
        }
    })
}

fn cannot_start(command: &Command, err: &std::io::Error) -> Trouble {
    Trouble::Machine(format!("cannot start {}: {err}", shown(command)))
}

/// A child that goes on beside us and is not left behind: it is interrupted when this value is dropped, and, where the
/// system has setpriv (util-linux), also when we die before that, however we die. It has a process group of its own, so that Ctrl-C in the
/// terminal reaches it once and not twice: gst-launch takes a second interrupt as an order to stop without EOS.
pub struct Companion {
    name: String,
    child: Child,
    lines: Receiver<String>,
    readers: Vec<JoinHandle<()>>,
    heard: Vec<String>,
}

impl Companion {
    /// Starts `command`; what it prints is kept and can be waited for.
    pub fn start(name: &str, command: &Command) -> Outcome<Companion> {
        say(format_args!("$ {}", shown(command)));
        let mut wrapped = match which("setpriv") {
            Some(setpriv) => {
                let mut wrapped = Command::new(setpriv);
                wrapped.args(["--pdeathsig", "INT", "--"]).arg(command.get_program());
                wrapped
            }
            None => Command::new(command.get_program()),
        };
        wrapped.args(command.get_args()).current_dir(command.get_current_dir().unwrap_or(root()));
        wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        wrapped.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = wrapped.spawn().map_err(|err| cannot_start(command, &err))?;
        let (sender, lines) = mpsc::channel();
        let readers = [
            child.stdout.take().map(|pipe| forward(pipe, sender.clone())),
            child.stderr.take().map(|pipe| forward(pipe, sender.clone())),
        ];
        let readers = readers.into_iter().flatten().collect();
        Ok(Companion { name: name.into(), child, lines, readers, heard: Vec::new() })
    }

    /// Waits until it prints a line that contains `what`, and gives that line.
    pub fn wait_for(&mut self, what: &str, timeout: Duration) -> Outcome<String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(what);
                    self.heard.push(line);
                    if found {
                        return Ok(self.heard.last().cloned().unwrap_or_default());
                    }
                }
                Err(err) => {
                    let state = match err {
                        mpsc::RecvTimeoutError::Timeout => format!("said nothing of the kind in {timeout:?}"),
                        mpsc::RecvTimeoutError::Disconnected => "has ended".into(),
                    };
                    let transcript = self.transcript();
                    fail!("{} should print \"{what}\" but {state}; it printed:\n{transcript}", self.name);
                }
            }
        }
    }

    /// Everything it has printed so far.
    pub fn transcript(&mut self) -> String {
        self.heard.extend(self.lines.try_iter());
        if self.heard.is_empty() { "  (nothing)".into() } else { format!("  {}", self.heard.join("\n  ")) }
    }

    pub fn interrupt(&self) {
        self.signal("INT");
    }

    fn signal(&self, signal: &str) {
        // The standard library can only kill outright; every POSIX shell has kill built in.
        let _ = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()]).status();
    }

    /// Waits for its end; past the timeout it is killed and that is a failure.
    pub fn finish(&mut self, timeout: Duration) -> Outcome {
        let status = self.end(timeout);
        let transcript = self.transcript();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => fail!("{}: {status}; it printed:\n{transcript}", self.name),
            None => fail!("{} did not end within {timeout:?}; it printed:\n{transcript}", self.name),
        }
    }

    fn end(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => break None,
            }
        };
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.interrupt();
            let _ = self.end(Duration::from_secs(5));
        }
    }
}
