# SPDX-License-Identifier: MPL-2.0
"""By hand: `python3 -m tdlink info NAME | view NAME | send NAME [WIDTHxHEIGHT]`."""

import sys
import time

from . import PTS_ON_CLOCK, Reader, TdlinkError, Writer, __doc__ as about, clock_ns


def picture(width, height):
    """A red ramp to the right, a green one downwards."""
    red = [255 * x // max(width - 1, 1) for x in range(width)]
    rows = (bytes(part for r in red for part in (r, 255 * y // max(height - 1, 1), 255, 255)) for y in range(height))
    return b"".join(rows)


def main(what="help", name="", size="640x480"):
    if what == "info":
        with Reader(name) as reader:
            reader.read(timeout=1.0)
            for key, value in sorted(vars(reader.description).items() if reader.connected else ()):
                print("%-14s %s" % (key, value)) if key[0] != "_" else None
            if not reader.connected:
                raise TdlinkError("nobody sends under the name %r" % name)
    elif what == "view":
        for frame in Reader(name, follow=True):
            late, how = (clock_ns() - frame.published) / 1e6, "leased" if frame.leased else "copied"
            print("%8d  %dx%d %s, %.3f ms after it was published" % (frame.sequence, *frame.size, how, late))
    elif what == "send":
        width, height = (int(part) for part in size.split("x"))
        now = picture(width, height)
        with Writer(name, width, height, fps=60) as writer:
            while True:
                now = now[-4:] + now[:-4]  # moves to the right, a pixel a frame
                writer.publish(now, pts=clock_ns(), flags=PTS_ON_CLOCK)
                time.sleep(1 / 60)
    elif what in ("help", "-h", "--help"):
        print(about)
    else:
        sys.exit("%r is none of info, view, send" % what)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (TdlinkError, ValueError) as error:
        sys.exit("error: %s" % error)
    except KeyboardInterrupt:
        pass
