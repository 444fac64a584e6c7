// SPDX-License-Identifier: MPL-2.0
//! Who may open what we create: this user's processes, as mode 0600 says elsewhere.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr;

use windows_sys::Win32::Foundation::GENERIC_ALL;
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, ACL_REVISION, AddAccessAllowedAce, GetLengthSid, GetTokenInformation, InitializeAcl,
    InitializeSecurityDescriptor, PSID, SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorDacl,
    TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// The only revision that there is.
const SECURITY_DESCRIPTOR_REVISION: u32 = 1;

/// Security attributes that let nobody but the current user in.
pub(super) struct CurrentUserOnly {
    attributes: SECURITY_ATTRIBUTES,
    /// What `attributes` points to, in allocations that do not move.
    _descriptor: Box<SECURITY_DESCRIPTOR>,
    _list: Vec<u64>,
}

impl CurrentUserOnly {
    pub(super) fn new() -> io::Result<Self> {
        let user = token_user()?;
        // SAFETY: `token_user` has filled the buffer with a `TOKEN_USER`, for which it is aligned.
        let user: TOKEN_USER = unsafe { ptr::read(user.as_ptr().cast()) };
        let mut list = access_list(user.User.Sid)?;

        let mut descriptor = Box::<SECURITY_DESCRIPTOR>::default();
        let at: *mut SECURITY_DESCRIPTOR = &mut *descriptor;
        // SAFETY: `at` is room for one descriptor.
        let done = unsafe { InitializeSecurityDescriptor(at.cast(), SECURITY_DESCRIPTOR_REVISION) };
        succeeded(done)?;
        // SAFETY: both are initialised, and the list stays where it is as long as the descriptor does.
        let done = unsafe { SetSecurityDescriptorDacl(at.cast(), 1, list.as_mut_ptr().cast(), 0) };
        succeeded(done)?;
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: at.cast(),
            bInheritHandle: 0,
        };
        Ok(Self { attributes, _descriptor: descriptor, _list: list })
    }

    /// Valid as long as `self`.
    pub(super) fn attributes(&self) -> *const SECURITY_ATTRIBUTES {
        &self.attributes
    }
}

/// A `TOKEN_USER` with the identifier that it points to, in one buffer.
pub(super) fn token_user() -> io::Result<Vec<u64>> {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle needs no closing.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: `token` has room for one handle.
    let done = unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) };
    succeeded(done)?;
    let token = super::owned(token)?;

    let mut needed = 0;
    // SAFETY: no room is given for the answer, only for its size.
    unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, ptr::null_mut(), 0, &mut needed) };
    let mut buffer = vec![0u64; (needed as usize).max(size_of::<TOKEN_USER>()).div_ceil(8)];
    let room = (buffer.len() * 8) as u32;
    let at = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer has `room` bytes.
    let done = unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, at, room, &mut needed) };
    succeeded(done)?;
    Ok(buffer)
}

/// An access control list of one entry: all for `user`.
fn access_list(user: PSID) -> io::Result<Vec<u64>> {
    // SAFETY: the identifier comes from the token and is valid.
    let length = unsafe { GetLengthSid(user) } as usize;
    // The entry's last field is the identifier's first word.
    let bytes = size_of::<ACL>() + size_of::<ACCESS_ALLOWED_ACE>() - size_of::<u32>() + length;
    let mut list = vec![0u64; bytes.div_ceil(8)];
    let room = (list.len() * 8) as u32;
    let at: *mut ACL = list.as_mut_ptr().cast();
    // SAFETY: the list has `room` bytes and is aligned.
    let done = unsafe { InitializeAcl(at, room, ACL_REVISION) };
    succeeded(done)?;
    // SAFETY: the list is initialised and has room for this entry; the identifier is valid.
    let done = unsafe { AddAccessAllowedAce(at, ACL_REVISION, GENERIC_ALL, user) };
    succeeded(done)?;
    Ok(list)
}

fn succeeded(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
