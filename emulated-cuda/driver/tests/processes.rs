// SPDX-License-Identifier: MPL-2.0
//! The rules between two processes: memory and events that one shares and another opens.
#![allow(unsafe_code, reason = "calls of a C ABI with pointers to locals")]
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::process::ExitStatusExt;

use common::*;
use emulated_cuda::*;

const SIZE: usize = 1 << 16;
const PICTURES: u8 = 12;

/// What the children of this program do.
#[test]
#[ignore = "a part in other tests"]
fn child() {
    match part().as_deref() {
        Some("reader on the stream") => reader(|stream, event| ok!(cuStreamWaitEvent(stream, event, 0))),
        Some("reader on the host") => reader(|_, event| ok!(cuEventSynchronize(event))),
        Some("reader that asks") => reader(|_, event| until("the picture", || cu!(cuEventQuery(event)) == 0)),
        Some("reader that does not wait") => reader(|_, _| ()),
        Some("writer") => writer(),
        Some("exporter") => exporter(),
        Some("importer") => importer(),
        Some("opener") => opener(),
        Some("two contexts") => two_contexts(),
        Some("waiter") => waiter(),
        Some("recorder") => recorder(),
        Some("physical") => physical(),
        None => {}
        other => panic!("no part {other:?}"),
    }
}

/// Gets a slot and its event, and for each picture says which byte it saw, or "torn".
fn reader(wait: impl Fn(Handle, Handle)) {
    let _context = context();
    let memory = open_memory(of_hex(&told())).unwrap();
    let mut event = 0;
    ok!(cuIpcOpenEventHandle(&raw mut event, of_hex(&told())));
    let (stream, picture) = (stream(), pinned(SIZE));
    tell("ready");
    for _ in 0..PICTURES {
        told();
        wait(stream, event);
        ok!(cuMemcpyDtoHAsync_v2(picture.as_mut_ptr() as usize, memory, SIZE, stream));
        ok!(cuStreamSynchronize(stream));
        let first = picture[0];
        if picture.iter().all(|byte| *byte == first) {
            tell(&first.to_string())
        } else {
            tell("torn")
        }
        // What is left of an earlier picture must not be taken for a new one.
        picture.fill(0);
    }
    ok!(cuEventDestroy_v2(event));
    ok!(cuIpcCloseMemHandle(memory));
    ok!(cuStreamDestroy_v2(stream));
}

/// Writes pictures slowly and shows them before they are finished.
fn writer() {
    let _context = context();
    let (memory, event, stream, picture) = (memory(SIZE), shared_event(), stream(), pinned(SIZE));
    tell(&to_hex(&share_memory(memory)));
    tell(&to_hex(&share_event(event)));
    told();
    for number in 1..=PICTURES {
        picture.fill(number);
        ok!(cuMemcpyHtoDAsync_v2(memory, picture.as_ptr() as usize, SIZE, stream));
        ok!(cuEventRecord(event, stream));
        tell("shown");
        told();
        ok!(cuStreamSynchronize(stream));
    }
    told();
}

/// How many of the pictures a reader saw as they should be. Only the writer is slow: a reader that is as slow would wait
/// without meaning to.
fn right_pictures(reader: &str, orders: &[(&str, &str)]) -> u8 {
    let mut writer = Player::start("writer", &[("COPY_DELAY_US", "100000")]);
    let mut reader = Player::start(reader, orders);
    for _ in 0..2 {
        reader.say(&writer.hear());
    }
    assert_eq!(reader.hear(), "ready");
    writer.say("begin");
    let mut right = 0;
    for number in 1..=PICTURES {
        writer.hear();
        reader.say("look");
        right += u8::from(reader.hear() == number.to_string());
        writer.say("next");
    }
    writer.say("end");
    reader.succeed();
    writer.succeed();
    right
}

#[test]
fn who_waits_sees_every_picture_whole() {
    assert_eq!(right_pictures("reader on the stream", &[]), PICTURES);
    assert_eq!(right_pictures("reader on the host", &[]), PICTURES);
    assert_eq!(right_pictures("reader that asks", &[]), PICTURES);
}

/// On a busy machine a reader may be late enough for a picture by itself, but not for all.
fn assert_seen(reader: &str, orders: &[(&str, &str)]) {
    let right = right_pictures(reader, orders);
    assert!(right < PICTURES, "{reader}, {orders:?}: every picture was whole");
}

#[test]
fn who_does_not_wait_sees_pictures_that_are_not_whole() {
    assert_seen("reader that does not wait", &[]);
}

#[test]
fn events_that_are_always_complete_are_seen() {
    assert_seen("reader on the stream", &[("BREAK_EVENTS", "1")]);
    assert_seen("reader that asks", &[("BREAK_EVENTS", "1")]);
}

#[test]
fn a_synchronisation_that_does_nothing_is_seen() {
    assert_seen("reader on the stream", &[("BREAK_SYNC", "1")]);
    assert_seen("reader on the host", &[("BREAK_SYNC", "1")]);
}

/// Shares one allocation and one event, and does what it is told.
fn exporter() {
    let _context = context();
    let (memory, event) = (memory_of(&[0x11; SIZE]), shared_event());
    tell(&to_hex(&share_memory(memory)));
    tell(&to_hex(&share_event(event)));
    loop {
        match told().as_str() {
            "free" => ok!(cuMemFree_v2(memory)),
            // It gets the descriptor that the freed one had.
            "again" => drop(self::memory(SIZE)),
            "write" => ok!(cuMemsetD8_v2(memory, 0x22, SIZE)),
            "drop event" => ok!(cuEventDestroy_v2(event)),
            _ => return,
        }
        ok!(cuCtxSynchronize());
        tell("done");
    }
}

/// Opens what it is given and tells what it reads there.
fn importer() {
    let _context = context();
    let mut memory = 0;
    loop {
        let order = told();
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("open", handle) => match open_memory(of_hex(handle)) {
                Ok(pointer) => {
                    memory = pointer;
                    tell("0");
                }
                Err(code) => tell(&code.to_string()),
            },
            ("event", handle) => {
                let mut event = 0;
                tell(&cu!(cuIpcOpenEventHandle(&raw mut event, of_hex(handle))).to_string());
            }
            ("read", _) => tell(&format!("{:x?}", read(memory, SIZE).first().copied().unwrap_or(0))),
            ("close", _) => tell(&cu!(cuIpcCloseMemHandle(memory)).to_string()),
            _ => return,
        }
    }
}

fn ask(player: &mut Player, order: &str) -> String {
    player.say(order);
    player.hear()
}

#[test]
fn memory_of_another_process_is_the_same_memory_until_its_owner_frees_it() {
    let (mut exporter, mut importer) = (Player::start("exporter", &[]), Player::start("importer", &[]));
    let (memory, event) = (exporter.hear(), exporter.hear());
    assert_eq!(ask(&mut importer, &format!("open {memory}")), "0");
    assert_eq!(ask(&mut importer, &format!("event {event}")), "0");
    assert_eq!(ask(&mut importer, "read"), "11");
    assert_eq!(ask(&mut exporter, "write"), "done");
    assert_eq!(ask(&mut importer, "read"), "22");
    assert_eq!(ask(&mut exporter, "free"), "done");
    assert_eq!(ask(&mut importer, "read"), "dd", "freed under an import: seen, not a crash");
    assert_eq!(ask(&mut importer, "close"), "0");
    assert_eq!(ask(&mut importer, "close"), "1");
    assert_eq!(ask(&mut importer, &format!("open {memory}")), "1", "freed");
    assert_eq!(ask(&mut exporter, "again"), "done");
    assert_eq!(ask(&mut importer, &format!("open {memory}")), "1", "other memory under the same descriptor");
    assert_eq!(ask(&mut exporter, "drop event"), "done");
    assert_eq!(ask(&mut importer, &format!("event {event}")), "1", "destroyed");
    for player in [&mut exporter, &mut importer] {
        player.say("end");
    }
    exporter.succeed();
    importer.succeed();
}

#[test]
fn an_exporter_that_dies_leaves_its_importers_what_they_have() {
    let (mut exporter, mut importer) = (Player::start("exporter", &[]), Player::start("importer", &[]));
    let (memory, event) = (exporter.hear(), exporter.hear());
    assert_eq!(ask(&mut importer, &format!("open {memory}")), "0");
    exporter.kill();
    assert_eq!(ask(&mut importer, "read"), "11");
    assert_eq!(ask(&mut importer, &format!("event {event}")), "1");
    assert_eq!(ask(&mut importer, "close"), "0");
    assert_eq!(ask(&mut importer, &format!("open {memory}")), "1");
    importer.say("end");
    importer.succeed();
}

/// Every way to open wrongly.
fn opener() {
    let _context = context();
    let (memory, event) = (told(), told());
    let mut pointer = 0;
    for flags in [0, 2, 3] {
        assert_eq!(cu!(cuIpcOpenMemHandle_v2(&raw mut pointer, of_hex(&memory), flags)), INVALID_VALUE);
    }
    assert_eq!(open_memory(of_hex(&event)), Err(INVALID_VALUE), "an event is no memory");
    let mut opened = 0;
    assert_eq!(cu!(cuIpcOpenEventHandle(&raw mut opened, of_hex(&memory))), INVALID_VALUE);
    assert_eq!(open_memory(IpcHandle { reserved: [0; 64] }), Err(INVALID_VALUE));
    let mut altered = of_hex(&memory);
    altered.reserved[40] ^= 1;
    assert_eq!(open_memory(altered), Err(INVALID_VALUE));
    // What is one's own.
    let own = self::memory(100);
    let share = share_memory(own);
    assert_eq!(open_memory(share), Err(INVALID_CONTEXT), "a process does not open its own");
    assert_eq!(cu!(cuIpcOpenEventHandle(&raw mut opened, share_event(shared_event()))), INVALID_CONTEXT);
    let mut handle = IpcHandle { reserved: [0; 64] };
    assert_eq!(cu!(cuIpcGetMemHandle(&raw mut handle, own + 1)), INVALID_VALUE, "inside of an allocation");
    assert_eq!(cu!(cuIpcGetMemHandle(&raw mut handle, 0)), INVALID_VALUE);
    let private: Handle = made!(cuEventCreate(2));
    assert_eq!(cu!(cuIpcGetEventHandle(&raw mut handle, private)), INVALID_HANDLE);
    assert_eq!(cu!(cuIpcCloseMemHandle(own)), INVALID_VALUE, "one's own memory is not closed");
    // What was opened.
    let import = open_memory(of_hex(&memory)).unwrap();
    assert_eq!(cu!(cuMemFree_v2(import)), INVALID_VALUE, "an import is not freed");
    assert_eq!(cu!(cuIpcGetMemHandle(&raw mut handle, import)), INVALID_VALUE, "nor passed on");
    assert_eq!(open_memory(of_hex(&memory)), Ok(import), "opened twice: the same pointer");
    ok!(cuIpcCloseMemHandle(import));
    assert_eq!(read(import, 1), [0x11]);
    ok!(cuIpcCloseMemHandle(import));
    let mut byte = 0_u8;
    assert_eq!(cu!(cuMemcpyDtoH_v2(&raw mut byte as usize, import, 1)), INVALID_VALUE);
    let mut unversioned = 0;
    ok!(cuIpcOpenMemHandle(&raw mut unversioned, of_hex(&memory), 1));
    tell("done");
}

#[test]
fn what_does_not_open_says_why() {
    let (mut exporter, mut opener) = (Player::start("exporter", &[]), Player::start("opener", &[]));
    for _ in 0..2 {
        opener.say(&exporter.hear());
    }
    assert_eq!(opener.hear(), "done");
    opener.succeed();
    exporter.say("end");
    exporter.succeed();
}

/// Opens the same memory twice in one context, then in a second one.
fn two_contexts() {
    let one = context();
    let memory = of_hex(&told());
    open_memory(memory).unwrap();
    tell(&format!("{:?}", open_memory(memory).err()));
    let two = context();
    tell(&format!("{:?}", open_memory(memory).err()));
    drop(two);
    drop(one);
    let _three = context();
    tell(&format!("{:?}", open_memory(memory).err()));
}

fn twice(orders: &[(&str, &str)]) -> [String; 3] {
    let (mut exporter, mut opener) = (Player::start("exporter", &[]), Player::start("two contexts", orders));
    opener.say(&exporter.hear());
    let heard = [opener.hear(), opener.hear(), opener.hear()];
    opener.succeed();
    exporter.say("end");
    exporter.succeed();
    heard
}

#[test]
fn one_context_of_a_process_opens_what_an_exporter_shares() {
    assert_eq!(twice(&[]), ["None", "Some(201)", "None"], "until that context has gone");
    assert_eq!(twice(&[("IPC_MANY_CONTEXTS", "1")]), ["None", "None", "None"]);
    assert_eq!(twice(&[("IPC_REOPEN_ERROR", "1")]), ["Some(208)", "Some(201)", "None"]);
}

/// Shares an event whose records take a second, and is told when to record.
fn recorder() {
    let _context = context();
    let (event, stream) = (shared_event(), stream());
    tell(&to_hex(&share_event(event)));
    while told() == "record" {
        ok!(cuEventRecord(event, stream));
        tell("recorded");
    }
}

/// Waits for the event, says so, and says when that is over.
fn waiter() {
    let _context = context();
    let (mut event, stream) = (0, stream());
    ok!(cuIpcOpenEventHandle(&raw mut event, of_hex(&told())));
    ok!(cuEventQuery(event));
    tell("never recorded");
    told();
    assert_eq!(cu!(cuEventQuery(event)), NOT_READY);
    ok!(cuStreamWaitEvent(stream, event, 0));
    tell("waits");
    told();
    ok!(cuStreamSynchronize(stream));
    tell(&format!("over, newest {}", cu!(cuEventQuery(event))));
}

#[test]
fn a_wait_is_for_the_record_that_was_newest_at_the_call() {
    let mut recorder = Player::start("recorder", &[("EVENT_DELAY_US", "1500000")]);
    let mut waiter = Player::start("waiter", &[]);
    waiter.say(&recorder.hear());
    assert_eq!(waiter.hear(), "never recorded");
    assert_eq!(ask(&mut recorder, "record"), "recorded");
    assert_eq!(ask(&mut waiter, "wait"), "waits");
    assert_eq!(ask(&mut recorder, "record"), "recorded");
    assert_eq!(ask(&mut waiter, "finish"), "over, newest 600", "the second record is still under way");
    recorder.kill();
    waiter.succeed();
}

#[test]
fn waiters_go_on_when_the_recorder_has_died() {
    let mut recorder = Player::start("recorder", &[("EVENT_DELAY_US", "60000000")]);
    let mut waiter = Player::start("waiter", &[]);
    waiter.say(&recorder.hear());
    waiter.hear();
    assert_eq!(ask(&mut recorder, "record"), "recorded");
    assert_eq!(ask(&mut waiter, "wait"), "waits");
    recorder.kill();
    assert_eq!(ask(&mut waiter, "finish"), "over, newest 0");
    waiter.succeed();
}

#[test]
fn a_process_that_dies_by_order_dies_at_that_call() {
    let mut recorder = Player::start("recorder", &[("DIE", "cuEventRecord:2")]);
    recorder.hear();
    assert_eq!(ask(&mut recorder, "record"), "recorded");
    recorder.say("record");
    assert_eq!(recorder.end().signal(), Some(9));
}

static PROPERTIES: AllocationProperties = AllocationProperties {
    kind: 1,
    handle_types: 1,
    location: Location { kind: 1, id: 0 },
    win32_metadata: 0,
    flags: [0; 8],
};
const BLOCK: usize = 2 << 20;

/// Maps physical memory of a file that the parent has open.
fn physical() {
    let _context = context();
    let path = told();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let file = std::os::fd::AsRawFd::as_raw_fd(&file) as usize;
    let handle: u64 = made!(cuMemImportFromShareableHandle(file, 1));
    let start = mapped(handle);
    tell(&format!("{:x?}", read(start, 4)));
    ok!(cuMemsetD8_v2(start, 0x44, BLOCK));
    ok!(cuCtxSynchronize());
    tell("written");
    told();
    ok!(cuMemUnmap(start, BLOCK));
    ok!(cuMemAddressFree(start, BLOCK));
}

fn mapped(handle: u64) -> DevicePointer {
    let start: DevicePointer = made!(cuMemAddressReserve(BLOCK, 0, 0, 0));
    ok!(cuMemMap(start, BLOCK, 0, handle, 0));
    let mut byte = 0_u8;
    let refused = cu!(cuMemcpyDtoH_v2(&raw mut byte as usize, start, 1));
    assert_eq!(refused, INVALID_VALUE, "mapped, but without access");
    let access = Access { location: Location { kind: 1, id: 0 }, flags: 3 };
    ok!(cuMemSetAccess(start, BLOCK, &raw const access, 1));
    start
}

#[test]
fn physical_memory_is_passed_on_by_a_file_and_lives_as_long_as_somebody_maps_it() {
    let _context = context();
    let mut odd = 0;
    assert_eq!(cu!(cuMemCreate(&raw mut odd, 4096, &raw const PROPERTIES, 0)), INVALID_VALUE, "not a whole block");
    let handle: u64 = made!(cuMemCreate(BLOCK, &raw const PROPERTIES, 0));
    let mut file = 0_i32;
    ok!(cuMemExportToShareableHandle((&raw mut file).cast(), handle, 1, 0));
    let start = mapped(handle);
    ok!(cuMemRelease(handle));
    ok!(cuMemsetD8_v2(start, 0x33, BLOCK));
    ok!(cuCtxSynchronize());
    let mut other = Player::start("physical", &[]);
    other.say(&format!("/proc/{}/fd/{file}", std::process::id()));
    assert_eq!(other.hear(), "[33, 33, 33, 33]");
    assert_eq!(other.hear(), "written");
    assert_eq!(read(start, 1), [0x44]);
    other.say("end");
    other.succeed();
    let mut share = IpcHandle { reserved: [0; 64] };
    assert_eq!(cu!(cuIpcGetMemHandle(&raw mut share, start)), INVALID_VALUE, "legacy handles are for cuMemAlloc only");
    assert_eq!(cu!(cuMemAddressFree(start, BLOCK)), INVALID_VALUE, "still mapped");
    ok!(cuMemUnmap(start, BLOCK));
    assert_eq!(cu!(cuMemRelease(handle)), INVALID_VALUE, "the mapping was the last to hold it");
    ok!(cuMemAddressFree(start, BLOCK));
}
