// SPDX-License-Identifier: MPL-2.0
//! Segments of Shared Mem TOPs, by their names and their magic. Their mutexes are left alone.

use std::collections::BTreeMap;

use super::{Detail, Found, State, options, refusal, touch_beside};
use crate::frame::{FrameDesc, Origin};
use crate::protocol::touch::{
    HEADER_BYTES, Header, HeaderError, INFO_BYTES, Info, InfoError, InfoLayout, PREFIX, Pixel, TouchNames,
};
use crate::segment::{Listed, Segment, SegmentError, listed};

/// What a Shared Mem TOP's two segments say.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// In front of the pixels.
    pub header: Header,
    /// The info segment, if there is one that can be read.
    pub info: Option<Info>,
}

/// Takes everything of TouchDesigner's out of `all_names`, and says what it is.
pub(super) fn take(all_names: &mut Vec<Listed>) -> Vec<Found> {
    let (mut touch, others): (Vec<_>, Vec<_>) =
        std::mem::take(all_names).into_iter().partition(|found| found.name.as_str().starts_with(PREFIX));
    *all_names = others;
    let names: BTreeMap<String, Option<Info>> = touch
        .iter()
        .filter_map(|found| TouchNames::typed_for_info(found.name.as_str()))
        .filter_map(|typed| Some((typed.to_owned(), read_info(&TouchNames::new(typed).ok()?)?.ok())))
        .collect();
    touch.retain(|found| !touch_beside(&found.name));
    let mut all = Vec::new();
    for (typed, info) in names {
        let postfix = info.as_ref().map(|info| info.postfix.clone()).unwrap_or_default();
        let data = TouchNames::new(&typed).ok().and_then(|names| names.data(&postfix).ok());
        let Some(at) = data.and_then(|data| touch.iter().position(|found| found.name == data)) else { continue };
        all.push(read(&typed, &touch.swap_remove(at), info));
    }
    for found in touch {
        match TouchNames::typed_for(found.name.as_str()) {
            Some(typed) => all.push(read(typed, &found, None)),
            None => all_names.push(found),
        }
    }
    all
}

/// What TouchDesigner's names for `typed` lead to.
pub(super) fn look(typed: &str) -> Option<Found> {
    let names = TouchNames::new(typed).ok()?;
    let info = read_info(&names).and_then(Result::ok);
    let postfix = info.as_ref().map(|info| info.postfix.clone()).unwrap_or_default();
    let data = listed(&names.data(&postfix).ok()?)?;
    Some(read(names.typed(), &data, info))
}

fn read_info(names: &TouchNames) -> Option<Result<Info, InfoError>> {
    let segment = Segment::open(names.info(), options()).ok()?;
    let mut bytes = vec![0; INFO_BYTES.min(segment.len())];
    segment.read(0, &mut bytes).ok()?;
    Some(Info::parse(&bytes, InfoLayout::Utf16))
}

fn read(typed: &str, listed: &Listed, info: Option<Info>) -> Found {
    let mut found = Found::new(typed, listed, Detail::Touch(None));
    let segment = match Segment::open(&listed.name, options()) {
        Ok(segment) => segment,
        Err(error @ SegmentError::NotFound { .. }) => {
            (found.state, found.trouble) = (State::Stale, vec![refusal(&error)]);
            return found;
        }
        Err(error) => {
            found.trouble.push(refusal(&error));
            return found;
        }
    };
    found.identity = Some(segment.identity());
    let mut front = vec![0; HEADER_BYTES.min(segment.len())];
    if let Err(error) = segment.read(0, &mut front) {
        found.trouble.push(format!("It cannot be read: {error}."));
        return found;
    }
    match Header::parse(&front, segment.len()) {
        Ok(header) => {
            let format = header.pixel.plain();
            let Header { width, height, .. } = header;
            found.frame = Some(FrameDesc { width, height, format, origin: Origin::BottomLeft });
            found.pixels = Some(match header.pixel {
                Pixel::Plain(format) => format!("{width}×{height} {format}"),
                Pixel::Packed(packed) => format!("{width}×{height} {packed:?}"),
            });
            // On every system the objects go with the last who has them open, the sender or a receiver.
            found.state = State::Live;
            found.detail = Detail::Touch(Some(Box::new(Touch { header, info: info.clone() })));
        }
        Err(HeaderError::Magic { .. }) => found.detail = Detail::Raw,
        Err(error) => found.trouble.push(format!("{error}.")),
    }
    if info.is_some_and(|info| info.detach) {
        found.state = State::Stale;
    }
    found
}
