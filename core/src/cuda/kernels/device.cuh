// SPDX-License-Identifier: MPL-2.0
// What only a GPU has. The tests' compiler for the processor puts another file of this name in its place.

// binary16 to binary32 and back, to nearest, ties to even: instructions, so that no header of NVIDIA's is needed.
static __device__ __forceinline__ float from_half(u32 half)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((u16)half));
    return value;
}

static __device__ __forceinline__ u32 to_half(float value)
{
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

// Within 0 and 1; NaN is 0. One instruction.
static __device__ __forceinline__ float saturate(float value)
{
    return __saturatef(value);
}

static __device__ __forceinline__ u32 bits(float value)
{
    return __float_as_uint(value);
}

static __device__ __forceinline__ float value(u32 bits)
{
    return __uint_as_float(bits);
}
