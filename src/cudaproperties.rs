// SPDX-License-Identifier: MPL-2.0
//! Properties that both CUDA IPC elements have.

use gst::{glib, prelude::*};

use crate::enums::CudaChannelOrder;

/// `shm-name`; whose program listens to or writes `default`, in words.
pub fn shm_name(default: &str, whose: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder("shm-name")
        .nick("Shared memory name")
        .blurb(&format!(
            "cuda-link's name of the buffer; the default is what {whose}. Quote it for the shell: it has >> in it"
        ))
        .default_value(Some(default))
        .mutable_ready()
        .build()
}

/// `cuda-device-id`; what is taken where the pipeline has no GPU yet, in words.
pub fn device(otherwise: &str) -> glib::ParamSpec {
    glib::ParamSpecInt::builder("cuda-device-id")
        .nick("CUDA device")
        .blurb(&format!("Number of the GPU; −1: the pipeline's, else {otherwise}"))
        .minimum(-1)
        .maximum(i32::MAX)
        .default_value(-1)
        .mutable_ready()
        .build()
}

/// `channel-order`.
pub fn channel_order() -> glib::ParamSpec {
    glib::ParamSpecEnum::builder_with_default("channel-order", CudaChannelOrder::default())
        .nick("Channel order")
        .blurb("Order of colour components on the wire")
        .mutable_ready()
        .build()
}
