// SPDX-License-Identifier: MPL-2.0
// Rows of 8-bit pixels, copied, upside down or not, with red and blue exchanged or not, with the fourth byte set to 255
// or not: one pass. rows.ptx beside this file is what `cargo xtask ptx` makes of it.
//
// Accesses are as wide as the alignment of both sides allows: 16, 4 or 1 bytes. Where no byte of a pixel changes its
// place, a row is a row of bytes, whatever its pixels are.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define FLIP 1u
#define SWAP 2u
#define OPAQUE 4u

// Four bytes of a pixel: 0 and 2 exchanged, 3 set.
static __device__ __forceinline__ u32 four(u32 pixel, u32 flags)
{
    if (flags & SWAP)
        pixel = __byte_perm(pixel, 0, 0x3012);
    if (flags & OPAQUE)
        pixel |= 0xff000000u;
    return pixel;
}

// Four pixels of three bytes: 0 and 2 of each exchanged.
static __device__ __forceinline__ void three(u32 &a, u32 &b, u32 &c)
{
    u32 x = __byte_perm(a, b, 0x5012);
    u32 y = __byte_perm(__byte_perm(b, a, 0x3070), c, 0x3410);
    u32 z = __byte_perm(c, b, 0x1236);
    a = x;
    b = y;
    c = z;
}

// Pixel by pixel, byte by byte, from pixel `first` on.
static __device__ __forceinline__ void bytes(const u8 *src, u8 *dst, u32 first, u32 width, u32 size, u32 flags, u32 x,
                                             u32 step)
{
    for (u64 pixel = (u64)first + x; pixel < width; pixel += step) {
        const u8 *from = src + pixel * size;
        u8 *to = dst + pixel * size;
        u8 red = from[0], green = from[1], blue = from[2];
        u8 fourth = size == 4 ? from[3] : 0;
        to[0] = flags & SWAP ? blue : red;
        to[1] = green;
        to[2] = flags & SWAP ? red : blue;
        if (size == 4)
            to[3] = flags & OPAQUE ? 255 : fourth;
    }
}

extern "C" __global__ void tdlink_rows_u8(const u8 *src, u8 *dst, u32 src_pitch, u32 dst_pitch, u32 width,
                                          u32 height, u32 size, u32 flags)
{
    const u32 x = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 step = gridDim.x * blockDim.x;
    const u64 aligned = (u64)src | (u64)dst | src_pitch | dst_pitch;
    const u64 row_bytes = (u64)width * size;
    const bool plain = size < 3 || !(flags & (size == 4 ? SWAP | OPAQUE : SWAP));

    for (u32 row = blockIdx.y * blockDim.y + threadIdx.y; row < height; row += gridDim.y * blockDim.y) {
        const u8 *from = src + (u64)row * src_pitch;
        u8 *to = dst + (u64)(flags & FLIP ? height - 1 - row : row) * dst_pitch;

        if (plain) {
            u64 done = 0;
            if (!(aligned & 15)) {
                done = row_bytes & ~15ull;
                for (u64 i = x; i < row_bytes / 16; i += step)
                    ((uint4 *)to)[i] = ((const uint4 *)from)[i];
            } else if (!(aligned & 3)) {
                done = row_bytes & ~3ull;
                for (u64 i = x; i < row_bytes / 4; i += step)
                    ((u32 *)to)[i] = ((const u32 *)from)[i];
            }
            for (u64 i = done + x; i < row_bytes; i += step)
                to[i] = from[i];
        } else if (size == 4 && !(aligned & 3)) {
            u32 done = 0;
            if (!(aligned & 15)) {
                done = width & ~3u;
                for (u64 i = x; i < width / 4; i += step) {
                    uint4 pixels = ((const uint4 *)from)[i];
                    pixels.x = four(pixels.x, flags);
                    pixels.y = four(pixels.y, flags);
                    pixels.z = four(pixels.z, flags);
                    pixels.w = four(pixels.w, flags);
                    ((uint4 *)to)[i] = pixels;
                }
            }
            for (u64 i = (u64)done + x; i < width; i += step)
                ((u32 *)to)[i] = four(((const u32 *)from)[i], flags);
        } else if (size == 3 && !(aligned & 15)) {
            for (u64 i = x; i < width / 16; i += step) {
                uint4 a = ((const uint4 *)from)[3 * i];
                uint4 b = ((const uint4 *)from)[3 * i + 1];
                uint4 c = ((const uint4 *)from)[3 * i + 2];
                three(a.x, a.y, a.z);
                three(a.w, b.x, b.y);
                three(b.z, b.w, c.x);
                three(c.y, c.z, c.w);
                ((uint4 *)to)[3 * i] = a;
                ((uint4 *)to)[3 * i + 1] = b;
                ((uint4 *)to)[3 * i + 2] = c;
            }
            bytes(from, to, width & ~15u, width, size, flags, x, step);
        } else if (size == 3 && !(aligned & 3)) {
            for (u64 i = x; i < width / 4; i += step) {
                u32 a = ((const u32 *)from)[3 * i];
                u32 b = ((const u32 *)from)[3 * i + 1];
                u32 c = ((const u32 *)from)[3 * i + 2];
                three(a, b, c);
                ((u32 *)to)[3 * i] = a;
                ((u32 *)to)[3 * i + 1] = b;
                ((u32 *)to)[3 * i + 2] = c;
            }
            bytes(from, to, width & ~3u, width, size, flags, x, step);
        } else {
            bytes(from, to, 0, width, size, flags, x, step);
        }
    }
}
