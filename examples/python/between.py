#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""A model's place between two shared buffers: frames of one as numpy arrays, what is made of them into the other. No GStreamer
is needed here.

    python3 between.py cam1 cam2

`cam1` is a buffer that describes itself (tdshmsink, `tdlink play`). What a slow model cannot keep up with is left out,
so that it always works on the newest picture. Needs numpy and the package `tdlink` (PYTHONPATH=python in a source tree).
"""

import argparse

import numpy as np


SAID = ("order", "padding", "alpha", "fps", "max_fps", "pixel_aspect", "colorimetry")


def model(picture):
    """Stands in for yours: (height, width, channels), uint8, row 0 on top. This one is a negative; alpha stays."""
    result = picture.copy()
    result[..., :3] = 255 - picture[..., :3]
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("source", help="the buffer to read")
    options.add_argument("target", help="the buffer to write")
    options.add_argument("--frames", type=int, default=0, help="end after so many (default: never)")
    options = options.parse_args()

    import tdlink

    writer, described, count = None, None, 0
    try:
        for frame in tdlink.Reader(options.source):
            about = frame.description
            if about.sample != "|u1":
                raise SystemExit("frames of %s: this example knows 8 bits" % about.sample)
            # Everything that is said of the pixels stays true of what the model makes of them; rows come from the top.
            said = {what: getattr(about, what) for what in SAID}
            if writer is None:
                writer = tdlink.Writer(options.target, *frame.size, about.channels, **said)
            elif (frame.size, about.channels, said) != described:
                writer.describe(*frame.size, about.channels, **said)
            described = (frame.size, about.channels, said)
            picture = np.ascontiguousarray(model(frame.array))
            times = {"pts": frame.pts, "duration": frame.duration, "offset": frame.offset}
            writer.publish(picture, flags=frame.flags, **times)
            frame.release()
            count += 1
            if count == options.frames:
                break
    finally:
        if writer is not None:
            writer.end()
            writer.close()
        print("%d frames" % count, flush=True)


if __name__ == "__main__":
    main()
