# SPDX-License-Identifier: MPL-2.0
"""What pixels become, in numpy, from the formulas: reads cases, writes results.

    reference.py CASES RESULTS

A case is 24 words of 32 bits (their names stand in `HEAD`) and the bytes of its source planes; a result is the bytes of the
planes of the destination, 0xEE where no pixel is.
"""

import struct
import sys

import numpy as np

HEAD = (
    "direction flip sample components picture alpha transfer white gamut matrix range site width height"
    " src_pitch src_chroma_pitch dst_pitch dst_chroma_pitch src_at dst_at src src_chroma dst dst_chroma"
).split()
U8, U16, F16, F32, BF16 = range(5)
COMPONENTS = ["r", "rg", "ra", "rgb", "bgr", "rgba", "bgra", "rgbx", "bgrx"]
PICTURES = ["rgba", "bgra", "rgbx", "bgrx", "rgb", "bgr"]
RGB10A2, NV12, P010 = 6, 7, 8
LEFT = 1
TYPES = [np.dtype("u1"), np.dtype("<u2"), np.dtype("<f2"), np.dtype("<f4"), np.dtype("<u2")]
WEIGHTS = [(0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722), (0.2627, 0.6780, 0.0593)]
BT2087 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]], np.float32)
f32 = np.float32


class Values:
    """Components of all pixels by name, each exact codes with their maximum, or floats (maximum None)."""

    def __init__(self, planes, maxima, shape):
        self.planes, self.maxima, self.shape = planes, maxima, shape

    def floats(self, name):
        plane, maximum = self.planes[name], self.maxima[name]
        return plane if maximum is None else (plane.astype(np.float64) / maximum).astype(f32)

    def codes(self, name, to):
        plane, maximum = self.planes[name], self.maxima[name]
        if maximum is None:
            limited = np.clip(np.where(np.isnan(plane), f32(0), plane), f32(0), f32(1))
            return np.rint(limited * f32(to)).astype(np.int64)
        return (2 * plane.astype(np.int64) * to + maximum) // (2 * maximum)


def rows_of(data, pitch, rows, row_bytes):
    """A view of the rows, without what stands between them."""
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (pitch, 1))


def make_values(components, maxima, shape):
    """R, G, B, A from what there is; full where there is none."""
    full = np.ones(shape, f32)
    planes, known = dict(components), dict(maxima)
    grey = "g" not in planes
    for name in "gb":
        if name not in planes:
            planes[name] = planes["r"] if grey else np.zeros(shape, f32)
            known[name] = known["r"] if grey else None
    if "a" not in planes:
        planes["a"], known["a"] = full, None
    return Values(planes, known, shape)


def read_packed(raw, layout, dtype, is_bfloat, shape):
    pixels = raw.copy().view(dtype).reshape(shape + (len(layout),))
    maximum = {U8: 255, U16: 65535}.get(TYPES.index(dtype)) if not is_bfloat else None
    planes, maxima = {}, {}
    for i, name in enumerate(layout):
        plane = pixels[..., i]
        if is_bfloat:
            plane = (plane.astype(np.uint32) << 16).view(f32)
        elif maximum is None:
            plane = plane.astype(f32)
        if name != "x":
            planes[name], maxima[name] = plane, maximum
    return make_values(planes, maxima, shape)


def read_ten(raw, shape):
    words = raw.copy().view("<u4").reshape(shape)
    planes = {name: words >> shift & 1023 for name, shift in zip("rgb", (0, 10, 20))}
    planes["a"] = words >> 30
    return make_values(planes, {"r": 1023, "g": 1023, "b": 1023, "a": 3}, shape)


def scales(case):
    times, maximum = (4, 1023) if case["picture"] == P010 else (1, 255)
    if case["range"] == 1:
        return f32(0), f32(maximum), f32(128 * times), f32(maximum), maximum
    return f32(16 * times), f32(219 * times), f32(128 * times), f32(224 * times), maximum


def read_yuv(case, luma, chroma, shape):
    height, width = shape
    kr, kg, kb = WEIGHTS[case["matrix"]]
    black, span, middle, chroma_span, _ = scales(case)
    if case["picture"] == P010:
        luma, chroma = luma.copy().view("<u2") >> 6, chroma.copy().view("<u2") >> 6
    y = (luma.astype(f32) - black) * (f32(1) / span)
    c = (chroma.reshape(chroma.shape[0], -1, 2).astype(f32) - middle) * (f32(1) / chroma_span)
    c = c.repeat(2, 0)
    right = (c + np.concatenate([c[:, 1:], c[:, -1:]], 1)) * f32(0.5) if case["site"] == LEFT else c
    c = np.stack([c, right], 2).reshape(c.shape[0], -1, 2)[:height, :width]
    cb, cr = c[..., 0], c[..., 1]
    planes = {
        "r": y + f32(2 * (1 - kr)) * cr,
        "g": (y - f32(2 * kb * (1 - kb) / kg) * cb) - f32(2 * kr * (1 - kr) / kg) * cr,
        "b": y + f32(2 * (1 - kb)) * cb,
    }
    return make_values(planes, dict.fromkeys("rgb"), shape)


def srgb_encode(v):
    size = np.abs(v)
    return np.sign(v) * np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)


def srgb_decode(v):
    size = np.abs(v)
    return np.sign(v) * np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)


def pq(nits):
    y = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(nits):
    light = nits / 1000
    luminance = 0.2627 * light[0] + 0.6780 * light[1] + 0.0593 * light[2]
    gain = np.where(luminance > 0, np.maximum(luminance, 1e-300) ** (1 / 1.2 - 1), 0)
    scene = light * gain
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-300)) + c)


def transfer(which, white, rgb):
    rgb = rgb.astype(np.float64)
    nits = np.clip(np.where(np.isnan(rgb), 0, rgb) * white, 0, 10000)
    done = [lambda: rgb, lambda: srgb_encode(rgb), lambda: srgb_decode(rgb), lambda: pq(nits), lambda: hlg(nits)][which]()
    return done.astype(f32)


def widen(rgb):
    r, g, b = rgb
    return np.stack([(k[0] * r + k[1] * g) + k[2] * b for k in BT2087])


def lit(case, values, has_alpha):
    alpha = case["alpha"]
    if alpha == 1:
        values.planes["a"], values.maxima["a"] = np.ones(values.shape, f32), None
    divide, multiply = has_alpha and alpha == 2, has_alpha and alpha == 3
    if not (divide or multiply or case["transfer"] or case["gamut"]):
        return values
    rgb = np.stack([values.floats(name) for name in "rgb"])
    a = values.floats("a")
    if divide:
        rgb = np.where(a > 0, rgb / np.where(a > 0, a, f32(1)), f32(0))
    decodes = case["transfer"] == 2
    if case["gamut"] and not decodes:
        rgb = widen(rgb)
    if case["transfer"]:
        rgb = transfer(case["transfer"], case["white"], rgb)
    if case["gamut"] and decodes:
        rgb = widen(rgb)
    if multiply:
        rgb = rgb * a
    for name, plane in zip("rgb", rgb):
        values.planes[name], values.maxima[name] = plane, None
    return values


def write_packed(values, layout, sample):
    planes = []
    for name in layout:
        if name == "x":
            plane = np.ones(values.shape, f32) if sample in (F16, F32) else np.full(values.shape, [255, 65535][sample])
        elif sample in (F16, F32):
            plane = values.floats(name)
        else:
            plane = values.codes(name, [255, 65535][sample])
        planes.append(plane.astype(TYPES[sample]))
    return np.stack(planes, -1)


def write_ten(values):
    word = values.codes("a", 3) << 30
    for name, shift in zip("rgb", (0, 10, 20)):
        word |= values.codes(name, 1023) << shift
    return word.astype("<u4")


def write_yuv(case, values):
    height, width = values.shape
    kr, kg, kb = WEIGHTS[case["matrix"]]
    black, span, middle, chroma_span, maximum = scales(case)

    def luma(r, g, b):
        return (f32(kr) * r + f32(kg) * g) + f32(kb) * b

    def code(plane, times, plus):
        codes = np.rint(np.clip(plane * times + plus, f32(0), f32(maximum))).astype(np.int64)
        return (codes << 6).astype("<u2") if case["picture"] == P010 else codes.astype("u1")

    rgb = np.stack([values.floats(name) for name in "rgb"])
    rgb = np.clip(np.where(np.isnan(rgb), f32(0), rgb), f32(0), f32(1))
    y = code(luma(*rgb), span, black)
    rgb = np.pad(rgb, ((0, 0), (0, height % 2), (0, width % 2)), "edge")
    own, after = rgb[..., 0::2], rgb[..., 1::2]
    if case["site"] == LEFT:
        before = np.concatenate([own[..., :1], after[..., :-1]], -1)
        sums, part = (before + after) + (own + own), f32(0.125)
    else:
        sums, part = own + after, f32(0.25)
    r, g, b = (sums[:, 0::2] + sums[:, 1::2]) * part
    around = luma(r, g, b)
    cb = code((b - around) * f32(1 / (2 * (1 - kb))), chroma_span, middle)
    cr = code((r - around) * f32(1 / (2 * (1 - kr))), chroma_span, middle)
    return y, np.stack([cb, cr], -1).reshape(cb.shape[0], -1)


def convert(case, src, src_chroma):
    shape = (case["height"], case["width"])
    layout, sample, picture = COMPONENTS[case["components"]], case["sample"], case["picture"]
    height, width = shape
    half = (height + 1) // 2
    if case["direction"] == 0:
        raw = rows_of(src, case["src_pitch"], height, width * len(layout) * TYPES[sample].itemsize)
        raw = raw[::-1] if case["flip"] else raw
        values = lit(case, read_packed(raw, layout, TYPES[sample], sample == BF16, shape), "a" in layout)
        if picture in (NV12, P010):
            planes = write_yuv(case, values)
        elif picture == RGB10A2:
            planes = (write_ten(values),)
        else:
            planes = (write_packed(values, PICTURES[picture], U8),)
    else:
        if picture in (NV12, P010):
            size = 2 if picture == P010 else 1
            luma = rows_of(src, case["src_pitch"], height, width * size)
            chroma = rows_of(src_chroma, case["src_chroma_pitch"], half, (width + 1) // 2 * 2 * size)
            values, has_alpha = read_yuv(case, luma, chroma, shape), False
        elif picture == RGB10A2:
            values, has_alpha = read_ten(rows_of(src, case["src_pitch"], height, width * 4), shape), True
        else:
            names = PICTURES[picture]
            raw = rows_of(src, case["src_pitch"], height, width * len(names))
            values, has_alpha = read_packed(raw, names, TYPES[U8], False, shape), "a" in names
        plane = write_packed(lit(case, values, has_alpha), layout, sample)
        planes = (plane[::-1] if case["flip"] else plane,)
    out = []
    for plane, pitch, length in zip(planes, (case["dst_pitch"], case["dst_chroma_pitch"]), (case["dst"], case["dst_chroma"])):
        data = np.full(length, 0xEE, np.uint8)
        plane = np.ascontiguousarray(plane)
        rows = plane.reshape(plane.shape[0], -1).view(np.uint8)
        rows_of(data, pitch, *rows.shape)[:] = rows
        out.append(data.tobytes())
    return b"".join(out)


def main():
    cases, results = sys.argv[1:]
    with open(cases, "rb") as source, open(results, "wb") as sink:
        while head := source.read(4 * len(HEAD)):
            case = dict(zip(HEAD, struct.unpack("<7If16I", head)))
            src = np.frombuffer(source.read(case["src"]), np.uint8)
            chroma = np.frombuffer(source.read(case["src_chroma"]), np.uint8)
            with np.errstate(all="ignore"):
                sink.write(convert(case, src, chroma))


main()
