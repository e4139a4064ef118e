// LAMB over a flat partition. pipeline/kernels/lamb/interface.py defines what is computed; cpu.py there calls
// this file.
//
// Every operation is rounded as in IEEE 754, without contraction into fused multiply-adds, and only float64 sums are
// reassociated. The result of an element is therefore the same in a vector and in the remainder of a loop, on any x86
// processor and with any number of threads.
#include "common.h"

#include <cmath>

struct Numbers {
  float lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, scale1, scale2, grad_scale;
};
struct Chunk {
  int64_t start, stop, tensor;
};

static inline float direction(float w, float m, float v, const Numbers& c) {
  return m * c.scale1 / (std::sqrt(v) * c.scale2 + c.eps) + c.weight_decay * w;
}

CLONES static void moments(const float* __restrict w, float* __restrict g, float* __restrict m, float* __restrict v,
                           int64_t n, const Numbers c, double* sums) {
  double w_sq = 0, u_sq = 0;
#pragma omp simd reduction(+ : w_sq, u_sq)
  for (int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * c.grad_scale;
    m[i] = m[i] * c.beta1 + grad * c.one_minus_beta1;
    v[i] = v[i] * c.beta2 + grad * grad * c.one_minus_beta2;
    const float u = g[i] = direction(w[i], m[i], v[i], c);
    w_sq += double(w[i]) * double(w[i]);
    u_sq += double(u) * double(u);
  }
  sums[0] = w_sq;
  sums[1] = u_sq;
}

CLONES static void apply(float* __restrict w, const float* __restrict u, int64_t n, float rate) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) w[i] -= rate * u[i];
}

CLONES static void adam(float* __restrict w, const float* __restrict g, float* __restrict m, float* __restrict v,
                        int64_t n, const Numbers c) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * c.grad_scale;
    m[i] = m[i] * c.beta1 + grad * c.one_minus_beta1;
    v[i] = v[i] * c.beta2 + grad * grad * c.one_minus_beta2;
    w[i] -= c.lr * direction(w[i], m[i], v[i], c);
  }
}

extern "C" {

void lamb_moments(const float* w, float* g, float* m, float* v, const Chunk* chunks, const int64_t* bounds,
                  int64_t num_chunks, int64_t num_tensors, const Numbers* c, double* partials, double* sums,
                  int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t j = 0; j < num_chunks; ++j) {
    const int64_t a = chunks[j].start;
    moments(w + a, g + a, m + a, v + a, chunks[j].stop - a, *c, partials + 2 * j);
  }
  for (int64_t k = 0; k < num_tensors; ++k) {
    sums[2 * k] = sums[2 * k + 1] = 0;
    for (int64_t j = bounds[k]; j < bounds[k + 1]; ++j) {
      sums[2 * k] += partials[2 * j];
      sums[2 * k + 1] += partials[2 * j + 1];
    }
  }
}

void lamb_apply(float* w, const float* u, uint16_t* model, const Chunk* chunks, int64_t num_chunks, const Numbers* c,
                const float* ratios, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t j = 0; j < num_chunks; ++j) {
    const int64_t a = chunks[j].start, n = chunks[j].stop - a;
    apply(w + a, u + a, n, c->lr * ratios[chunks[j].tensor]);
    if (model) to_bf16(w + a, model + a, n);  // the chunk is still in the cache
  }
}

void lamb_adam(float* w, const float* g, float* m, float* v, uint16_t* model, const Chunk* chunks, int64_t num_chunks,
               const Numbers* c, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t j = 0; j < num_chunks; ++j) {
    const int64_t a = chunks[j].start, n = chunks[j].stop - a;
    adam(w + a, g + a, m + a, v + a, n, *c);
    if (model) to_bf16(w + a, model + a, n);
  }
}
}
