#include "kernels/random_mask.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random_mask.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/random_mask-inl.h"
// clang-format on

#if HWY_ONCE

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

namespace caffe2op_mask {
namespace {

HWY_EXPORT(BernoulliMask);
HWY_EXPORT(BernoulliMaskGradient);
HWY_EXPORT(RandomMaskElements);

// A number of 32 bits is below this with probability p, to the nearest 2^-32.
uint64_t Threshold(double p) {
  return static_cast<uint64_t>(std::llround(std::ldexp(p, 32)));
}

// The numbers of one row, however many it takes: those of element `row` under keys
// that no element has, from behind `key` on.
class RowNumbers {
 public:
  RowNumbers(RandomStream stream, int64_t row, uint32_t key = 0)
      : stream_(stream), row_(static_cast<uint64_t>(row)), key_(key) {}

  // Of (0, 1).
  double Next() {
    if (next_ == numbers_.size()) {
      numbers_ = Philox(stream_.seed, ++key_, row_, stream_.run);
      next_ = 0;
    }
    return std::ldexp(static_cast<double>(numbers_[next_++]) + 0.5, -32);
  }

 private:
  RandomStream stream_;
  uint64_t row_;
  uint32_t key_;
  std::array<uint32_t, 4> numbers_{};
  size_t next_ = numbers_.size();
};

// Numbers of limits are not those that were drawn before.
constexpr uint32_t kLimitsKey = uint32_t{1} << 31;

// Calls take(i) for `count` of the `free` places i of [0, size) that is_free(i), each choice of
// them with one probability.
template <class IsFree, class Take>
void TakeSome(
    int64_t count, int64_t free, int64_t size, RowNumbers numbers, const IsFree& is_free,
    const Take& take) {
  for (int64_t i = 0; i < size && count > 0; ++i) {
    if (!is_free(i)) continue;
    if (numbers.Next() * static_cast<double>(free--) >= static_cast<double>(count)) continue;
    take(i);
    --count;
  }
}

}  // namespace

void BernoulliMask(
    Real type, const void* z, int64_t size, RandomStream stream, bool* mask, void* log_prob,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(type);
  const Stores stores = StoresFor(size * bytes);
  parallel_for(
      0, NumRealBlocks(size), GrainFor(2 * kRealBlock * bytes), [=](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(BernoulliMask)
        (type, z, size, stream, begin, end, mask, log_prob, stores);
        FinishStores(stores);
      });
}

void BernoulliMaskGradient(
    Real type, const void* z, const bool* mask, const void* d_log_prob, int64_t size, void* d_z,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(type);
  const Stores stores = StoresFor(size * bytes);
  parallel_for(
      0, NumRealBlocks(size), GrainFor(3 * kRealBlock * bytes), [=](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(BernoulliMaskGradient)
        (type, z, mask, d_log_prob, size, begin, end, d_z, stores);
        FinishStores(stores);
      });
}

void RandomMaskElements(
    double p, int64_t size, RandomStream stream, bool* mask, ParallelFor parallel_for) {
  const uint64_t below = Threshold(p);
  if (below == 0) {
    std::fill_n(mask, size, true);
    return;
  }
  const auto last = static_cast<uint32_t>(below - 1);
  const int64_t groups = size / kRandomGroup + (size % kRandomGroup != 0 ? 1 : 0);
  parallel_for(0, groups, GrainFor(4 * kRandomGroup), [=](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RandomMaskElements)(last, size, stream, begin, end, mask);
  });
}

void RandomMaskRows(
    double p, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for) {
  const uint64_t below = Threshold(p);
  parallel_for(0, rows, GrainFor(columns), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const uint32_t number = Philox(stream.seed, 0, static_cast<uint64_t>(row), stream.run)[0];
      std::fill_n(mask + row * columns, columns, number >= below);
    }
  });
}

void LimitElements(
    const RowLimits& limits, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for) {
  parallel_for(0, rows, GrainFor(columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      bool* const out = mask + row * columns;
      const int64_t real = limits.real(row, columns).end;
      std::fill(out + real, out + columns, true);
      const int64_t masked = std::count(out, out + real, false);
      TakeSome(
          std::min(limits.least, real) - masked, real - masked, real,
          RowNumbers(stream, row, kLimitsKey), [&](int64_t i) { return out[i]; },
          [&](int64_t i) { out[i] = false; });
    }
  });
}

void RandomMaskSpans(
    double p, int64_t span, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for, const RowLimits& limits) {
  // An entry is kept where none of `span` places begins one: (1 - q)^span = 1 - p.
  const double log_none = std::log1p(-p) / static_cast<double>(span);
  const auto length = static_cast<double>(span);
  parallel_for(0, rows, GrainFor(4 * columns), [&](int64_t begin, int64_t end) {
    std::vector<int64_t> starts;  // those in the row, in order, where there is a least
    for (int64_t row = begin; row < end; ++row) {
      bool* const out = mask + row * columns;
      const int64_t real = limits.real(row, columns).end;
      const auto limit = static_cast<double>(real);
      std::fill_n(out, columns, true);
      if (p == 1) {
        std::fill_n(out, real, false);
        continue;
      }
      int64_t spans = 0;
      starts.clear();
      // From one beginning to the next is a geometric step, whatever the span.
      RowNumbers numbers(stream, row);
      double start = -length;
      while (p > 0) {
        start += 1 + std::floor(std::log(numbers.Next()) / log_none);
        if (start >= limit) break;
        const auto first = static_cast<int64_t>(std::max(start, 0.0));
        const auto last = static_cast<int64_t>(std::min(start + length, limit));
        std::fill(out + first, out + last, false);
        ++spans;
        if (start >= 0 && spans <= limits.least) starts.push_back(first);
      }
      if (spans >= limits.least) continue;
      // Where a whole span can begin, and which of these places are taken.
      const int64_t places = std::max<int64_t>(real - std::min(span, real + 1) + 1, 0);
      const auto taken_end = std::lower_bound(starts.begin(), starts.end(), places);
      const int64_t free = places - (taken_end - starts.begin());
      auto taken = starts.begin();
      TakeSome(
          std::min(limits.least - spans, free), free, places, RowNumbers(stream, row, kLimitsKey),
          [&](int64_t i) {
            while (taken != taken_end && *taken < i) ++taken;
            return taken == taken_end || *taken != i;
          },
          [&](int64_t i) { std::fill_n(out + i, span, false); });
    }
  });
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
