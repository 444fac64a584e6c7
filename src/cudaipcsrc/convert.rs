// SPDX-License-Identifier: MPL-2.0
//! What the producer's pixels can become, and who does it: the device, or where it has no format for them the host.

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    cuda::{Context, CudaError, PinnedMem, Plane, Stream},
    frame::{FrameDesc, Origin, PixelFormat},
    pixels::{Options, RowError, Wire},
};

use super::settings::Settings;
use crate::{
    device::{self, Halfway, Work},
    enums::{CudaIoMode, Transfer},
    live::Offer,
    rows::Frames,
    video::{self, DEVICE_FORMATS},
};

/// The producer's frames: as the host understands them, and as the device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Where the host has no name for the pixels, that of the nearest with as many bytes.
    pub desc: FrameDesc,
    pub pixels: Wire,
}

impl Incoming {
    /// Whether the host can read them.
    pub fn is_plain(&self) -> bool {
        Wire::from(self.desc.format) == self.pixels
    }

    /// Whether the first row is the last of the picture.
    pub fn flip(&self) -> bool {
        self.desc.origin != Origin::TopLeft
    }

    /// What frames can be pushed as, the best first. `on_device`: there can be memory of GStreamer's on the device.
    /// `kernels`: the driver runs them; else what is not a copy is the host's work, and what the host has no name for
    /// becomes nothing.
    pub fn offers(&self, settings: &Settings, on_device: bool, kernels: bool) -> Vec<Offer> {
        let deep = matches!(settings.live.transfer, Transfer::LinearToPq | Transfer::LinearToHlg);
        let mut formats = video::device_formats_for(self.desc.format, deep);
        let lies_so = |format: &_| {
            let info = VideoInfo::builder(*format, self.desc.width, self.desc.height).build().ok();
            let options = settings.live.pixel_options(None);
            let work = info.and_then(|info| Work::to_picture(self.pixels, &info, self.flip(), options));
            work.is_some_and(|work| work.is_copy())
        };
        if settings.io_mode == CudaIoMode::Import {
            // As they lie, if they lie so.
            formats.sort_by_key(|format| !lies_so(format));
        }
        if !kernels {
            formats.retain(lies_so);
        }
        let device = formats.into_iter().filter(|_| on_device).map(|format| Offer { device: true, format });
        let host = match self.is_plain() {
            true => Offer::of_host(self.desc.format),
            false if !kernels => Vec::new(),
            // The device makes them, and they are downloaded.
            false => video::formats_for(self.desc.format)
                .into_iter()
                .filter(|format| DEVICE_FORMATS.contains(format))
                .map(|format| Offer { device: false, format })
                .collect(),
        };
        device.chain(host).collect()
    }
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
    /// The buffer.
    #[error("a buffer has not the planes of its caps")]
    Planes,
}

/// The host converts what the device has downloaded.
#[derive(Debug)]
pub struct ByHost {
    down: PinnedMem,
    frames: Frames,
    row_bytes: usize,
}

impl ByHost {
    /// For frames `wire` in memory of `from` that become pixels `to`.
    ///
    /// # Errors
    /// The host has not that much memory to pin.
    pub fn new(from: &Context, wire: FrameDesc, to: PixelFormat, options: Options) -> Result<Self, CudaError> {
        let too_large = || CudaError::OutOfMemory { wanted: usize::MAX };
        let frames = Frames::new(wire, to, Origin::TopLeft, options);
        let down = PinnedMem::new(from, wire.bytes().ok_or_else(too_large)?)?;
        Ok(Self { down, frames, row_bytes: wire.row_bytes() })
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
}

/// The device converts, and what comes out goes over the host: into system memory, or to memory of another context.
#[derive(Debug)]
pub struct OverHost {
    work: Work,
    made: Halfway,
    /// A place for each plane from which the other context copies.
    up: Option<Vec<PinnedMem>>,
}

impl OverHost {
    /// `work` of frames in memory of `from` makes those of `info`, for the other context `to` if there is one.
    ///
    /// # Errors
    /// The device or the host has not that much memory.
    pub fn new(from: &Context, work: Work, info: &VideoInfo, to: Option<&Context>) -> Result<Self, CudaError> {
        let made = Halfway::new(from, info)?;
        let pinned = |context: &_| {
            made.planes().iter().map(|plane| PinnedMem::new(context, plane.row_bytes() * plane.rows())).collect()
        };
        let up = to.map(pinned).transpose()?;
        Ok(Self { work, made, up })
    }

    /// Has `stream` convert a frame and bring it to the host.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn download(&mut self, slot: Plane, stream: &Stream) -> Result<(), CudaError> {
        self.work.run(&self.made.planes(), &[slot], stream)?;
        self.made.download(stream)
    }

    /// Writes the frame that is here to `frame`.
    ///
    /// # Errors
    /// It did not arrive, or `frame` is another one.
    pub fn write(&mut self, frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Result<(), HostError> {
        for (at, (bytes, row_bytes)) in (0..).zip(self.made.bytes_mut()?) {
            let stride = frame.plane_stride().get(at as usize).and_then(|stride| usize::try_from(*stride).ok());
            let stride = stride.filter(|stride| *stride >= row_bytes).ok_or(HostError::Planes)?;
            let rows = frame.plane_data_mut(at).map_err(|_| HostError::Planes)?;
            for (to, from) in rows.chunks_mut(stride).zip(bytes.chunks_exact(row_bytes)) {
                to.get_mut(..row_bytes).ok_or(HostError::Planes)?.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Has `stream` bring the frame that is here to `dst`, in the other context.
    ///
    /// # Errors
    /// It did not arrive, or the driver's refusal.
    pub fn upload(&mut self, dst: &[Plane], stream: &Stream) -> Result<(), HostError> {
        let Some(up) = &mut self.up else {
            return Err(CudaError::OtherContext { what: "a buffer that was to be in system memory" }.into());
        };
        for ((up, (from, row_bytes)), dst) in up.iter_mut().zip(self.made.bytes_mut()?).zip(dst) {
            let to = up.bytes_mut()?.get_mut(..from.len()).ok_or(HostError::Planes)?;
            to.copy_from_slice(from);
            up.upload(*dst, row_bytes, stream)?;
        }
        Ok(())
    }
}

/// How the device makes frames of `info`; `None` if it cannot.
pub fn work(incoming: Incoming, info: &VideoInfo, options: Options) -> Option<Work> {
    device::Work::to_picture(incoming.pixels, info, incoming.flip(), options)
}

#[cfg(test)]
mod tests {
    use tdlink_core::{
        frame::{ChannelOrder, SampleType},
        pixels::{Components, WireSample},
    };

    use super::*;
    use crate::live::LiveSettings;

    fn incoming(sample: SampleType, channels: u8, order: ChannelOrder) -> Incoming {
        gst::init().unwrap();
        let format = PixelFormat::new(sample, channels, order).unwrap();
        let desc = FrameDesc { width: 64, height: 48, format, origin: Origin::TopLeft };
        Incoming { desc, pixels: format.into() }
    }

    fn names(incoming: Incoming, settings: &Settings) -> Vec<String> {
        let shown = |offer: &Offer| format!("{}{}", if offer.device { "gpu " } else { "" }, offer.format);
        incoming.offers(settings, true, true).iter().map(shown).collect()
    }

    #[test]
    fn encoders_formats_come_first_the_deep_ones_where_eight_bits_lose_something() {
        let settings = Settings::default();
        let bgra = names(incoming(SampleType::U8, 4, ChannelOrder::Bgra), &settings);
        assert_eq!(bgra[..5], ["gpu NV12", "gpu P010_10LE", "gpu RGB10A2_LE", "gpu BGRA", "gpu RGBA"]);
        assert_eq!(bgra[9], "BGRA", "and then what the host can make");
        for (sample, channels, host) in
            [(SampleType::U16, 4, "RGBA64_LE"), (SampleType::F32, 3, "RGBA64_LE"), (SampleType::U16, 1, "GRAY16_LE")]
        {
            let names = names(incoming(sample, channels, ChannelOrder::Rgba), &settings);
            assert_eq!(names[..3], ["gpu P010_10LE", "gpu RGB10A2_LE", "gpu NV12"], "{sample}×{channels}");
            assert!(names[9..].iter().take(3).any(|name| name == host), "{names:?}");
        }
        let live = LiveSettings { transfer: Transfer::LinearToPq, ..LiveSettings::default() };
        let names = names(incoming(SampleType::U8, 4, ChannelOrder::Bgra), &Settings { live, ..settings });
        assert_eq!(names[0], "gpu P010_10LE");
    }

    #[test]
    fn an_import_is_of_the_slots_as_they_lie_if_they_can_be_pushed_so() {
        let settings = Settings { io_mode: CudaIoMode::Import, ..Settings::default() };
        let upright = incoming(SampleType::U8, 4, ChannelOrder::Bgra);
        assert_eq!(names(upright, &settings)[..2], ["gpu BGRA", "gpu NV12"]);
        let turned = Incoming { desc: FrameDesc { origin: Origin::BottomLeft, ..upright.desc }, ..upright };
        assert_eq!(names(turned, &settings)[0], "gpu NV12");
        assert_eq!(names(incoming(SampleType::F16, 4, ChannelOrder::Rgba), &settings)[0], "gpu P010_10LE");
    }

    #[test]
    fn what_the_host_has_no_name_for_is_offered_as_what_the_device_makes() {
        let plain = incoming(SampleType::F16, 4, ChannelOrder::Rgba);
        let pixels = Wire { sample: WireSample::Bf16, components: Components::Rgba };
        let strange = Incoming { pixels, ..plain };
        assert!(plain.is_plain() && !strange.is_plain());
        let offers = strange.offers(&Settings::default(), false, true);
        assert!(
            !offers.is_empty() && offers.iter().all(|offer| !offer.device && DEVICE_FORMATS.contains(&offer.format))
        );
    }

    #[test]
    fn without_gstreamers_library_everything_is_system_memory() {
        let offers = incoming(SampleType::U8, 4, ChannelOrder::Bgra).offers(&Settings::default(), false, true);
        assert!(offers.iter().all(|offer| !offer.device));
    }

    #[test]
    fn without_kernels_the_device_copies_and_the_host_converts() {
        let settings = Settings::default();
        for (sample, channels) in [(SampleType::F16, 4), (SampleType::F32, 3), (SampleType::U16, 1)] {
            let offers = incoming(sample, channels, ChannelOrder::Rgba).offers(&settings, true, false);
            assert!(!offers.is_empty() && offers.iter().all(|offer| !offer.device), "{sample}×{channels}: {offers:?}");
        }
        let upright = incoming(SampleType::U8, 4, ChannelOrder::Bgra);
        let on_device = |incoming: Incoming| -> Vec<String> {
            let offers = incoming.offers(&settings, true, false);
            offers.iter().filter(|offer| offer.device).map(|offer| offer.format.to_string()).collect()
        };
        assert_eq!(on_device(upright), ["BGRA"]);
        let turned = Incoming { desc: FrameDesc { origin: Origin::BottomLeft, ..upright.desc }, ..upright };
        assert!(on_device(turned).is_empty());
    }
}
