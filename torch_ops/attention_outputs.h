#pragma once

#include <optional>

#include "contracts/masked_attention.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {

// What the gradient of attention takes of the forward pass.
class AttentionOutputInputs {
 public:
  AttentionOutputInputs(
      const char* op, const Tensor& o, const Tensor& lse, const std::optional<Tensor>& d_o,
      const std::optional<Tensor>& d_lse)
      : o_(op, "o", o, Input::Layout::kRows),
        lse_(op, "lse", lse),
        d_o_(op, "d_o", d_o, Input::Layout::kRows),
        d_lse_(op, "d_lse", d_lse) {}

  AttentionOutputViews Views() const {
    return {o_.get(), lse_.get(), d_o_.get(), d_lse_.get(), "o", "lse", "d_o", "d_lse"};
  }

 private:
  Input o_;
  Input lse_;
  Input d_o_;
  Input d_lse_;
};

}  // namespace torch_ops
}  // namespace caffe2op_mask
