// SPDX-License-Identifier: MPL-2.0
use std::{
    collections::BTreeMap,
    sync::{
        LazyLock, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::buffers::{self, Described};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tdlinkdeviceprovider", gst::DebugColorFlags::empty(), Some("Shared buffers as devices"))
});

/// The shortest and the longest pause between two looks. (A look takes some 100 µs for each buffer, so that a hundred of
/// them cost no more than a thousandth of a core. Where there are Shared Mem TOPs' or cuda-link's, each look also asks
/// `/proc` for all processes of the user: with thousands of those, the longest pause bounds the news, and not the cost.)
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// A look may take this part of the time that it is followed by: half a thousandth of a core.
const SHARE: u32 = 2000;

#[derive(Debug, Default)]
pub struct Provider {
    watch: Mutex<Option<Watch>>,
}

/// The thread that looks, and what ends it.
#[derive(Debug)]
struct Watch {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

#[glib::object_subclass]
impl ObjectSubclass for Provider {
    const NAME: &'static str = "GstTdLinkDeviceProvider";
    type Type = super::Provider;
    type ParentType = gst::DeviceProvider;
}

impl ObjectImpl for Provider {}
impl GstObjectImpl for Provider {}

/// The devices that stand in the provider's list.
type Shown = BTreeMap<Described, super::Buffer>;

/// Makes the provider's list what there is now.
fn update(provider: &super::Provider, shown: &mut Shown) {
    let there = buffers::all();
    shown.retain(|described, device| {
        let stays = there.contains(described);
        if !stays {
            gst::debug!(CAT, obj = provider, "{} has gone, or is another one now", described.name);
            provider.device_remove(device);
        }
        stays
    });
    for described in there {
        if shown.contains_key(&described) {
            continue;
        }
        match super::Buffer::new(&described) {
            Ok(device) => {
                gst::debug!(CAT, obj = provider, "{} is there: {}", described.name, described.caps);
                provider.device_add(&device);
                shown.insert(described, device);
            }
            Err(error) => gst::warning!(CAT, obj = provider, "{}: {error}", described.name),
        }
    }
}

fn pause_after(look: Duration) -> Duration {
    look.saturating_mul(SHARE).clamp(PAUSE.0, PAUSE.1)
}

impl DeviceProviderImpl for Provider {
    fn metadata() -> Option<&'static gst::subclass::DeviceProviderMetadata> {
        static METADATA: LazyLock<gst::subclass::DeviceProviderMetadata> = LazyLock::new(|| {
            gst::subclass::DeviceProviderMetadata::new(
                "Shared buffers of TouchDesigner",
                "Source/Video",
                "Lists shared buffers that say what is in them",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn probe(&self) -> Vec<gst::Device> {
        let devices = buffers::all().into_iter().filter_map(|described| {
            let device = super::Buffer::new(&described);
            device.inspect_err(|error| gst::warning!(CAT, imp = self, "{}: {error}", described.name)).ok()
        });
        devices.map(Cast::upcast).collect()
    }

    fn start(&self) -> Result<(), gst::LoggableError> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_some() {
            return Ok(());
        }
        let (end, ended) = channel();
        let mut shown = Shown::new();
        let begun = Instant::now();
        update(&self.obj(), &mut shown);
        let mut pause = pause_after(begun.elapsed());
        let provider = self.obj().downgrade();
        let look = move || {
            // Nothing is ever sent: the other end goes.
            while matches!(ended.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                let Some(provider) = provider.upgrade() else { return };
                let begun = Instant::now();
                update(&provider, &mut shown);
                pause = pause_after(begun.elapsed());
            }
        };
        let thread = std::thread::Builder::new().name("tdlink-buffers".into()).spawn(look);
        let thread = thread.map_err(|error| gst::loggable_error!(CAT, "no thread to look with: {error}"))?;
        *watch = Some(Watch { end, thread });
        Ok(())
    }

    fn stop(&self) {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Watch { end, thread }) = watch else { return };
        drop(end);
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            gst::error!(CAT, imp = self, "the thread that looks has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_a_thousandth_of_its_pause_at_most_and_the_pause_ten_seconds() {
        for micros in [1, 100, 500, 1_000, 5_000, 10_000] {
            let look = Duration::from_micros(micros);
            assert!(pause_after(look) >= look * 1000, "{look:?}");
        }
        assert_eq!(pause_after(Duration::ZERO), PAUSE.0);
        assert_eq!(pause_after(Duration::from_secs(60)), PAUSE.1);
    }
}
