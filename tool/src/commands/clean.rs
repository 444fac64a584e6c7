// SPDX-License-Identifier: MPL-2.0
//! `tdlink clean`: removes what producers of ours left that died. Nothing else, in no mode.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use serde_json::json;
use tdlink_core::discover::{Detail, Found, Look, Protocol, State, all};
use tdlink_core::protocol::control::{Cleaned, clean};
use tdlink_core::segment::SegmentName;

use crate::failure::Failure;
use crate::output::{Output, plain};

/// Arguments of `clean`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask. It removes nothing that would not be removed without it
    #[arg(long)]
    pub force: bool,
    /// Only these buffers
    pub names: Vec<String>,
}

/// What becomes of a buffer, and why.
struct Fate {
    word: &'static str,
    why: String,
}

/// Removes what is left, and says what stays.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return Err(Failure::Usage("no pipeline removes what a dead one left; leave --print out".to_owned()));
    }
    let mut found = all(Look::Processes);
    if !args.names.is_empty() {
        let unknown = args.names.iter().find(|name| !found.iter().any(|found| found.name == **name));
        if let Some(name) = unknown {
            return Err(Failure::NotFound(format!("there is no buffer {name:?}; `tdlink list` shows what there is")));
        }
        found.retain(|found| args.names.contains(&found.name));
    }
    let left: Vec<&Found> = found.iter().filter(|found| is_left(found)).collect();
    if !left.is_empty() && !args.dry_run && !args.force && !out.is_json() && stdin().is_terminal() && !agreed(&left)? {
        return out.line("Nothing was removed.");
    }
    let mut failures = 0;
    for found in &found {
        let fate = if is_left(found) && !args.dry_run { removed(found) } else { kept(found) };
        failures += u32::from(fate.word == "failed");
        out.value(
            &json!({ "name": found.name, "protocol": found.protocol().word(), "outcome": fate.word, "why": fate.why }),
        )?;
        out.line(format_args!("{:8} {}  {}", fate.word, found.name, fate.why))?;
    }
    match failures {
        0 if found.is_empty() => out.line("Nothing to remove."),
        0 => Ok(()),
        failures => Err(Failure::Failed(format!("{failures} of the left buffers could not be removed"))),
    }
}

/// A control segment of ours that can be read, whose producer has gone and that nobody waits at.
fn is_left(found: &Found) -> bool {
    matches!(&found.detail, Detail::Control(Some(control)) if control.rows.is_empty()) && found.state == State::Stale
}

fn agreed(left: &[&Found]) -> Result<bool, Failure> {
    let names: Vec<String> = left.iter().map(|found| plain(&found.name)).collect();
    write!(stderr().lock(), "Remove {}? [y/N] ", names.join(", "))?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Everything is looked at again, with every claim held.
fn removed(found: &Found) -> Fate {
    let done = SegmentName::new(&found.name).map_err(|error| error.to_string());
    match done.and_then(|name| clean(&name).map_err(|error| error.to_string())) {
        Ok(Cleaned::Removed) => Fate { word: "removed", why: "its producer had gone".to_owned() },
        Ok(Cleaned::Live) => Fate { word: "kept", why: "a producer has come meanwhile".to_owned() },
        Ok(Cleaned::InUse) => Fate { word: "kept", why: "a reader has come meanwhile".to_owned() },
        Ok(Cleaned::Foreign(error)) => Fate { word: "kept", why: format!("it is not ours: {error}") },
        Err(error) => Fate { word: "failed", why: error },
    }
}

fn kept(found: &Found) -> Fate {
    if is_left(found) {
        return Fate { word: "left", why: "its producer has gone; without --dry-run it is removed".to_owned() };
    }
    let why = match (&found.detail, found.state) {
        (Detail::Control(None), _) => "its control segment cannot be read, so that it may be another program's",
        (Detail::Control(Some(_)), State::Stale) => "its producer has gone, but readers wait for another one",
        (Detail::Control(Some(_)), _) => "its producer lives",
        _ if found.protocol() == Protocol::Raw => {
            "bytes without a control segment of ours: whoever made them removes them"
        }
        _ => "another program's: whoever made it removes it",
    };
    Fate { word: "kept", why: why.to_owned() }
}
