// SPDX-License-Identifier: MPL-2.0
//! `tdlink list`: every buffer of this machine.

use tdlink_core::discover::{Found, Look, Protocol, State, all};

use crate::buffer::describe::{age, rate, value};
use crate::failure::Failure;
use crate::output::{Output, plain};

/// Arguments of `list`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Segments of other programs, too, that no header tells apart from a buffer (Linux: always listed)
    #[arg(long)]
    pub all: bool,
    /// Only those whose producer is there
    #[arg(long)]
    pub live: bool,
}

/// Lists what there is.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return out.pipeline("gst-device-monitor-1.0 Video/Source");
    }
    let everything = args.all || cfg!(target_os = "linux");
    let mut found = all(Look::Processes);
    found.retain(|found| everything || found.protocol() != Protocol::Raw);
    found.retain(|found| !args.live || found.state != State::Stale);
    for found in &found {
        out.value(&value(found))?;
    }
    if found.is_empty() {
        return out.line("No buffers here.");
    }
    let rows: Vec<[String; 9]> = found.iter().map(row).collect();
    const HEAD: [&str; 9] = ["NAME", "PROTOCOL", "STATE", "BYTES", "FRAMES", "RATE", "AGE", "READERS", "PRODUCER"];
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(HEAD[column].len())
    });
    out.line(line(&HEAD.map(str::to_owned), &widths))?;
    for (row, found) in rows.iter().zip(&found) {
        out.line(line(row, &widths))?;
        for trouble in &found.trouble {
            out.line(format_args!("  ! {trouble}"))?;
        }
    }
    Ok(())
}

fn row(found: &Found) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        plain(&found.name),
        found.protocol().word().to_owned(),
        found.state.word().to_owned(),
        found.bytes.to_string(),
        or_dash(found.pixels.clone()),
        or_dash(found.framerate.map(rate)),
        or_dash(found.age.map(age)),
        or_dash(found.consumers.map(|consumers| consumers.to_string())),
        or_dash(found.producer.as_ref().map(|producer| plain(&producer.to_string()))),
    ]
}

fn line(row: &[String; 9], widths: &[usize; 9]) -> String {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}
