# SPDX-License-Identifier: MPL-2.0
"""A receiver: attaches to one segment and says what it sees, one command a line.

attach NAME [tracked]          answers `attached SIZE`, or an error as Python's
wait NAME SECONDS              the same, trying again until there is something to attach to
md5 [LENGTH]                   of the first LENGTH bytes, else of all
bytes OFFSET LENGTH            in hexadecimal
changes SECONDS                `changed` as soon as the segment differs from what it is now, `same` if it never did
detach                         exit (as a program ends: the tracker then unlinks what was attached tracked)
"""
import hashlib
import sys
import time

import segments

shm = None


def attach(name, tracked=""):
    global shm
    shm = segments.attach(name, tracked == "tracked")
    return "attached %d" % shm.size


def wait(name, seconds):
    end = time.monotonic() + float(seconds)
    while True:
        try:
            return attach(name)
        except (FileNotFoundError, ValueError):
            if time.monotonic() > end:
                raise
        time.sleep(0.002)


def md5(length="0"):
    return "md5 " + hashlib.md5(bytes(shm.buf[: int(length) or shm.size])).hexdigest()


def read(offset, length):
    return bytes(shm.buf[int(offset) : int(offset) + int(length)]).hex()


def changes(seconds):
    first, end = bytes(shm.buf), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        if bytes(shm.buf) != first:
            return "changed"
        time.sleep(0.002)
    return "same"


def detach():
    shm.close()
    return "detached"


def leave():
    sys.exit(0)


if __name__ == "__main__":
    segments.serve(
        {
            "attach": attach, "wait": wait, "md5": md5, "bytes": read, "changes": changes, "detach": detach,
            "exit": leave,
        }
    )  # fmt: skip
