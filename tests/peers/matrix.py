# SPDX-License-Identifier: MPL-2.0
"""The other side of the pixel-exact round trips, one command a line. A wire is WIDTH HEIGHT SAMPLE CHANNELS ORDER
ORIGIN; frames that go to or come from GStreamer's buffers pass through files, tightly packed.

caps PATH FORMAT WIDTH HEIGHT SEED          writes a frame in caps format FORMAT
sunk NAME FORMAT SEED WIRE                  does the segment hold exactly that frame, as the sink must have written it?
wire NAME SEED WIRE                         creates a segment with a frame in it
sourced PATH FORMAT SEED WIRE               is this what the source must have made of it?
drop NAME                                   unlinks it
option-wire NAME SAMPLE        creates a segment with the picture that shows what `alpha` and `transfer` do, answers its size
option PATH NAME SAMPLE        is this, in RGBA, what option NAME of the source must have made of it?
"""
import functools

import numpy as np

import options
import segments
from pixels import CAPS, DTYPE, convert, explain, letters, random

held = {}


@functools.lru_cache(maxsize=64)
def frame(width, height, channels, sample, seed):
    return random(width, height, channels, sample, seed)


def caps_frame(form, width, height, seed):
    sample, names = CAPS[form]
    return frame(width, height, len(names), sample, seed)


class Wire:
    def __init__(self, width, height, sample, channels, order, origin):
        self.width, self.height, self.channels = int(width), int(height), int(channels)
        self.sample, self.names, self.flip = sample, letters(self.channels, order), origin == "bottom-left"
        self.shape = (self.height, self.width, self.channels)
        self.size = self.width * self.height * self.channels * DTYPE[sample].itemsize

    def turn(self, picture):
        return picture[::-1] if self.flip else picture


def caps(path, form, width, height, seed):
    np.ascontiguousarray(caps_frame(form, int(width), int(height), int(seed))).tofile(path)
    return "ok"


def sunk(name, form, seed, *wire):
    wire = Wire(*wire)
    sample, names = CAPS[form]
    wanted = convert(caps_frame(form, wire.width, wire.height, int(seed)), names, sample, wire.names, wire.sample)
    shm = segments.attach(name)
    try:
        if shm.size != segments.shown(wire.size):
            return "differs: the segment has %d bytes, expected %d" % (shm.size, wire.size)
        found = np.frombuffer(bytes(shm.buf[: wire.size]), DTYPE[wire.sample]).reshape(wire.shape)
    finally:
        shm.close()
    return explain(np.ascontiguousarray(wire.turn(found)), wanted)


def wire(name, seed, *wire):
    wire = Wire(*wire)
    picture = frame(wire.width, wire.height, wire.channels, wire.sample, int(seed))
    held[name] = segments.create(name, wire.size)
    held[name].buf[: wire.size] = np.ascontiguousarray(wire.turn(picture)).tobytes()
    return "ok"


def sourced(path, form, seed, *wire):
    wire = Wire(*wire)
    sample, names = CAPS[form]
    picture = frame(wire.width, wire.height, wire.channels, wire.sample, int(seed))
    wanted = convert(picture, wire.names, wire.sample, names, sample)
    found = np.fromfile(path, DTYPE[sample])
    if found.size != wanted.size:
        return "differs: %d samples, expected %d" % (found.size, wanted.size)
    return explain(found.reshape(wanted.shape), wanted)


def option_wire(name, sample):
    picture = options.picture(sample)
    held[name] = segments.create(name, picture.nbytes)
    held[name].buf[: picture.nbytes] = np.ascontiguousarray(picture[::-1]).tobytes()
    return "%d %d" % (options.WIDTH, options.HEIGHT)


def option(path, name, sample):
    found = np.fromfile(path, "<u1").reshape(options.HEIGHT, options.WIDTH, 4)
    return options.check(name, sample, found.astype("<f8"))


def drop(name):
    held.pop(name).close()
    segments.unlink(name)
    return "ok"


if __name__ == "__main__":
    segments.serve(
        {
            "caps": caps, "sunk": sunk, "wire": wire, "sourced": sourced, "option-wire": option_wire, "option": option,
            "drop": drop,
        }
    )  # fmt: skip
