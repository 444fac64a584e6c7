# SPDX-License-Identifier: MPL-2.0
"""Reads COUNT frames of a buffer and says of each its number, or what is wrong with its colours: see sender.py."""

import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../python"))
import tdlink  # noqa: E402

BITS = 16
name, count = sys.argv[1], int(sys.argv[2])
reader = tdlink.Reader(name)
for _ in range(count):
    frame = np.array(reader.read().array)
    height, width = frame.shape[:2]
    at = (2 * np.arange(BITS) + 1) * width // (2 * BITS)
    bits = frame[height // 2, at, 0] > 127
    number = int("".join("1" if bit else "0" for bit in bits), 2)
    top, low = frame[height // 16, width // 2, :3].tolist(), frame[-height // 16, width // 2, :3].tolist()
    wrong = "" if (top, low) == ([255, 0, 0], [0, 0, 255]) else " but top %s, bottom %s" % (top, low)
    print("frame %d %dx%d%s" % (number, width, height, wrong), flush=True)
