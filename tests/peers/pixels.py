# SPDX-License-Identifier: MPL-2.0
"""What every pixel must become on its way between a wire format and GStreamer's caps, computed with numpy alone.

A pixel is widened to R, G, B, A in its own sample type, changed from sample type to sample type, then narrowed:
  1 channel is grey (R=G=B), 2 are R and G (B=0), a missing or padding fourth is the maximum;
  u8 -> u16 times 257; u16 -> u8 divided by 257, rounded; integers -> floats divided by the maximum;
  floats -> integers: NaN is 0, clamped to 0..1, times the maximum, rounded to nearest, all in binary32.
"""
import numpy as np

# caps format -> sample type and component letters; X is padding
CAPS = {
    "RGBA": ("u8", "RGBA"), "BGRA": ("u8", "BGRA"), "RGBx": ("u8", "RGBX"), "BGRx": ("u8", "BGRX"),
    "RGB": ("u8", "RGB"), "BGR": ("u8", "BGR"), "GRAY8": ("u8", "Y"),
    "RGBA64_LE": ("u16", "RGBA"), "GRAY16_LE": ("u16", "Y"),
}  # fmt: skip
DTYPE = {"u8": np.dtype("<u1"), "u16": np.dtype("<u2"), "f16": np.dtype("<f2"), "f32": np.dtype("<f4")}
MAXIMUM = {"u8": 255, "u16": 65535, "f16": 1, "f32": 1}


def letters(channels, order):
    """Components of a wire pixel."""
    full = "RGBA" if order == "rgba" else "BGRA"
    return {1: "Y", 2: "RG", 3: full.replace("A", ""), 4: full}[channels]


def widen(pixels, names, sample):
    """(h, w, c) in `names` -> (h, w, 4) in RGBA, the same sample type."""
    out = np.zeros(pixels.shape[:2] + (4,), pixels.dtype)
    out[..., 3] = MAXIMUM[sample]
    for index, name in enumerate(names):
        if name == "Y":
            out[..., :3] = pixels[..., index, None]
        elif name != "X":
            out[..., "RGBA".index(name)] = pixels[..., index]
    return out


def narrow(rgba, names, sample):
    """(h, w, 4) in RGBA -> (h, w, c) in `names`."""
    out = np.empty(rgba.shape[:2] + (len(names),), rgba.dtype)
    for index, name in enumerate(names):
        if name == "X":
            out[..., index] = MAXIMUM[sample]
        else:
            out[..., index] = rgba[..., "RGBA".index("R" if name == "Y" else name)]
    return out


def change(values, old, new):
    """Sample type `old` -> `new`."""
    if old == new:
        return values
    target = DTYPE[new]
    if old == "u8" and new == "u16":
        return values.astype(target) * target.type(257)
    if old == "u16" and new == "u8":
        return ((values.astype("<u4") + 128) // 257).astype(target)
    single = values.astype("<f4")
    if old in ("u8", "u16"):
        return (single / np.float32(MAXIMUM[old])).astype(target)
    if new in ("f16", "f32"):
        with np.errstate(over="ignore"):
            return single.astype(target)
    bounded = np.clip(np.where(np.isnan(single), np.float32(0), single), np.float32(0), np.float32(1))
    return np.rint(bounded * np.float32(MAXIMUM[new])).astype(target)


def convert(pixels, from_names, from_sample, to_names, to_sample):
    """(h, w, c) of one format -> (h, w, c) of the other."""
    rgba = change(widen(pixels, from_names, from_sample), from_sample, to_sample)
    return narrow(rgba, to_names, to_sample)


def random(width, height, channels, sample, seed):
    """Every bit pattern of the integers; floats in and around 0..1, with all that is special about them."""
    generator = np.random.default_rng(seed)
    shape = (height, width, channels)
    if sample in ("u8", "u16"):
        return generator.integers(0, MAXIMUM[sample], shape, DTYPE[sample], endpoint=True)
    values = generator.random(shape, "<f4") * np.float32(1.5) - np.float32(0.25)
    ties = (generator.integers(0, 255, shape, "<u1").astype("<f4") + np.float32(0.5)) / np.float32(255)
    choice = generator.integers(0, 20, shape, "<u1")
    values = np.where(choice < 5, ties, values)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, 1e-7, -1e-7, 0.5, 3.0], "<f4")
    chosen = special[generator.integers(0, len(special), shape, "<u1")]
    return np.where(choice >= 16, chosen, values).astype(DTYPE[sample])


def explain(found, wanted):
    """`ok`, or the first pixel that differs and how many do."""
    if found.shape != wanted.shape:
        return "differs: shape %s, expected %s" % (found.shape, wanted.shape)
    # bit by bit, but any NaN is as good as another
    if found.tobytes() == wanted.tobytes():
        return "ok"
    same = found.view("<u%d" % found.itemsize) == wanted.view("<u%d" % wanted.itemsize)
    if found.dtype.kind == "f":
        same |= np.isnan(found) & np.isnan(wanted)
    if same.all():
        return "ok"
    y, x, _ = np.argwhere(~same)[0]
    return "differs: row %d column %d is %s, expected %s (%d of %d samples differ)" % (
        y, x, found[y, x].tolist(), wanted[y, x].tolist(), np.count_nonzero(~same), same.size,
    )  # fmt: skip
