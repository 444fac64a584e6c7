# SPDX-License-Identifier: MPL-2.0
"""What stands where in a control segment, and what it may say: docs/protocol/control.md."""

import fractions
import os
import struct
import sys
import time

MAGIC, VERSION, LOSSLESS = 0x001A_4B4E_494C_4454, 1, 1
SEGMENT, HEADER_BYTES = 16384, 4096
HEADER, DESCRIPTION, SLOT = struct.Struct("<QIIQQ12I"), struct.Struct("<6Q23I4xQ"), struct.Struct("<4QIIQ")
DESCRIPTION_AT, DESCRIPTION_BYTES, NAME_AT, CAPS_AT, CAPS_MOST = 384, 512, 256, 1024, 3072
SLOTS_AT, SLOT_BYTES, MAX_SLOTS, ROWS_AT, ROW_BYTES, MAX_ROWS = 4096, 64, 16, 8192, 128, 32
NEWEST, EDITION, STATE, WAKE, PRODUCER_WAITING, FREED = 128, 136, 144, 192, 196, 256
CLAIM, LEASE, TAKEN, WAITING, PID, SINCE, GRANT = 0, 8, 16, 24, 28, 32, 64  # of a row
EOS, CLOSED, SUPERSEDED = 1, 2, 4  # of the state
WRITING, ACTIVE, NO_SLOT, NONE, LOW = 1 << 63, 1 << 31, 0xFF, (1 << 64) - 1, (1 << 32) - 1
PTS_ON_CLOCK, DISCONT, GAP = 1, 2, 4  # flags of a frame
SAMPLES = {1: "|u1", 2: "<u2", 3: "<f2", 4: "<f4"}  # as __array_interface__ writes types
_NAMES = {"uint8": "|u1", "uint16": "<u2", "float16": "<f2", "float32": "<f4"}
ORDERS, ORIGINS = {1: "rgba", 2: "bgra"}, {1: "top-left", 2: "bottom-left"}
ALPHAS, FOURTHS = {0: None, 1: "straight", 2: "premultiplied"}, {1: False, 2: True}
SLICE = 0.1  # seconds: the longest sleep, and from one question to the system to the next
LAST = 1 << 48  # beyond all generations


class TdlinkError(Exception):
    """Anything that this module has to say."""


class ProtocolError(TdlinkError):
    """A segment says what cannot be, or what this version does not know."""


class NameTaken(TdlinkError):
    """Another producer, or something that is no segment of ours, has the name."""


class ProducerGone(TdlinkError):
    """The producer has died without a word."""


class EndOfStream(TdlinkError):
    """The producer says that there are no more frames."""


def clock_ns():
    """The clock of all times: CLOCK_MONOTONIC, on Windows the performance counter; in nanoseconds."""
    return time.perf_counter_ns() if sys.platform == "win32" else time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _sound(holds, what):
    if not holds:
        raise ProtocolError("the control segment says what cannot be: " + what)


def _code(table, value, what):
    for code, known in table.items():
        if known == value:
            return code
    raise ValueError("%s is %r, expected one of %s" % (what, value, ", ".join(str(known) for known in table.values())))


def _typestr(dtype):
    """A sample type as `SAMPLES` has it, from a numpy type or its name; anything else as it is."""
    text = getattr(dtype, "str", None) or getattr(dtype, "__name__", None) or str(dtype)
    return _NAMES.get(text, ("|" if text[-2:] == "u1" else "<") + text.lstrip("|<="))


class Description:
    """What the frames of a generation are, and which object holds them. `padding`: the fourth channel is no alpha.
    `fps`: a number, or (30000, 1001); 0: as they come. `colorimetry`: range, matrix, transfer, primaries (H.273).
    `sample`: one component's type as a text, "|u1" for 8 bits; `dtype`: the same as numpy's."""

    def __init__(self, width, height, channels=4, dtype="u1", order="rgba", origin="top-left", padding=False,
                 alpha=None, fps=0, max_fps=0, pixel_aspect=(1, 1), colorimetry=(1, 0, 13, 1), caps=""):  # fmt: skip
        self.width, self.height, self.channels, self.sample = int(width), int(height), int(channels), _typestr(dtype)
        self.order, self.origin, self.padding, self.alpha, self.caps = order, origin, bool(padding), alpha, caps
        self.fps, self.max_fps, self.pixel_aspect = (
            ratio if isinstance(ratio, tuple) else fractions.Fraction(ratio).limit_denominator(1001).as_integer_ratio()
            for ratio in (fps, max_fps, pixel_aspect))  # fmt: skip
        self.colorimetry, self.pid, self.started = tuple(colorimetry), os.getpid(), time.time_ns()
        code = _code(SAMPLES, self.sample, "dtype")
        self.item = self.channels * self.sample_bytes
        self.shape, self.stride = (self.height, self.width, self.channels), self.width * self.item
        self.name, self.size, self.identity = "", 0, (0, 0)
        self.slots = self.slot_at = self.slot_stride = self.frame_size = 0
        self._codes = (code, self.channels, _code(ORDERS, order, "order"),
                       _code(FOURTHS, self.padding, "padding"), _code(ORIGINS, origin, "origin"),
                       _code(ALPHAS, alpha, "alpha"))  # fmt: skip
        if not (1 <= self.channels <= 4 and 0 < self.width <= LOW and 0 < self.height <= LOW and self.stride <= LOW):
            raise ValueError("%dx%d pixels of %d channels cannot be" % (self.width, self.height, self.channels))
        if len(caps.encode()) > CAPS_MOST:
            raise ValueError("caps of more than %d bytes" % CAPS_MOST)

    @property
    def dtype(self):
        """A component's type, for numpy."""
        import numpy

        return numpy.dtype(self.sample)

    @property
    def sample_bytes(self):
        return int(self.sample[2:])

    def _bytes(self):
        """As they stand from DESCRIPTION_AT to the end of the header."""
        name, caps, out = self.name.encode(), self.caps.encode(), bytearray(HEADER_BYTES - DESCRIPTION_AT)
        DESCRIPTION.pack_into(
            out, 0, self.size, *self.identity, self.slot_at, self.slot_stride, self.frame_size, self.slots,
            self.stride, self.width, self.height, *self._codes, *self.fps, *self.max_fps, *self.pixel_aspect,
            *self.colorimetry, len(caps), len(name), self.pid, self.started)  # fmt: skip
        for at, text in ((NAME_AT, name), (CAPS_AT - DESCRIPTION_AT, caps)):
            out[at : at + len(text)] = text
        return bytes(out)

    @classmethod
    def _parse(cls, data, header):
        at, (caps_at, caps_most) = header.description, header.caps
        (size, device, inode, slot_at, slot_stride, frame_size, slots, stride, width, height, sample, channels, order,
         fourth, origin, alpha, *ratios, caps_len, name_len, pid, started,
         ) = DESCRIPTION.unpack_from(data, at)  # fmt: skip
        fps, top, aspect, colorimetry = (tuple(ratios[i:j]) for i, j in ((0, 2), (2, 4), (4, 6), (6, 10)))
        for what, found, table in (("sample type", sample, SAMPLES), ("channel order", order, ORDERS),
                                   ("origin", origin, ORIGINS), ("alpha mode", alpha, ALPHAS),
                                   ("fourth channel's meaning", fourth, FOURTHS)):  # fmt: skip
            _sound(found in table, "the %s is %d" % (what, found))
        _sound(fps[1] and top[1] and aspect[0] and aspect[1], "ratios of %s, %s, %s" % (fps, top, aspect))
        _sound(name_len <= 256 and caps_len <= caps_most, "texts of %d and %d bytes" % (name_len, caps_len))
        _sound(1 <= slots <= header.slots, "%d slots, the table has %d" % (slots, header.slots))
        try:
            caps = data[caps_at : caps_at + caps_len].decode()
            self = cls(width, height, channels, SAMPLES[sample], ORDERS[order], ORIGINS[origin], FOURTHS[fourth],
                       ALPHAS[alpha], fps, top, aspect, colorimetry, caps)  # fmt: skip
            self.name = data[at + NAME_AT : at + NAME_AT + name_len].decode()
        except ValueError as error:
            raise ProtocolError("the control segment: %s" % error) from None
        _sound(stride >= self.stride, "a stride of %d bytes for rows of %d" % (stride, self.stride))
        _sound(stride * height <= frame_size, "%d bytes for a frame of %d" % (frame_size, stride * height))
        _sound(slots == 1 or slot_stride >= frame_size, "slots %d bytes apart" % slot_stride)
        _sound(slot_at + (slots - 1) * slot_stride + frame_size <= size < 1 << 63, "slots beyond %d bytes" % size)
        self.size, self.identity, self.slots, self.stride, self.pid = size, (device, inode), slots, stride, pid
        self.slot_at, self.slot_stride, self.frame_size, self.started = slot_at, slot_stride, frame_size, started
        return self


class _Header:
    """What stands in front of the description, checked; `data` is a private copy of the first bytes."""

    def __init__(self, data, size):
        (magic, version, header, required, _, _, _, slots_at, slot_bytes, slots, rows_at, row_bytes, rows,
         self.description, described, *caps) = HEADER.unpack_from(data)  # fmt: skip
        if magic != MAGIC:
            raise ProtocolError("the first bytes are %s, not a control segment's" % data[:8].hex())
        if version != VERSION:
            raise ProtocolError("control protocol version %d, this program knows %d" % (version, VERSION))
        if required & ~LOSSLESS:
            raise ProtocolError("features %#x are required, which this program does not know" % (required & ~LOSSLESS))
        _sound(DESCRIPTION_AT <= header <= HEADER_BYTES, "a header of %d bytes" % header)
        for what, at, each, count, least in (("slots", slots_at, slot_bytes, slots, SLOT_BYTES),
                                             ("rows", rows_at, row_bytes, rows, ROW_BYTES)):  # fmt: skip
            fits = each >= least and each % 64 == 0 and count and at % 64 == 0
            _sound(fits and FREED + 4 <= at and at + each * count <= size, "%d %s at %d" % (count, what, at))
        _sound(described >= DESCRIPTION_BYTES and self.description % 8 == 0, "%d bytes of description" % described)
        for at, length in ((self.description, described), caps):
            _sound(FREED + 4 <= at and at + length <= header, "%d bytes at %d" % (length, at))
        self.slots, self.rows, self.caps = min(slots, MAX_SLOTS), min(rows, MAX_ROWS), tuple(caps)
        self.lossless, self.tables = bool(required & LOSSLESS), (slots_at, slot_bytes, rows_at, row_bytes, slots, rows)

    @staticmethod
    def _bytes(lossless):
        """Ours, without the magic."""
        clock = 2 if sys.platform == "win32" else 1
        return HEADER.pack(0, VERSION, HEADER_BYTES, lossless * LOSSLESS, 0, SEGMENT, clock, SLOTS_AT,
                           SLOT_BYTES, MAX_SLOTS, ROWS_AT, ROW_BYTES, MAX_ROWS, DESCRIPTION_AT, DESCRIPTION_BYTES,
                           CAPS_AT, CAPS_MOST)[8:]  # fmt: skip
