// SPDX-License-Identifier: MPL-2.0
// Wires to pictures of one plane and back. packed.ptx beside this file is what `cargo xtask ptx` makes of it.

#include "pixel.cuh"

// To the picture's codes: of 8 bits, or of 10 and 2.
static __device__ __forceinline__ u32 code_of(const Parameters &p, bool exact, u32 at, bool alpha)
{
    if (!exact) {
        const float max = p.picture != RGB10A2 ? 255.0f : alpha ? 3.0f : 1023.0f;
        return quantise(value(at), max);
    }
    if (p.picture != RGB10A2)
        return p.sample == U8 ? at : narrow(at);
    const u32 wide = p.sample == U8 ? at * 257u : at;
    return (wide * (alpha ? 3u : 1023u) + 32767u) / 65535u;
}

extern "C" __global__ void __launch_bounds__(128) tdlink_to_packed(const Parameters p)
{
    const bool has_alpha = wire_has_alpha(p.components);
    const bool exact = is_integer(p.sample) && !is_lit(p, has_alpha);
    const bool back = p.picture == BGRA || p.picture == BGRX || p.picture == BGR;
    const u32 step = gridDim.x * blockDim.x;

    for (u32 row = blockIdx.y; row < p.height; row += gridDim.y) {
        const u8 *from = p.src + wire_row(p, row) * p.src_pitch;
        u8 *to = p.dst + (u64)row * p.dst_pitch;
        for (u32 group = blockIdx.x * blockDim.x + threadIdx.x; group < groups_of(p.width); group += step) {
            const u32 pixels = pixels_of(p.width, group);
            Group in;
            load_wire(p, from, group, pixels, in);
            if (!exact) {
                to_floats(p.sample, in);
                light(p, has_alpha, in);
            }
            u32 words[GROUP];
#pragma unroll
            for (int pixel = 0; pixel < GROUP; pixel++) {
                const u32 red = code_of(p, exact, in.at[pixel][0], false);
                const u32 green = code_of(p, exact, in.at[pixel][1], false);
                const u32 blue = code_of(p, exact, in.at[pixel][2], false);
                const u32 alpha = code_of(p, exact, in.at[pixel][3], true);
                if (p.picture == RGB10A2)
                    words[pixel] = red | green << 10 | blue << 20 | alpha << 30;
                else
                    words[pixel] = (back ? blue : red) | green << 8 | (back ? red : blue) << 16
                                   | (picture_has_alpha(p.picture) ? alpha : 255u) << 24;
            }
            if (p.picture == RGB || p.picture == BGR) {
                u32 three[3];
                three[0] = (words[0] & 0xffffffu) | words[1] << 24;
                three[1] = (words[1] >> 8 & 0xffffu) | words[2] << 16;
                three[2] = (words[2] >> 16 & 0xffu) | words[3] << 8;
                write<3, 1>(to + (u64)group * 12, p.dst_pitch, pixels * 3, three);
            } else {
                write<4, 1>(to + (u64)group * 16, p.dst_pitch, pixels * 4, words);
            }
        }
    }
}

// A picture's code as a sample of an integer wire.
static __device__ __forceinline__ u32 sample_of(const Parameters &p, u32 code, bool alpha)
{
    if (p.picture != RGB10A2)
        return p.sample == U8 ? code : code * 257u;
    const u32 max = p.sample == U8 ? 255u : 65535u;
    return alpha ? code * (max / 3u) : (code * max + 511u) / 1023u;
}

// A picture's code as a value from 0 to 1.
static __device__ __forceinline__ float unit_of(const Parameters &p, u32 code, bool alpha)
{
    if (p.picture != RGB10A2)
        return unit8(code);
    return alpha ? (float)code / 3.0f : unit10(code);
}

extern "C" __global__ void __launch_bounds__(128) tdlink_from_packed(const Parameters p)
{
    const bool has_alpha = picture_has_alpha(p.picture);
    const bool exact = is_integer(p.sample) && !is_lit(p, has_alpha);
    const bool back = p.picture == BGRA || p.picture == BGRX || p.picture == BGR;
    const u32 max = p.picture == RGB10A2 ? 3u : 255u;
    const u32 step = gridDim.x * blockDim.x;

    for (u32 row = blockIdx.y; row < p.height; row += gridDim.y) {
        const u8 *from = p.src + (u64)row * p.src_pitch;
        u8 *to = p.dst + wire_row(p, row) * p.dst_pitch;
        for (u32 group = blockIdx.x * blockDim.x + threadIdx.x; group < groups_of(p.width); group += step) {
            const u32 pixels = pixels_of(p.width, group);
            u32 words[GROUP];
            if (p.picture == RGB || p.picture == BGR) {
                u32 three[3];
                read<3, 1>(from + (u64)group * 12, p.src_pitch, pixels * 3, three);
                words[0] = three[0];
                words[1] = three[0] >> 24 | three[1] << 8;
                words[2] = three[1] >> 16 | three[2] << 16;
                words[3] = three[2] >> 8;
            } else {
                read<4, 1>(from + (u64)group * 16, p.src_pitch, pixels * 4, words);
            }
            Group out;
#pragma unroll
            for (int pixel = 0; pixel < GROUP; pixel++) {
                const u32 word = words[pixel];
                u32 *at = out.at[pixel];
                if (p.picture == RGB10A2) {
                    at[0] = word & 1023u;
                    at[1] = word >> 10 & 1023u;
                    at[2] = word >> 20 & 1023u;
                    at[3] = word >> 30;
                } else {
                    at[0] = back ? word >> 16 & 255u : word & 255u;
                    at[1] = word >> 8 & 255u;
                    at[2] = back ? word & 255u : word >> 16 & 255u;
                    at[3] = word >> 24;
                }
                if (!has_alpha || p.alpha == FILLED)
                    at[3] = max;
#pragma unroll
                for (int i = 0; i < 4; i++)
                    at[i] = exact ? sample_of(p, at[i], i == 3) : bits(unit_of(p, at[i], i == 3));
            }
            if (exact) {
                store_samples(p, to, group, pixels, out);
            } else {
                light(p, has_alpha, out);
                store_floats(p, to, group, pixels, out);
            }
        }
    }
}
