// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask inspect`: `docs/elements.md`, made of what gst-inspect-1.0 says of the plugin that was just built.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};
use crate::test;

const ELEMENTS: [&str; 4] = ["tdshmsrc", "tdshmsink", "tdcudaipcsrc", "tdcudaipcsink"];

/// What GStreamer's base classes give to every source or sink; versions differ in it, and GStreamer documents it.
const INHERITED: [&str; 18] = [
    "async",
    "automatic-eos",
    "blocksize",
    "do-timestamp",
    "enable-last-sample",
    "last-sample",
    "max-bitrate",
    "max-lateness",
    "name",
    "num-buffers",
    "parent",
    "processing-deadline",
    "qos",
    "render-delay",
    "sync",
    "throttle-time",
    "ts-offset",
    "typefind",
];

const HEAD: &str = "\
# Elements, property by property

Made by `cargo xtask inspect` from `gst-inspect-1.0`, and checked by continuous integration: edit the elements, not this
page. What sources and sinks have from GStreamer's base classes (`sync`, `num-buffers`, …) is left out. *Live*: may be
changed while the pipeline plays; all others are set before it starts.

The plugin also has the device provider `tdlinkdeviceprovider`, which needs no settings: `gst-device-monitor-1.0` lists
the buffers that say what is in them.
";

/// One property, as gst-inspect says it.
#[derive(Debug, Default, PartialEq)]
struct Property {
    name: String,
    blurb: String,
    flags: String,
    kind: String,
    /// Of an enum: values and what they mean.
    values: Vec<(String, String)>,
}

/// Properties and the names of signals in what gst-inspect-1.0 says of an element.
fn parse(said: &str) -> (Vec<Property>, Vec<String>) {
    let mut properties: Vec<Property> = Vec::new();
    let mut signals = Vec::new();
    let mut part = "";
    for line in said.lines() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        match (indent, text) {
            (0, "Element Properties:" | "Element Signals:") => part = text,
            (0, "") => {}
            (0, _) => part = "",
            (2, _) if part == "Element Signals:" => signals.extend(text.split('"').nth(1).map(str::to_owned)),
            (2, _) if part == "Element Properties:" => {
                if let Some((name, blurb)) = text.split_once(": ") {
                    let (name, blurb) = (name.trim().to_owned(), blurb.trim().to_owned());
                    properties.push(Property { name, blurb, ..Property::default() });
                }
            }
            _ if part == "Element Properties:" => {
                let Some(property) = properties.last_mut() else { continue };
                if let Some(flags) = text.strip_prefix("flags: ") {
                    property.flags = flags.to_owned();
                } else if property.kind.is_empty() {
                    property.kind = text.to_owned();
                } else if let Some((number, value)) = text.strip_prefix('(').and_then(|text| text.split_once("): "))
                    && number.parse::<u32>().is_ok()
                    && let Some((value, meaning)) = value.split_once(" - ")
                {
                    property.values.push((value.trim().to_owned(), meaning.trim().to_owned()));
                }
            }
            _ => {}
        }
    }
    properties.retain(|property| !INHERITED.contains(&property.name.as_str()));
    (properties, signals)
}

impl Property {
    /// Type, range and default, in a few words.
    fn takes(&self) -> String {
        let (kind, default) = self.kind.split_once("Default:").unwrap_or((&self.kind, ""));
        let default = default.trim().trim_matches('"');
        if kind.starts_with("Enum") {
            let default = default.split_once(", ").map_or(default, |(_, name)| name.trim_start_matches('"'));
            let values: Vec<String> = self.values.iter().map(|(value, _)| format!("`{value}`")).collect();
            return format!("{}; default `{default}`", values.join(", "));
        }
        let (kind, range) = kind.split_once("Range:").unwrap_or((kind, ""));
        let kind = match kind.trim().trim_end_matches('.') {
            "Unsigned Integer" | "Integer" | "Unsigned Integer64" | "Integer64" | "Float" => "number",
            "Boolean" => "boolean",
            "String" => "text",
            "Fraction" => "fraction",
            _ if self.kind.contains("GstStructure") => return "structure".into(),
            other => return other.to_owned(),
        };
        let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
        // A type's own limits say nothing.
        let says_nothing = |range: &str| range.ends_with("- 18446744073709551615") || range.ends_with("- 4294967295");
        let range = match range.as_str() {
            "" => String::new(),
            range if says_nothing(range) || kind == "fraction" => String::new(),
            range => format!(" {}", range.replace(" - ", " to ")),
        };
        let default = match (self.name.as_str(), default.parse::<u32>()) {
            ("perms", Ok(mode)) => format!("0{mode:o}"),
            _ if default.is_empty() => "none".into(),
            _ => default.to_owned(),
        };
        format!("{kind}{range}; default `{default}`")
    }

    fn when(&self) -> &'static str {
        match self.flags.as_str() {
            flags if !flags.contains("writable") => "read only",
            flags if flags.contains("changeable only in NULL or READY") => "",
            _ => "live",
        }
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("NAME.tdlink", "`NAME.tdlink`")
}

/// The page's part of one element.
fn section(element: &str, said: &str) -> Outcome<String> {
    let (properties, signals) = parse(said);
    let field = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let (Some(about), false) = (field("Description"), properties.is_empty()) else {
        fail!("gst-inspect-1.0 {element} has no description or no properties:\n{said}");
    };
    let mut page = format!("\n## `{element}`\n\n{}.\n\n", about.trim_end_matches('.'));
    page.push_str("| property | takes | meaning | |\n| --- | --- | --- | --- |\n");
    for property in &properties {
        let mut meaning = cell(&property.blurb);
        for (value, told) in &property.values {
            // Many begin with the value's own name.
            let told = told
                .split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case(value))
                .map_or(told.as_str(), |(_, told)| told);
            // Writing to a String cannot fail.
            let _ = write!(meaning, "<br>`{value}`: {}", cell(told));
        }
        let _ = writeln!(page, "| `{}` | {} | {meaning} | {} |", property.name, property.takes(), property.when());
    }
    if !signals.is_empty() {
        let names: Vec<String> = signals.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(page, "\nSignals: {}.\n", names.join(", "));
    }
    Ok(page)
}

fn page() -> Outcome<String> {
    setup::ensure(&[Need::Build, Need::Media])?;
    run::check(run::cargo().args(["build", "--locked"]).args(test::EVERYTHING))?;
    let plugin = run::target().join("debug/libgsttdlink.so");
    let registry = run::target().join("inspect-registry.bin");
    let mut page = HEAD.to_owned();
    for element in ELEMENTS {
        let mut inspect = Command::new("gst-inspect-1.0");
        inspect.arg("--no-colors").arg(format!("--gst-plugin-load={}", plugin.display())).arg(element);
        let said = run::ask(inspect.env("GST_REGISTRY", &registry).env("LC_ALL", "C.UTF-8"));
        let said = said.ok_or_else(|| Trouble::Failed(format!("gst-inspect-1.0 does not know {element}")))?;
        page.push_str(&section(element, &said)?);
    }
    Ok(page)
}

fn place() -> PathBuf {
    run::root().join("docs/elements.md")
}

/// Writes the page.
pub fn write() -> Outcome {
    let place = place();
    std::fs::write(&place, page()?).map_err(|err| Trouble::Machine(format!("{}: {err}", place.display())))?;
    say(format_args!("wrote {}", place.display()));
    Ok(())
}

/// The page is what the elements say.
pub fn check() -> Outcome {
    let (committed, made) = (std::fs::read_to_string(place()).unwrap_or_default(), page()?);
    if let Some((number, (was, is))) = committed.lines().zip(made.lines()).enumerate().find(|(_, (was, is))| was != is)
    {
        fail!(
            "docs/elements.md, line {}: it has\n{was}\nand the element says\n{is}\n`cargo xtask inspect` makes it anew",
            number + 1
        );
    }
    if committed != made {
        fail!("docs/elements.md has not what the elements say: `cargo xtask inspect` makes it anew");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
Factory Details:
  Description              Writes video

Element Properties:
  name                : The name of the object
                        flags: readable, writable
                        String. Default: \"x0\"
  origin              : Where row 0 stands; auto: somewhere
                        flags: readable, writable, changeable only in NULL or READY state
                        Enum \"GstOrigin\" Default: 0, \"auto\"
                           (0): auto             - Auto: what the wire says
                           (1): top-left         - Top-left: row 0 is on top
  slots               : One | more
                        flags: readable, writable
                        Integer. Range: 1 - 16 Default: 1 
  stats               : Counters
                        flags: readable
                        Boxed pointer of type \"GstStructure\"
                                                              frames: 0

Element Signals:
  \"client-connected\" :  void user_function (GstElement* object,
                                            gpointer user_data);
";

    #[test]
    fn what_gst_inspect_says_becomes_a_table() {
        let page = section("x", SAID).ok().unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(
            rows,
            [
                "| `origin` | `auto`, `top-left`; default `auto` | Where row 0 stands; auto: somewhere<br>`auto`: what the wire says<br>`top-left`: row 0 is on top |  |",
                "| `slots` | number 1 to 16; default `1` | One \\| more | live |",
                "| `stats` | structure | Counters | read only |",
            ]
        );
        assert!(page.ends_with("Signals: `client-connected`.\n"), "{page}");
        assert!(section("x", "nothing").is_err());
    }
}
