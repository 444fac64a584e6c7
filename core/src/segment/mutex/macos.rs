// SPDX-License-Identifier: MPL-2.0
//! No named mutex on macOS: see `section`.

use std::time::Duration;

use crate::segment::{CreateOptions, SegmentError, SegmentName};

const NONE: SegmentError = SegmentError::Unsupported { what: "TouchDesigner's Shared Mem TOPs on macOS" };

/// None.
#[derive(Debug)]
pub(super) enum Mutex {}

impl Mutex {
    pub(super) fn new(_: &SegmentName, _: &CreateOptions) -> Result<Self, SegmentError> {
        Err(NONE)
    }

    pub(super) fn exists(_: &SegmentName) -> Result<bool, SegmentError> {
        Err(NONE)
    }

    pub(super) fn lock(&mut self, _: Duration) -> Result<Option<bool>, SegmentError> {
        match *self {}
    }

    pub(super) fn unlock(&mut self) {
        match *self {}
    }
}
