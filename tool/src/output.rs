// SPDX-License-Identifier: MPL-2.0
//! Where answers go: lines for people, or one JSON value a line for programs.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};

use serde_json::{Value, json};

use crate::failure::Failure;

/// How the user wants to be answered.
#[derive(Debug)]
pub struct Output {
    json: bool,
    print: bool,
}

impl Output {
    /// `json`: values instead of lines. `print`: the pipeline that would do the same, instead of doing it.
    pub fn new(json: bool, print: bool) -> Self {
        Self { json, print }
    }

    /// Whether values are wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only the equivalent `gst-launch-1.0` line is wanted.
    pub fn is_print(&self) -> bool {
        self.print
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        !self.json && stdout().is_terminal()
    }

    /// A line for people. Nothing where values are wanted.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        if !self.json {
            writeln!(stdout().lock(), "{line}")?;
        }
        Ok(())
    }

    /// A value for programs, on one line. Nothing where lines are wanted.
    pub fn value(&mut self, value: &Value) -> Result<(), Failure> {
        if self.json {
            let mut out = stdout().lock();
            writeln!(out, "{value}")?;
            out.flush()?;
        }
        Ok(())
    }

    /// A text that is the answer itself, whatever was asked for.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// The pipeline that does the same, as `--print` shows it.
    pub fn pipeline(&mut self, line: &str) -> Result<(), Failure> {
        self.value(&json!({ "pipeline": line }))?;
        self.line(line)
    }

    /// Says something beside the answer, to whoever looks on.
    pub fn note(&self, note: impl Display) {
        // There is nobody to tell when even that cannot be written.
        let _ = writeln!(stderr().lock(), "tdlink: {note}");
    }

    /// A line that the next one writes over, for whoever looks on.
    pub fn progress(&self, state: impl Display) {
        if self.is_terminal() && stderr().is_terminal() {
            let _ = write!(stderr().lock(), "\r\x1b[K{state}");
        }
    }

    /// Says why it did not work.
    pub fn failed(&self, failure: &Failure) {
        if self.json {
            let value = json!({ "error": failure.to_string(), "code": failure.code() });
            let _ = writeln!(stderr().lock(), "{value}");
        } else {
            self.note(failure);
        }
    }
}

/// A word as the shell of this system takes it: TouchDesigner's names have `>>` in them, which would redirect.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    match cfg!(windows) {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_that_would_redirect_is_quoted() {
        assert_eq!(quoted("cam1"), "cam1");
        assert_eq!(quoted("cudalink_ipc_TD>>Python"), "'cudalink_ipc_TD>>Python'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
