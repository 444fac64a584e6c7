// SPDX-License-Identifier: MPL-2.0
//! Names of the four objects that two TOPs share.

use super::info::Postfix;
use crate::segment::{NameError, SegmentName};

/// In front of what a user types.
pub const PREFIX: &str = "TouchSHM";
/// Behind the names of the info segment, which is a segment of the segment: hence two prefixes.
const INFO: &str = "4jhd783h";
/// Behind the name of what a mutex guards.
const MUTEX: &str = "Mutex";

/// The objects under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchNames {
    typed: String,
    mutex: SegmentName,
    info: SegmentName,
    info_mutex: SegmentName,
}

impl TouchNames {
    /// The objects for what a user types as *Shared Mem Name*. A prefix that was typed too is taken away.
    ///
    /// # Errors
    /// No name, or one that is none with all that is put around it: 171 bytes are the most on Windows and Linux.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let typed = name.strip_prefix(PREFIX).unwrap_or(name);
        if typed.is_empty() {
            return Err(NameError::Empty);
        }
        Ok(Self {
            typed: typed.to_owned(),
            mutex: SegmentName::new(&format!("{PREFIX}{typed}{MUTEX}"))?,
            info: SegmentName::new(&format!("{PREFIX}{PREFIX}{typed}{INFO}"))?,
            info_mutex: SegmentName::new(&format!("{PREFIX}{PREFIX}{typed}{INFO}{MUTEX}"))?,
        })
    }

    /// What a user types for the pixels that stand under the name `object`: `None` for what is no such object. A postfix
    /// is taken for a part of the name: it can look like one.
    pub fn typed_for(object: &str) -> Option<&str> {
        let typed = object.strip_prefix(PREFIX)?;
        let beside = typed.ends_with(INFO) || typed.ends_with(MUTEX);
        (!typed.is_empty() && !beside).then_some(typed)
    }

    /// What a user types for the info segment that stands under the name `object`: `None` for what is no such object.
    pub fn typed_for_info(object: &str) -> Option<&str> {
        let typed = object.strip_prefix(PREFIX)?.strip_prefix(PREFIX)?.strip_suffix(INFO)?;
        (!typed.is_empty()).then_some(typed)
    }

    /// What was typed, without a prefix.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// The pixels, for the postfix that the info segment says.
    ///
    /// # Errors
    /// The postfix makes no name. (A peer may have written anything.)
    pub fn data(&self, postfix: &Postfix) -> Result<SegmentName, NameError> {
        SegmentName::new(&format!("{PREFIX}{}{postfix}", self.typed))
    }

    /// The mutex around the pixels, whatever the postfix.
    pub fn mutex(&self) -> &SegmentName {
        &self.mutex
    }

    /// The info segment.
    pub fn info(&self) -> &SegmentName {
        &self.info
    }

    /// The mutex around the info segment.
    pub fn info_mutex(&self) -> &SegmentName {
        &self.info_mutex
    }
}

// macOS has no room for such names.
#[cfg(all(test, not(target_os = "macos")))]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_tops() {
        let names = TouchNames::new("cam1").unwrap();
        let postfix = Postfix::new("abc").unwrap();
        assert_eq!(names.data(&Postfix::default()).unwrap().as_str(), "TouchSHMcam1");
        assert_eq!(names.data(&postfix).unwrap().as_str(), "TouchSHMcam1abc");
        assert_eq!(names.mutex().as_str(), "TouchSHMcam1Mutex");
        assert_eq!(names.info().as_str(), "TouchSHMTouchSHMcam14jhd783h");
        assert_eq!(names.info_mutex().as_str(), "TouchSHMTouchSHMcam14jhd783hMutex");
    }

    #[test]
    fn pixels_lead_back_to_what_is_typed_and_what_stands_beside_them_does_not() {
        let names = TouchNames::new("cam1").unwrap();
        assert_eq!(TouchNames::typed_for(names.data(&Postfix::default()).unwrap().as_str()), Some("cam1"));
        for beside in [names.mutex(), names.info(), names.info_mutex()] {
            assert_eq!(TouchNames::typed_for(beside.as_str()), None, "{beside}");
        }
        assert_eq!(TouchNames::typed_for_info(names.info().as_str()), Some("cam1"));
        for other in [names.mutex(), names.info_mutex()] {
            assert_eq!(TouchNames::typed_for_info(other.as_str()), None, "{other}");
        }
        assert_eq!(TouchNames::typed_for("cam1"), None);
        assert_eq!(TouchNames::typed_for("TouchSHM"), None);
    }

    #[test]
    fn a_prefix_that_was_typed_is_taken_away() {
        assert_eq!(TouchNames::new("TouchSHMcam1"), TouchNames::new("cam1"));
        assert_eq!(TouchNames::new("TouchSHM"), Err(NameError::Empty));
        assert_eq!(TouchNames::new(""), Err(NameError::Empty));
    }

    #[test]
    fn what_makes_no_name_is_refused() {
        assert!(TouchNames::new(&"n".repeat(171)).is_ok());
        assert!(matches!(TouchNames::new(&"n".repeat(172)), Err(NameError::TooLong { len: 201 })));
        assert!(matches!(TouchNames::new("a/b"), Err(NameError::Forbidden { found: '/', .. })));
        assert!(TouchNames::new("a").unwrap().data(&Postfix::new("../x").unwrap()).is_err());
    }
}
