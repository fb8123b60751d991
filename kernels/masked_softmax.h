#pragma once

// Softmax over what a mask keeps of each row, and its gradient. What is masked is
// not computed; each row is read once and written once.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/functors.h"
#include "kernels/parallel.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// What is kept of a matrix of scores: the columns that the functor keeps, less
// those where the mask, if there is one, is False.
struct ScoreMask {
  IntersectionFunctor shape;
  const bool* mask = nullptr;
  RowBroadcast mask_rows;
};

// Row r has the scores scale * x[r, j] + bias, with the scale as Wide<T>, which can hold it; null
// stands for no bias.
struct Scores {
  Real type;
  int64_t rows;
  int64_t columns;
  const void* x;
  double scale;
  const void* bias = nullptr;
  RowBroadcast bias_rows;
};

// What a row becomes that has nothing kept, or whose kept scores are all -inf.
enum class EmptyRow { kZero, kNaN, kUniform };

// What is written: the softmax or its logarithm.
enum class SoftmaxForm { kPlain, kLog };

// y[r, j] = exp(score - max) / sum over what is kept, 0 where masked. The scores are
// rounded to Wide<T>, once where the target can. Of their exact softmax, whatever their
// size and number, y is within 2 ulp of float, within 3 on a target without fused
// multiply-add, within 8 ulp of double, and then rounded to T. A kept NaN or +inf makes
// NaN of all that its row keeps. `y` is `x` or does not overlap it.
//
// kLog writes score - max - log(sum), -inf where masked, and of an empty row the logarithm
// of what kPlain writes. It is within 2 ulp of the exact value, or within 2^-24 of it (8
// and 2^-50 of double). lse[r] = max + log(sum), unless `lse` is null: -inf of an empty
// row, NaN where kPlain writes NaN; it is of Wide<T>.
void MaskedSoftmax(
    const Scores& scores, const ScoreMask& mask, EmptyRow empty_row, SoftmaxForm form, void* y,
    void* lse, ParallelFor parallel_for);

// What a gradient of the softmax is made of: its output, and the gradients of its
// output and of its LSE, as the softmax has them. `d_lse` may be null.
struct SoftmaxOutputs {
  SoftmaxForm form;
  const void* y;
  const void* d_y;
  const void* d_lse = nullptr;
};

// Gradients of the above: with p the softmax, ds = p (d_y - sum of p d_y + d_lse), or, of
// kLog, d_y - p (sum of d_y - d_lse); of what is masked and of empty rows 0. dx = scale ds,
// and dbias = ds summed over what each entry of the bias served. Sums are the same whoever
// runs the pieces. scores.x may be null if empty rows are zero: otherwise they are
// recognised by it and the bias. Of the bias only bias_rows is read then; dbias may be
// null. `dx` is `d_y` or does not overlap any input.
void MaskedSoftmaxGradient(
    const Scores& scores, const ScoreMask& mask, const SoftmaxOutputs& outputs, void* dx,
    void* dbias, ParallelFor parallel_for);

}  // namespace caffe2op_mask
