// SPDX-License-Identifier: MPL-2.0
//! A pipeline in a process of its own: heard, ended in order, and never left behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tdlink_core::segment::interrupt;

use super::leash::Leash;
use super::messages::{self, Said};
use super::{GStreamer, Trouble};

/// How long a pipeline may take to write out what it holds once it is asked to end.
pub const TO_END: Duration = Duration::from_secs(20);
/// How often a process is asked whether it has ended. There is no wait with a deadline in the standard library.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of a pipeline's complaints that are kept.
const KEPT: usize = 40;

/// How a pipeline ended.
#[derive(Debug)]
pub enum Ended {
    /// In order.
    Well,
    /// With an error, in its words.
    Badly(String),
    /// Not in time; it was killed.
    Killed,
}

/// A program of GStreamer that runs.
#[derive(Debug)]
pub struct Child {
    process: Process,
    /// Lets go when the process has ended.
    leash: Option<Leash>,
    said: Receiver<Said>,
    readers: Vec<JoinHandle<()>>,
    errors: Vec<String>,
    asked: bool,
}

impl Child {
    /// Starts gst-launch-1.0 with a pipeline; an interrupt becomes the end of the stream.
    ///
    /// # Errors
    /// When it does not start.
    pub fn launch(gstreamer: &GStreamer, words: &[String]) -> Result<Self, Trouble> {
        let mut command = gstreamer.command("gst-launch-1.0");
        command.args(["-e", "-m", "-v"]).args(words);
        Self::start(command)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(command: Command) -> Result<Self, Trouble> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| Trouble::Start { program: program.clone(), source };
        let mut command = Leash::fit(command).map_err(failed)?;
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let leash = Leash::hold(&mut process).map_err(|source| {
            let _ = process.kill();
            let _ = process.wait();
            failed(source)
        })?;
        let (sender, said) = mpsc::channel();
        let readers = [
            process.stdout.take().map(|pipe| listen(pipe, sender.clone())),
            process.stderr.take().map(|pipe| listen(pipe, sender.clone())),
        ];
        let readers = readers.into_iter().flatten().collect();
        Ok(Self { process, leash: Some(leash), said, readers, errors: Vec::new(), asked: false })
    }

    /// The next thing that it says within `patience`; `None` when it says nothing. Also `None`, and at once, when it has
    /// ended: see [`Self::has_ended`].
    pub fn hear(&mut self, patience: Duration) -> Option<Said> {
        match self.said.recv_timeout(patience) {
            Ok(said) => {
                self.note(&said);
                Some(said)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // Both its pipes are closed, so it is about to end.
                if !self.has_ended() {
                    std::thread::sleep(LOOK.min(patience));
                }
                None
            }
        }
    }

    fn note(&mut self, said: &Said) {
        let line = match said {
            Said::Error { element, text } => format!("{element}: {text}"),
            Said::Line(line) if line.starts_with("WARNING: erroneous pipeline") || line.starts_with("ERROR") => {
                line.clone()
            }
            _ => return,
        };
        if self.errors.len() < KEPT {
            self.errors.push(line);
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end in order, once: gst-launch-1.0 takes a second interrupt as an order to drop everything.
    pub fn interrupt(&mut self) {
        if !std::mem::replace(&mut self.asked, true) && !self.has_ended() && interrupt(self.process.id()).is_err() {
            // It cannot be asked; files that are written in fragments lose their last one.
            let _ = self.process.kill();
        }
    }

    /// Waits for its end, handing what it still says to `heard`; kills it after `patience`.
    pub fn end(mut self, patience: Duration, mut heard: impl FnMut(&Said)) -> Ended {
        let deadline = Instant::now() + patience;
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => {
                    if let Some(said) = self.hear(LOOK) {
                        heard(&said);
                    }
                }
                Ok(None) | Err(_) => break None,
            }
        };
        if status.is_none() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        self.leash = None;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        while let Ok(said) = self.said.try_recv() {
            self.note(&said);
            heard(&said);
        }
        match status {
            None => Ended::Killed,
            Some(status) if status.success() || self.asked && by_our_word(status) => Ended::Well,
            Some(status) => Ended::Badly(self.complaint(status)),
        }
    }

    fn complaint(&self, status: ExitStatus) -> String {
        match self.errors.first() {
            // The first error is the cause; the others follow from it.
            Some(first) => first.clone(),
            None => format!("the pipeline ended with {status} and gave no reason"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Whether it died of being asked to end, which it does while it has not yet begun to listen for that.
fn by_our_word(status: ExitStatus) -> bool {
    #[cfg(unix)]
    {
        const SIGINT: i32 = 2;
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGINT)
    }
    #[cfg(not(unix))]
    {
        const STATUS_CONTROL_C_EXIT: u32 = 0xC000_013A;
        status.code() == Some(STATUS_CONTROL_C_EXIT as i32)
    }
}

fn listen(pipe: impl Read + Send + 'static, said: mpsc::Sender<Said>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            let heard = said.send(messages::read(text.trim_end()));
            line.clear();
            if heard.is_err() {
                break;
            }
        }
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A program that does not listen for interrupts.
    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("60");
        Child::start(command).expect("sleep starts")
    }

    #[test]
    fn a_program_that_is_not_there_does_not_start() {
        for program in ["/nowhere/gst-launch-1.0", "tdlink-has-no-such-program"] {
            let said = Child::start(Command::new(program)).expect_err("there is none").to_string();
            assert!(said.starts_with(&format!("{program} does not start")), "{said}");
        }
    }

    #[test]
    fn words_arrive_as_they_are_and_so_does_how_it_ended() {
        let words = ["a b", "", "it's \"so\"", "$HOME `id` $(id) *", "-n", "back\\slash", "two\nlines", "|;&<>#"];
        let mut command = Command::new("/usr/bin/env");
        command.args(["sh", "-c", r#"printf '<%s>\n' "$@"; exit 7"#, "sh"]).args(words);
        let (child, mut lines) = (Child::start(command).expect("it starts"), Vec::new());
        let ended = child.end(TO_END, |said| {
            if let Said::Line(line) = said {
                lines.push(line.clone());
            }
        });
        assert_eq!(lines.join("\n"), words.map(|word| format!("<{word}>")).join("\n"));
        assert!(matches!(&ended, Ended::Badly(why) if why.contains("exit status: 7")), "{ended:?}");
    }

    #[test]
    fn what_dies_of_being_asked_to_end_ended_well() {
        let mut child = sleeper();
        child.interrupt();
        assert!(matches!(child.end(TO_END, |_| ()), Ended::Well));
    }

    #[test]
    fn what_dies_of_an_interrupt_that_is_not_ours_ended_badly() {
        let child = sleeper();
        interrupt(child.id()).expect("it is interrupted");
        assert!(matches!(child.end(TO_END, |_| ()), Ended::Badly(_)));
    }
}
