// SPDX-License-Identifier: MPL-2.0
//! Sections of Windows are what the others imitate.

use windows_sys::Win32::System::Memory::{FILE_MAP_READ, FILE_MAP_WRITE};

use crate::segment::section::Access;
use crate::segment::windows::{Mapping, create_section};
use crate::segment::{CreateOptions, OpenOptions, Segment, SegmentError, SegmentName};

#[derive(Debug)]
pub(super) struct Section {
    segment: Segment,
}

impl Section {
    pub(super) fn create(name: &SegmentName, len: usize, _: &CreateOptions) -> Result<Self, SegmentError> {
        let (section, is_new) = create_section(name, len)?;
        if !is_new {
            return Err(SegmentError::Exists { name: name.as_str().to_owned() });
        }
        Ok(Self { segment: Segment::over(Mapping::over(section, FILE_MAP_READ | FILE_MAP_WRITE, name)?) })
    }

    pub(super) fn open(name: &SegmentName, access: Access, _: &OpenOptions) -> Result<Self, SegmentError> {
        let access = match access {
            Access::Read => FILE_MAP_READ,
            Access::ReadWrite => FILE_MAP_READ | FILE_MAP_WRITE,
        };
        Ok(Self { segment: Segment::over(Mapping::open_for(name, access)?) })
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }
}
