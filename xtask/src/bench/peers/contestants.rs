// SPDX-License-Identifier: MPL-2.0
//! Who is measured: a line each. To add a transport, add a line.

/// Whose figures a ratio is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Ours,
    Peer,
    /// No transport of video, but the least that one can cost.
    Floor,
}

/// Whose buffers the sender fills. Only what is alike in this is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Private ones of the source: the sink has to copy.
    Copied,
    /// Those that the sink proposes: zero copies, where the transport can.
    Pool,
}

impl Memory {
    pub fn name(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Pool => "pool",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// A sink and a source as gst-launch takes them. `{name}`, `{socket}`, `{caps}` and `{room}` (five frames and a bit,
    /// in bytes) are replaced.
    Elements { sink: &'static str, source: &'static str },
    /// A ring and a futex each way, without GStreamer.
    Floor,
}

#[derive(Debug)]
pub struct Contestant {
    /// What `--only` and the CSV call it.
    pub key: &'static str,
    pub name: &'static str,
    pub who: Who,
    pub memory: Memory,
    pub ends: Ends,
    /// Buffers of the pool, where the sink proposes an allocator alone and cannot do with a buffer each frame.
    pub pool_of: Option<u32>,
    /// Takes no fourth channel: gets RGB with a third more rows, which is as many bytes.
    pub rgb: bool,
    /// By its settings no frame is left out.
    pub lossless: bool,
}

impl Contestant {
    /// The element that has to be there: the last of its line.
    pub fn needs(&self) -> Option<&'static str> {
        match self.ends {
            Ends::Elements { sink, .. } => sink.rsplit("! ").next()?.split(' ').next(),
            Ends::Floor => None,
        }
    }

    /// The floor hands over; whoever reads shared memory by its means copies it first, which would be no floor.
    pub fn fits(&self, mode: Mode) -> bool {
        self.who != Who::Floor || mode != Mode::Read
    }

    /// What it takes to get that element.
    pub fn comes_with(&self) -> &'static str {
        match self.needs() {
            Some("shmsink") => "GStreamer's plugins-bad",
            Some("cudaipcsink") => "GStreamer's plugins-bad, 1.24 and later",
            Some("unixfdsink") => "GStreamer's plugins-bad, 1.24 and later",
            Some("iceoryx2sink") => "the plugin gst-plugin-iceoryx2, found by GST_PLUGIN_PATH",
            _ => "tdlink",
        }
    }
}

const RING: Ends =
    Ends::Elements { sink: "tdshmsink shm-name={name} slots=4 delivery=lossless", source: "tdshmsrc shm-name={name}" };
const SHM: Ends = Ends::Elements {
    sink: "shmsink socket-path={socket} shm-size={room} wait-for-connection=true",
    source: "shmsrc socket-path={socket} is-live=true ! capsfilter caps={caps}",
};
const UNIXFD: Ends = Ends::Elements {
    sink: "unixfdsink socket-path={socket} wait-for-connection=true",
    source: "unixfdsrc socket-path={socket}",
};
const ICEORYX2: Ends = Ends::Elements {
    sink: "iceoryx2sink service={name} wait-for-connection=true lossless=true safe-overflow=false",
    source: "iceoryx2src service={name} safe-overflow=false",
};

const fn line(key: &'static str, name: &'static str, who: Who, memory: Memory, ends: Ends) -> Contestant {
    Contestant { key, name, who, memory, ends, pool_of: None, rgb: false, lossless: true }
}

const CONTESTANTS: &[Contestant] = &[
    line("ring-copied", "tdshmsink, ring", Who::Ours, Memory::Copied, RING),
    Contestant {
        lossless: false,
        ..line(
            "ring-defaults",
            "tdshmsink, ring, defaults",
            Who::Ours,
            Memory::Copied,
            Ends::Elements { sink: "tdshmsink shm-name={name} slots=4", source: "tdshmsrc shm-name={name}" },
        )
    },
    Contestant {
        lossless: false,
        ..line(
            "raw-flip",
            "tdshmsink, raw bytes, flipped",
            Who::Ours,
            Memory::Copied,
            Ends::Elements { sink: "tdshmsink shm-name={name} slots=1", source: "tdshmsrc shm-name={name}" },
        )
    },
    line("shm-copied", "shmsink", Who::Peer, Memory::Copied, SHM),
    line("unixfd-copied", "unixfdsink", Who::Peer, Memory::Copied, UNIXFD),
    Contestant { rgb: true, ..line("iceoryx2-copied", "iceoryx2sink", Who::Peer, Memory::Copied, ICEORYX2) },
    line("floor-copied", "floor: futex, one copy", Who::Floor, Memory::Copied, Ends::Floor),
    line("ring-pool", "tdshmsink, ring", Who::Ours, Memory::Pool, RING),
    line("shm-pool", "shmsink", Who::Peer, Memory::Pool, SHM),
    Contestant { pool_of: Some(5), ..line("unixfd-pool", "unixfdsink", Who::Peer, Memory::Pool, UNIXFD) },
    Contestant { rgb: true, ..line("iceoryx2-pool", "iceoryx2sink", Who::Peer, Memory::Pool, ICEORYX2) },
    line("floor", "floor: futex alone", Who::Floor, Memory::Pool, Ends::Floor),
];

/// Frames on a GPU: uploaded before, downloaded after, which is the same for everybody.
const fn device(
    key: &'static str,
    name: &'static str,
    who: Who,
    sink: &'static str,
    source: &'static str,
) -> Contestant {
    // The newest frame wins, here and there.
    Contestant { lossless: false, ..line(key, name, who, Memory::Copied, Ends::Elements { sink, source }) }
}

// Stamps are read as RGBA, as they were written: the ring has B G R A unless it is told otherwise.
const OURS: &str = "cudaupload ! tdcudaipcsink shm-name={name}";
const AS_IT_IS: &str = "cudaupload ! tdcudaipcsink shm-name={name} origin=top-left channel-order=rgba";

const DEVICE_CONTESTANTS: &[Contestant] = &[
    device(
        "cuda-copy",
        "tdcudaipcsink, copy",
        Who::Ours,
        AS_IT_IS,
        "tdcudaipcsrc shm-name={name} origin=top-left channel-order=rgba ! video/x-raw(memory:CUDAMemory),format=RGBA ! cudadownload",
    ),
    device(
        "cuda-import",
        "tdcudaipcsink, import",
        Who::Ours,
        AS_IT_IS,
        "tdcudaipcsrc shm-name={name} origin=top-left channel-order=rgba io-mode=import ! video/x-raw(memory:CUDAMemory),format=RGBA ! cudadownload",
    ),
    device(
        "cuda-defaults",
        "tdcudaipcsink, defaults (turned and R, B exchanged on the GPU, twice)",
        Who::Ours,
        OURS,
        "tdcudaipcsrc shm-name={name} ! video/x-raw(memory:CUDAMemory),format=RGBA ! cudadownload",
    ),
    device(
        "legacy-copy",
        "cudaipcsink, legacy, copy",
        Who::Peer,
        "cudaupload ! cudaipcsink address={socket} ipc-mode=legacy",
        "cudaipcsrc address={socket} ! cudadownload",
    ),
    device(
        "legacy-import",
        "cudaipcsink, legacy, import",
        Who::Peer,
        "cudaupload ! cudaipcsink address={socket} ipc-mode=legacy",
        "cudaipcsrc address={socket} io-mode=import ! cudadownload",
    ),
    device(
        "mmap-copy",
        "cudaipcsink, mmap, copy",
        Who::Peer,
        "cudaupload ! cudaipcsink address={socket} ipc-mode=mmap",
        "cudaipcsrc address={socket} ! cudadownload",
    ),
    device(
        "mmap-import",
        "cudaipcsink, mmap, import",
        Who::Peer,
        "cudaupload ! cudaipcsink address={socket} ipc-mode=mmap",
        "cudaipcsrc address={socket} io-mode=import ! cudadownload",
    ),
];

/// Which memory frames are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    System,
    Device,
}

impl Group {
    pub fn contestants(self) -> &'static [Contestant] {
        match self {
            Self::System => CONTESTANTS,
            Self::Device => DEVICE_CONTESTANTS,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::System => "peers",
            Self::Device => "cuda",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
}

impl Size {
    /// Of RGBA, a byte each.
    pub fn bytes(self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * 4
    }

    pub fn caps(self, rgb: bool) -> String {
        let (format, height) = if rgb { ("RGB", self.height / 3 * 4) } else { ("RGBA", self.height) };
        format!("video/x-raw,format={format},width={},height={height},framerate=60/1", self.width)
    }
}

pub const SIZES: [Size; 3] = [
    Size { name: "720p", width: 1280, height: 720 },
    Size { name: "1080p", width: 1920, height: 1080 },
    Size { name: "4K", width: 3840, height: 2160 },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As fast as it goes; receivers count frames and touch nothing.
    None,
    /// As fast as it goes; receivers add up every byte.
    Read,
    /// 60 frames a second; receivers look at the stamps.
    Paced,
}

pub const MODES: [Mode; 3] = [Mode::None, Mode::Read, Mode::Paced];
pub const RATE: u32 = 60;

impl Mode {
    pub fn key(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Paced => "60",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "flat out, touches nothing",
            Self::Read => "flat out, reads all",
            Self::Paced => "60 frames a second",
        }
    }

    /// What a receiver does with a frame, in the peers' words.
    pub fn check(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Paced => "stamp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_named_once_and_sends_as_many_bytes() {
        for group in [Group::System, Group::Device].map(Group::contestants) {
            for (at, one) in group.iter().enumerate() {
                assert!(group[..at].iter().all(|other| other.key != one.key), "{}", one.key);
            }
        }
        assert_eq!(DEVICE_CONTESTANTS[0].needs(), Some("tdcudaipcsink"));
        assert_eq!(CONTESTANTS[0].needs(), Some("tdshmsink"));
        for size in SIZES {
            assert_eq!(size.height % 3, 0);
            assert_eq!(u64::from(size.width) * u64::from(size.height / 3 * 4) * 3, size.bytes());
        }
    }
}
