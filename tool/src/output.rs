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

    /// A line for people, whatever names in it hold: see [`plain`]. Nothing where values are wanted.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        if !self.json {
            writeln!(stdout().lock(), "{}", plain(&line.to_string()))?;
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

    /// A text for another program that is the answer itself. `what` it is, for a refusal where values are wanted.
    pub fn text(&mut self, what: &str, text: &str) -> Result<(), Failure> {
        if self.json {
            return Err(Failure::Usage(format!("{what} is no JSON: leave --json out")));
        }
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
        let _ = writeln!(stderr().lock(), "tdlink: {}", plain_lines(&note.to_string()));
    }

    /// A line that the next one writes over, for whoever looks on.
    pub fn progress(&self, state: impl Display) {
        if self.is_terminal() && stderr().is_terminal() {
            let _ = write!(stderr().lock(), "\r\x1b[K{}", plain(&state.to_string()));
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

/// A text of somebody else's on one line of a terminal: what would end the line, command the terminal or turn the order
/// of letters around is written out, as `\n` or `\u{1b}`.
pub fn plain(text: &str) -> String {
    let commands = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match commands(letter) {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    plain
}

/// The same of several lines, which stay lines: what GStreamer says is often longer than one.
fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{plain, plain_lines};

    #[test]
    fn what_commands_a_terminal_is_written_out() {
        assert_eq!(plain("cam1 Größe ≤ 日本"), "cam1 Größe ≤ 日本");
        assert_eq!(plain("a\x1b[31m\nb\r\x07\u{9b}2J\u{202e}c"), r"a\u{1b}[31m\nb\r\u{7}\u{9b}2J\u{202e}c");
        assert_eq!(plain_lines("a\x1b[2J\nb"), "a\\u{1b}[2J\nb");
    }
}
