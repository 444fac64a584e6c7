// SPDX-License-Identifier: MPL-2.0
//! Both ends of the Shared Mem TOPs' protocol on the real system, and senders that do what none should. On Windows these
//! are its own named objects, on Linux what stands in for them.

#![cfg(not(target_os = "macos"))]

mod life;
mod peers;
mod python;
mod trust;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::pixels::{Converter, Options, Transfer};
use tdlink_core::protocol::copy::CopyThreads;
use tdlink_core::protocol::touch::{
    AttachOptions, Colour, ConsumeError, Consumer, Header, HeaderKind, Info, InfoLayout, Outcome, Pixel, ProduceError,
    Producer, ProducerOptions, TouchNames,
};
use tdlink_core::segment::wait::Waiter;
use tdlink_core::segment::{Access, CreateOptions, NamedMutex, OpenOptions, Section, SegmentName};

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);

fn bgra(width: u32, height: u32) -> FrameDesc {
    desc(width, height, SampleType::U8, 4, ChannelOrder::Bgra)
}

fn desc(width: u32, height: u32, sample: SampleType, channels: u8, order: ChannelOrder) -> FrameDesc {
    let format = PixelFormat::new(sample, channels, order).unwrap();
    FrameDesc { width, height, format, origin: Origin::BottomLeft }
}

/// Names that nobody else uses. When they go, nothing may be left of them in the system.
struct Names(TouchNames);

impl Names {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(TouchNames::new(&format!("tdlink-touch-{}-{number}", std::process::id())).unwrap())
    }

    fn produce(&self, desc: FrameDesc) -> Producer {
        self.try_produce(desc, false).unwrap()
    }

    fn try_produce(&self, desc: FrameDesc, takeover: bool) -> Result<Producer, ProduceError> {
        let create = CreateOptions { takeover, ..CreateOptions::default() };
        let options = ProducerOptions {
            header: HeaderKind::VulkanV1,
            aspect: [1.0, 1.0],
            colour: Colour::SRGB,
            create,
            threads: CopyThreads::default(),
        };
        Producer::create(&self.0, desc, desc.format, options, &Waiter::new())
    }

    fn attach(&self) -> Consumer {
        self.try_attach().unwrap()
    }

    fn try_attach(&self) -> Result<Consumer, ConsumeError> {
        Consumer::attach(&self.0, Origin::BottomLeft, AttachOptions::default())
    }

    /// What is missing for a receiver.
    fn missing(&self) -> String {
        match self.try_attach() {
            Err(ConsumeError::NotYet { why }) => why,
            other => panic!("not 'not yet' but {other:?}"),
        }
    }

    fn data(&self) -> SegmentName {
        self.0.data(&Default::default()).unwrap()
    }

    fn open(&self, name: &SegmentName) -> Option<Section> {
        Section::open(name, Access::ReadWrite, &OpenOptions::default()).ok()
    }

    fn mutex(&self) -> NamedMutex {
        NamedMutex::new(self.0.mutex(), &CreateOptions::default()).unwrap()
    }

    /// Which objects somebody has open.
    fn there(&self) -> (bool, bool, bool) {
        let mutex = NamedMutex::exists(self.0.mutex()).unwrap();
        (self.open(self.0.info()).is_some(), self.open(&self.data()).is_some(), mutex)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.there(), (false, false, false), "info, data, mutex are left");
        #[cfg(target_os = "linux")]
        for entry in std::fs::read_dir("/dev/shm").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(&format!("{}Mutex", self.0.typed())), "{name} is left");
        }
    }
}

/// A sender that does what it is told, byte for byte. It ends without a word, as one that is killed does.
struct Fake {
    info: Option<Section>,
    data: Section,
}

impl Fake {
    fn new(names: &Names, len: usize) -> Self {
        let create = CreateOptions::default();
        let info = Section::create(names.0.info(), 76, &create).unwrap();
        info.segment().write(0, &Info::fresh().encode(InfoLayout::Utf16)).unwrap();
        Self { info: Some(info), data: Section::create(&names.data(), len, &create).unwrap() }
    }

    /// One with a header of `desc` and all pixels `byte`.
    fn sending(names: &Names, desc: FrameDesc, byte: u8) -> Self {
        let header = header(desc);
        let fake = Self::new(names, header.total_bytes());
        fake.send(&header, byte);
        fake
    }

    fn send(&self, header: &Header, byte: u8) {
        self.data.segment().write(0, &header.encode().unwrap()).unwrap();
        self.data.segment().write(header.data_offset, &vec![byte; header.data_bytes]).unwrap();
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        self.data.segment().write(offset, bytes).unwrap();
    }

    fn put_info(&self, offset: usize, bytes: &[u8]) {
        self.info.as_ref().unwrap().segment().write(offset, bytes).unwrap();
    }
}

fn header(desc: FrameDesc) -> Header {
    let pixel = Pixel::Plain(desc.format);
    Header::new(HeaderKind::VulkanV1, (desc.width, desc.height), pixel, [1.0, 1.0], Colour::SRGB).unwrap()
}

/// A frame of `consumer`'s own size whose bytes are all one; none for a mixture.
fn read_byte(consumer: &mut Consumer) -> Result<(Outcome, Option<u8>), ConsumeError> {
    let bytes = consumer.desc().bytes().unwrap();
    let mut frame = vec![0xEE; bytes];
    let stride = consumer.desc().row_bytes();
    let outcome = consumer.read(&mut frame, stride)?;
    let whole = frame.iter().all(|byte| *byte == frame[0]);
    Ok((outcome, whole.then_some(frame[0])))
}

const NEW: Outcome = Outcome::Whole { changed: true };
const OLD: Outcome = Outcome::Whole { changed: false };

fn filled(desc: &FrameDesc, byte: u8) -> Vec<u8> {
    vec![byte; desc.bytes().unwrap()]
}

/// Looks again and again until `look` finds something.
fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn frames_cross_in_every_format_that_has_a_number() {
    for sample in SampleType::ALL {
        for channels in [1, 2, 4] {
            for header in [HeaderKind::VulkanV1, HeaderKind::VulkanV2, HeaderKind::Gl] {
                let names = Names::new();
                let desc = desc(17, 5, sample, channels, ChannelOrder::Rgba);
                let options = ProducerOptions {
                    header,
                    aspect: [4.0, 3.0],
                    colour: Colour::SRGB,
                    create: CreateOptions::default(),
                    threads: CopyThreads::default(),
                };
                let mut producer = Producer::create(&names.0, desc, desc.format, options, &Waiter::new()).unwrap();
                let frame: Vec<u8> = (0..desc.bytes().unwrap()).map(|i| (i * 7 + i / 251) as u8 & 0x3B).collect();
                producer.write(&frame, desc.row_bytes()).unwrap();
                let mut consumer = names.attach();
                assert_eq!(consumer.desc(), desc, "{header:?}");
                assert_eq!(consumer.header().aspect, [4.0, 3.0]);
                assert_eq!(consumer.header().colour.is_some(), header == HeaderKind::VulkanV2);
                for keep_wire in [false, true] {
                    let mut read = vec![0; frame.len()];
                    consumer.set_target(desc.format, Options::default(), keep_wire).unwrap();
                    assert!(matches!(consumer.read(&mut read, desc.row_bytes()).unwrap(), Outcome::Whole { .. }));
                    assert_eq!(read, frame, "{desc} {header:?}");
                    let rows = frame.chunks(desc.row_bytes()).rev().flatten();
                    assert!(consumer.wire().is_none_or(|wire| wire.iter().eq(rows)), "the wire's rows are bottom-up");
                    assert_eq!(consumer.wire().is_some(), keep_wire);
                }
            }
        }
    }
}

#[test]
fn what_is_converted_beside_the_lock_is_what_is_converted_with_it() {
    let names = Names::new();
    let wire = desc(33, 3, SampleType::F32, 4, ChannelOrder::Rgba);
    let u16 = PixelFormat::new(SampleType::U16, 4, ChannelOrder::Rgba).unwrap();
    let options = ProducerOptions {
        header: HeaderKind::VulkanV1,
        aspect: [1.0, 1.0],
        colour: Colour::SRGB,
        create: CreateOptions::default(),
        threads: CopyThreads::default(),
    };
    let mut producer = Producer::create(&names.0, wire, u16, options, &Waiter::new()).unwrap();
    let frame: Vec<u8> = (0..33 * 3 * 4u32).flat_map(|i| ((i * 211) as u16).to_le_bytes()).collect();
    // Rows with padding on both sides.
    let (stride, row) = (33 * 8 + 24, 33 * 8);
    let mut padded = vec![0xAA; 2 * stride + row];
    for (to, from) in padded.chunks_mut(stride).zip(frame.chunks(row)) {
        to[..row].copy_from_slice(from);
    }
    producer.write(&padded, stride).unwrap();
    let mut consumer = names.attach();
    consumer.set_target(u16, Options::default(), false).unwrap();
    let mut read = vec![0xBB; 2 * stride + row];
    assert_eq!(consumer.read(&mut read, stride).unwrap(), NEW);
    for (read, frame) in read.chunks(stride).zip(frame.chunks(row)) {
        assert_eq!(&read[..row], frame);
        assert!(read[row..].iter().all(|byte| *byte == 0xBB), "between rows nothing is touched");
    }
    assert!(consumer.same_as(&read, stride).unwrap());
    read[stride + 5] ^= 1;
    assert!(!consumer.same_as(&read, stride).unwrap());
    assert!(matches!(consumer.read(&mut read[1..], stride), Err(ConsumeError::Buffer(_))));
    // The same by way of private memory, and a transfer that is always done there.
    read[stride + 5] ^= 1;
    let mut staged = vec![0xBB; read.len()];
    consumer.set_target(u16, Options::default(), true).unwrap();
    consumer.read(&mut staged, stride).unwrap();
    assert_eq!(staged, read);
    let light = Options { transfer: Transfer::LinearToSrgb, ..Options::default() };
    consumer.set_target(u16, light, false).unwrap();
    consumer.read(&mut staged, stride).unwrap();
    let mut converter = Converter::new(wire.format, u16, light);
    let mut wanted = vec![0; row];
    for (top, staged) in staged.chunks(stride).enumerate() {
        let floats: Vec<u8> = frame[top * row..][..row]
            .as_chunks()
            .0
            .iter()
            .flat_map(|sample| (f32::from(u16::from_le_bytes(*sample)) / 65535.0).to_le_bytes())
            .collect();
        converter.row(&floats, &mut wanted).unwrap();
        assert_eq!(&staged[..row], wanted);
    }
}

/// Run by hand: `cargo test -p tdlink-core --test touch -- --ignored --nocapture how_long`.
#[test]
#[ignore = "a measurement"]
fn how_long_the_mutex_is_held() {
    for (label, desc) in [
        ("4K BGRA u8", bgra(3840, 2160)),
        ("4K RGBA f16", desc(3840, 2160, SampleType::F16, 4, ChannelOrder::Rgba)),
        ("4K RGBA f32", desc(3840, 2160, SampleType::F32, 4, ChannelOrder::Rgba)),
        ("1080p BGRA u8", bgra(1920, 1080)),
    ] {
        let names = Names::new();
        let mut producer = names.produce(desc);
        let mut frame = filled(&desc, 1);
        producer.write(&frame, desc.row_bytes()).unwrap();
        let options = AttachOptions { threads: CopyThreads::new(0), ..AttachOptions::default() };
        let mut consumer = Consumer::attach(&names.0, Origin::BottomLeft, options).unwrap();
        let to = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
        consumer.set_target(to, Options::default(), false).unwrap();
        let mut read = vec![0; (desc.width * desc.height) as usize * 4];
        let (mut wrote, mut took) = (Vec::new(), Vec::new());
        for n in 0..60u8 {
            frame[usize::from(n)] ^= n;
            producer.write(&frame, desc.row_bytes()).unwrap();
            consumer.read(&mut read, desc.width as usize * 4).unwrap();
            wrote.push(producer.held());
            took.push(consumer.held());
        }
        wrote.sort_unstable();
        took.sort_unstable();
        println!(
            "{label}: sender median {:?}, p95 {:?}; receiver median {:?}, p95 {:?}",
            wrote[30], wrote[57], took[30], took[57]
        );
    }
}
