#pragma once

// RandomMask: what it takes, and how it is drawn.

#include <optional>
#include <string_view>

#include "contracts/number.h"
#include "contracts/tensor_view.h"
#include "kernels/random_mask.h"

namespace caffe2op_mask {

struct RandomMaskOptions {
  Number p = RealNumber(double{0.15F});
  std::string_view unit = "element";
  std::optional<int64_t> span_length;  // 10 where there is none
  std::optional<int64_t> min_masked;   // 0 where there is none
};

class RandomMaskContract {
 public:
  RandomMaskContract(const char* op, const RandomMaskOptions& options, bool has_lengths);

  // What rows of these sizes are limited to; `lengths` is null where there are none.
  RowLimits Limits(Sizes sizes, const TensorView* lengths) const;
  // Draws a mask of these sizes.
  void Draw(
      Sizes sizes, const RowLimits& limits, RandomStream stream, bool* mask,
      ParallelFor parallel_for) const;

 private:
  enum class Unit { kElement, kRow, kSpan };
  static Unit ReadUnit(const char* op, std::string_view unit);

  const char* op_;
  Unit unit_;
  double p_;
  int64_t span_length_;
  int64_t min_masked_;
};

}  // namespace caffe2op_mask
