// SPDX-License-Identifier: MPL-2.0
use std::{
    collections::BTreeMap,
    sync::{
        LazyLock, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::buffers::{self, Described, Held};
use super::pace::{Pace, TICK};

pub static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tdlinkdeviceprovider", gst::DebugColorFlags::empty(), Some("Shared buffers as devices"))
});

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
fn update(provider: &super::Provider, shown: &mut Shown, held: &mut Held) {
    let there = buffers::all(held);
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
        let devices = buffers::all(&mut Held::default()).into_iter().filter_map(|described| {
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
        // Watched before the first look, so that nothing falls between.
        let mut pace = Pace::watching();
        let (mut shown, mut held) = (Shown::new(), Held::default());
        pace.look(|| update(&self.obj(), &mut shown, &mut held));
        let provider = self.obj().downgrade();
        let look = move || {
            // Nothing is ever sent: the other end goes.
            while matches!(ended.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                let Some(provider) = provider.upgrade() else { return };
                if pace.is_due() {
                    pace.look(|| update(&provider, &mut shown, &mut held));
                }
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
