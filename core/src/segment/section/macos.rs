// SPDX-License-Identifier: MPL-2.0
//! No sections on macOS: TouchDesigner keeps longer names than the system allows in a directory of its own, and a mutex
//! that nothing frees when its holder dies. Neither was ever tried by us against a TouchDesigner.

use crate::segment::section::Access;
use crate::segment::{CreateOptions, OpenOptions, Segment, SegmentError, SegmentName};

/// None.
#[derive(Debug)]
pub(super) enum Section {}

impl Section {
    pub(super) fn create(_: &SegmentName, _: usize, _: &CreateOptions) -> Result<Self, SegmentError> {
        Err(SegmentError::Unsupported { what: "TouchDesigner's Shared Mem TOPs on macOS" })
    }

    pub(super) fn open(_: &SegmentName, _: Access, _: &OpenOptions) -> Result<Self, SegmentError> {
        Err(SegmentError::Unsupported { what: "TouchDesigner's Shared Mem TOPs on macOS" })
    }

    pub(super) fn segment(&self) -> &Segment {
        match *self {}
    }
}
