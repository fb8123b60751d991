// Per-target code of kernels/mixture_gate.h; see kernels/mixture_gate.cc.

#if defined(CAFFE2OP_MASK_KERNELS_MIXTURE_GATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_MIXTURE_GATE_INL_H_
#undef CAFFE2OP_MASK_KERNELS_MIXTURE_GATE_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_MIXTURE_GATE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/mixture_gate.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// Orders experts so that the `top_k` with the largest keys come first; of equal ones the first is
// larger, and a NaN is the largest.
template <typename C>
HWY_INLINE void ChooseTop(const C* keys, int64_t top_k, std::vector<int64_t>* order) {
  std::iota(order->begin(), order->end(), int64_t{0});
  const auto before = [keys](int64_t a, int64_t b) {
    const bool a_is_nan = std::isnan(keys[a]);
    const bool b_is_nan = std::isnan(keys[b]);
    if (a_is_nan || b_is_nan) return a_is_nan == b_is_nan ? a < b : a_is_nan;
    return keys[a] == keys[b] ? a < b : keys[a] > keys[b];
  };
  std::nth_element(order->begin(), order->begin() + top_k - 1, order->end(), before);
}

// Rows [begin, end) of the weights; `g` gets these too, in the tensors' type, and `softmax` what
// they are made of by leaving experts out. Either may be null. Weights and softmax are of the type
// computed in.
void StoreWeights(
    const MixtureTensors& tensors, int64_t begin, int64_t end, void* softmax, void* weights,
    void* g) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    const int64_t experts = tensors.experts;
    const bool choose = tensors.top_k < experts;
    const bool renormalize = choose && tensors.renormalize;
    const auto* const bias = static_cast<const C*>(tensors.bias);
    const int64_t at_once = RowsAtOnce(experts);
    std::vector<int64_t> order(static_cast<size_t>(choose ? experts : 0));
    std::vector<C> keys(order.size());
    std::vector<C> z(static_cast<size_t>(choose ? at_once * experts : 0));
    for (int64_t row = begin; row < end; row += at_once) {
      const int64_t rows = std::min(at_once, end - row);
      const int64_t first = row * experts;
      const int64_t count = rows * experts;
      C* const out = static_cast<C*>(weights) + first;
      LoadSpan(tensors.type, tensors.z, first, count, out);
      if (choose) std::copy(out, out + count, z.data());
      if (!renormalize || bias != nullptr) SoftmaxRows(out, rows, experts);
      if (softmax != nullptr) std::copy(out, out + count, static_cast<C*>(softmax) + first);
      for (int64_t i = 0; choose && i < count; i += experts) {
        const C* largest = z.data() + i;
        if (bias != nullptr) {
          for (int64_t k = 0; k < experts; ++k) keys[static_cast<size_t>(k)] = out[i + k] + bias[k];
          largest = keys.data();
        }
        ChooseTop(largest, tensors.top_k, &order);
        const auto leave_out = [&](C value) {
          for (size_t k = static_cast<size_t>(tensors.top_k); k < order.size(); ++k) {
            out[i + order[k]] = value;
          }
        };
        if (renormalize) {
          std::copy(z.data() + i, z.data() + i + experts, out + i);
          leave_out(-std::numeric_limits<C>::infinity());
          SoftmaxRows(out + i, 1, experts);
        }
        leave_out(0);
      }
      if (renormalize && softmax != nullptr) {
        std::copy(out, out + count, static_cast<C*>(softmax) + first);
      }
      if (g != nullptr) StoreSpan(tensors.type, out, first, count, g);
    }
  });
}

// Asks for what the next row weighs of the same expert: where rows leave experts out,
// there is no stream that the machine would follow by itself.
template <typename C>
HWY_INLINE void PrefetchNextRow(
    const MixtureTensors& tensors, const C* weights, int64_t expert, int64_t column,
    int64_t count) {
  const int64_t next = expert + tensors.experts;
  if (next >= tensors.rows * tensors.experts || weights[next] == 0) return;
  const int64_t bytes = RealBytes(tensors.type);
  const auto* const from =
      static_cast<const uint8_t*>(tensors.e) + (next * tensors.columns + column) * bytes;
  for (int64_t i = 0; i < count * bytes; i += 64) __builtin_prefetch(from + i);
}

// Blocks [begin, end) of y, counted through each row's.
void StoreMixture(
    const MixtureTensors& tensors, const void* all_weights, int64_t begin, int64_t end, void* y,
    Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    const auto* const weights = static_cast<const C*>(all_weights);
    const int64_t blocks = NumRealBlocks(tensors.columns);
    RealBlock<C> loaded;
    RealBlock<C> sum;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t row = b / blocks;
      const int64_t column = (b - row * blocks) * kRealBlock;
      const int64_t count = std::min(kRealBlock, tensors.columns - column);
      std::fill(sum.at, sum.at + kRealBlock, C{0});
      for (int64_t k = 0; k < tensors.experts; ++k) {
        const int64_t expert = row * tensors.experts + k;
        PrefetchNextRow(tensors, weights, expert, column, count);
        const C weight = weights[expert];
        if (weight == 0) continue;
        const C* const e =
            LoadBlock(tensors.type, tensors.e, expert * tensors.columns + column, count, &loaded);
        ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
          const auto product =
              hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, e + i), hn::Load(d, sum.at + i));
          hn::Store(product, d, sum.at + i);
        });
      }
      StoreBlock(tensors.type, sum.at, row * tensors.columns + column, count, y, stores);
    }
  });
}

// d_e of experts [begin, end), counted through all rows, and sums[expert], what d_y
// and E give for the gradient of its weight.
void StoreExpertGradients(
    const MixtureTensors& tensors, const void* all_weights, const void* d_y, int64_t begin,
    int64_t end, void* d_e, double* sums, Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    const auto* const weights = static_cast<const C*>(all_weights);
    RealBlock<C> loaded_e;
    RealBlock<C> loaded_d;
    RealBlock<C> out;
    for (int64_t expert = begin; expert < end; ++expert) {
      const int64_t row = expert / tensors.experts;
      const C weight = d_y == nullptr ? C{0} : weights[expert];
      sums[expert] = 0;
      if (weight == 0) std::fill(out.at, out.at + kRealBlock, C{0});
      for (int64_t column = 0; column < tensors.columns; column += kRealBlock) {
        const int64_t count = std::min(kRealBlock, tensors.columns - column);
        const int64_t first = expert * tensors.columns + column;
        PrefetchNextRow(tensors, weights, expert, column, count);
        if (weight != 0) {
          const C* const e = LoadBlock(tensors.type, tensors.e, first, count, &loaded_e);
          const C* const d =
              LoadBlock(tensors.type, d_y, row * tensors.columns + column, count, &loaded_d);
          sums[expert] += SumOfProducts(e, d, count);
          ForEachVector<C>(count, [&](auto dc, int64_t i) HWY_ATTR {
            hn::Store(hn::Mul(hn::Set(dc, weight), hn::LoadU(dc, d + i)), dc, out.at + i);
          });
        }
        StoreBlock(tensors.type, out.at, first, count, d_e, stores);
      }
    }
  });
}

// Rows [begin, end) of d_z: s * (d - sum of s * d), where s is the softmax and d the
// gradient of the weights, 0 where there is none. What is not of the softmax, as renormalized
// weights leave it out, has none whatever the sum is.
void StoreLogitGradients(
    const MixtureTensors& tensors, const void* all_softmax, const void* all_weights,
    const void* d_g, int64_t begin, int64_t end, double* sums, void* d_z) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    const int64_t experts = tensors.experts;
    const auto* const softmax = static_cast<const C*>(all_softmax);
    const auto* const weights = static_cast<const C*>(all_weights);
    RealBlock<C> block;
    for (int64_t row = begin; row < end; ++row) {
      double weighted = 0;
      ForEachBlock(experts, [&](int64_t k, int64_t count) HWY_ATTR {
        const int64_t first = row * experts + k;
        const C* d = nullptr;
        if (d_g != nullptr) d = LoadBlock(tensors.type, d_g, first, count, &block);
        for (int64_t i = 0; i < count; ++i) {
          if (weights[first + i] == 0) continue;
          if (d != nullptr) sums[first + i] += double{d[i]};
          weighted += double{softmax[first + i]} * sums[first + i];
        }
      });
      ForEachBlock(experts, [&](int64_t k, int64_t count) HWY_ATTR {
        const int64_t first = row * experts + k;
        for (int64_t i = 0; i < count; ++i) {
          const double share = double{softmax[first + i]};
          const bool is_out = tensors.renormalize && share == 0;
          block.at[i] = is_out ? C{0} : static_cast<C>(share * (sums[first + i] - weighted));
        }
        StoreBlock(tensors.type, block.at, first, count, d_z, Stores::kCached);
      });
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
