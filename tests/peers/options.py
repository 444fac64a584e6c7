# SPDX-License-Identifier: MPL-2.0
"""What `alpha` and `transfer` of a source do to an RGBA pixel, from the definitions of the curves (IEC 61966-2-1,
SMPTE ST 2084, ITU-R BT.2100) and of the primaries (ITU-R BT.2087), in binary64. The elements compute in binary32: one step of 255 apart is the same."""
import numpy as np

STEPS = 1
REFERENCE_WHITE = 203.0  # nits of linear 1.0

WIDTH, HEIGHT = 256, 8


def picture(sample):
    """Grey from black to white, each colour, then every alpha over random colours; top row first."""
    generator = np.random.default_rng(1)
    ramp = np.arange(256)
    rgba = generator.integers(0, 256, (HEIGHT, WIDTH, 4))
    rgba[0] = np.stack([ramp, ramp, ramp, np.full(256, 255)], axis=-1)
    for channel in range(3):
        rgba[1 + channel] = 0
        rgba[1 + channel, :, channel] = ramp
        rgba[1 + channel, :, 3] = 255
    rgba[4:6, :, 3] = ramp
    return rgba.astype("<u1") if sample == "u8" else (rgba / 255).astype("<f4")


def to_srgb(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(np.maximum(linear, 0), 1 / 2.4) - 0.055)


def from_srgb(encoded):
    return np.where(encoded <= 0.04045, encoded / 12.92, np.power((np.maximum(encoded, 0) + 0.055) / 1.055, 2.4))


# The signals of BT.2100 are of BT.2020's primaries; the pixels are of BT.709's.
WIDEN = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def to_pq(linear):
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    powered = np.power(np.clip(linear @ WIDEN.T * REFERENCE_WHITE / 10000, 0, 1), m1)
    return np.power((c1 + c2 * powered) / (1 + c3 * powered), m2)


CURVES = {"linear-to-srgb": to_srgb, "srgb-to-linear": from_srgb, "linear-to-pq": to_pq}


def wanted(name, rgba):
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if name == "opaque":
        return np.concatenate([colour, np.ones_like(alpha)], axis=-1)
    if name == "straight-to-premultiplied":
        return np.concatenate([colour * alpha, alpha], axis=-1)
    if name == "premultiplied-to-straight":
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.where(alpha > 0, colour / alpha, 0)
        return np.concatenate([straight, alpha], axis=-1)
    return np.concatenate([CURVES[name](colour), alpha], axis=-1)


def check(name, sample, found):
    """`ok`, or the first pixel that `name` should have made otherwise of `picture(sample)`."""
    source = picture(sample)
    rgba = source.astype("<f8") / (255 if sample == "u8" else 1)
    known = np.ones(rgba.shape[:2], bool)
    if name == "linear-to-hlg":  # BT.2408: reference white is 75 % of HLG; between black and it is the display's matter
        known = np.isin(rgba[..., 0], (0, 1)) & (rgba[..., :3] == rgba[..., :1]).all(axis=-1)
        target = np.concatenate([rgba[..., :3] * 0.75, rgba[..., 3:]], axis=-1)
    else:
        target = wanted(name, rgba)
    if name == "premultiplied-to-straight":
        known = rgba[..., 3] > 0  # what has no alpha has no colour
    target = np.clip(target, 0, 1) * 255
    wrong = known & (np.abs(found - target) > STEPS).any(axis=-1)
    if not wrong.any():
        return "ok"
    y, x = np.argwhere(wrong)[0]
    return "differs: row %d column %d of %s is %s, expected %s, from %s (%d pixels)" % (
        y, x, name, found[y, x].tolist(), target[y, x].tolist(), source[y, x].tolist(), wrong.sum(),
    )  # fmt: skip
