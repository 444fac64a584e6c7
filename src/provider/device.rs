// SPDX-License-Identifier: MPL-2.0
use std::{str::FromStr, sync::OnceLock};

use gst::{glib, prelude::*, subclass::prelude::*};

use super::buffers::Described;

#[derive(Debug, Default)]
pub struct Buffer {
    described: OnceLock<Described>,
}

#[glib::object_subclass]
impl ObjectSubclass for Buffer {
    const NAME: &'static str = "GstTdBufferDevice";
    type Type = super::Buffer;
    type ParentType = gst::Device;
}

impl ObjectImpl for Buffer {}
impl GstObjectImpl for Buffer {}

impl Buffer {
    fn described(&self) -> Result<&Described, gst::LoggableError> {
        self.described.get().ok_or_else(|| gst::loggable_error!(gst::CAT_RUST, "a device without a buffer"))
    }

    /// Tells a source which buffer to read.
    fn point(&self, element: &gst::Element) -> Result<(), gst::LoggableError> {
        let described = self.described()?;
        element.set_property("shm-name", &described.name);
        if let Some(protocol) = described.protocol_property() {
            element.set_property_from_str("protocol", protocol);
        }
        Ok(())
    }
}

impl DeviceImpl for Buffer {
    fn create_element(&self, name: Option<&str>) -> Result<gst::Element, gst::LoggableError> {
        let mut builder = gst::ElementFactory::make(self.described()?.element());
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let element = builder.build()?;
        self.point(&element)?;
        Ok(element)
    }

    fn reconfigure_element(&self, element: &gst::Element) -> Result<(), gst::LoggableError> {
        let wanted = self.described()?.element();
        let found = element.factory().map(|factory| factory.name());
        if found.as_deref() != Some(wanted) {
            return Err(gst::loggable_error!(gst::CAT_RUST, "{} is no {wanted}", element.name()));
        }
        self.point(element)
    }
}

impl super::Buffer {
    pub fn new(described: &Described) -> Result<Self, glib::BoolError> {
        let mut properties = gst::Structure::builder("tdlink-buffer")
            .field("name", &described.name)
            .field("protocol", described.protocol.word());
        if let Some(pid) = described.pid {
            properties = properties.field("pid", pid);
        }
        let device: Self = glib::Object::builder()
            .property("display-name", &described.name)
            .property("device-class", "Video/Source")
            .property("caps", gst::Caps::from_str(&described.caps)?)
            .property("properties", properties.build())
            .build();
        // A new object's is empty.
        let _ = device.imp().described.set(described.clone());
        Ok(device)
    }
}
