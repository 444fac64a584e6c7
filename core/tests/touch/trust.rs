// SPDX-License-Identifier: MPL-2.0
//! Senders that lie. Each of these once meant a frame of somebody else's memory, or the end of the process.

use tdlink_core::protocol::touch::{HeaderError, Standing};

use super::*;

fn header_error(names: &Names) -> HeaderError {
    match names.try_attach() {
        Err(ConsumeError::Header { source, .. }) => source,
        other => panic!("not a header's fault but {other:?}"),
    }
}

#[test]
fn a_header_that_lies_is_refused_at_first_and_later() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let fake = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    let good = header(desc).encode().unwrap();
    let lies: [(usize, &[u8]); 7] = [
        (0, &0x12ED_54CFu32.to_le_bytes()),
        (4, &0i32.to_le_bytes()),
        (8, &32768i32.to_le_bytes()),
        (12, &(-8i32).to_le_bytes()),
        (24, &12345u32.to_le_bytes()),
        (32, &0i64.to_le_bytes()),
        (40, &i32::MAX.to_le_bytes()),
    ];
    for (offset, lie) in lies {
        fake.put(offset, lie);
        let fault = header_error(&names);
        poll("it is news", || consumer.look().unwrap().then_some(()));
        match read_byte(&mut consumer) {
            Err(ConsumeError::Header { source, .. }) => assert_eq!(source, fault),
            other => panic!("{fault}: {other:?}"),
        }
        fake.put(0, &good);
    }
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)), "and it recovers");
}

#[test]
fn a_segment_is_measured_by_what_is_mapped() {
    let names = Names::new();
    // One row less than the header says; Windows rounds up to whole pages.
    let desc = bgra(1024, 5);
    let header = header(desc);
    let fake = Fake::new(&names, header.total_bytes() - desc.row_bytes() - 48);
    fake.put(0, &header.encode().unwrap());
    assert!(matches!(header_error(&names), HeaderError::TooSmall { .. }));
    drop(fake);
    let tiny = Fake::new(&names, 10);
    tiny.put(0, &0xD95E_F835u32.to_le_bytes());
    let fault = header_error(&names);
    // Windows has a page there, full of zeros.
    assert!(matches!(fault, HeaderError::Short { .. } | HeaderError::Version { found: 0 }), "{fault}");
}

#[test]
fn an_info_segment_that_lies_leads_nowhere() {
    let names = Names::new();
    let desc = bgra(8, 8);
    let fake = Fake::sending(&names, desc, 1);
    fake.put_info(0, &[0; 4]);
    assert!(names.missing().contains("0x00000000"), "{}", names.missing());
    fake.put_info(0, &Info::fresh().encode(InfoLayout::Utf16));
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    // A postfix without an end; one that is half a character; one that leads to nothing; one that is a path.
    for postfix in [[0x61; 64], {
        let mut half = [0; 64];
        half[1] = 0xD8;
        half
    }] {
        fake.put_info(10, &postfix);
        assert!(names.missing().contains("postfix"), "{}", names.missing());
    }
    for (postfix, what) in [("gone", "no shared memory"), ("/../x", "'/'")] {
        let info = Info { postfix: tdlink_core::protocol::touch::Postfix::new(postfix).unwrap(), ..Info::fresh() };
        fake.put_info(0, &info.encode(InfoLayout::Utf16));
        let fault = names.try_attach().unwrap_err().to_string();
        assert!(fault.contains(what), "{fault}");
    }
    match read_byte(&mut consumer) {
        Err(ConsumeError::Name(_)) => {}
        other => panic!("{other:?}"),
    }
    fake.put_info(10, &[0; 64]);
    assert_eq!(read_byte(&mut consumer).unwrap().1, Some(1));
    fake.put_info(74, &[1]);
    assert!(matches!(read_byte(&mut consumer).unwrap().0, Outcome::Ended(_)));
    assert!(matches!(consumer.standing(), Ok(Standing::Ended(_))));
}

#[test]
fn an_info_segment_that_is_too_short_is_told() {
    let names = Names::new();
    let info = Section::create(names.0.info(), 20, &CreateOptions::default()).unwrap();
    info.segment().write(0, &Info::fresh().encode(InfoLayout::Utf16)[..20]).unwrap();
    // Windows has a page there.
    let why = names.missing();
    assert!(why.contains("20 bytes, 76 are expected") || cfg!(windows), "{why}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_segment_that_is_cut_short_is_an_error_and_no_crash() {
    let names = Names::new();
    let desc = bgra(640, 480);
    let fake = Fake::sending(&names, desc, 1);
    let mut consumer = names.attach();
    read_byte(&mut consumer).unwrap();
    let path = std::path::Path::new("/dev/shm").join(names.data().as_str());
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(100).unwrap();
    let fault = match read_byte(&mut consumer) {
        Err(error) => error.to_string(),
        Ok(outcome) => panic!("{outcome:?}"),
    };
    assert!(fault.contains("cut short"), "{fault}");
    assert!(matches!(consumer.standing().unwrap(), Standing::Ended(why) if why.contains("100 bytes")));
    drop(fake);
}

#[test]
fn a_sender_meets_an_info_segment_that_is_none() {
    let names = Names::new();
    let foreign = Section::create(names.0.info(), 76, &CreateOptions::default()).unwrap();
    let fault = names.try_produce(bgra(8, 8), true).unwrap_err();
    assert!(matches!(&fault, ProduceError::Info { .. }), "{fault}");
    drop(foreign);
}

#[test]
fn what_cannot_be_sent_is_told_before_anything_is_made() {
    let names = Names::new();
    let three = desc(8, 8, SampleType::U8, 3, ChannelOrder::Rgba);
    let fault = names.try_produce(three, false).unwrap_err();
    assert!(fault.to_string().contains("1, 2 or 4 channels"), "{fault}");
    let huge = desc(32768, 32768, SampleType::F32, 4, ChannelOrder::Rgba);
    assert!(matches!(names.try_produce(huge, false), Err(ProduceError::TooLarge { .. })));
    assert!(names.try_produce(bgra(0, 8), false).is_err());
    assert_eq!(names.there(), (false, false, false));
}
