// SPDX-License-Identifier: MPL-2.0
//! Shared buffers as devices: listed with their caps, followed as they come and go, at next to no cost; and read by who
//! knows nothing but a device or a URI.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::name::Name;
use common::peer::{Peer, plugin};
use common::run::Run;
use common::{PATIENCE, folder::Folder, poll};
use gst::prelude::*;

/// The longest pause between two looks of the provider, and something for the look.
const NEWS: Duration = Duration::from_secs(15);
const PROVIDER: &str = "tdlinkdeviceprovider";

fn provider() -> gst::DeviceProvider {
    common::init();
    gst::DeviceProviderFactory::by_name(PROVIDER).expect("the plugin registers it")
}

fn sender(name: &str, options: &str) -> Peer {
    let picture = "videotestsrc is-live=true ! video/x-raw,format=RGBA,width=64,height=36,framerate=60/1";
    Peer::launch(&format!("{picture} ! tdshmsink shm-name={name} {options}"))
}

/// The device of a name, once the provider's probe shows one.
fn device(provider: &gst::DeviceProvider, name: &str) -> gst::Device {
    poll("the buffer is a device", PATIENCE, || {
        provider.devices().into_iter().find(|device| device.display_name() == name)
    })
}

#[test]
fn a_buffer_is_a_device_with_its_caps_whose_element_reads_it() {
    let (provider, name) = (provider(), Name::new("dev"));
    for (options, protocol, wire) in
        [("", "control", "RGBA"), ("slots=4", "control", "RGBA"), ("protocol=touch", "touch", "BGRA")]
    {
        let mut sender = sender(&name, options);
        let device = device(&provider, &name);
        assert!(device.has_classes("Video/Source"));
        let caps = device.caps().expect("it has caps");
        let best = caps.structure(0).expect("some");
        let format = best.get::<gst::List>("format").expect("several formats");
        assert_eq!(format.first().and_then(|format| format.get::<String>().ok()).as_deref(), Some(wire), "{caps}");
        assert_eq!((best.get::<i32>("width"), best.get::<i32>("height")), (Ok(64), Ok(36)));
        let properties = device.properties().expect("it has properties");
        assert_eq!(properties.get::<String>("protocol").as_deref(), Ok(protocol));
        if protocol == "control" {
            assert_eq!(best.get::<gst::Fraction>("framerate"), Ok(gst::Fraction::new(60, 1)));
            assert_eq!(properties.get::<u32>("pid"), Ok(sender.pid()));
        }

        let run = Run::new("fakesink name=k async=false");
        let source = device.create_element(Some("s")).expect("a source");
        run.pipeline().add(&source).expect("a new element");
        source.link(&run.element("k")).expect("both have pads");
        run.play();
        run.wait_message("tdlink-connected");
        poll("frames arrive", PATIENCE, || (run.stat("s", "frames") > 3).then_some(()));
        run.stop();

        let other = gst::ElementFactory::make("fakesrc").build().expect("fakesrc");
        device.reconfigure_element(&other).expect_err("no source of ours");
        let again = gst::ElementFactory::make("tdshmsrc").build().expect("tdshmsrc");
        device.reconfigure_element(&again).expect("a source of ours");
        assert_eq!(again.property::<String>("shm-name"), &*name);
        let nick = |element: &gst::Element| {
            let value = element.property_value("protocol");
            gst::glib::EnumValue::from_value(&value).map(|(_, value)| value.nick().to_owned())
        };
        assert_eq!(nick(&again).as_deref(), Some(if protocol == "touch" { "touch" } else { "auto" }));
        // One that read the other kind before does not keep on looking for it.
        again.set_property_from_str("protocol", if protocol == "touch" { "raw" } else { "touch" });
        device.reconfigure_element(&again).expect("a source of ours");
        assert_eq!(nick(&again).as_deref(), Some(if protocol == "touch" { "touch" } else { "auto" }));
        sender.interrupt();
        sender.wait(PATIENCE);
        poll("the name goes", PATIENCE, || name.leftovers().is_empty().then_some(()));
    }
}

/// The name of the device in a bus's next message about one of ours, and whether it came (or went).
fn news(bus: &gst::Bus, name: &str) -> Option<bool> {
    let deadline = Instant::now() + NEWS;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = bus.timed_pop(gst::ClockTime::try_from(left).expect("seconds"))?;
        let (device, came) = match message.view() {
            gst::MessageView::DeviceAdded(added) => (added.device(), true),
            gst::MessageView::DeviceRemoved(removed) => (removed.device(), false),
            _ => continue,
        };
        if device.display_name() == name {
            return Some(came);
        }
    }
}

#[test]
fn devices_come_and_go_with_their_senders_however_these_end() {
    let (provider, name) = (provider(), Name::new("follow"));
    let bus = provider.bus();
    provider.start().expect("it starts");
    for _ in 0..2 {
        let mut writer = sender(&name, "slots=3");
        assert_eq!(news(&bus, &name), Some(true), "a sender came");
        writer.interrupt();
        writer.wait(PATIENCE);
        assert_eq!(news(&bus, &name), Some(false), "it ended");
    }
    let mut killed = sender(&name, "slots=3");
    assert_eq!(news(&bus, &name), Some(true), "another came");
    killed.kill();
    assert_eq!(news(&bus, &name), Some(false), "it was killed");
    // Another size is another device: the old one goes, and another comes. What the dead one left is taken over.
    let mut writer = sender(&name, "slots=3");
    assert_eq!(news(&bus, &name), Some(true), "one more");
    writer.interrupt();
    writer.wait(PATIENCE);
    let picture = "videotestsrc is-live=true ! video/x-raw,format=RGBA,width=32,height=18,framerate=60/1";
    let mut smaller = Peer::launch(&format!("{picture} ! tdshmsink shm-name={name} slots=3"));
    assert_eq!(news(&bus, &name), Some(false), "that of the old size goes");
    assert_eq!(news(&bus, &name), Some(true), "that of the new size comes");
    provider.stop();
    smaller.interrupt();
    smaller.wait(PATIENCE);
}

/// Its segments stay where they are, and nothing in them says that it has gone.
#[test]
fn what_a_killed_sender_to_a_shared_mem_top_leaves_is_no_device() {
    let (provider, name) = (provider(), Name::new("touch-dead"));
    let mut killed = sender(&name, "protocol=touch");
    device(&provider, &name);
    killed.kill();
    assert!(!name.leftovers().is_empty(), "a kill takes no name away");
    let gone = || provider.devices().iter().all(|device| device.display_name() != *name).then_some(());
    poll("the device goes", PATIENCE, gone);
    // The next sender takes over what is left, and tidies up.
    let mut next = sender(&name, "protocol=touch");
    device(&provider, &name);
    next.interrupt();
    next.wait(PATIENCE);
}

#[test]
fn bytes_that_say_nothing_of_themselves_and_what_is_left_of_the_dead_are_no_devices() {
    let (provider, raw, dead) = (provider(), Name::new("raw"), Name::new("dead"));
    let mut python = Peer::python("writer.py");
    python.ask(&format!("create {raw} {}", 64 * 36 * 4));
    let mut killed = sender(&dead, "slots=3");
    device(&provider, &dead);
    killed.kill();
    let mut living = sender(&raw[..raw.len() - 1], "slots=3");
    device(&provider, &raw[..raw.len() - 1]);
    let names: Vec<String> = provider.devices().iter().map(|device| device.display_name().to_string()).collect();
    assert!(!names.contains(&raw.to_string()) && !names.contains(&dead.to_string()), "{names:?}");
    living.interrupt();
    living.wait(PATIENCE);
    python.ask(&format!("unlink {raw}"));
    // Whoever comes next finds nothing of the dead.
    let run = Run::playing(&format!("tdshmsrc shm-name={dead} connection-timeout=1 ! fakesink"));
    run.wait_error(PATIENCE);
}

/// A sender that is killed leaves a segment that looks as ever, and its reader still has that open. Our readers open it for
/// reading alone, and a producer could write.
#[test]
fn a_killed_cuda_link_sender_is_no_device_although_a_reader_has_its_segment_open() {
    use tdlink_core::protocol::cudalink::{Interrupt, Watch};
    use tdlink_core::segment::{OpenOptions, SegmentName};

    let (provider, name) = (provider(), Name::new("announced"));
    let bytes = common::announced::cudalink_bytes(0, 0.0);
    let mut python = Peer::python("writer.py");
    python.ask(&format!("create {name} {}", bytes.len()));
    std::fs::OpenOptions::new()
        .write(true)
        .open(name.path())
        .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
        .expect("the segment is there");
    let found = device(&provider, &name);
    assert_eq!(found.properties().expect("it has some").get::<String>("protocol").as_deref(), Ok("cuda-link"));
    let segment = SegmentName::new(&name).expect("a name");
    let reader = Watch::attach(&segment, &OpenOptions::default(), Interrupt::new()).expect("it is announced");
    python.kill();
    assert!(name.path().exists(), "a kill takes no name away");
    let gone = || provider.devices().iter().all(|device| device.display_name() != *name).then_some(());
    poll("the device goes", PATIENCE, gone);
    drop(reader);
    std::fs::remove_file(name.path()).expect("it is still there");
}

/// What another user owns the sources do not read unless they are told to: no device, and the source says why. Only root
/// can give a file away; others see this test do nothing but say so.
#[test]
fn another_users_buffer_is_no_device_and_the_source_says_whose_it_is() {
    if tdlink_core::segment::user_id() != 0 {
        eprintln!("not run: it takes root to give a buffer to another user");
        return;
    }
    let (provider, name) = (provider(), Name::new("theirs"));
    let mut sender = sender(&name, "slots=3");
    device(&provider, &name);
    let control = name.path().with_file_name(format!("{}.tdlink", &*name));
    std::os::unix::fs::chown(&control, Some(65534), None).expect("root may");
    assert!(provider.devices().iter().all(|device| device.display_name() != *name));
    let run = Run::playing(&format!("tdshmsrc shm-name={name} connection-timeout=1 ! fakesink"));
    let said = format!("{:?}", run.wait_error(PATIENCE));
    assert!(said.contains("user 65534"), "{said}");
    run.stop();
    std::os::unix::fs::chown(&control, Some(0), None).expect("root may");
    device(&provider, &name);
    sender.interrupt();
    sender.wait(PATIENCE);
}

/// Time on a processor, of the thread that looks.
fn processor_time() -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let mut tasks = tasks.map(|task| task.path());
    let comm = |task: &Path| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
    let task = tasks.find(|task| comm(task).trim() == "tdlink-buffers")?;
    let said = std::fs::read_to_string(task.join("schedstat")).ok()?;
    said.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn looking_after_fifty_buffers_takes_less_than_a_thousandth_of_a_core() {
    use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
    use tdlink_core::protocol::control::{FrameSpec, Interrupt, Producer, ProducerOptions};
    use tdlink_core::segment::SegmentName;

    let names: Vec<Name> = (0..50).map(|number| Name::new(&format!("fifty-{number}"))).collect();
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).expect("RGBA");
    let spec = FrameSpec::packed(FrameDesc { width: 16, height: 16, format, origin: Origin::TopLeft });
    let produce = |name: &Name| {
        let name = SegmentName::new(name).expect("a name");
        Producer::create(&name, spec.clone(), ProducerOptions::latest(3), Interrupt::new()).expect("a producer")
    };
    let producers: Vec<Producer> = names.iter().map(produce).collect();
    let provider = provider();
    let begun = Instant::now();
    provider.start().expect("it starts");
    let ours = provider.devices().iter().filter(|device| device.display_name().contains("fifty-")).count();
    assert_eq!(ours, 50);
    // Long enough for the longest pause, and until it has looked.
    let (least, none) = (Duration::from_secs(11), Duration::from_millis(1));
    let looked = poll("a look", NEWS * 2, || processor_time().filter(|time| begun.elapsed() > least && *time > none));
    let share = looked.as_secs_f64() / begun.elapsed().as_secs_f64();
    provider.stop();
    assert!(processor_time().is_none(), "the thread ends with the provider");
    drop(producers);
    assert!(share < 0.001, "{looked:?} of processor time in {:?}: {share}", begun.elapsed());
}

/// A program of GStreamer's that finds the plugin as a user's does.
fn program(name: &str, folder: &Folder) -> Command {
    let link = folder.join("libgsttdlink.so");
    if !link.exists() {
        std::os::unix::fs::symlink(plugin(), link).expect("a link in a folder of ours");
    }
    let mut command = Command::new(name);
    command.env("GST_PLUGIN_PATH", &**folder).env("GST_REGISTRY", folder.join("registry.bin"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn gst_device_monitor_shows_a_buffer_and_the_line_that_reads_it() {
    let (name, folder) = (Name::new("monitor"), Folder::new("monitor"));
    let mut sender = sender(&name, "slots=3");
    device(&provider(), &name);
    let output = program("gst-device-monitor-1.0", &folder).arg("Video/Source").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    for wanted in
        [format!("name  : {}", &*name), "format={ (string)RGBA".into(), format!("tdshmsrc shm-name={} ! ...", &*name)]
    {
        assert!(said.contains(&wanted), "{wanted:?} in {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    sender.interrupt();
    sender.wait(PATIENCE);
}

#[test]
fn a_uri_plays_where_only_uris_are_known() {
    let (name, folder) = (Name::new("uri"), Folder::new("uri"));
    let mut sender = sender(&name, "slots=3");
    device(&provider(), &name);
    let caps = "video/x-raw,format=RGBA,width=64,height=36";
    let run = Run::playing(&format!("uridecodebin3 uri=tdshm://{name} ! {caps} ! fakesink name=k async=false"));
    run.wait_message("tdlink-connected");
    poll("a frame", PATIENCE, || run.element("k").static_pad("sink").and_then(|pad| pad.current_caps()));
    run.stop();

    let mut play = program("gst-play-1.0", &folder);
    play.args(["--no-interactive", "--videosink=fakevideosink", "--audiosink=fakesink", "--verbose"]);
    let mut play = Peer::spawn({
        play.arg(format!("tdshm://{}", &*name));
        play
    });
    let caps = play.hear("GstPlaySink:playsink.GstGhostPad:video_sink", PATIENCE);
    assert!(caps.contains("width=(int)64"), "{caps}");
    play.interrupt();
    play.wait(PATIENCE);
    sender.interrupt();
    sender.wait(PATIENCE);
}
