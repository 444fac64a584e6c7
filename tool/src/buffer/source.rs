// SPDX-License-Identifier: MPL-2.0
//! Frames of a buffer, whatever its protocol.

use std::time::{Duration, Instant};

use tdlink_core::cuda::{Context, PinnedMem, Stream, driver};
use tdlink_core::discover::{Found, Look, Protocol, State};
use tdlink_core::frame::{FrameDesc, Origin};
use tdlink_core::pixels::Options;
use tdlink_core::protocol::copy::{CopyError, CopyThreads, FrameReader};
use tdlink_core::protocol::{control, cudalink, raw, touch};
use tdlink_core::segment::{OpenOptions, SegmentName, monotonic_ns};

use super::locate::find;
use super::picture::Picture;
use crate::cli::Geometry;
use crate::failure::Failure;

/// Between two glances at bytes whose writer says nothing.
const GLANCE: Duration = Duration::from_millis(1);

/// What a wait for a frame came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A frame, when it was published or arrived, in ns of the monotonic clock, and when it was taken here.
    Frame {
        /// When it was published; when it arrived, where nobody says.
        published: u64,
        /// When it was here.
        arrived: u64,
    },
    /// Frames have another size or other pixels from now on.
    Changed,
    /// The producer has gone; why.
    Gone(String),
    /// The deadline came.
    Nothing,
}

/// What was lost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Published and never seen here.
    pub skipped: u64,
    /// Seen torn, or overwritten while it was read.
    pub torn: u64,
}

/// Frames of one buffer.
#[derive(Debug)]
pub struct Source {
    name: String,
    geometry: Geometry,
    desc: FrameDesc,
    wire: Wire,
    torn: u64,
}

#[derive(Debug)]
enum Wire {
    Control {
        consumer: Box<control::Consumer>,
        reader: Box<FrameReader>,
    },
    Raw(Box<raw::Consumer>),
    Touch(Box<touch::Consumer>),
    /// Announcements alone: pixels need a CUDA driver.
    Announced(Box<cudalink::Watch>),
    Cuda {
        consumer: Box<cudalink::Consumer>,
        staging: Box<PinnedMem>,
        stream: Box<Stream>,
    },
}

/// Whether pixels are wanted, or only that frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Pixels.
    Pixels,
    /// Times alone.
    Times,
}

impl Source {
    /// Attaches to the buffer of that name as a reader.
    pub fn open(name: &str, geometry: &Geometry, want: Want) -> Result<(Self, Found), Failure> {
        let found = find(name, Look::Segments)?;
        let wire_desc = match (found.protocol(), want) {
            // Times need no geometry, as long as there are announcements.
            (Protocol::CudaLink, Want::Times) => geometry.of(&found).ok(),
            _ => Some(geometry.of(&found)?),
        };
        let desc = wire_desc.unwrap_or_else(|| unknown(&found));
        let wire = attach(&found, &desc, want)?;
        Ok((Self { name: found.name.clone(), geometry: geometry.clone(), desc, wire, torn: 0 }, found))
    }

    /// What the frames are.
    pub fn desc(&self) -> FrameDesc {
        self.desc
    }

    /// What was lost so far.
    pub fn losses(&self) -> Losses {
        let (skipped, torn) = match &self.wire {
            Wire::Control { consumer, .. } => (consumer.skipped(), consumer.torn()),
            Wire::Announced(watch) => (watch.skipped(), watch.overwritten()),
            Wire::Cuda { consumer, .. } => (consumer.skipped(), consumer.overwritten()),
            Wire::Raw(_) | Wire::Touch(_) => (0, 0),
        };
        Losses { skipped, torn: torn + self.torn }
    }

    /// Waits for the next frame until `deadline`, and copies it into `picture`, which is of [`desc`](Self::desc)'s size.
    pub fn next(&mut self, deadline: Instant, picture: &mut Picture) -> Result<News, Failure> {
        let news = match &mut self.wire {
            Wire::Control { consumer, reader } => from_control(consumer, reader, deadline, picture)?,
            Wire::Raw(consumer) => from_raw(consumer, deadline, picture, &mut self.torn)?,
            Wire::Touch(consumer) => from_touch(consumer, deadline, picture)?,
            Wire::Announced(watch) => from_watch(watch, deadline)?,
            Wire::Cuda { consumer, staging, stream } => {
                from_cuda(consumer, staging, stream, deadline, (picture, self.desc.origin))?
            }
        };
        if news == News::Changed {
            self.adopt(picture)?;
        }
        Ok(news)
    }

    /// Frames are others from now on.
    fn adopt(&mut self, picture: &mut Picture) -> Result<(), Failure> {
        match &mut self.wire {
            Wire::Control { consumer, reader } => {
                let spec = &consumer.description().spec;
                self.desc = overridden(spec.desc, &self.geometry);
                **reader = control_reader(self.desc, spec.stride)?;
            }
            Wire::Touch(consumer) => {
                self.desc = overridden(consumer.desc(), &self.geometry);
                consumer.set_target(self.desc.format, Options::default(), false).map_err(Failure::failed)?;
            }
            Wire::Announced(_) | Wire::Raw(_) => {}
            Wire::Cuda { consumer, staging, .. } => {
                let desc = cuda_desc(&self.name, consumer.description())?;
                self.desc = overridden(desc, &self.geometry);
                **staging = staging_for(consumer.context(), &self.desc)?;
            }
        }
        *picture = Picture::blank(&self.desc)?;
        Ok(())
    }
}

/// What stands for a frame whose pixels nobody here has a word for.
fn unknown(found: &Found) -> FrameDesc {
    let format = super::picture::rgba(tdlink_core::frame::SampleType::U8);
    let (width, height) = match &found.detail {
        tdlink_core::discover::Detail::CudaLink(Some(header)) => {
            header.description.map_or((1, 1), |description| (description.width, description.height))
        }
        _ => (1, 1),
    };
    FrameDesc { width, height, format, origin: Origin::BottomLeft }
}

fn overridden(mut desc: FrameDesc, geometry: &Geometry) -> FrameDesc {
    if let Some(order) = geometry.channel_order {
        desc.format.order = order.into();
    }
    if let Some(origin) = geometry.origin {
        desc.origin = origin.into();
    }
    desc
}

fn open_options() -> OpenOptions {
    OpenOptions { allow_other_user: true }
}

fn attach(found: &Found, desc: &FrameDesc, want: Want) -> Result<Wire, Failure> {
    let name = SegmentName::new(&found.name).map_err(Failure::failed);
    match found.protocol() {
        Protocol::Control if found.state != State::Stale => {
            let options = control::AttachOptions { leases: 0, open: open_options() };
            let consumer =
                control::Consumer::attach(&name?, &options, control::Interrupt::new()).map_err(Failure::failed)?;
            let reader = control_reader(*desc, consumer.description().spec.stride)?;
            Ok(Wire::Control { consumer: Box::new(consumer), reader: Box::new(reader) })
        }
        Protocol::Control if found.object.as_str() != found.name => Err(Failure::Failed(format!(
            "the producer of {0:?} has gone, and its ring with it; `tdlink clean` removes what it left",
            found.name
        ))),
        // The raw bytes stay readable when their producer has gone: its last frame.
        Protocol::Control | Protocol::Raw => {
            let layout = raw::RawLayout { desc: *desc, offset: 0 };
            let consumer = raw::Consumer::attach(&name?, layout, desc.format, Options::default(), open_options())
                .map_err(Failure::failed)?;
            Ok(Wire::Raw(Box::new(consumer)))
        }
        Protocol::Touch => {
            let names = touch::TouchNames::new(&found.name).map_err(Failure::failed)?;
            let options = touch::AttachOptions { open: open_options(), ..Default::default() };
            let mut consumer = touch::Consumer::attach(&names, desc.origin, options).map_err(Failure::failed)?;
            consumer.set_target(desc.format, Options::default(), false).map_err(Failure::failed)?;
            Ok(Wire::Touch(Box::new(consumer)))
        }
        Protocol::CudaLink if want == Want::Times => {
            let watch = cudalink::Watch::attach(&name?, &open_options(), cudalink::Interrupt::new());
            Ok(Wire::Announced(Box::new(watch.map_err(Failure::failed)?)))
        }
        Protocol::CudaLink => cuda(&name?, desc),
    }
}

/// Opens the pixels in GPU memory, on the first card where their handles open.
fn cuda(name: &SegmentName, desc: &FrameDesc) -> Result<Wire, Failure> {
    let driver = driver().map_err(|error| {
        Failure::Failed(format!(
            "the pixels of {:?} are in GPU memory, and there is no CUDA driver here: {error}",
            name.as_str()
        ))
    })?;
    let mut last = Failure::Failed("the CUDA driver knows no card".to_owned());
    for device in 0..driver.devices() {
        let attempt = Context::primary(device).map_err(Failure::failed).and_then(|context| {
            let interrupt = cudalink::Interrupt::new();
            let consumer = cudalink::Consumer::attach(name, &context, &open_options(), interrupt);
            let consumer = consumer.map_err(Failure::failed)?;
            let staging = staging_for(consumer.context(), desc)?;
            let stream = Stream::new(consumer.context()).map_err(Failure::failed)?;
            Ok(Wire::Cuda { consumer: Box::new(consumer), staging: Box::new(staging), stream: Box::new(stream) })
        });
        match attempt {
            Ok(wire) => return Ok(wire),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn staging_for(context: &Context, desc: &FrameDesc) -> Result<PinnedMem, Failure> {
    let bytes = desc.bytes().ok_or_else(|| Failure::Failed(format!("{desc} does not fit any memory")))?;
    PinnedMem::new(context, bytes).map_err(Failure::failed)
}

fn cuda_desc(name: &str, description: &cudalink::Description) -> Result<FrameDesc, Failure> {
    let format = description.pixel_format(None).ok_or_else(|| {
        Failure::Failed(format!("{name:?} is {description}, which no command here can read as a picture"))
    })?;
    Ok(FrameDesc { width: description.width, height: description.height, format, origin: Origin::BottomLeft })
}

fn control_reader(desc: FrameDesc, stride: u32) -> Result<FrameReader, Failure> {
    FrameReader::new(desc, stride as usize, desc.format, Options::default(), CopyThreads::new(0))
        .map_err(Failure::failed)
}

/// Errors of a copy and of what surrounds it.
impl From<control::ConsumeError> for Failure {
    fn from(error: control::ConsumeError) -> Self {
        Self::failed(error)
    }
}

fn from_control(
    consumer: &mut control::Consumer,
    reader: &mut FrameReader,
    deadline: Instant,
    picture: &mut Picture,
) -> Result<News, Failure> {
    use control::Wait;
    loop {
        match consumer.wait_newer(Some(deadline))? {
            Wait::Newer => {}
            Wait::Respec => return Ok(News::Changed),
            Wait::Closed | Wait::Eos => return Ok(News::Gone("the producer has ended".to_owned())),
            Wait::Gone => return Ok(News::Gone("the producer has died".to_owned())),
            Wait::Superseded => return Ok(News::Gone("another producer has taken the name".to_owned())),
            Wait::Deadline | Wait::Interrupted => return Ok(News::Nothing),
        }
        let row = picture.row_bytes();
        let copied = consumer.copy(|frame| {
            let from = (frame.offset, frame.info.stride as usize);
            reader.read(frame.segment, from, &mut picture.bytes, row).map_err(|error: CopyError| Failure::failed(error))
        })?;
        if let Some((info, ())) = copied {
            return Ok(News::Frame { published: info.published, arrived: monotonic_ns() });
        }
    }
}

fn from_raw(
    consumer: &mut raw::Consumer,
    deadline: Instant,
    picture: &mut Picture,
    torn: &mut u64,
) -> Result<News, Failure> {
    let row = picture.row_bytes();
    loop {
        if consumer.look().map_err(Failure::failed)? == raw::Look::Changed {
            let arrived = monotonic_ns();
            let read = consumer.read(&mut picture.bytes, row).map_err(Failure::failed)?;
            *torn += u64::from(read.torn_attempts);
            if read.whole {
                return Ok(News::Frame { published: arrived, arrived });
            }
        }
        match consumer.standing().map_err(Failure::failed)? {
            raw::Standing::Here => {}
            raw::Standing::Gone => return Ok(News::Gone("its name is gone".to_owned())),
            raw::Standing::Elsewhere => return Ok(News::Gone("another object stands under the name".to_owned())),
            raw::Standing::Shrunk { found, needed } => {
                return Ok(News::Gone(format!("it was cut to {found} bytes, a frame takes {needed}")));
            }
        }
        if Instant::now() >= deadline {
            return Ok(News::Nothing);
        }
        std::thread::sleep(GLANCE);
    }
}

fn from_touch(consumer: &mut touch::Consumer, deadline: Instant, picture: &mut Picture) -> Result<News, Failure> {
    use touch::Outcome;
    let row = picture.row_bytes();
    loop {
        if consumer.look().map_err(Failure::failed)? {
            let arrived = monotonic_ns();
            match consumer.read(&mut picture.bytes, row).map_err(Failure::failed)? {
                Outcome::Whole { .. } => return Ok(News::Frame { published: arrived, arrived }),
                Outcome::Respec => return Ok(News::Changed),
                Outcome::Ended(why) => return Ok(News::Gone(why)),
                Outcome::Locked | Outcome::NotWritten | Outcome::Nothing | Outcome::Suspect => {}
            }
        }
        if let touch::Standing::Ended(why) = consumer.standing().map_err(Failure::failed)? {
            return Ok(News::Gone(why));
        }
        if Instant::now() >= deadline {
            return Ok(News::Nothing);
        }
        std::thread::sleep(GLANCE);
    }
}

fn cuda_news(wait: cudalink::Wait) -> Option<News> {
    use cudalink::Wait;
    Some(match wait {
        Wait::Newer => return None,
        Wait::Respec => News::Changed,
        Wait::Closed => News::Gone("the producer has ended".to_owned()),
        Wait::Gone => News::Gone("the producer has died".to_owned()),
        Wait::Superseded => News::Gone("another segment stands under the name".to_owned()),
        Wait::Deadline | Wait::Interrupted => News::Nothing,
    })
}

fn from_watch(watch: &mut cudalink::Watch, deadline: Instant) -> Result<News, Failure> {
    loop {
        if let Some(news) = cuda_news(watch.wait_newer(Some(deadline)).map_err(Failure::failed)?) {
            return Ok(news);
        }
        if let Some(published) = watch.take().map_err(Failure::failed)? {
            let arrived = monotonic_ns();
            return Ok(News::Frame { published: published.stamp.unwrap_or(arrived), arrived });
        }
    }
}

fn from_cuda(
    consumer: &mut cudalink::Consumer,
    staging: &mut PinnedMem,
    stream: &Stream,
    deadline: Instant,
    (picture, origin): (&mut Picture, Origin),
) -> Result<News, Failure> {
    loop {
        if let Some(news) = cuda_news(consumer.wait_newer(Some(deadline)).map_err(Failure::failed)?) {
            return Ok(news);
        }
        let Some(frame) = consumer.take().map_err(Failure::failed)? else { continue };
        if !consumer.complete_by(&frame, deadline, || false).map_err(Failure::failed)? {
            return Ok(News::Nothing);
        }
        let row = picture.row_bytes();
        staging.download(frame.plane, row, stream).map_err(Failure::failed)?;
        staging.settle().map_err(Failure::failed)?;
        if !consumer.still_whole(&frame).map_err(Failure::failed)? {
            continue;
        }
        let arrived = monotonic_ns();
        let bytes = staging.bytes().map_err(Failure::failed)?;
        let rows = picture.bytes.chunks_exact_mut(row);
        match origin {
            Origin::TopLeft => rows.zip(bytes.chunks_exact(row)).for_each(|(to, from)| to.copy_from_slice(from)),
            Origin::BottomLeft => {
                rows.zip(bytes.chunks_exact(row).rev()).for_each(|(to, from)| to.copy_from_slice(from))
            }
        }
        return Ok(News::Frame { published: frame.published.stamp.unwrap_or(arrived), arrived });
    }
}
