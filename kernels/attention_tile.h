#pragma once

// What attention does to a tile of scores between the products of matrices. Rows of
// a tile are aligned and as long as whole vectors.

#include <cstdint>

#include "kernels/functors.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Entries at whose multiples rows of a tile begin.
constexpr int64_t kTileAlignment = 16;

// Scores of `rows` queries with `columns` keys that follow one another, and which of
// them are kept.
template <typename T>
struct ScoreTile {
  int64_t rows;
  int64_t columns;
  int64_t stride;        // between rows of `scores`, a multiple of kTileAlignment
  Wide<T>* scores;       // scale * Q K^T, to be overwritten
  const Interval* kept;  // of each row, in columns of the tile
  // Of each row from the tile's first column on, or null where there is none; bias
  // entries are bias_stride apart, 1 or 0.
  const bool* const* mask;
  const T* const* bias;
  int64_t bias_stride;
  Wide<T> softcap;  // c of c tanh(score / c), or 0
};

// One step of the online softmax. Replaces scores by p = exp(score - max), 0 where
// masked, where `max` of each row is the greatest score seen so far, a number; brings
// `sum` of p and `output`, rows of `depth` entries that p has weighed, to a new max.
// `max` begins as -inf and `sum` as 0, or as a score without a value and 1; on the first step
// there is no output yet (null).
template <typename T>
void SoftmaxTile(
    const ScoreTile<T>& tile, Wide<T>* max, Wide<T>* sum, Wide<T>* output, int64_t depth);

// Replaces scores by p = exp(score - base) * factor, 0 where masked, with a base of each
// row and a factor, or 1 where `factor` is null; rows whose base is -inf must keep
// nothing. With a softcap, `slopes`, of the same stride, gets its derivative.
template <typename T>
void ProbabilityTile(
    const ScoreTile<T>& tile, const Wide<T>* base, const Wide<T>* factor, Wide<T>* slopes);

// Replaces dp, of the tile's stride, by ds = p (dp - delta) where the tile holds p;
// 0 where masked.
template <typename T>
void ScoreGradientTile(const ScoreTile<T>& tile, const Wide<T>* delta, Wide<T>* dp);

// ds = ds * slopes * scale for all of a tile of `count` entries; slopes may be null.
void ScaleTile(const float* slopes, float scale, int64_t count, float* ds);
void ScaleTile(const double* slopes, double scale, int64_t count, double* ds);

// dots[r] = sum of a[r, j] b[r, j] over rows of `depth` entries.
template <typename T>
void RowDots(const T* a, const T* b, int64_t rows, int64_t depth, Wide<T>* dots);

// out[j] = factor * in[j].
template <typename T>
void WriteRow(const Wide<T>* in, Wide<T> factor, int64_t count, T* out);

// True where all entries are finite.
bool AllFinite(const float* in, int64_t count);
bool AllFinite(const double* in, int64_t count);

}  // namespace caffe2op_mask
