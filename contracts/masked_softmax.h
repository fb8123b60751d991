#pragma once

// MaskedSoftmax and its gradient: what they take, and what their kernels are called with.

#include <optional>

#include "contracts/scores.h"
#include "kernels/masked_softmax.h"

namespace caffe2op_mask {

struct SoftmaxOptions {
  ScoreOptions scores;
  std::optional<int64_t> axis;
  bool log = false;
};

class SoftmaxContract {
 public:
  SoftmaxContract(const char* op, const SoftmaxOptions& options);

  const ScoreContract& scores() const { return scores_; }
  SoftmaxForm form() const { return form_; }

  // What kernels take; its pointers are those of the inputs.
  struct Bound {
    Scores scores;
    ScoreMask mask;
  };

  // Of MaskedSoftmax: `lse` where the log-sum-exp is asked for.
  Bound Bind(const TensorView& x, const ScoreInputs& inputs, bool lse) const;

  // Of its gradient. d_y, d_lse and x are null where there are none.
  struct GradientInputs {
    TensorView y;
    const TensorView* d_y = nullptr;
    const TensorView* d_lse = nullptr;
    const TensorView* x = nullptr;
    ScoreInputs scores;
  };
  Bound BindGradient(const GradientInputs& inputs) const;

  // Whether the gradient reads X: empty rows that are not zeros are recognised by it.
  bool gradient_takes_x() const { return scores_.empty_row() != EmptyRow::kZero; }

 private:
  Bound BindRows(const char* name, const TensorView& rows, const ScoreInputs& inputs) const;

  const char* op_;
  ScoreContract scores_;
  std::optional<int64_t> axis_;
  SoftmaxForm form_;
};

}  // namespace caffe2op_mask
