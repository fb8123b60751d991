#include "kernels/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_tile.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/attention_tile-inl.h"
// clang-format on

// NOLINTBEGIN(bugprone-macro-parentheses): a type does not stand in parentheses.

// Highway exports functions, not templates: one of each for each element type.
HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

#define CAFFE2OP_MASK_TILE_OF(T)                                                               \
  void SoftmaxTileOf##T(                                                                       \
      const ScoreTile<T>& tile, Wide<T>* max, Wide<T>* sum, Wide<T>* output, int64_t depth) {  \
    SoftmaxOfTile(tile, max, sum, output, depth);                                              \
  }                                                                                            \
  void ProbabilityTileOf##T(                                                                   \
      const ScoreTile<T>& tile, const Wide<T>* base, const Wide<T>* factor, Wide<T>* slopes) { \
    ProbabilityOfTile(tile, base, factor, slopes);                                             \
  }                                                                                            \
  void ScoreGradientTileOf##T(const ScoreTile<T>& tile, const Wide<T>* delta, Wide<T>* dp) {   \
    ScoreGradientOfTile(tile, delta, dp);                                                      \
  }                                                                                            \
  void RowDotsOf##T(const T* a, const T* b, int64_t rows, int64_t depth, Wide<T>* dots) {      \
    DotsOfRows(a, b, rows, depth, dots);                                                       \
  }                                                                                            \
  void WriteRowOf##T(const Wide<T>* in, Wide<T> factor, int64_t count, T* out) {               \
    WriteScaledRow(in, factor, count, out);                                                    \
  }

CAFFE2OP_MASK_TILE_OF(Float16)
CAFFE2OP_MASK_TILE_OF(BFloat16)
CAFFE2OP_MASK_TILE_OF(float)
CAFFE2OP_MASK_TILE_OF(double)
#undef CAFFE2OP_MASK_TILE_OF

#define CAFFE2OP_MASK_TILE_OF(W)                                        \
  void ScaleTileOf##W(const W* slopes, W scale, int64_t count, W* ds) { \
    ScaleAll(slopes, scale, count, ds);                                 \
  }                                                                     \
  bool AllFiniteOf##W(const W* in, int64_t count) {                     \
    return FiniteAll(in, count);                                        \
  }

CAFFE2OP_MASK_TILE_OF(float)
CAFFE2OP_MASK_TILE_OF(double)
#undef CAFFE2OP_MASK_TILE_OF

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace caffe2op_mask {

#define CAFFE2OP_MASK_TILE_OF(T)                                                               \
  HWY_EXPORT(SoftmaxTileOf##T);                                                                \
  HWY_EXPORT(ProbabilityTileOf##T);                                                            \
  HWY_EXPORT(ScoreGradientTileOf##T);                                                          \
  HWY_EXPORT(RowDotsOf##T);                                                                    \
  HWY_EXPORT(WriteRowOf##T);                                                                   \
  template <>                                                                                  \
  void SoftmaxTile(                                                                            \
      const ScoreTile<T>& tile, Wide<T>* max, Wide<T>* sum, Wide<T>* output, int64_t depth) {  \
    HWY_DYNAMIC_DISPATCH(SoftmaxTileOf##T)(tile, max, sum, output, depth);                     \
  }                                                                                            \
  template <>                                                                                  \
  void ProbabilityTile(                                                                        \
      const ScoreTile<T>& tile, const Wide<T>* base, const Wide<T>* factor, Wide<T>* slopes) { \
    HWY_DYNAMIC_DISPATCH(ProbabilityTileOf##T)(tile, base, factor, slopes);                    \
  }                                                                                            \
  template <>                                                                                  \
  void ScoreGradientTile(const ScoreTile<T>& tile, const Wide<T>* delta, Wide<T>* dp) {        \
    HWY_DYNAMIC_DISPATCH(ScoreGradientTileOf##T)(tile, delta, dp);                             \
  }                                                                                            \
  template <>                                                                                  \
  void RowDots(const T* a, const T* b, int64_t rows, int64_t depth, Wide<T>* dots) {           \
    HWY_DYNAMIC_DISPATCH(RowDotsOf##T)(a, b, rows, depth, dots);                               \
  }                                                                                            \
  template <>                                                                                  \
  void WriteRow(const Wide<T>* in, Wide<T> factor, int64_t count, T* out) {                    \
    HWY_DYNAMIC_DISPATCH(WriteRowOf##T)(in, factor, count, out);                               \
  }

CAFFE2OP_MASK_TILE_OF(Float16)
CAFFE2OP_MASK_TILE_OF(BFloat16)
CAFFE2OP_MASK_TILE_OF(float)
CAFFE2OP_MASK_TILE_OF(double)
#undef CAFFE2OP_MASK_TILE_OF

#define CAFFE2OP_MASK_TILE_OF(W)                                    \
  HWY_EXPORT(ScaleTileOf##W);                                       \
  HWY_EXPORT(AllFiniteOf##W);                                       \
  void ScaleTile(const W* slopes, W scale, int64_t count, W* ds) {  \
    HWY_DYNAMIC_DISPATCH(ScaleTileOf##W)(slopes, scale, count, ds); \
  }                                                                 \
  bool AllFinite(const W* in, int64_t count) {                      \
    return HWY_DYNAMIC_DISPATCH(AllFiniteOf##W)(in, count);         \
  }

CAFFE2OP_MASK_TILE_OF(float)
CAFFE2OP_MASK_TILE_OF(double)
#undef CAFFE2OP_MASK_TILE_OF

}  // namespace caffe2op_mask
#endif  // HWY_ONCE

// NOLINTEND(bugprone-macro-parentheses)
