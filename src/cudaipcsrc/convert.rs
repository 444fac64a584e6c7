// SPDX-License-Identifier: MPL-2.0
//! What the producer's pixels can become, and who does it: the device where they stay what they are, else the host.

use gst_video::VideoFormat;
use tdlink_core::{
    cuda::{Context, CudaError, PinnedMem, Plane, Rows, Stream},
    frame::{Fourth, FrameDesc, Origin, PixelFormat, SampleType},
    pixels::{Alpha, Options, RowError, Transfer},
};

use crate::{
    live::{LiveSettings, Offer},
    rows::Frames,
    video::{self, DEVICE_FORMATS},
};

/// What pixels of the wire can be pushed as, the best first: on the device what the device itself can make of them, then
/// all of system memory, then what the host can make and upload again.
pub fn offers(wire: PixelFormat, settings: &LiveSettings, on_device: bool) -> Vec<Offer> {
    let all = video::formats_for(wire);
    let options = settings.pixel_options();
    let device = all.iter().copied().filter(|format| on_device && DEVICE_FORMATS.contains(format));
    let by_itself = |format: &VideoFormat| {
        video::pixel_format(*format).is_some_and(|to| device_rows(wire, to, false, options).is_some())
    };
    let (itself, by_host): (Vec<_>, Vec<_>) = device.partition(by_itself);
    let offer = |device| move |format| Offer { device, format };
    let host = all.into_iter().map(offer(false));
    itself.into_iter().map(offer(true)).chain(host).chain(by_host.into_iter().map(offer(true))).collect()
}

/// How the device makes pixels `to` of pixels `wire`; `None` if that is more than it can.
pub fn device_rows(wire: PixelFormat, to: PixelFormat, flip: bool, options: Options) -> Option<Rows> {
    let same = wire.sample == SampleType::U8
        && to.sample == SampleType::U8
        && wire.channels == to.channels
        && wire.channels >= 3
        && options.transfer == Transfer::Passthrough;
    let alpha = match options.alpha {
        _ if wire.channels < 4 => Some(false),
        _ if to.fourth == Fourth::Padding => Some(true),
        Alpha::Passthrough => Some(false),
        Alpha::Opaque => Some(true),
        Alpha::PremultipliedToStraight | Alpha::StraightToPremultiplied => None,
    };
    let opaque = alpha.filter(|_| same)?;
    Some(Rows { bytes_per_pixel: wire.channels.into(), flip, swap: wire.order != to.order, opaque })
}

/// Why a frame did not go through the host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The driver.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The conversion.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// The way through the host: download, convert, and for a buffer on the device upload.
#[derive(Debug)]
pub struct ByHost {
    down: PinnedMem,
    frames: Frames,
    row_bytes: usize,
    up: Option<PinnedMem>,
}

impl ByHost {
    /// For frames `wire` in memory of `from` that become pixels `to`, on the device `up` if there is one.
    ///
    /// # Errors
    /// The host has not that much memory to pin.
    pub fn new(
        from: &Context,
        wire: FrameDesc,
        to: PixelFormat,
        up: Option<&Context>,
        options: Options,
    ) -> Result<Self, CudaError> {
        let too_large = || CudaError::OutOfMemory { wanted: usize::MAX };
        let frames = Frames::new(wire, to, Origin::TopLeft, options);
        let down = PinnedMem::new(from, wire.bytes().ok_or_else(too_large)?)?;
        let after = frames.target_row().checked_mul(wire.height as usize).ok_or_else(too_large)?;
        let up = up.map(|context| PinnedMem::new(context, after)).transpose()?;
        Ok(Self { down, frames, row_bytes: wire.row_bytes(), up })
    }

    /// Has `stream` bring a frame here.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn download(&mut self, slot: Plane, stream: &Stream) -> Result<(), CudaError> {
        self.down.download(slot, self.row_bytes, stream)
    }

    /// Writes the frame that is here to `rows`, `stride` bytes apart.
    ///
    /// # Errors
    /// It did not arrive, or `rows` do not hold it.
    pub fn write(&mut self, rows: &mut [u8], stride: usize) -> Result<(), HostError> {
        let bytes = self.down.bytes()?;
        Ok(self.frames.convert(bytes, rows, (self.row_bytes, stride))?)
    }

    /// Has `stream` bring the frame that is here to `dst`, on the device.
    ///
    /// # Errors
    /// It did not arrive, or the driver's refusal.
    pub fn upload(&mut self, dst: Plane, stream: &Stream) -> Result<(), HostError> {
        let target = self.frames.target_row();
        let Some(up) = &mut self.up else {
            return Err(CudaError::OtherContext { what: "a buffer that was to be in system memory" }.into());
        };
        self.frames.convert(self.down.bytes()?, up.bytes_mut()?, (self.row_bytes, target))?;
        Ok(up.upload(dst, target, stream)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tdlink_core::frame::ChannelOrder;

    fn names(sample: SampleType, channels: u8, order: ChannelOrder, settings: &LiveSettings) -> Vec<String> {
        gst::init().unwrap();
        let wire = PixelFormat::new(sample, channels, order).unwrap();
        let shown = |offer: &Offer| format!("{}{}", if offer.device { "gpu " } else { "" }, offer.format);
        offers(wire, settings, true).iter().map(shown).collect()
    }

    #[test]
    fn colour_of_eight_bits_stays_on_the_device() {
        let settings = LiveSettings::default();
        let bgra = names(SampleType::U8, 4, ChannelOrder::Bgra, &settings);
        assert_eq!(bgra[..5], ["gpu BGRA", "gpu RGBA", "gpu BGRx", "gpu RGBx", "BGRA"]);
        let rgb = names(SampleType::U8, 3, ChannelOrder::Rgba, &settings);
        assert_eq!(rgb[..3], ["gpu RGB", "gpu BGR", "RGB"]);
        let opaque = LiveSettings { alpha: crate::enums::Alpha::Opaque, ..settings };
        assert_eq!(names(SampleType::U8, 4, ChannelOrder::Bgra, &opaque)[0], "gpu BGRA");
    }

    #[test]
    fn what_the_device_cannot_make_comes_by_the_host_and_is_never_refused() {
        let settings = LiveSettings::default();
        for (sample, channels, first) in
            [(SampleType::U8, 1, "GRAY8"), (SampleType::U16, 4, "RGBA64_LE"), (SampleType::U8, 2, "RGBA")]
        {
            let names = names(sample, channels, ChannelOrder::Rgba, &settings);
            assert_eq!(names[0], first);
            assert!(names.iter().any(|name| name == "gpu RGBA"), "{names:?}: and for a pipeline of the device alone");
        }
        let float = names(SampleType::F32, 4, ChannelOrder::Rgba, &settings);
        assert!(!float[0].starts_with("gpu"), "{float:?}");
        let transfer = LiveSettings { transfer: crate::enums::Transfer::LinearToSrgb, ..LiveSettings::default() };
        assert_eq!(names(SampleType::U8, 4, ChannelOrder::Bgra, &transfer)[0], "BGRA");
    }

    #[test]
    fn without_gstreamers_library_everything_is_system_memory() {
        gst::init().unwrap();
        let wire = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
        assert!(offers(wire, &LiveSettings::default(), false).iter().all(|offer| !offer.device));
    }
}
