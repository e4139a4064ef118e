// Cross entropy of rows of logits, and its gradient. cross_entropy.py calls this file.
//
// A row is widened to fp32 in the cache of the core that works on it, so that memory is read once each way. Every
// operation is rounded as in IEEE 754, and sums are taken over a fixed number of lanes: the result is the same on any
// x86 processor and with any number of threads.
#include "common.h"

#include <cmath>
#include <limits>
#include <vector>

constexpr int64_t LANES = 16;    // partial sums of a block
constexpr int64_t BLOCK = 1024;  // elements that are summed in fp32; the sums of blocks are added in float64

// exp(x) for x <= 0, with a relative error below 3e-7; 0 below -87, where fp32 loses digits, and NaN for NaN.
// x = k ln 2 + r with |r| <= (ln 2) / 2, and exp(x) = 2^k exp(r), of which the first eight terms of the series are taken.
static inline float exponential(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fractional digits, and ends in the integer k
  const float shifted = x * 1.44269504f + magic;
  const float k = shifted - magic;
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;  // ln 2 in two parts: products with k are exact
  float sum = 1.0f / 5040;
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, 4);
  bits = (bits + 127u) << 23;  // the exponent k; the digits above k in `shifted` are shifted out
  float power;
  std::memcpy(&power, &bits, 4);
  return x < -87.0f ? 0.0f : sum * power;
}

CLONES static void widen(const uint16_t* __restrict in, float* __restrict out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = uint32_t(in[i]) << 16;
    std::memcpy(out + i, &bits, 4);
  }
}

// The largest element that is not NaN; -inf if there is none.
CLONES static float largest(const float* x, int64_t n) {
  float best = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : best)
  for (int64_t i = 0; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// Index of the first element that equals `value`; 0 if there is none.
CLONES static int64_t first(const float* x, int64_t n, float value) {
  for (int64_t start = 0; start < n; start += LANES) {
    const int64_t stop = start + LANES < n ? start + LANES : n;
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = start; i < stop; ++i) found |= x[i] == value;
    for (int64_t i = start; found && i < stop; ++i)
      if (x[i] == value) return i;
  }
  return 0;
}

CLONES static float block_sum(const float* x, int64_t n, float peak) {
  float sums[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
#pragma omp simd
    for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += exponential(x[i + lane] - peak);
  for (int64_t lane = 0; i + lane < n; ++lane) sums[lane] += exponential(x[i + lane] - peak);
  float sum = 0;
  for (int64_t lane = 0; lane < LANES; ++lane) sum += sums[lane];
  return sum;
}

// out = factor * exp(x - log_normaliser); out may be x.
CLONES static void scaled_softmax(const float* x, float* out, int64_t n, float log_normaliser, float factor) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = factor * exponential(x[i] - log_normaliser);
}

// A row as fp32: itself, or in `wide`.
static const float* row_fp32(const void* logits, int bf16, int64_t offset, int64_t width, float* wide) {
  if (!bf16) return static_cast<const float*>(logits) + offset;
  widen(static_cast<const uint16_t*>(logits) + offset, wide, width);
  return wide;
}

extern "C" {

// logits (rows, width), rows `stride` elements apart; labels in [0, width), or `ignored`.
void cross_entropy_forward(const void* logits, int bf16, int64_t rows, int64_t width, int64_t stride,
                           const int64_t* labels, int64_t ignored, float* losses, float* log_normalisers,
                           int64_t* predictions, int threads) {
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> wide(bf16 ? width : 0);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = row_fp32(logits, bf16, row * stride, width, wide.data());
      const float peak = largest(x, width);
      double sum = 0;
      for (int64_t i = 0; i < width; i += BLOCK) sum += block_sum(x + i, width - i < BLOCK ? width - i : BLOCK, peak);
      log_normalisers[row] = peak + float(std::log(sum));
      losses[row] = labels[row] == ignored ? 0.0f : log_normalisers[row] - x[labels[row]];
      predictions[row] = first(x, width, peak);
    }
  }
}

// out = ((1 + 2 z_weight log Z) softmax(logits) - one_hot(label)) * loss_gradient; out may be the logits.
void cross_entropy_backward(void* out, const void* logits, int bf16, int64_t rows, int64_t width, int64_t out_stride,
                            int64_t stride, const int64_t* labels, int64_t ignored, const float* log_normalisers,
                            float loss_gradient, float z_weight, int threads) {
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> wide(bf16 ? width : 0);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = row_fp32(logits, bf16, row * stride, width, wide.data());
      float* error = bf16 ? wide.data() : static_cast<float*>(out) + row * out_stride;
      const float scale = labels[row] == ignored ? 0.0f : loss_gradient;
      const float normaliser = log_normalisers[row];
      scaled_softmax(x, error, width, normaliser, scale * (1.0f + 2.0f * z_weight * normaliser));
      if (labels[row] != ignored) error[labels[row]] -= scale;
      if (bf16) to_bf16(error, static_cast<uint16_t*>(out) + row * out_stride, width);
    }
  }
}
}
