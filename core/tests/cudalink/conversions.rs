// SPDX-License-Identifier: MPL-2.0
//! The kernels between wires and pictures, on a driver, against the processor's twin.

use tdlink_core::cuda::{Context, CudaError, DeviceMem, PinnedMem, Plane, Stream, convert};
use tdlink_core::pixels::{
    Alpha, ChromaSite, Components, Conversion, Direction, Gamut, Matrix, Picture, PlaneSize, Range, Wire, WireSample,
    Yuv,
};

use crate::cases::{Case, UNTOUCHED, exact, near, same, transferred};

/// Bytes of each plane's memory.
const ROOM: usize = 64 << 10;

struct Device {
    stream: Stream,
    host: PinnedMem,
    src: [DeviceMem; 2],
    dst: [DeviceMem; 2],
}

impl Device {
    fn new() -> Self {
        let context = Context::primary(0).expect("a CUDA driver: cargo xtask emulated -- cargo test …");
        let memory = || DeviceMem::new(&context, ROOM).unwrap();
        let (src, dst) = ([memory(), memory()], [memory(), memory()]);
        Self { stream: Stream::new(&context).unwrap(), host: PinnedMem::new(&context, ROOM).unwrap(), src, dst }
    }

    fn convert(&mut self, case: &Case) -> Vec<u8> {
        let room = |memory: &DeviceMem| memory.plane(ROOM, ROOM, 1).unwrap();
        for (memory, bytes) in self.src.iter().zip(&case.src) {
            self.host.bytes_mut().unwrap()[..bytes.len()].copy_from_slice(bytes);
            self.host.upload(room(memory), ROOM, &self.stream).unwrap();
        }
        for memory in &self.dst {
            self.host.bytes_mut().unwrap().fill(UNTOUCHED);
            self.host.upload(room(memory), ROOM, &self.stream).unwrap();
        }
        let planes = |memory: &[DeviceMem; 2], pitch: [usize; 2], sizes: [Option<PlaneSize>; 2]| -> Vec<Plane> {
            let sizes = sizes.into_iter().flatten().zip(pitch);
            let plane = |(memory, (size, pitch)): (&DeviceMem, (PlaneSize, usize))| {
                memory.plane(pitch, size.row_bytes, size.rows).unwrap()
            };
            memory.iter().zip(sizes).map(plane).collect()
        };
        let (src, dst) = case.conversion.planes(case.width, case.height);
        let (src, dst) = (planes(&self.src, case.src_pitch, src), planes(&self.dst, case.dst_pitch, dst));
        convert(&dst, &src, &case.conversion, &self.stream).unwrap();
        let mut out = Vec::new();
        for (memory, length) in self.dst.iter().zip(case.dst_lengths()) {
            self.host.download(room(memory), ROOM, &self.stream).unwrap();
            out.extend(&self.host.bytes().unwrap()[..length]);
        }
        out
    }
}

/// Whether no float is met on the way.
fn is_integer(case: &Case) -> bool {
    let (conversion, options) = (&case.conversion, case.conversion.options());
    let alone = matches!(options.alpha, Alpha::Passthrough | Alpha::Opaque) && options.gamut == Gamut::Passthrough;
    let codes = matches!(conversion.wire().sample, WireSample::U8 | WireSample::U16);
    alone && codes && conversion.picture().yuv().is_none()
}

#[test]
#[ignore = "needs a CUDA driver"]
fn conversions_on_the_device_are_the_processors() {
    let mut device = Device::new();
    let mut integers = 0;
    for case in exact() {
        let theirs = device.convert(&case);
        if is_integer(&case) {
            same(&case, &theirs);
            integers += 1;
        } else {
            near(&case, &theirs);
        }
    }
    assert!(integers > 300, "{integers}");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn transfers_on_the_device_are_within_one_code_of_the_processors() {
    let mut device = Device::new();
    for case in transferred() {
        let theirs = device.convert(&case);
        near(&case, &theirs);
    }
}

#[test]
#[ignore = "needs a CUDA driver"]
fn planes_of_another_picture_are_refused() {
    let device = Device::new();
    let yuv = Yuv { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    let wire = Wire { sample: WireSample::F32, components: Components::Rgba };
    let conversion = Conversion::to_picture(wire, Picture::P010(yuv));
    assert_eq!(conversion.direction(), Direction::ToPicture);
    let plane = |pitch, row_bytes, rows| device.dst[0].plane(pitch, row_bytes, rows).unwrap();
    let (src, luma, chroma) = (plane(48, 48, 3), plane(6, 6, 3), plane(8, 8, 2));
    let refused = |dst: &[Plane], src: &[Plane]| convert(dst, src, &conversion, &device.stream).unwrap_err();
    assert_eq!(refused(&[luma], &[src]), CudaError::Planes { found: 1, wanted: 2 });
    assert_eq!(refused(&[luma, chroma], &[]), CudaError::Planes { found: 0, wanted: 1 });
    let smaller = CudaError::Shapes { src_rows: 2, src_bytes: 6, dst_rows: 2, dst_bytes: 8 };
    assert_eq!(refused(&[luma, plane(6, 6, 2)], &[src]), smaller);
    let at = luma.ptr();
    let odd = refused(&[plane(7, 6, 3), chroma], &[src]);
    assert_eq!(odd, CudaError::Unaligned { address: at, pitch: 7, align: 2 });
    let inside = src.columns(2, 44).unwrap().columns(0, 32).unwrap();
    let (luma, chroma) = (plane(4, 4, 3), plane(4, 4, 2));
    let odd = refused(&[luma, chroma], &[inside]);
    assert_eq!(odd, CudaError::Unaligned { address: at + 2, pitch: 48, align: 4 });
}
