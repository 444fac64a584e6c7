// SPDX-License-Identifier: MPL-2.0
//! What a frame's copy costs beside one plain copy of the same bytes: `cargo bench -p tdlink-core --bench copy`.
//!
//! `plain` is one memcpy of the frame, `loop` one memcpy per row, `rows` what the elements call; `hot` uses one segment
//! and one buffer over and over, `cold` four of each in turn. Compare within one run only.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tdlink_core::segment::{CreateOptions, OwnedSegment, Rows, Segment, SegmentName};

const SIZES: [(&str, usize, usize); 3] = [("720p", 1280, 720), ("1080p", 1920, 1080), ("4K", 3840, 2160)];
const SETS: [(&str, usize); 2] = [("hot", 1), ("cold", 4)];
const BYTES_PER_PIXEL: usize = 4;

/// Segments and private buffers that a benchmark takes in turn.
struct Set {
    owned: Vec<OwnedSegment>,
    buffers: Vec<Vec<u8>>,
    turn: usize,
}

impl Set {
    fn new(slots: usize, len: usize) -> Self {
        let create = |slot| {
            let name = format!("tdlink-bench-{}-{slot}", std::process::id());
            let name = SegmentName::new(&name).expect("it is a short name");
            OwnedSegment::create(&name, len, &CreateOptions::default()).expect("/dev/shm has room")
        };
        Self { owned: (0..slots).map(create).collect(), buffers: vec![vec![1; len]; slots], turn: 0 }
    }

    fn next(&mut self) -> (&Arc<Segment>, &mut [u8]) {
        self.turn = (self.turn + 1) % self.owned.len();
        (self.owned[self.turn].segment(), &mut self.buffers[self.turn])
    }
}

fn copies(criterion: &mut Criterion) {
    for (size, width, height) in SIZES {
        let row_bytes = width * BYTES_PER_PIXEL;
        for (temperature, slots) in SETS {
            let mut set = Set::new(slots, row_bytes * height);
            let mut group = criterion.benchmark_group(format!("{size}/{temperature}"));
            group.throughput(Throughput::Bytes((row_bytes * height) as u64)).sample_size(50);
            group.bench_function("read/plain", |bencher| {
                bencher.iter(|| {
                    let (segment, buffer) = set.next();
                    segment.read(0, black_box(buffer)).expect("it fits");
                });
            });
            group.bench_function("write/plain", |bencher| {
                bencher.iter(|| {
                    let (segment, buffer) = set.next();
                    segment.write(0, black_box(buffer)).expect("it fits");
                });
            });
            for flip in [false, true] {
                let way = if flip { "flipped" } else { "straight" };
                let rows = Rows { offset: 0, row_bytes, stride: row_bytes, rows: height, flip };
                group.bench_function(BenchmarkId::new("read/loop", way), |bencher| {
                    bencher.iter(|| {
                        let (segment, buffer) = set.next();
                        for (row, dst) in buffer.chunks_exact_mut(row_bytes).enumerate() {
                            let row = if flip { height - 1 - row } else { row };
                            segment.read(row * row_bytes, black_box(dst)).expect("it fits");
                        }
                    });
                });
                group.bench_function(BenchmarkId::new("read/rows", way), |bencher| {
                    bencher.iter(|| {
                        let (segment, buffer) = set.next();
                        segment.read_rows(rows, black_box(buffer), row_bytes).expect("it fits");
                    });
                });
                group.bench_function(BenchmarkId::new("write/rows", way), |bencher| {
                    bencher.iter(|| {
                        let (segment, buffer) = set.next();
                        segment.write_rows(rows, black_box(buffer), row_bytes).expect("it fits");
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, copies);
criterion_main!(benches);
