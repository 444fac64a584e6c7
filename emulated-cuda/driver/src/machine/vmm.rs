// SPDX-License-Identifier: MPL-2.0
//! Memory that is made, shared and mapped in separate steps.

use std::sync::Arc;

use super::pages::Backing;

/// What `cuMemAllocationProp` says, as far as it matters here: type, handle types, location type, location id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    pub handle_types: u32,
    pub device: i32,
}

/// Memory without an address.
#[derive(Clone, Debug)]
pub struct Physical {
    pub backing: Arc<Backing>,
    pub properties: Properties,
    /// Handles that the program holds, and mappings.
    pub references: u32,
    /// Came from another process, or by a file.
    pub imported: bool,
}
