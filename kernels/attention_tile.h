#pragma once

// What attention does to a tile of scores between the products of matrices: from scores to
// probabilities, and to the gradients of the scores.

#include <cstdint>

#include "kernels/functors.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Entries at whose multiples rows of a tile begin.
constexpr int64_t kTileAlignment = 16;

// Queries of one unit by keys that follow one another, and which of their scores are kept.
// Matrices of a tile are of Wide<T>, aligned, with rows as long as whole vectors.
struct AttentionTile {
  Real type;          // of the bias
  int64_t first_row;  // of the queries, counted over all units
  int64_t first_key;  // of the unit's
  int64_t rows;
  int64_t columns;
  int64_t stride;        // between rows of a matrix, a multiple of kTileAlignment
  const Interval* kept;  // of each row, in columns of the tile
  // Of each row from the tile's first column on, or null where there is none; bias
  // entries are bias_stride apart, 1 or 0.
  const bool* const* mask;
  const void* const* bias;
  int64_t bias_stride;
  double softcap;  // c of c tanh(score / c), or 0
};

// What the matrix of a tile holds. Each step takes the memory of the one before.
struct ScoreTile {
  const AttentionTile& tile;
  void* at;  // scale * q k
};
struct ProbabilityTile {
  const AttentionTile& tile;
  const void* at;  // 0 where masked
};
struct GradientTile {
  const AttentionTile& tile;
  const void* at;  // 0 where masked
};

// One step of the online softmax: p = exp(score - max), where `max` of each row is the greatest
// score seen so far, a number; brings `sum` of p and `output`, rows of `depth` entries that p has
// weighed, to a new max. `max` begins as -inf and `sum` as 0, or as a score without a value and 1;
// on the first step there is no output yet (null).
ProbabilityTile SoftmaxTile(ScoreTile scores, void* max, void* sum, void* output, int64_t depth);

// p = exp(score - base) * factor, with a base of each row and a factor, or 1 where `factor` is
// null; rows whose base is -inf must keep nothing. With a softcap, `slopes`, of the same stride,
// gets its derivative.
ProbabilityTile NormalizeTile(ScoreTile scores, const void* base, const void* factor, void* slopes);

// ds = p (dp - delta) * scale * slopes in the place of dp, a matrix of the tile; slopes may be
// null.
GradientTile DifferentiateTile(
    ProbabilityTile probabilities, const void* delta, void* dp, double scale, const void* slopes);

// dots[r] = sum of a[r, j] b[r, j] over rows of `depth` entries, all of Wide<T>.
void RowDots(Real type, const void* a, const void* b, int64_t rows, int64_t depth, void* dots);

// Elements [first, first + count) of `out`, of `type`, become factor * in[j], of Wide<T>.
void WriteRow(Real type, const void* in, double factor, int64_t count, void* out, int64_t first);

// True where all entries, of Wide<T>, are finite.
bool AllFinite(Real type, const void* in, int64_t count);

}  // namespace caffe2op_mask
