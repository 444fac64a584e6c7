// SPDX-License-Identifier: MPL-2.0
//! A pipeline in gst-launch-1.0's words.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;

/// The words of a pipeline, one branch after the other.
#[derive(Debug, Clone, Default)]
pub struct Line {
    words: Vec<String>,
    /// Whether the next element follows on the last one.
    linked: bool,
}

impl Line {
    /// The next element of this branch.
    pub fn then(mut self, element: &str) -> Self {
        if std::mem::replace(&mut self.linked, true) {
            self.words.push("!".into());
        }
        self.words.push(element.into());
        self
    }

    /// A property of the last element.
    pub fn set(mut self, property: &str, value: impl Display) -> Self {
        self.words.push(format!("{property}={}", quoted(&value.to_string())));
        self
    }

    /// A property of the last element, where it is wanted.
    pub fn set_some(self, property: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.set(property, value),
            None => self,
        }
    }

    /// A property of the last element that is a file. GStreamer takes forward slashes everywhere.
    pub fn file(self, property: &str, file: &Path) -> Self {
        let text = file.to_string_lossy();
        let text = if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() };
        self.set(property, text)
    }

    /// The branch ends here; what comes next begins another one.
    pub fn end(mut self) -> Self {
        self.linked = false;
        self
    }

    /// Another line's branches after these.
    pub fn and(mut self, other: Self) -> Self {
        self.words.extend(other.words);
        self.linked = other.linked;
        self
    }

    /// Another line's first branch goes on where this one's last has come to.
    pub fn through(mut self, other: Self) -> Self {
        if self.linked && !other.words.is_empty() {
            self.words.push("!".into());
        }
        self.and(other)
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

/// A value as gst-launch-1.0 reads it: bare where nothing in it means something.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+./,:=@%<>()?&;~#*[]{}".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// A command as it is typed into the shell of this system: sh, or cmd on Windows.
pub fn shown(settings: &[(&str, OsString)], program: &str, words: &[String]) -> String {
    let mut shown = Vec::new();
    for (name, value) in settings {
        let value = value.to_string_lossy();
        shown.push(if cfg!(windows) {
            format!("set \"{name}={value}\" &&")
        } else {
            format!("{name}={}", word(&value))
        });
    }
    shown.push(program.to_owned());
    shown.extend(words.iter().map(|text| word(text)));
    shown.join(" ")
}

/// One word for the shell of this system.
pub fn word(text: &str) -> String {
    if cfg!(windows) { word_for_cmd(text) } else { word_for_sh(text) }
}

fn word_for_sh(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@%".contains(c);
    if text == "!" || (!text.is_empty() && text.chars().all(plain)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn word_for_cmd(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@!\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        // cmd replaces %VAR% within quotes, too, and at its prompt knows no way to write a % but this: outside them, behind
        // a caret, which parts the name from the second %. (PowerShell takes the caret for itself.)
        let parts: Vec<String> = text.split('%').map(in_quotes).collect();
        parts.join("^%")
    }
}

/// What has no % in it, in quotes: backslashes mean something before one alone.
fn in_quotes(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for c in text.chars() {
        if c == '"' {
            quoted.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        quoted.push(c);
    }
    quoted.extend(std::iter::repeat_n('\\', backslashes));
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_linked_within_and_not_between() {
        let first = Line::default().then("a").set("x", 1).then("b").end();
        let line = first.and(Line::default().then("c").through(Line::default().then("d")));
        assert_eq!(line.words().join(" "), "a x=1 ! b c ! d");
    }

    #[test]
    fn a_value_with_a_blank_or_a_quote_stays_one_value() {
        let line = Line::default().then("a").set("location", r#"my "film".mp4"#);
        assert_eq!(line.words()[1], r#"location="my \"film\".mp4""#);
    }

    #[test]
    fn a_name_that_would_redirect_is_quoted_for_the_shell() {
        let name = "shm-name=cudalink_ipc_TD>>Python";
        assert_eq!(word_for_sh(name), format!("'{name}'"));
        assert_eq!(word_for_cmd(name), format!("\"{name}\""));
        assert_eq!(word_for_sh("!"), "!");
    }

    #[test]
    fn a_variable_and_a_backslash_at_the_end_reach_the_program_from_cmd() {
        assert_eq!(word_for_cmd("a%TEMP%b"), r#""a"^%"TEMP"^%"b""#);
        assert_eq!(word_for_cmd(r"C:\my films\"), r#""C:\my films\\""#);
        assert_eq!(word_for_cmd(r#"a\"b"#), r#""a\\\"b""#);
    }
}
