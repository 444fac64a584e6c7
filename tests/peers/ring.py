# SPDX-License-Identifier: MPL-2.0
"""A reader and a writer of control segments, by the package python/tdlink, one command a line.

Every 8 bytes of a frame say its number, and so does `offset` beside them.

reader NAME LEASES [follow]       answers `ready`; there need not be a sender yet
read SECONDS [copy]               `frame NUMBER leased|copied`, `none`, `eos`, `gone`, or `torn …`
stamps SECONDS                    all that is said about the next frame
hold SECONDS                      the same as `read`; the frame is kept
check                             `whole NUMBERS` of the frames that are held
drop                              lets them go
run COUNT|eos [SLEEP]             reads until then, `run` with what it saw, or the first wrong frame
unread                            closes the reader
fork                              `forked PID`: a child that stays until it is killed
writer NAME W H SLOTS DELIVERY [ORIGIN]
publish NUMBER [noblock]          `published SEQUENCE`, `full`
send FIRST COUNT                  publishes so many in a row
flood                             publishes as fast as it can until the next line
stamped NUMBER PTS DURATION FLAGS
describe W H | end | drain SECONDS | clients | close
parse SEED COUNT NAME             headers of NAME with wrong bytes: `parsed`, if each was refused or is in bounds
"""
import os
import random
import signal
import sys
import threading
import time

import numpy as np

import segments

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
import tdlink  # noqa: E402
from tdlink._wire import _Header  # noqa: E402

reader = writer = None
held = []


def judge(frame):
    """The frame's number, or what is wrong with it."""
    words = np.ascontiguousarray(frame.array).reshape(-1).view("<u8")
    first = int(words[0])
    if not (words == first).all():
        return "torn: %d and %d" % (first, words[words != first][0])
    return first if first == frame.offset else "torn: pixels of %d under %s" % (first, frame.offset)


def say(frame):
    if frame is None:
        return "none"
    number = judge(frame)
    how = "leased" if frame.leased else "copied"
    return "frame %d %s" % (number, how) if isinstance(number, int) else number


def next_frame(seconds, copy=False):
    return reader.read(float(seconds), copy=bool(copy))


def attempt(command):
    try:
        return command()
    except tdlink.EndOfStream:
        return "eos"
    except tdlink.ProducerGone:
        return "gone"


def new_reader(name, leases, follow=""):
    global reader
    reader = tdlink.Reader(name, int(leases), follow=bool(follow))
    return "ready"


def read(seconds, copy=""):
    return attempt(lambda: say(next_frame(seconds, copy)))


def stamps(seconds):
    frame = next_frame(seconds)
    about = frame.description
    return "%s %d %s %s %d %dx%d %d %s %s %s %s %s %d" % (
        say(frame), frame.sequence, frame.pts, frame.duration, frame.flags, about.width, about.height, about.channels,
        about.dtype.name, about.order, about.origin, about.alpha, "/".join(map(str, about.fps)),
        abs(tdlink.clock_ns() - frame.published) < 10**10,
    )  # fmt: skip


def hold(seconds):
    frame = next_frame(seconds)
    # Only the pixels are kept: the lease must last as long as they do.
    held.append((frame.array[1:, 1:], frame.offset)) if frame is not None else None
    return say(frame)


def check():
    for array, number in held:
        found = np.ascontiguousarray(array[:, : array.shape[1] // 2 * 2 - 2]).reshape(-1).view("<u4")
        if not np.isin(found, (number & 0xFFFFFFFF, number >> 32)).all():
            return "changed: %d is %s" % (number, found[:4])
    return "whole " + ",".join(str(number) for _, number in held)


def drop():
    held.clear()
    return "dropped"


def run(until, rest="0"):
    seen, leased, gaps, last = 0, 0, 0, None

    def loop():
        nonlocal seen, leased, gaps, last
        while until == "eos" or seen < int(until):
            frame = reader.read(60)
            number = judge(frame) if frame is not None else "nothing for a minute"
            if not isinstance(number, int):
                return number
            if last is not None and number != last + 1:
                gaps += 1
            if last is not None and number <= last:
                return "back: %d after %d" % (number, last)
            seen, leased, last = seen + 1, leased + frame.leased, number
            time.sleep(float(rest))
        return "enough"

    return "run %s frames=%d leased=%d gaps=%d last=%s skipped=%d torn=%d" % (
        attempt(loop), seen, leased, gaps, last, reader.skipped, reader.torn)  # fmt: skip


def unread():
    reader.close()
    return "closed"


def fork():
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(here, b"!")
        while True:
            signal.pause()
    os.read(there, 1)
    return "forked %d" % child


def new_writer(name, width, height, slots, delivery, origin="top-left"):
    global writer
    size, fps = (int(width), int(height)), (30000, 1001)
    writer = tdlink.Writer(name, *size, slots=int(slots), delivery=delivery, origin=origin, fps=fps)
    return "ready"


def picture(number):
    height, width, channels = writer.description.shape
    return np.full(height * width * channels // 8, number, "<u8").view("u1").reshape(height, width, channels)


def publish(number, block=""):
    sequence = writer.publish(picture(int(number)), pts=int(number) * 1000, offset=int(number), block=not block)
    return "full" if sequence is None else "published %d" % sequence


def send(first, count):
    for number in range(int(first), int(first) + int(count)):
        publish(number)
    return "sent"


def flood():
    print("flooding", flush=True)
    number, listener = 0, threading.Thread(target=segments.hear)
    listener.start()
    while listener.is_alive():
        publish(number)
        number += 1
    return "flooded %d" % number


def stamped(number, pts, duration, flags):
    writer.publish(picture(int(number)), int(pts), int(duration), int(number), int(flags))
    return "published"


def describe(width, height):
    writer.describe(int(width), int(height))
    return "described"


def end():
    writer.end()
    return "ended"


def drain(seconds):
    return "drained" if writer.drain(float(seconds)) else "not drained"


def clients():
    writer._tended = 0
    writer.tend()
    return "clients %d" % writer.clients


def close():
    writer.close()
    return "closed"


def parse(seed, count, name):
    good = segments.peek(name + ".tdlink")
    dice, refused = random.Random(int(seed)), 0
    edges = [0, 1, 2, 63, 64, 255, 4095, 4096, 16320, 16384, (1 << 31) - 1, (1 << 32) - 1]
    for _ in range(int(count)):
        bad = bytearray(good[: tdlink.HEADER_BYTES])
        for _ in range(dice.randint(1, 4)):
            at = dice.choice([dice.randrange(8, 80), dice.randrange(384, 536), dice.randrange(640, 700)]) & ~3
            bad[at : at + 4] = dice.choice(edges + [dice.randrange(1 << 32)]).to_bytes(4, "little")
        try:
            header = _Header(bytes(bad), len(good))
            about = tdlink.Description._parse(bytes(bad), header)
        except tdlink.ProtocolError:
            refused += 1
            continue
        slots_at, slot_bytes, rows_at, row_bytes = header.tables[:4]
        ends = [slots_at + header.slots * slot_bytes, rows_at + header.rows * row_bytes]
        last = about.slot_at + (about.slots - 1) * about.slot_stride + about.stride * about.height
        if max(ends) > len(good) or last > about.size or about.stride < about.width * about.item:
            return "out of bounds: %s" % bytes(bad[:80]).hex()
    return "parsed" if 0 < refused < int(count) else "refused %d" % refused


if __name__ == "__main__":
    segments.serve(
        {
            "reader": new_reader, "read": read, "stamps": stamps, "hold": hold, "check": check, "drop": drop,
            "run": run, "fork": fork, "unread": unread, "writer": new_writer, "publish": publish, "send": send,
            "flood": flood, "stamped": stamped, "describe": describe, "end": end, "drain": drain, "clients": clients,
            "close": close, "parse": parse,
        }
    )  # fmt: skip
