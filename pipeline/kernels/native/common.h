// What all kernels share: vectors for each processor, and bf16.
#pragma once
#include <cstdint>
#include <cstring>

// One library runs on all x86 machines of a cluster: the loader selects the widest vectors that the processor supports.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CLONES
#endif

// Rounds to nearest even and maps NaN to NaN, as torch does.
CLONES static void to_bf16(const float* __restrict in, uint16_t* __restrict out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, in + i, 4);
    const uint16_t rounded = uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    out[i] = in[i] == in[i] ? rounded : uint16_t(0x7fc0);
  }
}
