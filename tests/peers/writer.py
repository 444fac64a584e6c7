# SPDX-License-Identifier: MPL-2.0
"""A sender: creates segments and writes frames into them, one command a line.

create NAME SIZE [tracked]     attach NAME      close NAME       unlink NAME     replace NAME SIZE
try-create NAME SIZE           the same; `not created` if somebody has it
fill NAME BYTE                 every byte; answers `filled`
pattern NAME SEED              bytes that only SEED decides; answers `pattern MD5 CRC32 ADLER32`
poke NAME OFFSET BYTE          one byte
loop NAME FPS [EVERY SECONDS]  frames 1, 2, 3… until `stop`, each filled with its number (u32); after every EVERY frames
                               a hiccup of SECONDS. `stop` answers `stopped LAST T1 T2…`: when each frame was through
                               (nanoseconds of the monotonic clock)
truncate NAME SIZE             rest SECONDS     exit
"""
import hashlib
import os
import struct
import sys
import threading
import time
import zlib

import segments

held = {}


class Loop(threading.Thread):
    """Writes frames on a schedule that hiccups shift."""

    def __init__(self, shm, fps, every, pause):
        super().__init__(daemon=True)
        self.shm, self.period, self.every, self.pause = shm, 1.0 / fps, every, pause
        self.halt, self.times = threading.Event(), []

    def run(self):
        size = self.shm.size
        due = time.monotonic()
        number = 0
        while not self.halt.wait(max(0.0, due - time.monotonic())):
            number += 1
            frame = (struct.pack("<I", number) * (size // 4 + 1))[:size]
            self.shm.buf[:size] = frame
            self.times.append(time.monotonic_ns())
            due += self.period
            if self.every and number % self.every == 0:
                due += self.pause


loops = []


def create(name, size, tracked=""):
    held[name] = segments.create(name, int(size), tracked == "tracked")
    return "created"


def try_create(name, size):
    try:
        return create(name, size)
    except FileExistsError:
        return "not created: somebody has it open"


def attach(name, tracked=""):
    held[name] = segments.attach(name, tracked == "tracked")
    return "attached %d" % held[name].size


def close(name):
    held.pop(name).close()
    return "closed"


def unlink(name):
    segments.unlink(name)
    return "unlinked"


def replace(name, size):
    """As senders do when their frame size changes: unlink and create anew. The old mapping stays open, as a reader's
    would."""
    held["old " + name] = held.pop(name, None)
    segments.unlink(name)
    return create(name, size)


def fill(name, byte):
    shm = held[name]
    shm.buf[: shm.size] = bytes([int(byte)]) * shm.size
    return "filled"


def pattern(name, seed):
    shm = held[name]
    frame = hashlib.shake_256(seed.encode()).digest(shm.size)
    shm.buf[: shm.size] = frame
    return "pattern %s %08x %08x" % (hashlib.md5(frame).hexdigest(), zlib.crc32(frame), zlib.adler32(frame))


def poke(name, offset, byte):
    held[name].buf[int(offset)] = int(byte)
    return "poked"


def loop(name, fps, every="0", pause="0"):
    loops.append(Loop(held[name], float(fps), int(every), float(pause)))
    loops[-1].start()
    return "looping"


def stop():
    last = loops.pop()
    last.halt.set()
    last.join()
    return "stopped %d %s" % (len(last.times), " ".join(map(str, last.times)))


def truncate(name, size):
    os.truncate(segments.SHM + name, int(size))
    return "truncated"


def rest(seconds):
    time.sleep(float(seconds))
    return "rested"


def leave():
    sys.exit(0)


if __name__ == "__main__":
    segments.serve(
        {
            "create": create, "try-create": try_create, "attach": attach, "close": close, "unlink": unlink,
            "replace": replace, "fill": fill,
            "pattern": pattern, "poke": poke, "loop": loop, "stop": stop, "truncate": truncate, "rest": rest,
            "exit": leave,
        }
    )  # fmt: skip
