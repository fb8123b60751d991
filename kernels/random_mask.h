#pragma once

// Masks that are drawn: True with a probability that each entry has of its own, or
// False with one for all. The same whatever the number of threads.

#include <cstdint>

#include "kernels/functors.h"
#include "kernels/parallel.h"
#include "kernels/random.h"
#include "kernels/real_block.h"

namespace caffe2op_mask {

// mask[i] is True with probability sigmoid(z[i]); log_prob[i], of z's type, is the
// logarithm of the probability of what was drawn.
void BernoulliMask(
    Real type, const void* z, int64_t size, RandomStream stream, bool* mask, void* log_prob,
    ParallelFor parallel_for);

// d_z from that of log_prob.
void BernoulliMaskGradient(
    Real type, const void* z, const bool* mask, const void* d_log_prob, int64_t size, void* d_z,
    ParallelFor parallel_for);

// Each is False with probability p of [0, 1].

void RandomMaskElements(
    double p, int64_t size, RandomStream stream, bool* mask, ParallelFor parallel_for);

// What a row can be masked of, and the least of it that must be.
struct RowLimits {
  IntersectionFunctor real;  // [0, length); what is behind it stays True
  int64_t least = 0;         // units: elements, or spans
};

// Puts the limits to rows of elements that were drawn: more of them become False, each choice
// of those that can with one probability, until there are enough or no more.
void LimitElements(
    const RowLimits& limits, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for);

// All entries of a row alike.
void RandomMaskRows(
    double p, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for);

// At each entry of a row, and at the span - 1 places before it, a span of False
// begins with one probability: that by which each entry is in a span with p. What the limits
// add are whole spans, which begin where none does.
void RandomMaskSpans(
    double p, int64_t span, int64_t rows, int64_t columns, RandomStream stream, bool* mask,
    ParallelFor parallel_for, const RowLimits& limits = {});

}  // namespace caffe2op_mask
