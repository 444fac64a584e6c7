// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:provider-tdlinkdeviceprovider
 *
 * `tdlinkdeviceprovider` lists the shared buffers of this machine that say what is in them, as sources of video: those
 * with a control segment, those of TouchDesigner's Shared Mem TOPs, and cuda-link's. Raw bytes say nothing of
 * themselves and are not listed; nor is what nobody fills any more.
 *
 * ## Example
 *
 * |[
 * gst-device-monitor-1.0 --follow Video/Source
 * ]|
 *
 * Since: 0.1.0
 */
use gst::{glib, prelude::*};

mod buffers;
mod device;
mod imp;
mod pace;

glib::wrapper! {
    pub struct Provider(ObjectSubclass<imp::Provider>) @extends gst::DeviceProvider, gst::Object;
}

glib::wrapper! {
    /// A buffer that can be read.
    pub struct Buffer(ObjectSubclass<device::Buffer>) @extends gst::Device, gst::Object;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // Monitors ask providers of rank MARGINAL and above, and list all of them.
    gst::DeviceProvider::register(Some(plugin), "tdlinkdeviceprovider", gst::Rank::MARGINAL, Provider::static_type())
}
