// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdcudaipcsrc` that are its own.

use gst::{glib, prelude::*};

use crate::{
    cudaproperties,
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
            cudaproperties::shm_name(&d.shm_name, "TouchDesigner's sender writes"),
            cudaproperties::device("the one on which the producer's handles open"),
            glib::ParamSpecEnum::builder_with_default("io-mode", d.io_mode)
                .nick("I/O mode")
                .blurb("Whether frames are copied or the producer's slots pushed as they lie")
                .mutable_ready()
                .build(),
            cudaproperties::channel_order(),
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
