// SPDX-License-Identifier: MPL-2.0
// What all conversions share: their parameters, samples in memory, alpha, primaries and transfer.
//
// A thread works on groups of four pixels of a row. A group's samples are whole words of memory, read and written 16
// bytes at a time where address and pitch allow, else word by word, else sample by sample.
//
// No product is fused with a sum (the compiler is told so), so that the processor's twin gives the same bits.

#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#include <device.cuh> // the tests have another

#define GROUP 4

// As convert.rs has it.
struct Parameters {
    const u8 *src, *src_chroma;
    u8 *dst, *dst_chroma;
    u32 src_pitch, src_chroma_pitch, dst_pitch, dst_chroma_pitch;
    u32 width, height;
    u32 flip;
    u32 sample, components, picture;
    u32 alpha, transfer;
    float white;
    u32 gamut, matrix, range;
    u32 site, unused;
};

enum Sample { U8, U16, F16, F32, BF16 };
enum Components { GREY, RED_GREEN, GREY_ALPHA, CRGB, CBGR, CRGBA, CBGRA, CRGBX, CBGRX };
enum Picture { RGBA, BGRA, RGBX, BGRX, RGB, BGR, RGB10A2, NV12, P010 };
enum Alpha { KEPT, FILLED, DIVIDED, MULTIPLIED };
enum Transfer { NONE, LINEAR_TO_SRGB, SRGB_TO_LINEAR, LINEAR_TO_PQ, LINEAR_TO_HLG };

// Four pixels of R, G, B, A: codes of integers, or the bits of floats.
struct Group {
    u32 at[GROUP][4];
};

// Memory.

static __device__ __forceinline__ bool aligned(const u8 *row, u32 pitch, u32 to)
{
    return (((u32)(u64)row | pitch) & (to - 1)) == 0;
}

// `samples` of SIZE bytes each, at most as many as there are in WORDS.
template <int WORDS, int SIZE>
static __device__ __forceinline__ void read(const u8 *at, u32 pitch, u32 samples, u32 (&words)[WORDS])
{
    const u32 all = WORDS * 4 / SIZE;
    if (WORDS % 4 == 0 && samples == all && aligned(at, pitch, 16)) {
#pragma unroll
        for (int i = 0; i < WORDS / 4; i++) {
            const uint4 four = ((const uint4 *)at)[i];
            words[i * 4] = four.x;
            words[i * 4 + 1] = four.y;
            words[i * 4 + 2] = four.z;
            words[i * 4 + 3] = four.w;
        }
    } else if (WORDS % 2 == 0 && WORDS % 4 != 0 && samples == all && aligned(at, pitch, 8)) {
#pragma unroll
        for (int i = 0; i < WORDS / 2; i++) {
            const uint2 two = ((const uint2 *)at)[i];
            words[i * 2] = two.x;
            words[i * 2 + 1] = two.y;
        }
    } else if (samples == all && aligned(at, pitch, 4)) {
#pragma unroll
        for (int i = 0; i < WORDS; i++)
            words[i] = ((const u32 *)at)[i];
    } else {
#pragma unroll
        for (int i = 0; i < WORDS; i++)
            words[i] = 0;
#pragma unroll
        for (int i = 0; i < WORDS * 4 / SIZE; i++) {
            if ((u32)i < samples) {
                const u32 sample = SIZE == 1 ? at[i] : SIZE == 2 ? ((const u16 *)at)[i] : ((const u32 *)at)[i];
                words[i * SIZE / 4] |= sample << (i * SIZE % 4 * 8);
            }
        }
    }
}

template <int WORDS, int SIZE>
static __device__ __forceinline__ void write(u8 *at, u32 pitch, u32 samples, const u32 (&words)[WORDS])
{
    const u32 all = WORDS * 4 / SIZE;
    if (WORDS % 4 == 0 && samples == all && aligned(at, pitch, 16)) {
#pragma unroll
        for (int i = 0; i < WORDS / 4; i++) {
            uint4 four;
            four.x = words[i * 4];
            four.y = words[i * 4 + 1];
            four.z = words[i * 4 + 2];
            four.w = words[i * 4 + 3];
            ((uint4 *)at)[i] = four;
        }
    } else if (WORDS % 2 == 0 && WORDS % 4 != 0 && samples == all && aligned(at, pitch, 8)) {
#pragma unroll
        for (int i = 0; i < WORDS / 2; i++) {
            uint2 two;
            two.x = words[i * 2];
            two.y = words[i * 2 + 1];
            ((uint2 *)at)[i] = two;
        }
    } else if (samples == all && aligned(at, pitch, 4)) {
#pragma unroll
        for (int i = 0; i < WORDS; i++)
            ((u32 *)at)[i] = words[i];
    } else {
#pragma unroll
        for (int i = 0; i < WORDS * 4 / SIZE; i++) {
            if ((u32)i < samples) {
                const u32 sample = words[i * SIZE / 4] >> (i * SIZE % 4 * 8);
                if (SIZE == 1)
                    at[i] = (u8)sample;
                else if (SIZE == 2)
                    ((u16 *)at)[i] = (u16)sample;
                else
                    ((u32 *)at)[i] = sample;
            }
        }
    }
}

// Numbers.

// `value` within `low` and `high`; NaN is `low`.
static __device__ __forceinline__ float limit(float value, float low, float high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

// The integer nearest to `value`, ties to even; `value` is from 0 to 65535. From 2^23 on floats have no fractions.
static __device__ __forceinline__ u32 nearest(float value)
{
    return bits(value + 8388608.0f) & 0xffffu;
}

// The code nearest to `value`, of 0 to `max`.
static __device__ __forceinline__ u32 quantise(float value, float max)
{
    return nearest(saturate(value) * max);
}

// The float nearest to code / (2^n - 1): code / 2^n + code / 2^n / (2^n - 1), the first of them exact.
static __device__ __forceinline__ float unit8(u32 code)
{
    const float v = (float)code;
    return v * (1.0f / 256.0f) + v * (1.0f / (256.0f * 255.0f));
}

static __device__ __forceinline__ float unit10(u32 code)
{
    const float v = (float)code;
    return v * (1.0f / 1024.0f) + v * (1.0f / (1024.0f * 1023.0f));
}

static __device__ __forceinline__ float unit16(u32 code)
{
    const float v = (float)code;
    return v * (1.0f / 65536.0f) + v * (1.0f / (65536.0f * 65535.0f));
}

// The code of 8 bits nearest to a code of 16.
static __device__ __forceinline__ u32 narrow(u32 code)
{
    return (code - (((code >> 7) + 1) >> 1) + 128) >> 8;
}

// Wires.

template <int SIZE, int COUNT>
static __device__ __forceinline__ void load(const u8 *row, u32 pitch, u32 group, u32 pixels, Group &out)
{
    u32 words[SIZE * COUNT];
    read<SIZE * COUNT, SIZE>(row + (u64)group * (GROUP * SIZE * COUNT), pitch, pixels * COUNT, words);
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int at = (pixel * COUNT + i) * SIZE;
            const u32 sample = words[at / 4] >> (at % 4 * 8);
            out.at[pixel][i] = SIZE == 1 ? sample & 0xffu : SIZE == 2 ? sample & 0xffffu : sample;
        }
    }
}

template <int SIZE>
static __device__ __forceinline__ void load_sized(const u8 *row, u32 pitch, u32 count, u32 group, u32 pixels, Group &out)
{
    if (count == 1)
        load<SIZE, 1>(row, pitch, group, pixels, out);
    else if (count == 2)
        load<SIZE, 2>(row, pitch, group, pixels, out);
    else if (count == 3)
        load<SIZE, 3>(row, pitch, group, pixels, out);
    else
        load<SIZE, 4>(row, pitch, group, pixels, out);
}

static __device__ __forceinline__ u32 count_of(u32 components)
{
    return components == GREY ? 1 : components <= GREY_ALPHA ? 2 : components <= CBGR ? 3 : 4;
}

static __device__ __forceinline__ bool is_integer(u32 sample)
{
    return sample <= U16;
}

static __device__ __forceinline__ bool wire_has_alpha(u32 components)
{
    return components == GREY_ALPHA || components == CRGBA || components == CBGRA;
}

static __device__ __forceinline__ bool picture_has_alpha(u32 picture)
{
    return picture == RGBA || picture == BGRA || picture == RGB10A2;
}

// The pixels of a group as R, G, B, A: codes of integers, bits of floats.
static __device__ __forceinline__ void load_wire(const Parameters &p, const u8 *row, u32 group, u32 pixels, Group &out)
{
    const u32 count = count_of(p.components);
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            out.at[pixel][i] = 0;
    }
    if (p.sample == U8)
        load_sized<1>(row, p.src_pitch, count, group, pixels, out);
    else if (p.sample == F32)
        load_sized<4>(row, p.src_pitch, count, group, pixels, out);
    else
        load_sized<2>(row, p.src_pitch, count, group, pixels, out);
    const u32 max = p.sample == U8 ? 255 : p.sample == U16 ? 65535 : bits(1.0f);
    const bool back = p.components == CBGR || p.components == CBGRA || p.components == CBGRX;
    const bool grey = p.components == GREY || p.components == GREY_ALPHA;
    const bool alpha = wire_has_alpha(p.components) && p.alpha != FILLED;
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
        u32 *at = out.at[pixel];
        if (p.sample == F16) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                at[i] = bits(from_half(at[i]));
        } else if (p.sample == BF16) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                at[i] <<= 16;
        }
        const u32 red = back ? at[2] : at[0];
        const u32 fourth = grey ? at[1] : at[3];
        at[1] = grey ? at[0] : at[1];
        at[2] = grey || back ? at[0] : at[2];
        at[0] = red;
        at[3] = alpha ? fourth : max;
    }
}

// Codes as values from 0 to 1.
static __device__ __forceinline__ void to_floats(u32 sample, Group &group)
{
    if (!is_integer(sample))
        return;
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 code = group.at[pixel][i];
            group.at[pixel][i] = bits(sample == U8 ? unit8(code) : unit16(code));
        }
    }
}

template <int SIZE, int COUNT>
static __device__ __forceinline__ void store(u8 *row, u32 pitch, u32 group, u32 pixels, const Group &in)
{
    u32 words[SIZE * COUNT];
#pragma unroll
    for (int i = 0; i < SIZE * COUNT; i++)
        words[i] = 0;
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int at = (pixel * COUNT + i) * SIZE;
            words[at / 4] |= in.at[pixel][i] << (at % 4 * 8);
        }
    }
    write<SIZE * COUNT, SIZE>(row + (u64)group * (GROUP * SIZE * COUNT), pitch, pixels * COUNT, words);
}

template <int SIZE>
static __device__ __forceinline__ void store_sized(u8 *row, u32 pitch, u32 count, u32 group, u32 pixels, const Group &in)
{
    if (count == 1)
        store<SIZE, 1>(row, pitch, group, pixels, in);
    else if (count == 2)
        store<SIZE, 2>(row, pitch, group, pixels, in);
    else if (count == 3)
        store<SIZE, 3>(row, pitch, group, pixels, in);
    else
        store<SIZE, 4>(row, pitch, group, pixels, in);
}

// Samples of the wire, in R, G, B, A, to memory.
static __device__ __forceinline__ void store_samples(const Parameters &p, u8 *row, u32 group, u32 pixels, Group &in)
{
    const u32 max = p.sample == U8 ? 255 : p.sample == U16 ? 65535 : p.sample == F16 ? to_half(1.0f) : bits(1.0f);
    const bool back = p.components == CBGR || p.components == CBGRA || p.components == CBGRX;
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
        u32 *at = in.at[pixel];
        const u32 red = at[0];
        at[0] = back ? at[2] : red;
        at[2] = back ? red : at[2];
        at[1] = p.components == GREY_ALPHA ? at[3] : at[1];
        at[3] = wire_has_alpha(p.components) ? at[3] : max;
    }
    const u32 count = count_of(p.components);
    if (p.sample == U8)
        store_sized<1>(row, p.dst_pitch, count, group, pixels, in);
    else if (p.sample == F32)
        store_sized<4>(row, p.dst_pitch, count, group, pixels, in);
    else
        store_sized<2>(row, p.dst_pitch, count, group, pixels, in);
}

// Floats in R, G, B, A, as samples of the wire, to memory.
static __device__ __forceinline__ void store_floats(const Parameters &p, u8 *row, u32 group, u32 pixels, Group &in)
{
#pragma unroll
    for (int pixel = 0; pixel < GROUP; pixel++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 at = in.at[pixel][i];
            if (is_integer(p.sample))
                in.at[pixel][i] = quantise(value(at), p.sample == U8 ? 255.0f : 65535.0f);
            else if (p.sample == F16)
                in.at[pixel][i] = to_half(value(at));
        }
    }
    store_samples(p, row, group, pixels, in);
}

// Light. Powers as the processor's twin has them: the same operations in the same order.

static __device__ __forceinline__ float log2_of(float x)
{
    const u32 root = 0x3f3504f3u; // the square root of 1/2
    const int steps = (int)(bits(x) - root) >> 23;
    const float m = value(bits(x) - ((u32)steps << 23));
    const float s = (m - 1.0f) / (m + 1.0f);
    const float q = s * s;
    return (float)steps + s * (2.8853904f + q * (0.96158784f + q * 0.5957965f));
}

static __device__ __forceinline__ float exp2_of(float x)
{
    const float rounded = x + 12582912.0f;
    const float scale = value((bits(rounded) + 127u) << 23);
    const float f = x - (rounded - 12582912.0f);
    const float ones = 1.0f + f * 0.69314697f;
    const float twos = 0.24022242f + f * 0.05550734f;
    const float fours = 0.00967151f + f * 0.00132647f;
    const float g = f * f;
    return scale * (ones + g * (twos + g * fours));
}

static __device__ __forceinline__ float power(float x, float y)
{
    return exp2_of(log2_of(x) * y);
}

static __device__ __forceinline__ float signed_as(float size, float sign)
{
    return value((bits(size) & 0x7fffffffu) | (bits(sign) & 0x80000000u));
}

// IEC 61966-2-1.
static __device__ __forceinline__ float srgb_from_linear(float v)
{
    const float size = value(bits(v) & 0x7fffffffu);
    float curve = 1.055f * power(size, 1.0f / 2.4f) - 0.055f;
    curve = size < value(0x7f800000u) ? curve : size;
    return size > 0.0031308f ? signed_as(curve, v) : v * 12.92f;
}

// IEC 61966-2-1.
static __device__ __forceinline__ float linear_from_srgb(float v)
{
    const float size = value(bits(v) & 0x7fffffffu);
    const float curve = power(limit((size + 0.055f) * (1.0f / 1.055f), 0.0f, 1.2e16f), 2.4f);
    return size > 0.04045f ? signed_as(curve, v) : v * (1.0f / 12.92f);
}

// SMPTE ST 2084, inverse EOTF, of light in units of 10 000 nits; the twin says where the numbers come from.
static __device__ __forceinline__ float pq_from_light(float light)
{
    const float w = sqrtf(sqrtf(limit(light, 0.0f, 1.0f)));
    float above = 4.399693f + w * (2050.783f + w * (2838.0553f + w * 35.462708f));
    float below = 729.6516f + w * (2476.2769f + w * 1672.4744f);
    above = 0.00938273f + w * above;
    below = 49.31435f + w * below;
    return (7.309559e-7f + w * above) / (1.0f + w * below);
}

// ITU-R BT.2100: inverse OOTF of a display of 1000 nits, then OETF.
static __device__ __forceinline__ float hlg_from_scene(float scene)
{
    const float a = 0.17883277f, b = 1.0f - 4.0f * 0.17883277f, c = 0.5599107f;
    const float bright = a * 0.693147180559945309f * log2_of(12.0f * scene - b) + c;
    return scene > 1.0f / 12.0f ? bright : sqrtf(scene * 3.0f);
}

static __device__ __forceinline__ void widen(float &r, float &g, float &b)
{
    const float red = (0.6274f * r + 0.3293f * g) + 0.0433f * b;
    const float green = (0.0691f * r + 0.9195f * g) + 0.0114f * b;
    b = (0.0164f * r + 0.0880f * g) + 0.8956f * b;
    r = red;
    g = green;
}

static __device__ __forceinline__ void light_of_pixel(const Parameters &p, bool divide, bool multiply, u32 (&at)[4])
{
    float r = value(at[0]), g = value(at[1]), b = value(at[2]);
    const float a = value(at[3]);
    if (divide) {
        r = a > 0.0f ? r / a : 0.0f;
        g = a > 0.0f ? g / a : 0.0f;
        b = a > 0.0f ? b / a : 0.0f;
    }
    if (p.gamut && p.transfer != SRGB_TO_LINEAR)
        widen(r, g, b);
    if (p.transfer == LINEAR_TO_SRGB) {
        r = srgb_from_linear(r);
        g = srgb_from_linear(g);
        b = srgb_from_linear(b);
    } else if (p.transfer == SRGB_TO_LINEAR) {
        r = linear_from_srgb(r);
        g = linear_from_srgb(g);
        b = linear_from_srgb(b);
    } else if (p.transfer == LINEAR_TO_PQ) {
        const float scale = p.white / 10000.0f;
        r = pq_from_light(r * scale);
        g = pq_from_light(g * scale);
        b = pq_from_light(b * scale);
    } else if (p.transfer == LINEAR_TO_HLG) {
        const float scale = p.white / 1000.0f;
        r = limit(r * scale, 0.0f, 10.0f);
        g = limit(g * scale, 0.0f, 10.0f);
        b = limit(b * scale, 0.0f, 10.0f);
        const float luminance = 0.2627f * r + 0.6780f * g + 0.0593f * b;
        const float gain = power(luminance, 1.0f / 1.2f - 1.0f);
        r = hlg_from_scene(r * gain);
        g = hlg_from_scene(g * gain);
        b = hlg_from_scene(b * gain);
    }
    if (p.gamut && p.transfer == SRGB_TO_LINEAR)
        widen(r, g, b);
    if (multiply) {
        r = r * a;
        g = g * a;
        b = b * a;
    }
    at[0] = bits(r);
    at[1] = bits(g);
    at[2] = bits(b);
}

// Whether values change on the way from pixels that have alpha or not.
static __device__ __forceinline__ bool is_lit(const Parameters &p, bool has_alpha)
{
    return p.transfer != NONE || p.gamut != 0 || (has_alpha && p.alpha >= DIVIDED);
}

static __device__ __forceinline__ void light(const Parameters &p, bool has_alpha, Group &group)
{
    if (!is_lit(p, has_alpha))
        return;
    const bool divide = has_alpha && p.alpha == DIVIDED, multiply = has_alpha && p.alpha == MULTIPLIED;
    // Each pixel's turn at the first place: the code stands there once, and registers are not indexed.
#pragma unroll 1
    for (int pixel = 0; pixel < GROUP; pixel++) {
        light_of_pixel(p, divide, multiply, group.at[0]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 first = group.at[0][i];
            group.at[0][i] = group.at[1][i];
            group.at[1][i] = group.at[2][i];
            group.at[2][i] = group.at[3][i];
            group.at[3][i] = first;
        }
    }
}

// Work.

static __device__ __forceinline__ u32 groups_of(u32 width)
{
    return width / GROUP + (width % GROUP != 0);
}

static __device__ __forceinline__ u32 pixels_of(u32 width, u32 group)
{
    const u32 left = width - group * GROUP;
    return left < GROUP ? left : GROUP;
}

// The row of the wire that is row `row` of the picture.
static __device__ __forceinline__ u64 wire_row(const Parameters &p, u32 row)
{
    return p.flip ? p.height - 1 - row : row;
}
