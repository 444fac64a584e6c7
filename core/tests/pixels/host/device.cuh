// SPDX-License-Identifier: MPL-2.0
// What a GPU has, on the processor: beside the kernels' own file of this name, for a compiler of C++.

#pragma once

#include <cmath>
#include <cstring>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)

struct Index {
    u32 x, y;
};
static Index blockIdx, blockDim, gridDim, threadIdx;

struct alignas(8) uint2 {
    u32 x, y;
};
struct alignas(16) uint4 {
    u32 x, y, z, w;
};

static inline u32 bits(float value)
{
    u32 bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

static inline float value(u32 bits)
{
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static inline float saturate(float value)
{
    return value > 0 ? (value < 1 ? value : 1.0f) : 0.0f;
}

// IEEE 754 binary16, by its definition.
static inline float from_half(u32 half)
{
    const int exponent = half >> 10 & 31;
    const float mantissa = half & 1023;
    float size = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31)
        size = mantissa == 0 ? INFINITY : NAN;
    return half >> 15 ? -size : size;
}

static inline u32 to_half(float single)
{
    const u32 sign = bits(single) >> 31 << 15;
    const double size = std::fabs((double)single);
    if (size != size)
        return sign | 0x7e00;
    if (size >= 65520)
        return sign | 0x7c00;
    // Steps of halves of this size; the smallest are 2^-24 apart.
    const int exponent = size < 0x1p-14 ? -14 : std::ilogb(size);
    const u32 steps = (u32)std::nearbyint(std::ldexp(size, 10 - exponent));
    return sign | (((u32)(exponent + 14) << 10) + steps);
}
