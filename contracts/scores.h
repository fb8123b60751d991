#pragma once

// What MaskedSoftmax and MaskedAttention share: the options and the optional inputs that say what
// is kept of their scores and what is added to them.

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "contracts/mask_shape.h"
#include "contracts/number.h"
#include "contracts/tensor_view.h"
#include "kernels/masked_softmax.h"

namespace caffe2op_mask {

// Sizes of a log-sum-exp, which has an entry for each row of what is of these sizes.
inline Sizes LogSumExpSizes(Sizes sizes) {
  return sizes.First(sizes.rank() > 0 ? sizes.rank() - 1 : 0);
}

struct ScoreOptions {
  ShapeOptions shape;
  bool has_mask = false;
  bool has_bias = false;
  bool has_sinks = false;  // of MaskedAttention alone
  std::optional<Number> scale;
  std::string_view empty_row = "zero";
};

// The optional inputs; those that the options do not have are not looked at.
struct ScoreInputs {
  std::array<TensorView, kRowInputs> of_rows;
  TensorView mask;
  TensorView bias;
  TensorView sinks;
};

class ScoreContract {
 public:
  // Throws where an option is not what it should be. `op` is a name that lives for good.
  ScoreContract(const char* op, const ScoreOptions& options);

  const std::vector<RowInput>& row_inputs() const { return shape_.row_inputs(); }
  bool Reads(RowInput input) const { return shape_.Reads(input); }
  bool has_mask() const { return has_mask_; }
  bool has_bias() const { return has_bias_; }
  bool has_sinks() const { return has_sinks_; }
  EmptyRow empty_row() const { return empty_row_; }

  // The scale, or `otherwise` where there is none; throws where the type computed in cannot hold
  // it.
  double Scale(double otherwise, Real type) const;

  // Calls f(name, input) for each optional input that there is, in their order.
  template <class F>
  void ForEach(ScoreInputs* inputs, const F& f) const {
    for (const RowInput input : row_inputs()) f(NameOf(input), &inputs->of_rows[input]);
    if (has_mask_) f("mask", &inputs->mask);
    if (has_bias_) f("bias", &inputs->bias);
    if (has_sinks_) f("sinks", &inputs->sinks);
  }

  // Which entry of a row input belongs to which row; throws where there is not one for each.
  RowEntries RowsOf(RowInput input, const TensorView& tensor, const char* name, Sizes sizes) const;

  // What is kept of scores of these sizes, rank 1 or more. Rows stand at their index in the dim
  // before the last; `shifts`, unless null, moves them by an entry for each of `lengths` or, where
  // there are none, one for all. Throws where an input is not what it should be; `name` is what
  // errors call the scores.
  ScoreMask Mask(
      const ScoreInputs& inputs, const char* name, Sizes sizes,
      const int64_t* shifts = nullptr) const;

  // The same, where no shape reads an input, of rows that stand at their own number.
  IntersectionFunctor Shape() const { return shape_.Functor(RowPosition(), {}); }

  // How the bias lies on the scores; throws unless it is of the type of `of_type` and can be
  // broadcast to them.
  RowBroadcast BiasRows(
      const TensorView& bias, const char* name, Sizes sizes, const TensorView& of_type) const;

 private:
  RowBroadcast Broadcast(
      const char* input, const TensorView& tensor, const char* name, Sizes sizes) const;

  const char* op_;
  MaskShape shape_;
  bool has_mask_;
  bool has_bias_;
  bool has_sinks_;
  std::optional<double> scale_;
  EmptyRow empty_row_;
};

}  // namespace caffe2op_mask
