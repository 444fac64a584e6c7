// SPDX-License-Identifier: MPL-2.0
// Wires to luma and chroma and back. yuv.ptx beside this file is what `cargo xtask ptx` makes of it.
//
// Chroma in the middle of 2 x 2 pixels: going there it is that of their average, coming back all four have it. On their
// left: going there the left column counts twice and its neighbours once, coming back the right column has the average
// with the next. Where the first or last column or the last row has no neighbour it is its own.

#include "pixel.cuh"

enum Matrix { BT601, BT709, BT2020 };
enum Site { MIDDLE, LEFT };

// Luma and chroma of colour: Y = red R + green G + blue B, Cb = (B - Y) / cb, Cr = (R - Y) / cr.
struct Weights {
    float red, green, blue;
    float cb, cr;
    float per_cb, per_cr;
    float green_cb, green_cr;
};

static __device__ __forceinline__ Weights weights_of(double red, double green, double blue)
{
    const double cb = 2.0 * (1.0 - blue), cr = 2.0 * (1.0 - red);
    Weights w;
    w.red = (float)red;
    w.green = (float)green;
    w.blue = (float)blue;
    w.cb = (float)cb;
    w.cr = (float)cr;
    w.per_cb = (float)(1.0 / cb);
    w.per_cr = (float)(1.0 / cr);
    w.green_cb = (float)(blue * cb / green);
    w.green_cr = (float)(red * cr / green);
    return w;
}

static __device__ __forceinline__ Weights weights(u32 matrix)
{
    if (matrix == BT601)
        return weights_of(0.299, 0.587, 0.114);
    if (matrix == BT709)
        return weights_of(0.2126, 0.7152, 0.0722);
    return weights_of(0.2627, 0.6780, 0.0593);
}

// Codes: black and span of luma, middle and span of chroma, the greatest.
struct Codes {
    float black, luma, middle, chroma, max;
};

static __device__ __forceinline__ Codes codes(u32 picture, bool full)
{
    const float times = picture == P010 ? 4.0f : 1.0f;
    Codes c;
    c.max = picture == P010 ? 1023.0f : 255.0f;
    c.black = full ? 0.0f : 16.0f * times;
    c.luma = full ? c.max : 219.0f * times;
    c.middle = 128.0f * times;
    c.chroma = full ? c.max : 224.0f * times;
    return c;
}

static __device__ __forceinline__ float luma_of(const Weights &w, float r, float g, float b)
{
    return (w.red * r + w.green * g) + w.blue * b;
}

static __device__ __forceinline__ u32 luma_code(const Codes &c, float luma)
{
    return nearest(limit(luma * c.luma + c.black, 0.0f, c.max));
}

static __device__ __forceinline__ u32 chroma_code(const Codes &c, float chroma)
{
    return nearest(limit(chroma * c.chroma + c.middle, 0.0f, c.max));
}

// Four codes of a plane, as bytes or in the upper ten bits of words of 16.
static __device__ __forceinline__ void store_codes(u32 picture, u8 *row, u32 pitch, u32 group, u32 count,
                                                   const u32 (&codes)[4])
{
    if (picture == NV12) {
        u32 words[1];
        words[0] = codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24;
        write<1, 1>(row + (u64)group * 4, pitch, count, words);
    } else {
        u32 words[2];
        words[0] = codes[0] << 6 | codes[1] << 22;
        words[1] = codes[2] << 6 | codes[3] << 22;
        write<2, 2>(row + (u64)group * 8, pitch, count, words);
    }
}

static __device__ __forceinline__ void load_codes(u32 picture, const u8 *row, u32 pitch, u32 group, u32 count,
                                                  u32 (&codes)[4])
{
    if (picture == NV12) {
        u32 words[1];
        read<1, 1>(row + (u64)group * 4, pitch, count, words);
        codes[0] = words[0] & 255u;
        codes[1] = words[0] >> 8 & 255u;
        codes[2] = words[0] >> 16 & 255u;
        codes[3] = words[0] >> 24;
    } else {
        u32 words[2];
        read<2, 2>(row + (u64)group * 8, pitch, count, words);
        codes[0] = words[0] >> 6 & 1023u;
        codes[1] = words[0] >> 22;
        codes[2] = words[1] >> 6 & 1023u;
        codes[3] = words[1] >> 22;
    }
}

extern "C" __global__ void __launch_bounds__(128) tdlink_to_yuv(const Parameters p)
{
    const bool has_alpha = wire_has_alpha(p.components);
    const Weights w = weights(p.matrix);
    const Codes c = codes(p.picture, p.range != 0);
    const u32 step = gridDim.x * blockDim.x;
    const u32 pairs = p.height / 2 + p.height % 2;
    const bool left = p.site == LEFT;
    const float part = left ? 0.125f : 0.25f;
    const u32 wire_pixel = count_of(p.components) * (p.sample == U8 ? 1 : p.sample == F32 ? 4 : 2);

    for (u32 pair = blockIdx.y; pair < pairs; pair += gridDim.y) {
        for (u32 group = blockIdx.x * blockDim.x + threadIdx.x; group < groups_of(p.width); group += step) {
            const u32 pixels = pixels_of(p.width, group);
            float sums[2][3], before[3] = {0.0f, 0.0f, 0.0f};
            // Of either row its four pixels; on the left, that before them comes first.
#pragma unroll 1
            for (u32 turn = left ? 0 : 1; turn < 4; turn += left ? 1 : 2) {
                const bool below = turn >= 2, aside = turn % 2 == 0;
                // The last row of an odd height is its own neighbour, and is written once.
                const bool there = !below || pair * 2 + 1 < p.height;
                const u32 row = pair * 2 + (below && there ? 1 : 0);
                const u8 *from = p.src + wire_row(p, row) * p.src_pitch;
                if (aside && group > 0)
                    from += (u64)(group * GROUP - 1) * wire_pixel;
                Group in;
                load_wire(p, from, aside ? 0 : group, aside ? 1 : pixels, in);
                to_floats(p.sample, in);
                light(p, has_alpha, in);
                if (aside) {
#pragma unroll
                    for (int i = 0; i < 3; i++)
                        before[i] = saturate(value(in.at[0][i]));
                    continue;
                }
                float colour[GROUP][3];
                u32 luma[GROUP];
#pragma unroll
                for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
                    for (int i = 0; i < 3; i++)
                        colour[pixel][i] = saturate(value(in.at[pixel][i]));
                    luma[pixel] = luma_code(c, luma_of(w, colour[pixel][0], colour[pixel][1], colour[pixel][2]));
                }
                if (there)
                    store_codes(p.picture, p.dst + (u64)row * p.dst_pitch, p.dst_pitch, group, pixels, luma);
#pragma unroll
                for (int two = 0; two < 2; two++) {
                    const bool alone = (u32)(two * 2 + 1) >= pixels;
#pragma unroll
                    for (int i = 0; i < 3; i++) {
                        const float own = colour[two * 2][i];
                        const float after = alone ? own : colour[two * 2 + 1][i];
                        const float sum = left ? ((two ? colour[1][i] : before[i]) + after) + (own + own) : own + after;
                        sums[two][i] = below ? sums[two][i] + sum : sum;
                    }
                }
            }
            u32 chroma[4];
#pragma unroll
            for (int two = 0; two < 2; two++) {
                const float r = sums[two][0] * part, g = sums[two][1] * part, b = sums[two][2] * part;
                const float y = luma_of(w, r, g, b);
                chroma[two * 2] = chroma_code(c, (b - y) * w.per_cb);
                chroma[two * 2 + 1] = chroma_code(c, (r - y) * w.per_cr);
            }
            u8 *to = p.dst_chroma + (u64)pair * p.dst_chroma_pitch;
            store_codes(p.picture, to, p.dst_chroma_pitch, group, (pixels + 1) / 2 * 2, chroma);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) tdlink_from_yuv(const Parameters p)
{
    const Weights w = weights(p.matrix);
    const Codes c = codes(p.picture, p.range != 0);
    const float per_luma = 1.0f / c.luma, per_chroma = 1.0f / c.chroma;
    const bool left = p.site == LEFT;
    const u32 step = gridDim.x * blockDim.x;

    for (u32 row = blockIdx.y; row < p.height; row += gridDim.y) {
        const u8 *from = p.src + (u64)row * p.src_pitch;
        const u8 *from_chroma = p.src_chroma + (u64)(row / 2) * p.src_chroma_pitch;
        u8 *to = p.dst + wire_row(p, row) * p.dst_pitch;
        for (u32 group = blockIdx.x * blockDim.x + threadIdx.x; group < groups_of(p.width); group += step) {
            const u32 pixels = pixels_of(p.width, group);
            u32 luma[4], chroma[4];
            load_codes(p.picture, from, p.src_pitch, group, pixels, luma);
            load_codes(p.picture, from_chroma, p.src_chroma_pitch, group, (pixels + 1) / 2 * 2, chroma);
            // Cb and Cr of these pixels' twos, and of the next.
            float c_b[3], c_r[3];
#pragma unroll
            for (int two = 0; two < 2; two++) {
                c_b[two] = ((float)chroma[two * 2] - c.middle) * per_chroma;
                c_r[two] = ((float)chroma[two * 2 + 1] - c.middle) * per_chroma;
            }
            if (pixels <= 2) {
                c_b[1] = c_b[0];
                c_r[1] = c_r[0];
            }
            c_b[2] = c_b[1];
            c_r[2] = c_r[1];
            if (left && (u64)group * GROUP + GROUP < p.width) {
                load_codes(p.picture, from_chroma, p.src_chroma_pitch, group + 1, 2, chroma);
                c_b[2] = ((float)chroma[0] - c.middle) * per_chroma;
                c_r[2] = ((float)chroma[1] - c.middle) * per_chroma;
            }
            Group out;
#pragma unroll
            for (int pixel = 0; pixel < GROUP; pixel++) {
                const float y = ((float)luma[pixel] - c.black) * per_luma;
                const int two = pixel / 2;
                const bool between = left && pixel % 2 == 1;
                const float cb = between ? (c_b[two] + c_b[two + 1]) * 0.5f : c_b[two];
                const float cr = between ? (c_r[two] + c_r[two + 1]) * 0.5f : c_r[two];
                out.at[pixel][0] = bits(y + w.cr * cr);
                out.at[pixel][1] = bits((y - w.green_cb * cb) - w.green_cr * cr);
                out.at[pixel][2] = bits(y + w.cb * cb);
                out.at[pixel][3] = bits(1.0f);
            }
            light(p, false, out);
            store_floats(p, to, group, pixels, out);
        }
    }
}
