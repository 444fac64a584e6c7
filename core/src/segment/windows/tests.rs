// SPDX-License-Identifier: MPL-2.0
//! What Windows does with the names that we give it.

use std::mem::MaybeUninit;
use std::os::windows::io::AsRawHandle;
use std::ptr;
use std::time::Instant;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_ALL, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES,
    TOKEN_USER,
};
use windows_sys::Win32::System::Memory::{FILE_MAP_WRITE, PAGE_READONLY};

use super::*;
use crate::segment::{AccessError, Acquired, CreateOptions, OwnedSegment, Published, Segment};

fn name(test: &str) -> SegmentName {
    SegmentName::new(&format!("tdlink-windows-{test}-{}", std::process::id())).unwrap()
}

fn create(name: &SegmentName, len: usize) -> Result<OwnedSegment, SegmentError> {
    OwnedSegment::create(name, len, &CreateOptions::default())
}

fn open(name: &SegmentName) -> Result<Segment, SegmentError> {
    Segment::open(name, OpenOptions::default())
}

fn there_is(name: &str) -> bool {
    objects::of_this_session().unwrap().iter().any(|object| object.name == name)
}

#[test]
fn a_name_goes_to_the_system_as_it_is_and_leaves_with_the_last_handle() {
    let name = name("lifetime");
    let owned = create(&name, 100).unwrap();
    assert!(there_is(name.as_str()));
    let reader = open(&name).unwrap();
    owned.segment().write(0, b"still here").unwrap();
    drop(owned);
    let mut bytes = [0; 10];
    open(&name).unwrap().read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"still here", "a reader keeps it");
    drop(reader);
    assert!(matches!(open(&name), Err(SegmentError::NotFound { .. })));
    assert!(!there_is(name.as_str()));
}

#[test]
fn a_section_is_seen_in_whole_pages_and_holds_smaller_frames_too() {
    let name = name("pages");
    let mut owned = create(&name, 5000).unwrap();
    assert_eq!((owned.origin(), owned.segment().len()), (Acquired::Created, 8192));
    let reader = open(&name).unwrap();
    assert_eq!(reader.len(), 8192);
    for len in [100, 8192, 5000] {
        owned.resize(len).unwrap();
        owned.segment().write(0, &[len as u8]).unwrap();
        let mut byte = [0];
        reader.read(0, &mut byte).unwrap();
        assert_eq!((byte[0], owned.keep_published().unwrap()), (len as u8, Published::Still), "the same section");
    }
}

#[test]
fn a_section_that_is_too_small_is_replaced_when_its_readers_have_gone() {
    let name = name("larger");
    let mut owned = create(&name, 4096).unwrap();
    let reader = open(&name).unwrap();
    let refused = owned.resize(20_000);
    assert!(matches!(&refused, Err(SegmentError::InUse { size: 4096, wanted: 20_000, .. })), "{refused:?}");
    owned.segment().write(4095, &[7]).unwrap();
    let mut byte = [0];
    reader.read(4095, &mut byte).unwrap();
    assert_eq!(byte, [7], "the old size goes on");
    std::thread::scope(|scope| {
        // It leaves while the larger one is being asked for.
        scope.spawn(|| drop(reader));
        owned.resize(20_000).unwrap();
    });
    assert_eq!(owned.segment().len(), 20_480);
    assert_eq!(open(&name).unwrap().len(), 20_480);
}

#[test]
fn what_another_program_made_is_written_in_place_if_it_is_large_enough() {
    let name = name("foreign");
    let (section, is_new) = create_section(&name, 5000).unwrap();
    assert!(is_new);
    let theirs = Mapping::over(section, FILE_MAP_READ | FILE_MAP_WRITE, &name).unwrap();
    let refused = create(&name, 10_000);
    assert!(matches!(&refused, Err(SegmentError::InUse { size: 8192, wanted: 10_000, .. })), "{refused:?}");
    let owned = create(&name, 8000).unwrap();
    assert_eq!(owned.origin(), Acquired::Adopted);
    owned.segment().write(1, &[9]).unwrap();
    let mut byte = [0];
    Segment::over(theirs).read(1, &mut byte).unwrap();
    assert_eq!(byte, [9]);
}

#[test]
fn one_producer_has_a_name_and_loses_it_to_a_takeover_alone() {
    let name = name("one");
    let mut first = create(&name, 4096).unwrap();
    assert!(matches!(create(&name, 4096), Err(SegmentError::LiveProducer { .. })));
    assert_eq!(first.keep_published().unwrap(), Published::Still);
    let takeover = CreateOptions { takeover: true, ..CreateOptions::default() };
    let second = OwnedSegment::create(&name, 4096, &takeover).unwrap();
    assert_eq!(second.origin(), Acquired::TakenOver);
    assert_eq!(first.keep_published().unwrap(), Published::TakenByOther);
    assert!(matches!(first.resize(8192), Err(SegmentError::Taken { .. })));
    drop(first);
    assert!(matches!(create(&name, 4096), Err(SegmentError::LiveProducer { .. })), "the robbed one's end ends nothing");
    drop(second);
    assert_eq!(create(&name, 4096).unwrap().origin(), Acquired::Created);
}

#[test]
fn who_asks_whether_a_producer_lives_does_not_keep_a_dead_one_alive() {
    let name = name("asked");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    claim::Claim::exists(&name).unwrap();
                }
            });
        }
        let claimed = (0..500).find_map(|_| claim::Claim::new(&name, false).map(|(claim, _)| claim.die()).err());
        done.store(true, Ordering::Relaxed);
        assert!(claimed.is_none(), "{claimed:?}");
    });
}

#[test]
fn a_reader_has_a_view_that_cannot_be_written() {
    let name = name("readonly");
    let owned = create(&name, 4096).unwrap();
    let reader = open(&name).unwrap();
    assert_eq!(reader.write(0, &[1]), Err(AccessError::ReadOnly));
    assert_eq!(protection(&reader), PAGE_READONLY);
    assert_ne!(protection(owned.segment()), PAGE_READONLY);
}

fn protection(segment: &Segment) -> u32 {
    let mut region = MaybeUninit::<MEMORY_BASIC_INFORMATION>::uninit();
    // SAFETY: the region has room for the answer.
    let written = unsafe { VirtualQuery(segment.base.as_ptr().cast(), region.as_mut_ptr(), size_of_val(&region)) };
    assert_eq!(written, size_of_val(&region));
    // SAFETY: all of it was written.
    unsafe { region.assume_init() }.Protect
}

#[test]
fn a_name_that_another_kind_of_object_has_is_said_to_be_no_memory() {
    let name = name("kind");
    let (_event, _) = event::create(name.as_str()).unwrap();
    for refused in [open(&name).map(drop), create(&name, 4096).map(drop)] {
        assert!(matches!(refused, Err(SegmentError::NotShared { .. })), "{refused:?}");
    }
}

#[test]
fn a_memory_that_we_may_not_open_is_not_taken_for_none() {
    let name = name("denied");
    assert!(matches!(open(&name), Err(SegmentError::NotFound { .. })));
    // All rights for nobody.
    let text = wide("D:(D;;GA;;;WD)");
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: the text ends in 0 and outlives the call; there is room for the answer.
    let done = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            ptr::null_mut(),
        )
    };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    let wide = wide(name.as_str());
    // SAFETY: the attributes and the name, which ends in 0, outlive the call.
    let section =
        unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, &attributes, PAGE_READWRITE, 0, 4096, wide.as_ptr()) };
    // SAFETY: it was allocated by the conversion.
    unsafe { LocalFree(descriptor) };
    let section = owned(section).unwrap();
    for refused in [open(&name).map(drop), create(&name, 4096).map(drop)] {
        let Err(SegmentError::AccessDenied { source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.raw_os_error(), Some(ERROR_ACCESS_DENIED as i32));
    }
    drop(section);
}

#[test]
fn nobody_but_this_user_is_let_in() {
    let name = name("dacl");
    let (section, _) = create_section(&name, 4096).unwrap();
    let (mut list, mut descriptor): (*mut ACL, PSECURITY_DESCRIPTOR) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open; there is room for the answers.
    let code = unsafe {
        GetSecurityInfo(
            section.as_raw_handle(),
            SE_KERNEL_OBJECT,
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            &mut list,
            ptr::null_mut(),
            &mut descriptor,
        )
    };
    assert_eq!(code, ERROR_SUCCESS);
    assert!(!list.is_null(), "no list lets everybody in");
    // SAFETY: the list is part of the descriptor, which is freed below.
    let entries = unsafe { ptr::read(list) }.AceCount;
    assert_eq!(entries, 1);
    let mut entry = ptr::null_mut();
    // SAFETY: the list is valid, and there is room for the answer.
    let done = unsafe { GetAce(list, 0, &mut entry) };
    assert_ne!(done, 0);
    let entry: *mut ACCESS_ALLOWED_ACE = entry.cast();
    // SAFETY: the first entry of a list that has one; entries for which access is allowed are laid out so.
    let who = unsafe { &raw mut (*entry).SidStart };
    let user = security::token_user().unwrap();
    // SAFETY: the buffer was filled with a `TOKEN_USER`, for which it is aligned.
    let user: TOKEN_USER = unsafe { ptr::read(user.as_ptr().cast()) };
    // SAFETY: both identifiers are valid.
    let same = unsafe { EqualSid(who.cast(), user.User.Sid) };
    assert_ne!(same, 0, "another user's");
    // SAFETY: the entry is valid.
    let mask = unsafe { ptr::read(entry) }.Mask;
    assert_ne!(mask, 0);
    assert!(mask == GENERIC_ALL || mask & GENERIC_ALL == 0, "{mask:#x}");
    // SAFETY: it was allocated by the question.
    unsafe { LocalFree(descriptor) };
}

#[test]
fn a_refusal_comes_soon_and_a_reader_that_leaves_is_waited_for() {
    let name = name("soon");
    let mut owned = create(&name, 4096).unwrap();
    let _reader = open(&name).unwrap();
    let began = Instant::now();
    assert!(owned.resize(8192).is_err());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
