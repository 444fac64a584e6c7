// SPDX-License-Identifier: MPL-2.0
//! Removing what a producer left that died.

use super::ConsumeError;
use super::description::Description;
use super::layout::{HEADER_BYTES, Header, LayoutError};
use super::takeover::remove_raw;
use crate::segment::{ControlSegment, OpenOptions, SegmentName, remove_pixels};

/// What became of a control segment and the pixels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// It is gone, and its pixels with it.
    Removed,
    /// Its producer lives. Nothing was touched.
    Live,
    /// Consumers are attached that wait for a producer to come back. Nothing was touched.
    InUse,
    /// It is not a control segment of this program's. Nothing was touched.
    Foreign(LayoutError),
}

/// Removes the control segment of `name` and the pixels that it is about, if it is one of ours, of this user, its
/// producer has gone and no consumer is attached. Every claim is held while it goes, so that a producer that begins
/// meanwhile begins anew. Raw pixels that another program uses, or has made its own, stay.
///
/// # Errors
/// There is none, it is another user's, or the system's refusal.
pub fn clean(name: &SegmentName) -> Result<Cleaned, ConsumeError> {
    let control = ControlSegment::open(name, &OpenOptions::default())?;
    let segment = control.segment();
    let mut bytes = vec![0; segment.len().min(HEADER_BYTES)];
    segment.read(0, &mut bytes)?;
    let header = match Header::parse(&bytes, segment.len()) {
        Ok(header) => header,
        Err(error) => return Ok(Cleaned::Foreign(error)),
    };
    let description = Description::parse(&bytes, &header).ok();
    let removed = control.remove_if_unused(|| {
        remove_pixels(name, None);
        if let Some(description) = &description {
            remove_raw(name, description);
        }
    });
    Ok(match removed {
        true => Cleaned::Removed,
        false if control.has_producer()? => Cleaned::Live,
        false => Cleaned::InUse,
    })
}
