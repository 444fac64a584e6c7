// SPDX-License-Identifier: MPL-2.0
//! The choices of our properties, as GStreamer enums. Names are part of the public contract.

use gst::glib;
use tdlink_core::{frame, pixels, protocol::touch::HeaderKind};

/// Defines a GStreamer enum from rows of `Variant = nick, blurb`.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident($gtype:literal) { $($(#[$m:meta])* $variant:ident = ($nick:literal, $blurb:literal)),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
        #[repr(i32)]
        #[enum_type(name = $gtype)]
        pub enum $name {
            $($(#[$m])* #[enum_value(name = $blurb, nick = $nick)] $variant),*
        }
    };
}

choices! {
    /// What `tdshmsink` writes.
    SinkProtocol("GstTdShmSinkProtocol") {
        #[default]
        Raw = ("raw", "Raw: width × height × channels samples, no header (Shared Memory LOP, Python)"),
        Touch = ("touch", "Touch: what TouchDesigner's Shared Mem In TOP reads"),
    }
}

choices! {
    /// Which header `tdshmsink protocol=touch` writes.
    TouchHeader("GstTdShmSinkTouchHeader") {
        #[default]
        VulkanV1 = ("vulkan-v1", "Vulkan, version 1: TouchDesigner 2022 and later"),
        VulkanV2 = ("vulkan-v2", "Vulkan, version 2, which says the colour space: TouchDesigner 2025"),
        Gl = ("gl", "GL: TouchDesigner 2021 and earlier"),
    }
}

choices! {
    /// What `tdshmsrc` reads.
    SrcProtocol("GstTdShmSrcProtocol") {
        #[default]
        Auto = ("auto", "Auto: a control segment of a live producer, else a Shared Mem Out TOP's, else raw"),
        Raw = ("raw", "Raw: width × height × channels samples, no header (Shared Memory LOP, Python)"),
        Touch = ("touch", "Touch: what TouchDesigner's Shared Mem Out TOP writes"),
    }
}

choices! {
    /// Where row 0 stands on the wire.
    Origin("GstTdLinkOrigin") {
        #[default]
        Auto = ("auto", "Auto: what the wire says, else bottom-left"),
        BottomLeft = ("bottom-left", "Bottom-left: row 0 is the bottom row, as in TouchDesigner"),
        TopLeft = ("top-left", "Top-left: row 0 is the top row, as in image files and most Python code"),
    }
}

choices! {
    /// Where `tdshmsink` puts row 0 on the wire.
    SinkOrigin("GstTdShmSinkOrigin") {
        #[default]
        Auto = ("auto", "Auto: bottom-left for one slot and for touch, as TouchDesigner has it, top-left for a ring"),
        BottomLeft = ("bottom-left", "Bottom-left: row 0 is the bottom row, as in TouchDesigner"),
        TopLeft = ("top-left", "Top-left: row 0 is the top row, as in image files and most Python code"),
    }
}

choices! {
    /// Type of one sample on the wire, as the sink writes it.
    SinkSampleType("GstTdLinkSinkSampleType") {
        #[default]
        Auto = ("auto", "Auto: that of the caps"),
        U8 = ("u8", "8-bit unsigned"),
        U16 = ("u16", "16-bit unsigned, little-endian"),
        F16 = ("f16", "16-bit float, little-endian"),
        F32 = ("f32", "32-bit float, little-endian"),
    }
}

choices! {
    /// Type of one sample on the wire, as the source reads it.
    SrcSampleType("GstTdLinkSrcSampleType") {
        #[default]
        U8 = ("u8", "8-bit unsigned"),
        U16 = ("u16", "16-bit unsigned, little-endian"),
        F16 = ("f16", "16-bit float, little-endian"),
        F32 = ("f32", "32-bit float, little-endian"),
    }
}

choices! {
    /// Order of colour components on the wire, as the sink writes it.
    SinkChannelOrder("GstTdLinkSinkChannelOrder") {
        #[default]
        Auto = ("auto", "Auto: rgba for raw bytes, bgra for 8-bit touch, the caps' own for a ring"),
        Rgba = ("rgba", "R, G, B, A"),
        Bgra = ("bgra", "B, G, R, A"),
    }
}

choices! {
    /// Order of colour components on the wire, as the source reads it.
    SrcChannelOrder("GstTdLinkSrcChannelOrder") {
        #[default]
        Rgba = ("rgba", "R, G, B, A"),
        Bgra = ("bgra", "B, G, R, A"),
    }
}

choices! {
    /// Whether a sink leaves frames out.
    Delivery("GstTdShmSinkDelivery") {
        #[default]
        Latest = ("latest", "Latest: the newest frame wins, nobody waits"),
        Lossless = ("lossless", "Lossless: the sink waits until every consumer has taken a frame before its slot is used again"),
    }
}

choices! {
    /// Whether a source copies.
    IoMode("GstTdShmSrcIoMode") {
        #[default]
        Auto = ("auto", "Auto: import where a slot can be leased, else copy"),
        Copy = ("copy", "Copy each frame"),
        Import = ("import", "Import: push slots of a ring without a copy; a frame that cannot be leased is copied"),
    }
}

choices! {
    /// Whether `tdcudaipcsrc` copies.
    CudaIoMode("GstTdCudaIpcSrcIoMode") {
        #[default]
        Copy = ("copy", "Copy each frame into memory of the pipeline's, on the device"),
        Import = ("import", "Import: push the producer's slots as they lie (GStreamer 1.24 or newer). The producer does not wait: a frame that is held for longer than its ring goes round is overwritten"),
    }
}

choices! {
    /// Order of colour components on cuda-link's wire.
    CudaChannelOrder("GstTdCudaIpcChannelOrder") {
        #[default]
        Auto = ("auto", "Auto: bgra for 4 components of 8 bits, as TouchDesigner has it, else rgba"),
        Rgba = ("rgba", "R, G, B, A"),
        Bgra = ("bgra", "B, G, R, A"),
    }
}

choices! {
    /// Where row 0 stands on cuda-link's wire, as the sink writes it.
    CudaOrigin("GstTdCudaIpcOrigin") {
        #[default]
        BottomLeft = ("bottom-left", "Bottom-left: row 0 is the bottom row, as in TouchDesigner"),
        TopLeft = ("top-left", "Top-left: row 0 is the top row, as in image files and most Python code"),
    }
}

choices! {
    /// When a source pushes.
    Pacing("GstTdLinkPacing") {
        #[default]
        Auto = ("auto", "Auto: constant when a rate is known, else as produced"),
        AsProduced = ("as-produced", "As produced: each new frame once, when it came"),
        Constant = ("constant", "Constant: exactly framerate per second, repeating or skipping"),
    }
}

choices! {
    /// What a source pushes before the first frame.
    WhileWaiting("GstTdLinkWhileWaiting") {
        #[default]
        Nothing = ("nothing", "Nothing"),
        Black = ("black", "Black frames, where the size is known"),
    }
}

choices! {
    /// Where the timestamps of a source come from.
    TimestampMode("GstTdLinkTimestampMode") {
        #[default]
        Auto = ("auto", "Auto: the producer's stamp where the wire has one, else the pacing's"),
        Producer = ("producer", "Producer: its stamp where the wire has one, else arrival"),
        Arrival = ("arrival", "Arrival: when the frame was read"),
        Count = ("count", "Count: frame index ÷ framerate, for offline renders"),
    }
}

choices! {
    /// What a source does when its producer has gone, on proof.
    OnDisconnect("GstTdLinkOnDisconnect") {
        #[default]
        Wait = ("wait", "Wait for the next producer"),
        Eos = ("eos", "End the stream"),
        Error = ("error", "Fail with an error"),
    }
}

choices! {
    /// What is done to alpha, in the same pass as everything else.
    Alpha("GstTdLinkAlpha") {
        #[default]
        Passthrough = ("passthrough", "Passthrough: as on the wire"),
        Opaque = ("opaque", "Opaque: alpha becomes maximum"),
        PremultipliedToStraight = ("premultiplied-to-straight", "Colour is divided by alpha"),
        StraightToPremultiplied = ("straight-to-premultiplied", "Colour is multiplied by alpha"),
    }
}

choices! {
    /// What is done to light, before clamping.
    Transfer("GstTdLinkTransfer") {
        #[default]
        Passthrough = ("passthrough", "Passthrough: as on the wire"),
        LinearToSrgb = ("linear-to-srgb", "Linear light to sRGB"),
        SrgbToLinear = ("srgb-to-linear", "sRGB to linear light"),
        LinearToPq = ("linear-to-pq", "Linear light to PQ (SMPTE ST 2084), 1.0 being reference-white"),
        LinearToHlg = ("linear-to-hlg", "Linear light to HLG (ITU-R BT.2100), 1.0 being reference-white"),
    }
}

choices! {
    /// How a frame's hash is made.
    ChangeDetection("GstTdShmSrcChangeDetection") {
        #[default]
        None = ("none", "No hash"),
        Checksum = ("checksum", "Adler-32 of the bytes on the wire, 8 hexadecimal digits (zlib.adler32)"),
        Crc32 = ("crc32", "CRC-32 of the bytes on the wire, 8 hexadecimal digits (zlib.crc32)"),
        Md5 = ("md5", "MD5 of the bytes on the wire, 32 hexadecimal digits (hashlib.md5)"),
    }
}

impl Origin {
    /// The origin on the wire; `auto` being `default`.
    pub fn or(self, default: frame::Origin) -> frame::Origin {
        match self {
            Self::Auto => default,
            Self::BottomLeft => frame::Origin::BottomLeft,
            Self::TopLeft => frame::Origin::TopLeft,
        }
    }
}

impl SinkOrigin {
    /// The origin on the wire; `auto` being `default`.
    pub fn or(self, default: frame::Origin) -> frame::Origin {
        match self {
            Self::Auto => default,
            Self::BottomLeft => frame::Origin::BottomLeft,
            Self::TopLeft => frame::Origin::TopLeft,
        }
    }
}

impl From<TouchHeader> for HeaderKind {
    fn from(choice: TouchHeader) -> Self {
        match choice {
            TouchHeader::VulkanV1 => Self::VulkanV1,
            TouchHeader::VulkanV2 => Self::VulkanV2,
            TouchHeader::Gl => Self::Gl,
        }
    }
}

impl From<SrcSampleType> for frame::SampleType {
    fn from(choice: SrcSampleType) -> Self {
        match choice {
            SrcSampleType::U8 => Self::U8,
            SrcSampleType::U16 => Self::U16,
            SrcSampleType::F16 => Self::F16,
            SrcSampleType::F32 => Self::F32,
        }
    }
}

impl SinkSampleType {
    /// The sample type on the wire; `auto` being the caps'.
    pub fn or(self, caps: frame::SampleType) -> frame::SampleType {
        match self {
            Self::Auto => caps,
            Self::U8 => frame::SampleType::U8,
            Self::U16 => frame::SampleType::U16,
            Self::F16 => frame::SampleType::F16,
            Self::F32 => frame::SampleType::F32,
        }
    }
}

impl From<SrcChannelOrder> for frame::ChannelOrder {
    fn from(choice: SrcChannelOrder) -> Self {
        match choice {
            SrcChannelOrder::Rgba => Self::Rgba,
            SrcChannelOrder::Bgra => Self::Bgra,
        }
    }
}

impl SinkChannelOrder {
    /// The order on the wire; `auto` being `default`.
    pub fn or(self, default: frame::ChannelOrder) -> frame::ChannelOrder {
        match self {
            Self::Auto => default,
            Self::Rgba => frame::ChannelOrder::Rgba,
            Self::Bgra => frame::ChannelOrder::Bgra,
        }
    }
}

impl CudaChannelOrder {
    /// The order on the wire of these pixels.
    pub fn of(self, sample: frame::SampleType, channels: u8) -> frame::ChannelOrder {
        match self {
            Self::Auto if sample == frame::SampleType::U8 && channels == 4 => frame::ChannelOrder::Bgra,
            Self::Auto | Self::Rgba => frame::ChannelOrder::Rgba,
            Self::Bgra => frame::ChannelOrder::Bgra,
        }
    }
}

impl From<CudaOrigin> for frame::Origin {
    fn from(choice: CudaOrigin) -> Self {
        match choice {
            CudaOrigin::BottomLeft => Self::BottomLeft,
            CudaOrigin::TopLeft => Self::TopLeft,
        }
    }
}

impl From<Alpha> for pixels::Alpha {
    fn from(choice: Alpha) -> Self {
        match choice {
            Alpha::Passthrough => Self::Passthrough,
            Alpha::Opaque => Self::Opaque,
            Alpha::PremultipliedToStraight => Self::PremultipliedToStraight,
            Alpha::StraightToPremultiplied => Self::StraightToPremultiplied,
        }
    }
}

impl From<Transfer> for pixels::Transfer {
    fn from(choice: Transfer) -> Self {
        match choice {
            Transfer::Passthrough => Self::Passthrough,
            Transfer::LinearToSrgb => Self::LinearToSrgb,
            Transfer::SrgbToLinear => Self::SrgbToLinear,
            Transfer::LinearToPq => Self::LinearToPq,
            Transfer::LinearToHlg => Self::LinearToHlg,
        }
    }
}
