// SPDX-License-Identifier: MPL-2.0
//! `tdlink info`: everything that a header says, and what is wrong with it; for bytes without one, what they could be.

use serde_json::{Value, json};
use tdlink_core::discover::{Detail, FieldLine, Found, Guess, Look, fields, geometries, named};
use tdlink_core::segment::{OpenOptions, Segment};

use crate::buffer::describe::{age, origin, rate, value};
use crate::buffer::locate::find;
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{Line, shown};
use crate::output::Output;

/// Proposals for headerless bytes.
const PROPOSALS: usize = 5;

/// Arguments of `info`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The buffer
    pub name: String,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Says everything about what stands under the name.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return out.pipeline(&crate::buffer::describe::pipeline(
            &args.name,
            &args.geometry,
            Line::default().then("fakesink").set("num-buffers", 1),
        )?);
    }
    // The one that a command would take comes first; the others of the name are said, too.
    let first = find(&args.name, Look::Processes)?;
    let others = named(&args.name, Look::Processes).into_iter().filter(|other| other.protocol() != first.protocol());
    for found in std::iter::once(first.clone()).chain(others) {
        one(&found, &args.geometry, out)?;
    }
    Ok(())
}

fn one(found: &Found, geometry: &Geometry, out: &mut Output) -> Result<(), Failure> {
    let said = fields(found);
    let guesses = if matches!(found.detail, Detail::Raw) { guesses(found)? } else { Vec::new() };
    let checked = if matches!(found.detail, Detail::Raw) && !geometry.is_empty() {
        Some(geometry.of_raw(&found.name, found.bytes)?)
    } else {
        None
    };
    let mut all = value(found);
    if let Value::Object(all) = &mut all {
        all.insert("fields".to_owned(), said.iter().map(field_value).collect());
        all.insert("proposals".to_owned(), guesses.iter().map(guess_value).collect());
        if let Detail::Control(Some(control)) = &found.detail {
            let rows = control
                .rows
                .iter()
                .map(|row| json!({ "row": row.row, "pid": row.pid, "taken": row.taken, "leases": row.leases }));
            all.insert("rows".to_owned(), rows.collect());
            all.insert("caps".to_owned(), json!(control.description.spec.caps));
            all.insert("lossless".to_owned(), json!(control.header.lossless));
            all.insert("slots".to_owned(), json!(control.description.pixels.slots));
        }
    }
    out.value(&all)?;
    lines(found, out)?;
    if let Some(desc) = checked {
        out.line(format_args!("  as {desc}: {} of {} bytes are used", desc.bytes().unwrap_or(0), found.bytes))?;
    }
    for field in &said {
        let meaning = field.meaning.as_ref().map(|meaning| format!("  {meaning}")).unwrap_or_default();
        let wrong = field.wrong.as_ref().map(|wrong| format!("  ! {wrong}")).unwrap_or_default();
        out.line(format_args!("  {:>5}  {:20} {}{meaning}{wrong}", field.offset, field.name, field.value))?;
    }
    if matches!(found.detail, Detail::Raw) {
        proposals(found, &guesses, out)?;
    }
    Ok(())
}

fn lines(found: &Found, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!("{}: {}, {}", found.name, found.protocol().word(), found.state.word()))?;
    out.line(format_args!("  object {:?}, {} bytes", found.object.as_str(), found.bytes))?;
    let pixels = found.pixels.as_deref().unwrap_or("unknown");
    let corner = found.frame.map(|frame| format!(", row 0 {}", origin(frame.origin))).unwrap_or_default();
    let hertz = found.framerate.map(|said| format!(", {} Hz", rate(said))).unwrap_or_default();
    out.line(format_args!("  frames {pixels}{corner}{hertz}"))?;
    if let Some(producer) = &found.producer {
        out.line(format_args!("  producer {producer}"))?;
    }
    if let Some(last) = found.age {
        out.line(format_args!("  last frame {} ago", age(last)))?;
    }
    if let Detail::Control(Some(control)) = &found.detail {
        let delivery = if control.header.lossless { "lossless" } else { "the newest frame wins" };
        let slots = control.description.pixels.slots;
        let slots = if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") };
        out.line(format_args!("  {slots}, {delivery}, generation {}", control.generation))?;
        for row in &control.rows {
            out.line(format_args!(
                "  reader {}: process {}, took frame {}, holds {}",
                row.row, row.pid, row.taken, row.leases
            ))?;
        }
        if !control.description.spec.caps.is_empty() {
            out.line(format_args!("  caps {}", control.description.spec.caps))?;
        }
    }
    for user in &found.users {
        out.line(format_args!("  open in {user}"))?;
    }
    for trouble in &found.trouble {
        out.line(format_args!("  ! {trouble}"))?;
    }
    Ok(())
}

fn field_value(field: &FieldLine) -> Value {
    let FieldLine { offset, name, value, meaning, wrong } = field;
    json!({ "offset": offset, "name": name, "value": value, "meaning": meaning, "wrong": wrong })
}

fn guess_value(guess: &Guess) -> Value {
    let desc = guess.desc;
    json!({
        "width": desc.width,
        "height": desc.height,
        "channels": desc.format.channels,
        "sample-type": desc.format.sample.to_string(),
        "unlikeness": guess.unlikeness,
    })
}

/// What the bytes could be.
fn guesses(found: &Found) -> Result<Vec<Guess>, Failure> {
    let segment = match Segment::open(&found.object, OpenOptions { allow_other_user: true }) {
        Ok(segment) => segment,
        // What keeps it from being read stands among its troubles.
        Err(_) if !found.trouble.is_empty() => return Ok(Vec::new()),
        Err(error) => return Err(Failure::failed(error)),
    };
    let mut bytes = vec![0; segment.len()];
    segment.read(0, &mut bytes).map_err(Failure::failed)?;
    Ok(geometries(&bytes, PROPOSALS))
}

fn proposals(found: &Found, guesses: &[Guess], out: &mut Output) -> Result<(), Failure> {
    if guesses.is_empty() {
        return out.line("  no header, and no geometry fits the number of bytes");
    }
    if guesses.iter().all(|guess| guess.unlikeness.is_none()) {
        out.line("  no header; all pixels are alike, so that nothing but the number of bytes speaks for these:")?;
    } else {
        out.line("  no header; neighbouring pixels and rows are most alike as (0 is a smooth picture, 1 is noise):")?;
    }
    for guess in guesses {
        let desc = guess.desc;
        let like = guess.unlikeness.map(|unlikeness| format!("   {unlikeness:.3}")).unwrap_or_default();
        out.line(format_args!(
            "    {} --width {} --height {} --channels {} --sample-type {} -o look.png{like}",
            shown(&[], "tdlink snapshot", std::slice::from_ref(&found.name)),
            desc.width,
            desc.height,
            desc.format.channels,
            desc.format.sample
        ))?;
    }
    Ok(())
}
