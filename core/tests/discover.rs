// SPDX-License-Identifier: MPL-2.0
//! What discovery says of real segments, whatever stands in them and whoever changes them meanwhile.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tdlink_core::discover::{Detail, Found, Look, Protocol, State, all, fields, named};
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::pixels::Options;
use tdlink_core::protocol::control::{FrameSpec, Interrupt, Producer, ProducerOptions, Stamps};
use tdlink_core::protocol::copy::CopyThreads;
use tdlink_core::protocol::raw::{self, RawLayout};
use tdlink_core::segment::{CreateOptions, SegmentName};

/// A name that nobody else uses, and its files.
struct Name(String);

impl Name {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self(format!("tdlink-discover-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    fn segment(&self) -> SegmentName {
        SegmentName::new(&self.0).unwrap()
    }

    fn path(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("/dev/shm/{}{ending}", self.0))
    }

    fn one(&self, look: Look) -> Found {
        let mut found = named(&self.0, look);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        for entry in fs::read_dir("/dev/shm").unwrap().flatten() {
            if entry.file_name().to_string_lossy().contains(&self.0) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Ends the other thread when this one is through, or has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn desc(width: u32, height: u32) -> FrameDesc {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    FrameDesc { width, height, format, origin: Origin::BottomLeft }
}

fn producer(name: &Name, slots: u32, width: u32, height: u32) -> Producer {
    let spec = FrameSpec::packed(desc(width, height));
    Producer::create(&name.segment(), spec, ProducerOptions::latest(slots), Interrupt::new()).unwrap()
}

#[test]
fn a_list_and_a_question_by_name_say_the_same() {
    let (ring, plain, foreign) = (Name::new(), Name::new(), Name::new());
    let producer = producer(&ring, 3, 64, 48);
    producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    let layout = RawLayout { desc: desc(32, 16), offset: 0 };
    let options = CreateOptions::default();
    let _raw = raw::Producer::create(
        &plain.segment(),
        layout,
        layout.desc.format,
        Options::default(),
        &options,
        CopyThreads::new(1),
    )
    .unwrap();
    fs::write(foreign.path(""), [1; 100]).unwrap();
    let listed = all(Look::Processes);
    for (name, protocol, state) in [
        (&ring, Protocol::Control, State::Live),
        (&plain, Protocol::Raw, State::Live),
        (&foreign, Protocol::Raw, State::Stale),
    ] {
        let mine: Vec<&Found> = listed.iter().filter(|found| found.name.contains(&name.0)).collect();
        assert_eq!(mine.len(), 1, "the ring's own objects are not listed: {mine:#?}");
        let asked = name.one(Look::Processes);
        for found in [mine[0], &asked] {
            assert_eq!((found.protocol(), found.state), (protocol, state), "{found:#?}");
            assert_eq!(found.trouble, Vec::<String>::new());
        }
        assert_eq!((asked.bytes, &asked.object, asked.uid), (mine[0].bytes, &mine[0].object, mine[0].uid));
    }
    // A producer of raw bytes is known by its lock.
    assert_eq!(plain.one(Look::Processes).producer.map(|program| program.pid), Some(std::process::id()));
    assert!(ring.one(Look::Segments).age.is_some_and(|age| age < Duration::from_secs(60)));
}

#[test]
fn a_description_that_changes_all_the_time_is_never_read_half_or_called_wrong() {
    for slots in [1, 3] {
        let name = Name::new();
        let producer = producer(&name, slots, 16, 1000);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 0u32.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    // Neither side is ever the same in both.
                    let (width, height) = if turn.is_multiple_of(2) { (1000, 16) } else { (16, 1000) };
                    producer.set_spec(FrameSpec::packed(desc(width, height))).unwrap();
                }
            });
            let _ends = Ends(&over);
            let until = Instant::now() + Duration::from_secs(2);
            let (mut seen, mut troubled) = ([0u32; 2], 0);
            while Instant::now() < until {
                let found = name.one(Look::Segments);
                if found.detail == Detail::Control(None) {
                    // It changed whenever it was looked at; that is said, and nothing else.
                    assert!(found.trouble[0].contains("anew") || found.trouble[0].contains("ready"), "{found:#?}");
                    continue;
                }
                let frame = found.frame.unwrap();
                match (frame.width, frame.height) {
                    (1000, 16) => seen[0] += 1,
                    (16, 1000) => seen[1] += 1,
                    half => panic!("half of each: {half:?}"),
                }
                troubled += u32::from(!found.trouble.is_empty());
            }
            println!("{slots} slots: {seen:?} seen, {troubled} with trouble");
            assert!(seen[0] > 0 && seen[1] > 0, "{slots} slots: {seen:?}");
            // A producer that the system stops between two steps stands in its own way for as long.
            assert!(troubled <= (seen[0] + seen[1]) / 50, "{slots} slots: {troubled} of {seen:?} with trouble");
        });
    }
}

#[test]
fn a_description_that_is_being_written_is_not_read() {
    let name = Name::new();
    let producer = producer(&name, 3, 64, 48);
    let control = fs::OpenOptions::new().write(true).open(name.path(".tdlink")).unwrap();
    let edition = 2 * producer.generation();
    control.write_all_at(&(edition + 1).to_le_bytes(), 136).unwrap();
    let found = name.one(Look::Segments);
    assert_eq!((&found.detail, found.state), (&Detail::Control(None), State::Live), "{found:#?}");
    control.write_all_at(&edition.to_le_bytes(), 136).unwrap();
    assert!(name.one(Look::Segments).frame.is_some());
}

#[test]
fn no_byte_of_a_header_is_believed() {
    let name = Name::new();
    let producer = producer(&name, 1, 64, 48);
    producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    let control = fs::OpenOptions::new().read(true).write(true).open(name.path(".tdlink")).unwrap();
    let mut good = vec![0; 9000];
    control.read_exact_at(&mut good, 0).unwrap();
    let touched = (0..200).chain(384..560).chain(640..660).chain(4096..4160).chain(8192..8232);
    for at in touched {
        for value in [0u8, 1, 0x80, 0xff] {
            control.write_all_at(&[value], at as u64).unwrap();
            let found = name.one(Look::Segments);
            // Whatever it says, all of it can be asked for.
            let _ = (found.stalled_after(), fields(&found).len(), format!("{found:?}"));
        }
        control.write_all_at(&[good[at]], at as u64).unwrap();
    }
    assert_eq!(name.one(Look::Segments).trouble, Vec::<String>::new());
    // What is wrong is said where it is wrong.
    control.write_all_at(&[7], 384 + 68).unwrap();
    let found = name.one(Look::Segments);
    assert!(found.trouble[0].contains("channels"), "{:?}", found.trouble);
    let wrong: Vec<_> = fields(&found).into_iter().filter(|field| field.wrong.is_some()).collect();
    assert_eq!(wrong.iter().map(|field| field.name).collect::<Vec<_>>(), ["channels"], "{wrong:#?}");
    control.write_all_at(&[4], 384 + 68).unwrap();
}

#[test]
fn a_segment_that_is_cut_while_it_is_looked_at_is_no_crash() {
    let name = Name::new();
    let bytes: Vec<u8> = 0x4349_5044u32.to_le_bytes().into_iter().chain([3; 20_000]).collect();
    fs::write(name.path(""), &bytes).unwrap();
    fs::write(name.path(".tdlink"), &bytes).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let files = ["", ".tdlink"].map(|end| fs::OpenOptions::new().write(true).open(name.path(end)).unwrap());
            for turn in 0u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                for file in &files {
                    file.set_len([0, 10, 20_000, 8192][turn as usize % 4]).unwrap();
                }
            }
        });
        let _ends = Ends(&over);
        let until = Instant::now() + Duration::from_secs(1);
        let mut looks = 0;
        while Instant::now() < until {
            for found in named(&name.0, Look::Segments) {
                let _ = fields(&found);
            }
            looks += 1;
        }
        assert!(looks > 100, "{looks}");
    });
}

#[test]
fn a_look_takes_no_row_and_writes_no_byte() {
    let name = Name::new();
    let producer = producer(&name, 3, 64, 48);
    producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    let before = fs::read(name.path(".tdlink")).unwrap();
    let clients = producer.count_clients().unwrap();
    for _ in 0..10 {
        name.one(Look::Processes);
        all(Look::Processes);
    }
    assert_eq!(fs::read(name.path(".tdlink")).unwrap(), before);
    assert_eq!((producer.count_clients().unwrap(), producer.tend().unwrap().joined), (clients, 0));
}
