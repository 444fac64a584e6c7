// SPDX-License-Identifier: MPL-2.0
//! GStreamer elements for TouchDesigner's shared buffers.
//!
//! | element | what |
//! | --- | --- |
//! | `tdshmsink` | writes video into a shared buffer that TouchDesigner or Python reads |
//! | `tdshmsrc` | reads a shared buffer that TouchDesigner or Python writes |
//! | `tdcudaipcsink` | writes video into shared GPU memory that TouchDesigner or Python reads by cuda-link |
//! | `tdcudaipcsrc` | reads shared GPU memory that TouchDesigner or Python writes by cuda-link |
//!
//! The device provider `tdlinkdeviceprovider` lists the buffers that the sources can read.

mod cudaipcsink;
mod cudaipcsrc;
mod cudaproperties;
mod device;
mod diagnostics;
mod enums;
mod gstcuda;
mod gstshm;
mod live;
mod provider;
mod rows;
mod run;
mod shmsink;
mod shmsrc;
mod spec;
mod time;
mod uri;
mod video;

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    diagnostics::forward_to_gstreamer();
    shmsink::register(plugin)?;
    shmsrc::register(plugin)?;
    cudaipcsink::register(plugin)?;
    cudaipcsrc::register(plugin)?;
    provider::register(plugin)
}

gst::plugin_define!(
    tdlink,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
