// SPDX-License-Identifier: MPL-2.0
//! What named objects this session has. The only call that lists them is the native one, which Microsoft documents.

use std::ffi::c_void;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{NtOpenDirectoryObject, NtQueryDirectoryObject};
use windows_sys::Win32::Foundation::{NTSTATUS, RtlNtStatusToDosError, STATUS_NO_MORE_ENTRIES, UNICODE_STRING};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

use super::{owned_or, wide};

/// Right to list a directory of objects.
const DIRECTORY_QUERY: u32 = 1;
/// Room for one entry: two counted strings, whose lengths are 16-bit numbers of bytes, and their descriptions.
const ENTRY_BYTES: usize = 2 * (u16::MAX as usize + 1) + 2 * size_of::<UNICODE_STRING>();
/// How often the list is made anew while it changes.
const TRIES: u32 = 8;
/// More than any session has; a list that never ends is not followed.
const MOST: usize = 100_000;

/// An object with a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::segment) struct Object {
    /// As programs say it, without a namespace.
    pub(in crate::segment) name: String,
    /// `Section`, `Event`, `Mutant` and so on.
    pub(in crate::segment) kind: String,
}

/// All of them, in alphabetical order. Names that are no UTF-16 are left out.
///
/// The system counts entries as it goes, so that one is passed over when another goes meanwhile: the list is made until
/// two are equal, a few times at most.
pub(in crate::segment) fn of_this_session() -> io::Result<Vec<Object>> {
    let directory = open(&folder()?)?;
    let mut objects = list(&directory)?;
    for _ in 0..TRIES {
        let again = list(&directory)?;
        if again == objects {
            break;
        }
        objects = again;
    }
    Ok(objects)
}

fn list(directory: &OwnedHandle) -> io::Result<Vec<Object>> {
    let mut buffer = vec![0u64; ENTRY_BYTES / size_of::<u64>()];
    let mut context = 0;
    let mut objects = Vec::new();
    // One at a time: Wine lists no other way.
    for turn in 0..MOST {
        let at: *mut c_void = buffer.as_mut_ptr().cast();
        let (mut written, restart) = (0, turn == 0);
        // SAFETY: the buffer has `ENTRY_BYTES` bytes, and context and length have room for their answers.
        let status = unsafe {
            let directory = directory.as_raw_handle();
            NtQueryDirectoryObject(directory, at, ENTRY_BYTES as u32, true, restart, &mut context, &mut written)
        };
        if status == STATUS_NO_MORE_ENTRIES {
            break;
        }
        succeeded(status)?;
        let string = |index| text(&buffer, index);
        if let (Some(name), Some(kind)) = (string(0), string(1)) {
            objects.push(Object { name, kind });
        }
    }
    objects.sort();
    Ok(objects)
}

/// Where names without a prefix stand.
fn folder() -> io::Result<String> {
    let mut session = 0;
    // SAFETY: there is room for the answer.
    let done = unsafe { ProcessIdToSessionId(std::process::id(), &mut session) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // Services run in session 0, whose names are the global ones.
    Ok(if session == 0 { r"\BaseNamedObjects".to_owned() } else { format!(r"\Sessions\{session}\BaseNamedObjects") })
}

fn open(path: &str) -> io::Result<OwnedHandle> {
    let mut path = wide(path);
    let bytes = (path.len() - 1) * size_of::<u16>();
    let name = UNICODE_STRING { Length: bytes as u16, MaximumLength: bytes as u16, Buffer: path.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        ObjectName: &name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut directory = ptr::null_mut();
    // SAFETY: the attributes, the name and its text outlive the call, and there is room for the handle.
    let status = unsafe { NtOpenDirectoryObject(&mut directory, DIRECTORY_QUERY, &attributes) };
    succeeded(status)?;
    owned_or(directory, io::Error::other("the system opened no directory"))
}

/// The text of the string that is described `index`th at the start of `buffer`, if it lies in `buffer`.
fn text(buffer: &[u64], index: usize) -> Option<String> {
    let start = index * size_of::<UNICODE_STRING>();
    let length = bytes(buffer, start + offset_of!(UNICODE_STRING, Length), size_of::<u16>())?;
    let length = u16::from_ne_bytes(length.try_into().ok()?);
    let address = bytes(buffer, start + offset_of!(UNICODE_STRING, Buffer), size_of::<usize>())?;
    let offset = usize::from_ne_bytes(address.try_into().ok()?).checked_sub(buffer.as_ptr() as usize)?;
    let text = bytes(buffer, offset, length.into())?;
    let units: Vec<u16> = text.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).ok()
}

fn bytes(buffer: &[u64], offset: usize, len: usize) -> Option<Vec<u8>> {
    let end = offset.checked_add(len)?;
    let words = buffer.get(offset / 8..end.div_ceil(8))?;
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    Some(bytes.skip(offset % 8).take(len).collect())
}

fn succeeded(status: NTSTATUS) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: a translation of one number into another.
    let code = unsafe { RtlNtStatusToDosError(status) };
    Err(io::Error::from_raw_os_error(code as i32))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn described(buffer: &mut [u64], index: usize, at: usize, length: u16) {
        let start = buffer.as_ptr() as usize;
        buffer[index * 2] = u64::from(length) | u64::from(length) << 16;
        buffer[index * 2 + 1] = (start + at) as u64;
    }

    #[test]
    fn a_text_that_leads_out_of_the_buffer_is_none() {
        let mut buffer = vec![0u64; 8];
        buffer[4] = u64::from_ne_bytes([b'c', 0, b'a', 0, b'm', 0, b'1', 0]);
        described(&mut buffer, 0, 32, 8);
        assert_eq!(text(&buffer, 0).as_deref(), Some("cam1"));
        for (at, length) in [(64, 2), (60, 8), (usize::MAX / 2, 8), (0, u16::MAX)] {
            described(&mut buffer, 1, at, length);
            assert_eq!(text(&buffer, 1), None, "{length} at {at}");
        }
        assert_eq!(text(&buffer, 100), None);
    }

    #[test]
    fn what_this_process_made_is_in_the_list_with_its_kind() {
        let name = format!("tdlink-objects-{}", std::process::id());
        let of_ours = || {
            let all = of_this_session().unwrap();
            all.into_iter().filter(|object| object.name == name).collect::<Vec<_>>()
        };
        assert_eq!(of_ours(), []);
        let (event, _) = super::super::event::create(&name).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while of_ours() != [Object { name: name.clone(), kind: "Event".to_owned() }] {
            assert!(Instant::now() < until, "it is never in the list");
        }
        drop(event);
        assert_eq!(of_ours(), []);
    }
}
