// SPDX-License-Identifier: MPL-2.0
//! What a receiver has open, and the info segment of either side.

use std::time::Duration;

use super::consumer::AttachOptions;
use super::error::{ConsumeError, InfoError};
use super::info::{INFO_BYTES, Info, InfoLayout, Postfix};
use super::names::TouchNames;
use crate::segment::{
    Access, AccessError, CreateOptions, Locked, NamedMutex, OpenOptions, Section, SegmentError, SegmentName,
};

/// How info segments are laid out where we have any.
const LAYOUT: InfoLayout = InfoLayout::Utf16;

/// How long a receiver holds the pixels' mutex at most while it waits for the info segment's, which nobody has for longer
/// than microseconds unless it is stopped or dead.
pub(super) const INFO_PATIENCE: Duration = Duration::from_millis(2);

/// An info segment and its mutex.
#[derive(Debug)]
pub(super) struct InfoSegment {
    section: Section,
    mutex: NamedMutex,
}

impl InfoSegment {
    /// Makes it, with nothing in it yet.
    pub(super) fn create(names: &TouchNames, options: &CreateOptions) -> Result<Self, SegmentError> {
        let section = Section::create(names.info(), INFO_BYTES, options)?;
        Ok(Self { section, mutex: NamedMutex::new(names.info_mutex(), options)? })
    }

    /// Opens what is there.
    pub(super) fn open(names: &TouchNames, options: &CreateOptions) -> Result<Self, SegmentError> {
        let open = OpenOptions { allow_other_user: options.allow_other_user };
        let section = Section::open(names.info(), Access::ReadWrite, &open)?;
        Ok(Self { section, mutex: NamedMutex::new(names.info_mutex(), options)? })
    }

    /// The content as it stands. Without the lock somebody may be in the middle of changing it.
    pub(super) fn read(&self) -> Result<Result<Info, InfoError>, AccessError> {
        read(&self.section)
    }

    /// Locks it, if that can be had in time.
    pub(super) fn lock(&mut self, patience: Duration) -> Result<Option<InfoLocked<'_>>, SegmentError> {
        let Self { section, mutex } = self;
        Ok(mutex.lock(patience)?.map(|lock| InfoLocked { section, _lock: lock }))
    }
}

/// The same with its mutex held.
#[derive(Debug)]
pub(super) struct InfoLocked<'a> {
    section: &'a Section,
    _lock: Locked<'a>,
}

impl InfoLocked<'_> {
    pub(super) fn read(&self) -> Result<Result<Info, InfoError>, AccessError> {
        read(self.section)
    }

    pub(super) fn write(&self, info: &Info) -> Result<(), AccessError> {
        self.section.segment().write(0, &info.encode(LAYOUT))
    }

    /// Says that this receiver follows postfixes.
    fn support(&self) -> Result<(), AccessError> {
        self.section.segment().write(Info::supported_offset(), &[1])
    }
}

fn read(section: &Section) -> Result<Result<Info, InfoError>, AccessError> {
    let segment = section.segment();
    let mut bytes = [0; INFO_BYTES];
    let there = segment.len().min(INFO_BYTES);
    segment.read(0, &mut bytes[..there])?;
    Ok(Info::parse(&bytes[..there], LAYOUT))
}

/// The objects of one sender.
#[derive(Debug)]
pub(super) struct Link {
    /// Some senders have none.
    info: Option<InfoSegment>,
    data: Section,
    postfix: Postfix,
}

/// What a look at the info segment said.
#[derive(Debug)]
pub(super) enum Followed {
    /// The pixels are where they were.
    Same,
    /// The pixels are elsewhere, and that is open now.
    Moved,
    /// Somebody has the info segment's mutex.
    Locked,
    /// The sender has gone; why.
    Ended(String),
}

impl Link {
    /// Opens everything that a sender has made. [`ConsumeError::NotYet`] when something is missing: then nothing is left
    /// open.
    pub(super) fn open(names: &TouchNames, options: &AttachOptions) -> Result<Self, ConsumeError> {
        let mut postfix = Postfix::default();
        let info = match InfoSegment::open(names, &options.create()) {
            Ok(mut info) => {
                let Some(locked) = info.lock(options.lock_timeout)? else {
                    return Err(not_yet(format!("the mutex {:?} is locked", names.info_mutex().as_str())));
                };
                match locked.read()? {
                    Ok(said) if said.detach => {
                        return Err(not_yet(format!("the sender of {:?} has gone", names.typed())));
                    }
                    Ok(said) => postfix = said.postfix,
                    // It may be on its way.
                    Err(error) => return Err(not_yet(format!("{}: {error}", names.info()))),
                }
                locked.support()?;
                drop(locked);
                Some(info)
            }
            Err(SegmentError::NotFound { .. } | SegmentError::Empty { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match open_data(&names.data(&postfix)?, options) {
            Ok(data) => Ok(Self { info, data, postfix }),
            Err(error @ (SegmentError::NotFound { .. } | SegmentError::Empty { .. })) => {
                Err(not_yet(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn data(&self) -> &Section {
        &self.data
    }

    /// The info segment as it stands, if there is one that can be read. Without the lock.
    pub(super) fn glimpse(&self) -> Option<Info> {
        self.info.as_ref()?.read().ok()?.ok()
    }

    /// Whether the pixels seem to be elsewhere now. Without the lock.
    pub(super) fn has_moved(&self) -> bool {
        self.glimpse().is_some_and(|info| info.postfix != self.postfix)
    }

    /// Waits until the info segment's mutex can be had, for `patience` at most.
    pub(super) fn await_info(&mut self, patience: Duration) -> Result<(), SegmentError> {
        if let Some(info) = &mut self.info {
            info.lock(patience)?;
        }
        Ok(())
    }

    /// Looks where the pixels are. To be asked with their mutex held: so is the order of the two in TouchDesigner.
    pub(super) fn follow(&mut self, names: &TouchNames, options: &AttachOptions) -> Result<Followed, ConsumeError> {
        let Some(info) = &mut self.info else { return Ok(Followed::Same) };
        let patience = options.lock_timeout.min(INFO_PATIENCE);
        let Some(locked) = info.lock(patience)? else { return Ok(Followed::Locked) };
        let said = match locked.read()? {
            Ok(said) => said,
            Err(error) => return Ok(Followed::Ended(format!("{}: {error}", names.info()))),
        };
        if said.detach {
            return Ok(Followed::Ended(format!("the sender of {:?} has gone (detach)", names.typed())));
        }
        if !said.supported {
            // A sender that began anew in the same segment asks again.
            locked.support()?;
        }
        if said.postfix == self.postfix {
            return Ok(Followed::Same);
        }
        match open_data(&names.data(&said.postfix)?, options) {
            Ok(data) => {
                (self.data, self.postfix) = (data, said.postfix);
                Ok(Followed::Moved)
            }
            Err(error @ (SegmentError::NotFound { .. } | SegmentError::Empty { .. })) => {
                Ok(Followed::Ended(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn open_data(name: &SegmentName, options: &AttachOptions) -> Result<Section, SegmentError> {
    Section::open(name, Access::Read, &options.open)
}

pub(super) fn not_yet(why: String) -> ConsumeError {
    ConsumeError::NotYet { why }
}
