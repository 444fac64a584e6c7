// SPDX-License-Identifier: MPL-2.0
//! The command line. Each command's own arguments are in its file.

use clap::{Args, Parser, Subcommand, ValueEnum};
use tdlink_core::frame::{ChannelOrder, Origin, SampleType};

use crate::commands::*;

/// Finds, shows and checks TouchDesigner's shared buffers on this machine
#[derive(Debug, Parser)]
#[command(
    name = "tdlink",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 fine, 1 not found, 2 usage, 3 failure."
)]
pub struct Cli {
    /// One JSON value a line instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Show the gst-launch-1.0 line that does the same, for sh or on Windows cmd, and do nothing
    #[arg(long, global = true)]
    pub print: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every buffer that lives on this machine
    List(list::Args),
    /// Everything that a buffer's header says, and what is wrong with it
    Info(info::Args),
    /// How often frames come
    Hz(rates::Args),
    /// How many bytes a second that is
    Bw(rates::Args),
    /// One frame as a PNG file
    Snapshot(snapshot::Args),
    /// Rates, latency, losses, readers and a coarse picture, live
    Watch(watch::Args),
    /// Publishes a picture whose every fault can be told
    Testcard(testcard::Args),
    /// Reads the test card in a buffer and names what is wrong, and what mends it
    Doctor(doctor::Args),
    /// Removes what producers left that died
    Clean(clean::Args),
    /// Prints what a shell completes this command with
    Completions(manual::CompletionArgs),
    /// Prints the manual page, or writes all of them
    Man(manual::ManArgs),
    /// Buffers into a file that plays
    Record(record::Args),
    /// A buffer to a server, a player or the network
    Stream(stream::Args),
    /// A file, an address or a camera into a buffer
    Play(play::Args),
    /// A buffer in a window
    View(view::Args),
    /// Puts the plugin where this machine's GStreamer looks
    Setup(setup::Args),
    /// There and back without TouchDesigner: a buffer becomes a film, the film a buffer
    Demo(demo::Args),
    /// What this machine can do, in a minute
    Bench(bench::Args),
}

/// What headerless bytes are.
#[derive(Debug, Clone, Args, Default)]
#[command(next_help_heading = "Geometry of a raw buffer without control segment")]
pub struct Geometry {
    /// Pixels per row
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub width: Option<u32>,
    /// Rows
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub height: Option<u32>,
    /// Components per pixel: 1 grey, 2 red and green, 3 colour, 4 colour and alpha
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub channels: Option<u8>,
    /// Type of one component
    #[arg(long, value_name = "TYPE")]
    pub sample_type: Option<Sample>,
    /// Order of colour components
    #[arg(long, value_name = "ORDER")]
    pub channel_order: Option<Order>,
    /// Where row 0 stands in the picture; else what the wire says, else bottom-left as TouchDesigner has it
    #[arg(long)]
    pub origin: Option<Corner>,
}

/// Type of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sample {
    /// 8 bits
    U8,
    /// 16 bits
    U16,
    /// Half float
    F16,
    /// Float
    F32,
}

impl From<Sample> for SampleType {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::U8 => Self::U8,
            Sample::U16 => Self::U16,
            Sample::F16 => Self::F16,
            Sample::F32 => Self::F32,
        }
    }
}

/// Order of colour components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Red first
    Rgba,
    /// Blue first
    Bgra,
}

impl From<Order> for ChannelOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Rgba => Self::Rgba,
            Order::Bgra => Self::Bgra,
        }
    }
}

/// Where row 0 stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Corner {
    /// At the bottom: TouchDesigner, OpenGL
    BottomLeft,
    /// At the top: files, cameras
    TopLeft,
}

impl From<Corner> for Origin {
    fn from(corner: Corner) -> Self {
        match corner {
            Corner::BottomLeft => Self::BottomLeft,
            Corner::TopLeft => Self::TopLeft,
        }
    }
}
