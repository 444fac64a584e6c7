// SPDX-License-Identifier: MPL-2.0
// The kernels' source, run by the processor thread after thread: reads cases, writes what they become.
//
//     kernels CASES RESULTS

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "packed.cu"
#include "yuv.cu"

namespace {

// Memory of a plane: no byte more, at an address of this remainder.
struct Memory {
    void *all;
    u8 *at;
    size_t size;

    Memory(size_t size, size_t remainder) : size(size)
    {
        if (posix_memalign(&all, 64, size + remainder) != 0)
            abort();
        at = (u8 *)all + remainder;
        memset(at, 0xee, size);
    }
    ~Memory() { free(all); }
    Memory(const Memory &) = delete;
};

void run(void (*kernel)(const Parameters), const Parameters &p, u32 rows)
{
    // Few threads, so that each goes on in steps.
    blockDim = {3, 1};
    gridDim = {2, rows < 3 ? rows : 3};
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
                kernel(p);
}

} // namespace

int main(int, char **arguments)
{
    FILE *in = fopen(arguments[1], "rb"), *out = fopen(arguments[2], "wb");
    if (!in || !out)
        return 1;
    u32 head[24];
    while (fread(head, sizeof head, 1, in) == 1) {
        const u32 *lengths = head + 20;
        Memory src(lengths[0], head[18]), src_chroma(lengths[1], head[18]);
        Memory dst(lengths[2], head[19]), dst_chroma(lengths[3], head[19]);
        if (fread(src.at, 1, src.size, in) + fread(src_chroma.at, 1, src_chroma.size, in) != src.size + src_chroma.size)
            return 1;
        Parameters p;
        p.src = src.at, p.src_chroma = src_chroma.at, p.dst = dst.at, p.dst_chroma = dst_chroma.at;
        p.src_pitch = head[14], p.src_chroma_pitch = head[15], p.dst_pitch = head[16], p.dst_chroma_pitch = head[17];
        p.width = head[12], p.height = head[13], p.flip = head[1];
        p.sample = head[2], p.components = head[3], p.picture = head[4];
        p.alpha = head[5], p.transfer = head[6], p.white = value(head[7]), p.gamut = head[8];
        p.matrix = head[9], p.range = head[10], p.site = head[11], p.unused = 0;
        const bool yuv = p.picture >= NV12;
        if (head[0] == 0)
            run(yuv ? tdlink_to_yuv : tdlink_to_packed, p, yuv ? (p.height + 1) / 2 : p.height);
        else
            run(yuv ? tdlink_from_yuv : tdlink_from_packed, p, p.height);
        fwrite(dst.at, 1, dst.size, out);
        fwrite(dst_chroma.at, 1, dst_chroma.size, out);
    }
    return fclose(out);
}
