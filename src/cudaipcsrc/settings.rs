// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdcudaipcsrc` that are its own.

use gst::{glib, prelude::*};

use crate::{
    enums::{CudaChannelOrder, CudaIoMode},
    live::LiveSettings,
    uri,
};

/// What TouchDesigner's sender writes when nobody has changed it.
const DEFAULT_NAME: &str = "cudalink_ipc_TD>>Python";

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub shm_name: String,
    /// −1: the one on which the producer's handles open.
    pub device: i32,
    pub io_mode: CudaIoMode,
    pub channel_order: CudaChannelOrder,
    pub live: LiveSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shm_name: DEFAULT_NAME.into(),
            device: -1,
            io_mode: CudaIoMode::default(),
            channel_order: CudaChannelOrder::default(),
            live: LiveSettings::default(),
        }
    }
}

impl uri::Properties for Settings {
    const SCHEME: &'static str = "tdcudaipc";

    fn param_specs() -> Vec<glib::ParamSpec> {
        let d = Self::default();
        let mut specs = vec![
            glib::ParamSpecString::builder("shm-name")
                .nick("Shared memory name")
                .blurb("cuda-link's name of the buffer; the default is what TouchDesigner's sender writes. Quote it for the shell: it has >> in it")
                .default_value(Some(d.shm_name.as_str()))
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("cuda-device-id")
                .nick("CUDA device")
                .blurb("Number of the GPU; −1: the pipeline's, else the one on which the producer's handles open")
                .minimum(-1)
                .maximum(i32::MAX)
                .default_value(d.device)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("io-mode", d.io_mode)
                .nick("I/O mode")
                .blurb("Whether frames are copied or the producer's slots pushed as they lie")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("channel-order", d.channel_order)
                .nick("Channel order")
                .blurb("Order of colour components on the wire")
                .mutable_ready()
                .build(),
        ];
        specs.extend(LiveSettings::param_specs());
        specs
    }

    fn name(&self) -> &str {
        &self.shm_name
    }

    fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked each value against its specification before it calls us.
        match name {
            "shm-name" => self.shm_name = value.get::<Option<String>>().expect("checked").unwrap_or_default(),
            "cuda-device-id" => self.device = value.get().expect("checked"),
            "io-mode" => self.io_mode = value.get().expect("checked"),
            "channel-order" => self.channel_order = value.get().expect("checked"),
            _ => return self.live.set(name, value),
        }
        true
    }

    fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "shm-name" => self.shm_name.to_value(),
            "cuda-device-id" => self.device.to_value(),
            "io-mode" => self.io_mode.to_value(),
            "channel-order" => self.channel_order.to_value(),
            _ => return self.live.get(name),
        })
    }
}
