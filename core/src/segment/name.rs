// SPDX-License-Identifier: MPL-2.0
//! The name under which two programs find the same memory.

use std::fmt;

use thiserror::Error;

/// Longest name, in bytes. macOS allows 31 with the slash that CPython adds; seven are kept for `.tdlink`.
/// Elsewhere the limit is 255, less what hidden links and objects beside the name need.
pub const MAX_NAME_BYTES: usize = if cfg!(target_os = "macos") { 23 } else { 200 };

/// Ending of the names of our own objects beside a segment.
pub(super) const RESERVED_ENDING: &str = ".tdlink";

/// A name as a user types it and as CPython's `SharedMemory(name=…)` takes it: `cam1`, without a slash in front.
///
/// It is the object `/cam1` of POSIX shared memory and the section `cam1` of the session on Windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName(String);

/// Why a text is no [`SegmentName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// No text at all.
    #[error("the name is empty")]
    Empty,
    /// More bytes than every platform's objects and ours beside them can carry.
    #[error("the name has {len} bytes, at most {MAX_NAME_BYTES} are allowed here")]
    TooLong {
        /// Bytes of the name.
        len: usize,
    },
    /// A slash, a backslash, or a NUL.
    #[error("the name {name:?} contains {found:?}, which no shared memory name may")]
    Forbidden {
        /// The name.
        name: String,
        /// The first character that cannot stand in it.
        found: char,
    },
    /// A dot in front: hidden objects are ours.
    #[error("the name {name:?} starts with a dot; such names are kept for hidden links")]
    LeadingDot {
        /// The name.
        name: String,
    },
    /// It would be taken for one of our own objects.
    #[error("the name {name:?} ends in {RESERVED_ENDING:?}, which is kept for the objects beside a segment")]
    Reserved {
        /// The name.
        name: String,
    },
}

impl SegmentName {
    /// Checks `name`.
    ///
    /// # Errors
    /// A name that is empty, longer than [`MAX_NAME_BYTES`], contains a slash, a backslash (Windows: other than in a
    /// leading `Local\` or `Global\`) or a NUL, starts with a dot or ends in `.tdlink`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong { len: name.len() });
        }
        let bare = without_namespace(name);
        if bare.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(found) = bare.chars().find(|c| matches!(c, '/' | '\\' | '\0')) {
            return Err(NameError::Forbidden { name: name.to_owned(), found });
        }
        if bare.starts_with('.') {
            return Err(NameError::LeadingDot { name: name.to_owned() });
        }
        if bare.ends_with(RESERVED_ENDING) {
            return Err(NameError::Reserved { name: name.to_owned() });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name of the control segment beside this one: `NAME.tdlink`.
    pub fn control(&self) -> Self {
        Self(format!("{}{RESERVED_ENDING}", self.0))
    }

    /// The name of the ring's pixels in a generation: `NAME.tdlink.<generation>`.
    pub fn pixels(&self, generation: u64) -> Self {
        Self(format!("{}{RESERVED_ENDING}.{generation}", self.0))
    }

    /// The name of the object that holds our pixels, if `file` is one: this name, or a generation's.
    pub fn pixels_named(&self, file: &str) -> Option<Self> {
        (file == self.0 || self.generation_of(file).is_some()).then(|| Self(file.to_owned()))
    }

    /// The generation, if `file` is what [`SegmentName::pixels`] gives for it.
    pub(super) fn generation_of(&self, file: &str) -> Option<u64> {
        let digits = file.strip_prefix(&self.0)?.strip_prefix(RESERVED_ENDING)?.strip_prefix('.')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        plain.then(|| digits.parse().ok()).flatten()
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Windows sorts names into namespaces by a prefix; other systems have none.
fn without_namespace(name: &str) -> &str {
    if cfg!(windows) {
        return ["Local\\", "Global\\"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    }
    name
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_peers_use_are_taken_as_they_are() {
        for name in ["cam1", "psm_1a2b3c4d", "cudalink_ipc_Python>>TD", "TouchSHMcam1", "größe 2", "a.b"] {
            assert_eq!(SegmentName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn the_longest_name_is_taken_and_one_byte_more_is_not() {
        assert!(SegmentName::new(&"n".repeat(MAX_NAME_BYTES)).is_ok());
        let len = MAX_NAME_BYTES + 1;
        assert_eq!(SegmentName::new(&"n".repeat(len)), Err(NameError::TooLong { len }));
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_refused() {
        assert_eq!(SegmentName::new(""), Err(NameError::Empty));
        for (name, found) in [("/cam1", '/'), ("../x", '/'), ("a\\b", '\\'), ("a\0b", '\0')] {
            assert_eq!(SegmentName::new(name), Err(NameError::Forbidden { name: name.to_owned(), found }));
        }
        for name in [".", "..", ".cam1.keep"] {
            assert_eq!(SegmentName::new(name), Err(NameError::LeadingDot { name: name.to_owned() }));
        }
        assert_eq!(SegmentName::new("cam1.tdlink"), Err(NameError::Reserved { name: "cam1.tdlink".to_owned() }));
    }

    #[test]
    fn only_our_own_objects_count_as_generations() {
        let name = SegmentName::new("cam1").unwrap();
        assert_eq!(name.control().as_str(), "cam1.tdlink");
        assert_eq!(name.generation_of(name.pixels(u64::MAX).as_str()), Some(u64::MAX));
        for file in
            ["cam1.tdlink", "cam1.tdlink.", "cam1.tdlink.01", "cam1.tdlink.+1", "cam12.tdlink.1", "cam1.tdlink.1.1"]
        {
            assert_eq!(name.generation_of(file), None, "{file}");
        }
    }

    #[test]
    fn a_namespace_prefix_is_a_windows_word() {
        assert_eq!(SegmentName::new("Local\\cam1").is_ok(), cfg!(windows));
        assert_eq!(SegmentName::new("Global\\cam1").is_ok(), cfg!(windows));
        assert!(SegmentName::new("Local\\").is_err());
        assert!(SegmentName::new("Local\\a\\b").is_err());
    }
}
