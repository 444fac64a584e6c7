// SPDX-License-Identifier: MPL-2.0
//! Why a frame does not reach the buffer, and what the user can do about it.

use tdlink_core::{
    protocol::{control, copy::CopyError, raw, touch},
    segment::{SegmentError, SegmentName},
};

/// Why a frame does not reach the buffer.
#[derive(Debug)]
pub enum Trouble {
    /// The raw buffer.
    Raw(raw::ProduceError),
    /// The buffer with its control segment.
    Control(control::ProduceError),
    /// What a Shared Mem In TOP reads.
    Touch(touch::ProduceError),
    /// The copy.
    Copy(CopyError),
    /// Another producer has the name.
    Taken(SegmentName),
    /// The frame: upstream sent something else than its caps say.
    Frame(gst::ErrorMessage),
    /// Frames before caps.
    NoCaps,
}

impl From<raw::ProduceError> for Trouble {
    fn from(err: raw::ProduceError) -> Self {
        Self::Raw(err)
    }
}

impl From<raw::LayoutError> for Trouble {
    fn from(err: raw::LayoutError) -> Self {
        Self::Raw(err.into())
    }
}

impl From<control::ProduceError> for Trouble {
    fn from(err: control::ProduceError) -> Self {
        Self::Control(err)
    }
}

impl From<touch::ProduceError> for Trouble {
    fn from(err: touch::ProduceError) -> Self {
        Self::Touch(err)
    }
}

impl From<CopyError> for Trouble {
    fn from(err: CopyError) -> Self {
        Self::Copy(err)
    }
}

impl Trouble {
    /// The name's or the memory's fault, if that is what it is.
    pub(super) fn segment(&self) -> Option<&SegmentError> {
        match self {
            Self::Raw(raw::ProduceError::Segment(err))
            | Self::Control(control::ProduceError::Segment(err))
            | Self::Touch(touch::ProduceError::Segment(err)) => Some(err),
            _ => None,
        }
    }

    /// Whether a wait was ended from outside: no fault at all.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Touch(touch::ProduceError::Interrupted))
    }

    /// What the user can do about it.
    fn way_out(&self) -> &'static str {
        match self {
            Self::Touch(touch::ProduceError::NameTaken { .. }) => {
                return "; stop that sender, close receivers that stand still, choose another shm-name, or set takeover=true";
            }
            Self::Touch(touch::ProduceError::Taken { .. }) => {
                return ": two senders on one name; stop one of them or give it another shm-name";
            }
            Self::Touch(touch::ProduceError::Resize { .. }) => return "; close that receiver, or keep the size",
            _ => {}
        }
        match self.segment() {
            Some(SegmentError::LiveProducer { .. }) => {
                "; stop that producer, choose another shm-name, or set takeover=true"
            }
            Some(SegmentError::InUse { .. }) => {
                "; stop those processes, choose another shm-name, or send the size that they expect"
            }
            Some(SegmentError::OtherUser { .. }) => "; run as that user, or set allow-other-user=true",
            Some(SegmentError::AccessDenied { .. }) => {
                ": one side runs as another user, as administrator or in another session; start both the same way"
            }
            Some(SegmentError::NoSpace { .. }) => {
                "; make /dev/shm larger (docker: --shm-size), send smaller frames, or use fewer slots"
            }
            _ => "",
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way_out = self.way_out();
        match self {
            Self::Taken(name) => write!(
                f,
                "another producer has taken the name {:?}: two producers on one name; stop one of them or give it another shm-name",
                name.as_str()
            ),
            Self::Control(control::ProduceError::Taken { name }) => write!(
                f,
                "another producer has taken the name {name:?}: two producers on one name; stop one of them or give it another shm-name"
            ),
            Self::Raw(err) => write!(f, "{err}{way_out}"),
            Self::Control(err) => write!(f, "{err}{way_out}"),
            Self::Touch(err) => write!(f, "{err}{way_out}"),
            Self::Copy(err) => write!(f, "{err}"),
            Self::Frame(message) => write!(f, "{message}"),
            Self::NoCaps => f.write_str("a frame came before its caps"),
        }
    }
}

impl From<Trouble> for gst::ErrorMessage {
    fn from(trouble: Trouble) -> Self {
        use gst::ResourceError::{Busy, NoSpaceLeft, NotAuthorized, Write};
        let kind = match (&trouble, trouble.segment()) {
            (Trouble::NoCaps, _) => return gst::error_msg!(gst::CoreError::Negotiation, ("{trouble}")),
            (Trouble::Taken(_) | Trouble::Control(control::ProduceError::Taken { .. }), _) => Busy,
            (
                Trouble::Touch(
                    touch::ProduceError::NameTaken { .. }
                    | touch::ProduceError::Taken { .. }
                    | touch::ProduceError::Resize { .. }
                    | touch::ProduceError::Locked { .. },
                ),
                _,
            ) => Busy,
            (_, Some(SegmentError::LiveProducer { .. } | SegmentError::InUse { .. })) => Busy,
            (_, Some(SegmentError::NoSpace { .. })) => NoSpaceLeft,
            (_, Some(SegmentError::AccessDenied { .. } | SegmentError::OtherUser { .. })) => NotAuthorized,
            _ => Write,
        };
        match trouble {
            Trouble::Frame(message) => message,
            trouble => gst::error_msg!(kind, ("{trouble}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_system_is_told_with_the_way_out_on_every_wire() {
        let denied =
            || SegmentError::AccessDenied { name: "cam1".into(), source: std::io::ErrorKind::PermissionDenied.into() };
        for trouble in [
            Trouble::Raw(raw::ProduceError::Segment(denied())),
            Trouble::Control(control::ProduceError::Segment(denied())),
            Trouble::Touch(touch::ProduceError::Segment(denied())),
        ] {
            let text = trouble.to_string();
            assert!(text.contains("\"cam1\"") && text.ends_with("start both the same way"), "{text}");
        }
    }
}
