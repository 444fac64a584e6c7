// SPDX-License-Identifier: MPL-2.0
//! What gst-launch-1.0 prints with `-m` and `-v`, read back.

use std::collections::BTreeMap;

/// Something that a pipeline says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An element's own message, `tdlink-connected` and its like.
    Message {
        /// The element's name.
        element: String,
        /// The message's.
        name: String,
        /// Its fields.
        fields: Fields,
    },
    /// An element's `stats`.
    Stats {
        /// The element's name.
        element: String,
        /// The counters.
        fields: Fields,
    },
    /// The pipeline runs.
    Playing,
    /// The pipeline has come to its end.
    Eos,
    /// An element's error.
    Error {
        /// The element's name.
        element: String,
        /// What is wrong.
        text: String,
    },
    /// An element's warning.
    Warning {
        /// The element's name.
        element: String,
        /// What is wrong.
        text: String,
    },
    /// Any other line.
    Line(String),
}

/// Fields of a message, as text.
pub type Fields = BTreeMap<String, String>;

/// Reads one line.
pub fn read(line: &str) -> Said {
    understood(line).unwrap_or_else(|| Said::Line(line.to_owned()))
}

fn understood(line: &str) -> Option<Said> {
    if let Some(rest) = line.strip_prefix("Got message #") {
        let (_, rest) = rest.split_once(" from element \"")?;
        let (element, rest) = rest.split_once("\" (")?;
        let (kind, rest) = rest.split_once("): ")?;
        let (name, fields) = structure(rest.trim())?;
        return (kind == "element").then(|| Said::Message { element: element.into(), name, fields });
    }
    if let Some((path, value)) = line.split_once(": stats = ").filter(|(path, _)| path.starts_with('/')) {
        let (_, fields) = structure(value.trim())?;
        return Some(Said::Stats { element: last(path), fields });
    }
    if let Some((path, text)) = line.strip_prefix("ERROR: from element ").and_then(|rest| rest.split_once(": ")) {
        return Some(Said::Error { element: last(path), text: text.trim().to_owned() });
    }
    if let Some((path, text)) = line.strip_prefix("WARNING: from element ").and_then(|rest| rest.split_once(": ")) {
        return Some(Said::Warning { element: last(path), text: text.trim().to_owned() });
    }
    if line.starts_with("Setting pipeline to PLAYING") {
        return Some(Said::Playing);
    }
    line.starts_with("Got EOS from element").then_some(Said::Eos)
}

/// The element at the end of a path, "/GstPipeline:pipeline0/GstTdShmSrc:src0".
fn last(path: &str) -> String {
    path.rsplit('/').next().and_then(|part| part.split_once(':')).map_or(path, |(_, name)| name).to_owned()
}

/// A structure as GStreamer writes it: `name, field=(type)value, …;`.
fn structure(text: &str) -> Option<(String, Fields)> {
    let text = text.strip_suffix(';').unwrap_or(text);
    let mut parts = split(text).into_iter();
    let name = parts.next()?.trim().trim_matches('"').to_owned();
    let field = |part: String| {
        let (name, value) = part.split_once('=')?;
        let value = value.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(value, |(_, value)| value);
        Some((name.trim().to_owned(), plain(value)))
    };
    Some((name, parts.filter_map(field).collect()))
}

/// At the commas that part fields: neither quoted nor escaped.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ',' && !quoted && !escaped {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        part.push(c);
    }
    parts.push(part);
    parts
}

/// A value without its quotes and escapes.
fn plain(value: &str) -> String {
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elements_message_is_read_with_its_fields() {
        let line = r##"Got message #73 from element "src0" (element): tdlink-waiting, name=(string)cam1, reason=(string)"\"cam1\"\ is\ not\ there\,\ so\ set\ width";"##;
        let Said::Message { element, name, fields } = read(line) else { panic!("{:?}", read(line)) };
        assert_eq!((element.as_str(), name.as_str()), ("src0", "tdlink-waiting"));
        assert_eq!(fields["name"], "cam1");
        assert_eq!(fields["reason"], "\"cam1\" is not there, so set width");
    }

    #[test]
    fn counters_are_read_by_the_elements_name() {
        let line =
            "/GstPipeline:pipeline0/GstTdShmSrc:src0: stats = tdlink-stats, frames=(guint64)12, torn=(guint64)3;";
        let Said::Stats { element, fields } = read(line) else { panic!("{:?}", read(line)) };
        assert_eq!((element.as_str(), fields["frames"].as_str(), fields["torn"].as_str()), ("src0", "12", "3"));
    }

    #[test]
    fn errors_name_their_element() {
        let line = "ERROR: from element /GstPipeline:pipeline0/GstFileSink:out: Could not open file: x";
        assert_eq!(read(line), Said::Error { element: "out".into(), text: "Could not open file: x".into() });
    }

    #[test]
    fn other_lines_stay_what_they_are() {
        let line = "Redistribute latency...";
        assert_eq!(read(line), Said::Line(line.into()));
    }
}
