#pragma once

// The steps of a masked softmax and of its gradient, each over a piece of a row: what of
// kernels/masked_softmax.h is compiled for each target.

#include <cstdint>

#include "kernels/masked_softmax.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// What a piece adds to the sums of its row's gradient.
struct PieceSums {
  double dot;    // of p and dy, or, of logarithms, the sum of dy
  double total;  // of p
};

// For one element type T. A mask is that of the piece's entries, or null. What is `packed` are the
// kept entries alone as Wide<T>, aligned, with room for a vector more; numbers beside it are of
// Wide<T>, too, where they are not sums. A piece is `alone` where it is all that its row keeps.
struct SoftmaxSteps {
  // Packs the scores of a row from a column on, -inf where the mask is False. Returns the greatest
  // that is a number; NaN if that is -inf and there is a NaN.
  double (*pack_scores)(
      const Scores& scores, int64_t row, int64_t column, int64_t entries, const bool* mask,
      void* packed);
  // Returns the sum of exp(score - max). They replace the scores, unless those are kept.
  double (*exp_and_sum)(void* packed, int64_t entries, double max, bool alone, bool keep_scores);
  // Write what is packed divided by `sum`, less `max` and `log_sum`, or times `factor`.
  void (*write_quotients)(const void* packed, int64_t entries, double sum, void* out);
  void (*write_logs)(const void* packed, int64_t entries, double max, double log_sum, void* out);
  void (*write_products)(const void* packed, int64_t entries, double factor, void* out);

  // Fills out[0, bytes).
  void (*fill)(uint64_t pattern, int64_t bytes, uint8_t* out);

  // Those of the gradient hang on what was written.
  struct OfForm {
    // Packs what is kept of the softmax p, which is y or, of logarithms, exp(y).
    PieceSums (*pack_probabilities)(
        const void* y, const void* dy, const bool* mask, int64_t entries, bool alone, void* packed);
    // Replaces p by p (dy - dot) or, of logarithms, dy - p dot, 0 where masked or `empty`.
    void (*pack_differences)(
        const void* dy, const bool* mask, int64_t entries, double dot, bool empty, void* packed);
  };
  OfForm plain;
  OfForm log;
  // Adds what is packed to sums of its entries or, with a stride of 0, to one.
  void (*add_to)(const void* packed, int64_t entries, int64_t stride, double* sums);
};

// Those of the target.
const SoftmaxSteps& SoftmaxStepsOf(Real type);

}  // namespace caffe2op_mask
