# SPDX-License-Identifier: MPL-2.0
"""cuda-link's ring from outside: an end of it on the CUDA runtime, written from the layout alone.

    cudalink.py send NAME [options]       frames with a number in their pixels; one JSON line a frame
    cudalink.py receive NAME [options]    what arrives; one JSON line a frame, others for what happens to the segment

`libcudart.so.12` is taken from where the loader finds it. Lines of frames hold: index (write_idx), number (as it stands in
the pixels), md5 (of the slot's bytes) and md5_flipped (of its rows in the other order).

The number stands in every row: byte k of it in pixel k (0 to 3), second component (the only one if there is but one), so
neither turning the picture nor exchanging red and blue hides it. `torn`: the rows do not agree.
"""
import argparse
import ctypes as c
import hashlib
import json
import mmap
import os
import struct
import sys
import time

import numpy as np

MAGIC = 0x43495044
BLOCK = 2 << 20
SLOTS, WRITE_IDX, HANDLES, PER_SLOT = 12, 16, 20, 128
NOT_READY = 600
KINDS = {"float32": (2, 32, 0), "float16": (2, 16, 0), "bfloat16": (2, 16, 1), "uint8": (1, 8, 0), "uint16": (1, 16, 0),
         "int8": (0, 8, 0), "int16": (0, 16, 0)}


def say(**line):
    print(json.dumps(line), flush=True)


class Handle(c.Structure):
    _fields_ = [("bytes", c.c_ubyte * 64)]


class Runtime:
    """The few calls that an end needs. A result that is not 0 is an exception, but for what is not yet there."""

    def __init__(self):
        self.library = c.CDLL("libcudart.so.12")

    def code(self, name, *arguments):
        return getattr(self.library, "cuda" + name)(*arguments)

    def call(self, name, *arguments):
        code = self.code(name, *arguments)
        if code:
            raise RuntimeError(f"cuda{name}: {code}")

    def made(self, name, *arguments):
        value = c.c_uint64()
        self.call(name, c.byref(value), *arguments)
        return value

    def stream(self):
        return self.made("StreamCreateWithFlags", c.c_uint(1))

    def pinned(self, size):
        start = self.made("HostAlloc", c.c_size_t(size), c.c_uint(1))
        return np.frombuffer((c.c_ubyte * size).from_address(start.value), np.uint8), start

    def copy(self, to, source, size, kind, stream):
        self.call("MemcpyAsync", to, source, c.c_size_t(size), c.c_int(kind), stream)


def path(name):
    return "/dev/shm/" + name.lstrip("/")


class Segment:
    """The control segment. Nobody is told that it is open: it is unlinked only on purpose."""

    def __init__(self, name, size=None):
        self.name, self.created = name, False
        flags = os.O_RDWR
        try:
            file = os.open(path(name), flags)
        except FileNotFoundError:
            if size is None:
                raise
            file = os.open(path(name), flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.ftruncate(file, size)
            self.created = True
        status = os.fstat(file)
        self.identity, self.size = (status.st_dev, status.st_ino), status.st_size
        self.map = mmap.mmap(file, self.size)
        os.close(file)

    def get(self, form, offset):
        return struct.unpack_from("<" + form, self.map, offset)[0]

    def put(self, form, offset, value):
        struct.pack_into("<" + form, self.map, offset, value)

    def still_named(self):
        try:
            status = os.stat(path(self.name))
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def unlink(self):
        if self.still_named():
            os.unlink(path(self.name))


def tail(slots):
    return HANDLES + PER_SLOT * slots


def total(slots):
    return tail(slots) + 29


def item_type(dtype):
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def numbered(number, height, width, comps, dtype):
    """The picture of a number, as an array."""
    x, y, k = np.arange(width)[None, :, None], np.arange(height)[:, None, None], np.arange(comps)[None, None, :]
    value = ((x * 3 + y * 5 + k * 64 + number * 7) & 255).astype(np.uint8)
    mark = np.frombuffer(struct.pack("<I", number & 0xFFFFFFFF), np.uint8)[:min(4, width)]
    value[:, :len(mark), min(1, comps - 1)] = mark
    if dtype in ("float32", "float16"):
        return (value / np.float32(255)).astype(dtype)
    if dtype == "bfloat16":
        return ((value / np.float32(255)).view(np.uint32) + 0x8000 >> 16).astype(np.uint16)
    if dtype in ("uint16", "int16"):
        return (value.astype(np.uint16) * 257).view(dtype)
    return value.view(dtype)


def number_of(picture, dtype):
    """The number in a picture, and whether its rows disagree about it."""
    comps, width = picture.shape[2], picture.shape[1]
    mark = picture[:, :min(4, width), min(1, comps - 1)]
    if dtype == "bfloat16":
        mark = (np.ascontiguousarray(mark).astype(np.uint32) << 16).view(np.float32)
    if dtype in ("float32", "float16", "bfloat16"):
        mark = np.clip(np.rint(mark.astype(np.float32) * 255), 0, 255)
    elif dtype in ("uint16", "int16"):
        mark = np.ascontiguousarray(mark).view(np.uint16) >> 8
    else:
        mark = np.ascontiguousarray(mark).view(np.uint8)
    mark = np.asarray(mark, np.uint8)
    first = mark[0].tobytes() + bytes(4 - mark.shape[1])
    return struct.unpack("<I", first)[0], bool((mark != mark[0]).any())


def digests(picture):
    return {"md5": hashlib.md5(picture.tobytes()).hexdigest(),
            "md5_flipped": hashlib.md5(np.ascontiguousarray(picture[::-1]).tobytes()).hexdigest()}


class Sender:
    def __init__(self, cuda, options):
        self.cuda, self.options, self.segment = cuda, options, None
        self.stream = cuda.stream()
        self.number = options.first - 1
        self.generation = 0
        self.source = None

    def open(self, fresh=True):
        """Slots of the next generation, and all that the segment says about them."""
        o = self.options
        sizes, counts = o.size.split(","), [int(n) for n in str(o.slots).split(",")]
        self.width, self.height = (int(n) for n in sizes[self.generation % len(sizes)].split("x"))
        self.slots = counts[self.generation % len(counts)]
        self.generation += 1
        kind, bits, flags = KINDS[o.dtype]
        self.bytes = self.width * self.height * o.comps * item_type(o.dtype).itemsize
        room = -(-self.bytes // BLOCK) * BLOCK
        self.memory = [self.cuda.made("Malloc", c.c_size_t(room)) for _ in range(self.slots)]
        self.events = [self.cuda.made("EventCreateWithFlags", c.c_uint(6)) for _ in range(self.slots)]
        self.staging, self.staging_start = self.cuda.pinned(self.bytes)
        self.source = self.cuda.made("Malloc", c.c_size_t(room))
        if fresh:
            self.segment = Segment(o.name, o.segment_bytes or total(self.slots))
        s, t = self.segment, tail(self.slots)
        version = o.version if o.version is not None and self.generation == 1 else s.get("Q", 4) + 1
        if o.version_first:
            s.put("I", 0, MAGIC)
            s.put("Q", 4, version)
        s.put("I", SLOTS, self.slots)
        s.put("I", WRITE_IDX, o.write_idx)
        for slot in range(self.slots):
            at = HANDLES + PER_SLOT * slot
            memory, event = Handle(), Handle()
            self.cuda.call("IpcGetMemHandle", c.byref(memory), self.memory[slot])
            if not o.no_events:
                self.cuda.call("IpcGetEventHandle", c.byref(event), self.events[slot])
            s.map[at:at + 64] = bytes(64) if o.zero_handles else bytes(memory.bytes)
            s.map[at + 64:at + 128] = bytes(event.bytes)
        s.put("B", t, 0)
        described = self.bytes if o.data_size is None else o.data_size
        struct.pack_into("<IIIBBHI", s.map, t + 1, self.width, self.height, o.comps, kind if o.kind is None else o.kind,
                         bits if o.bits is None else o.bits, flags | o.flags, described & 0xFFFFFFFF)
        if not o.version_first:
            s.put("Q", 4, version)
            s.put("I", 0, MAGIC if o.magic is None else o.magic)
        say(event="open", version=version, slots=self.slots, width=self.width, height=self.height, created=s.created)

    def publish(self):
        o, s, t = self.options, self.segment, tail(self.slots)
        self.number += 1
        index = s.get("I", WRITE_IDX)
        slot = index % self.slots
        picture = numbered(self.number, self.height, self.width, o.comps, o.dtype)
        self.staging[:] = np.frombuffer(picture.tobytes(), np.uint8)
        self.cuda.copy(self.source, self.staging_start, self.bytes, 1, self.stream)
        self.cuda.call("StreamSynchronize", self.stream)
        self.cuda.copy(self.memory[slot], self.source, self.bytes, 3, self.stream)
        self.cuda.call("EventRecord", self.events[slot], self.stream)
        if o.sync or o.no_events:
            self.cuda.call("StreamSynchronize", self.stream)
        s.put("d", t + 21, time.perf_counter() if o.stamp is None else float(o.stamp))
        s.put("B", t, 0)
        # Before the index, the slot that it would lead to must be announced; 0 means that there is no frame.
        s.put("I", WRITE_IDX, (index + 1) & 0xFFFFFFFF or 1)
        say(event="frame", index=s.get("I", WRITE_IDX), number=self.number, torn=False, time_ns=time.monotonic_ns(),
            **digests(picture))

    def close(self, segment=True):
        """As a sender ends that ends well; without the segment, only what stood behind it."""
        if segment:
            s = self.segment
            s.put("B", tail(self.slots), 1)
            s.map[HANDLES:tail(self.slots)] = bytes(PER_SLOT * self.slots)
        self.cuda.call("StreamSynchronize", self.stream)
        time.sleep(0.1)
        for event in self.events:
            self.cuda.call("EventDestroy", event)
        for memory in self.memory + [self.source]:
            self.cuda.call("Free", memory)
        self.cuda.call("FreeHost", self.staging_start)
        if segment:
            if not self.options.keep_segment:
                self.segment.unlink()
            say(event="close")

    def renew(self):
        """The next generation: by an end and a beginning, or in place (no end, another version)."""
        if not self.options.in_place:
            self.close()
            return self.open()
        old = (self.memory, self.events, self.source, self.staging_start)
        self.open(fresh=False)
        now = (self.memory, self.events, self.source, self.staging_start)
        self.memory, self.events, self.source, self.staging_start = old
        self.close(segment=False)
        self.memory, self.events, self.source, self.staging_start = now

    def run(self):
        o = self.options
        self.open()
        due = time.monotonic()
        for sent in range(o.frames):
            if o.restart and sent and sent % o.restart == 0:
                self.renew()
            if o.steps:
                if not sys.stdin.readline():
                    break
            else:
                time.sleep(max(0, due - time.monotonic()))
                due += 1 / o.fps
            self.publish()
        if o.steps:
            sys.stdin.readline()
        time.sleep(o.hold)
        if o.die:
            os._exit(0)
        self.close()


class Receiver:
    def __init__(self, cuda, options):
        self.cuda, self.options, self.segment = cuda, options, None
        self.stream = cuda.stream()
        self.memory = self.events = ()
        self.host = None
        self.last = 0

    def open(self):
        """True when the segment says something that can be used."""
        try:
            segment = self.segment or Segment(self.options.name)
        except FileNotFoundError:
            return False
        if segment.size < total(1) or segment.get("I", 0) != MAGIC:
            return False
        self.slots, version = segment.get("I", SLOTS), segment.get("Q", 4)
        if not 1 <= self.slots <= 10 or segment.size < total(self.slots) or segment.get("B", tail(self.slots)):
            return False
        t = tail(self.slots)
        self.width, self.height, self.comps = (segment.get("I", t + at) for at in (1, 5, 9))
        triple = segment.get("B", t + 13), segment.get("B", t + 14), segment.get("H", t + 15) & 1
        self.flags = segment.get("H", t + 15)
        self.dtype = next((name for name, known in KINDS.items() if known == triple), None)
        handles = bytes(segment.map[HANDLES:t])
        if self.dtype is None or not self.width * self.height * self.comps or version != segment.get("Q", 4):
            return False
        slots = [handles[PER_SLOT * slot:PER_SLOT * (slot + 1)] for slot in range(self.slots)]
        if not all(any(slot[:64]) for slot in slots):
            return False
        self.bytes = self.width * self.height * self.comps * item_type(self.dtype).itemsize
        memory, events = [], []
        for slot in slots:
            pointer, event = c.c_uint64(), c.c_uint64()
            if self.cuda.code("IpcOpenMemHandle", c.byref(pointer), Handle.from_buffer_copy(slot[:64]), c.c_uint(1)):
                break
            memory.append(pointer)
            if any(slot[64:]):
                self.cuda.call("IpcOpenEventHandle", c.byref(event), Handle.from_buffer_copy(slot[64:]))
            events.append(event)
        self.segment, self.version, self.memory, self.events, self.last = segment, version, memory, events, 0
        if len(memory) < self.slots:
            self.close()
            return False
        self.host, self.start = self.cuda.pinned(self.bytes)
        say(event="connected", version=version, slots=self.slots, width=self.width, height=self.height, comps=self.comps,
            dtype=self.dtype, flags=self.flags, data_size=segment.get("I", t + 17))
        return True

    def close(self):
        for event in self.events:
            if event.value:
                self.cuda.call("EventDestroy", event)
        for memory in self.memory:
            self.cuda.call("IpcCloseMemHandle", memory)
        if self.host is not None:
            self.cuda.call("FreeHost", self.start)
        self.memory = self.events = ()
        self.host = self.segment = None

    def wait(self, slot):
        """Until the slot's event is complete; False when that takes too long."""
        if not self.events[slot].value:
            self.cuda.call("DeviceSynchronize")
            return True
        deadline = time.monotonic() + self.options.event_timeout
        while (code := self.cuda.code("EventQuery", self.events[slot])) == NOT_READY:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0001)
        if code:
            raise RuntimeError(f"cudaEventQuery: {code}")
        return True

    def look(self):
        """One look at the segment: a frame, an event, or nothing."""
        s, t = self.segment, tail(self.slots)
        if s.get("B", t):
            say(event="shutdown")
            return self.close()
        if s.get("Q", 4) != self.version:
            say(event="version", version=s.get("Q", 4))
            segment = s
            self.close()
            self.segment = segment
            return None
        index = s.get("I", WRITE_IDX)
        if index in (0, self.last):
            if not s.still_named():
                say(event="gone")
                self.close()
            return None
        self.last = index
        slot, stamp = (index - 1) % self.slots, s.get("d", t + 21)
        if not self.wait(slot):
            return say(event="timeout", index=index)
        self.cuda.copy(self.start, self.memory[slot], self.bytes, 2, self.stream)
        self.cuda.call("StreamSynchronize", self.stream)
        newer = (s.get("I", WRITE_IDX) - index) & 0xFFFFFFFF
        if newer > max(self.slots - 2, 0):
            return say(event="overwritten", index=index)
        shape = (self.height, self.width, self.comps)
        picture = np.frombuffer(self.host.tobytes(), item_type(self.dtype)).reshape(shape)
        number, torn = number_of(picture, self.dtype)
        say(event="frame", index=index, number=number, torn=torn, stamp=stamp, time_ns=time.monotonic_ns(), width=self.width,
            height=self.height, comps=self.comps, dtype=self.dtype, flags=self.flags, **digests(picture))
        return True

    def run(self):
        o = self.options
        deadline, frames = time.monotonic() + o.timeout, 0
        say(event="waiting")
        while frames < o.frames and time.monotonic() < deadline:
            if not self.memory:
                if not self.open():
                    if self.segment is not None and not self.segment.still_named():
                        self.segment = None
                    time.sleep(0.002)
                continue
            seen = self.look()
            if seen:
                frames += 1
                time.sleep(o.rest)
            elif not self.memory and o.once and self.segment is None:
                break
            else:
                time.sleep(0.0005)
        if o.unlink and self.segment is not None:
            self.segment.unlink()
        if o.die:
            os._exit(0)
        self.close()
        say(event="end", frames=frames)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role", required=True)
    send = roles.add_parser("send")
    send.add_argument("name")
    send.add_argument("--frames", type=int, default=60)
    send.add_argument("--first", type=int, default=1, help="number of the first picture")
    send.add_argument("--size", default="64x48", help="WIDTHxHEIGHT; several, by commas: one a generation")
    send.add_argument("--slots", default="3", help="several, by commas: one a generation")
    send.add_argument("--comps", type=int, default=4)
    send.add_argument("--dtype", choices=KINDS, default="uint8")
    send.add_argument("--fps", type=float, default=60)
    send.add_argument("--steps", action="store_true", help="a frame for each line of the input, and a last line to end")
    send.add_argument("--hold", type=float, default=0.5, help="seconds between the last frame and the end")
    send.add_argument("--flags", type=lambda n: int(n, 0), default=0)
    send.add_argument("--sync", action="store_true", help="publish a frame when its copy is complete")
    send.add_argument("--restart", type=int, default=0, help="a new generation after so many frames")
    send.add_argument("--in-place", action="store_true", help="new generations without an end, in the same segment")
    send.add_argument("--version-first", action="store_true", help="announce a generation before it is written")
    send.add_argument("--die", action="store_true", help="end without closing anything")
    send.add_argument("--keep-segment", action="store_true", help="close, but leave the segment where it is")
    send.add_argument("--no-events", action="store_true")
    send.add_argument("--zero-handles", action="store_true")
    send.add_argument("--write-idx", type=lambda n: int(n, 0), default=0)
    send.add_argument("--version", type=lambda n: int(n, 0))
    send.add_argument("--magic", type=lambda n: int(n, 0))
    send.add_argument("--kind", type=int)
    send.add_argument("--bits", type=int)
    send.add_argument("--data-size", type=int)
    send.add_argument("--segment-bytes", type=int)
    send.add_argument("--stamp", help="the time of every frame, in seconds (nan, inf and negative ones too)")
    receive = roles.add_parser("receive")
    receive.add_argument("name")
    receive.add_argument("--frames", type=int, default=1_000_000)
    receive.add_argument("--timeout", type=float, default=20, help="seconds in all")
    receive.add_argument("--event-timeout", type=float, default=5)
    receive.add_argument("--rest", type=float, default=0, help="seconds after each frame")
    receive.add_argument("--once", action="store_true", help="end when the sender has ended")
    receive.add_argument("--unlink", action="store_true", help="unlink at the end, as Python before 3.13 does unasked")
    receive.add_argument("--die", action="store_true", help="end without closing anything")
    options = parser.parse_args()
    end = (Sender if options.role == "send" else Receiver)(Runtime(), options)
    end.run()


if __name__ == "__main__":
    main()
