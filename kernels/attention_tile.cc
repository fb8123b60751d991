#include "kernels/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_tile.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/attention_tile-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace {

ProbabilityTile SoftmaxTile(ScoreTile scores, void* max, void* sum, void* output, int64_t depth) {
  WithWide(scores.tile.type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    SoftmaxRows(
        scores.tile, static_cast<W*>(scores.at), static_cast<W*>(max), static_cast<W*>(sum),
        static_cast<W*>(output), depth);
  });
  return {scores.tile, scores.at};
}

ProbabilityTile NormalizeTile(
    ScoreTile scores, const void* base, const void* factor, void* slopes) {
  WithWide(scores.tile.type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    NormalizeRows(
        scores.tile, static_cast<W*>(scores.at), static_cast<const W*>(base),
        static_cast<const W*>(factor), static_cast<W*>(slopes));
  });
  return {scores.tile, scores.at};
}

GradientTile DifferentiateTile(
    ProbabilityTile probabilities, const void* delta, void* dp, double scale, const void* slopes) {
  WithWide(probabilities.tile.type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    DifferentiateRows(
        probabilities.tile, static_cast<const W*>(probabilities.at), static_cast<const W*>(delta),
        static_cast<W*>(dp), static_cast<W>(scale), static_cast<const W*>(slopes));
  });
  return {probabilities.tile, dp};
}

void RowDots(Real type, const void* a, const void* b, int64_t rows, int64_t depth, void* dots) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    DotsOfRows(
        static_cast<const W*>(a), static_cast<const W*>(b), rows, depth, static_cast<W*>(dots));
  });
}

void WriteRow(Real type, const void* in, double factor, int64_t count, void* out, int64_t first) {
  WithElement(type, [&](auto element) HWY_ATTR {
    using T = decltype(element);
    using W = Wide<T>;
    WriteScaledRow(
        static_cast<const W*>(in), static_cast<W>(factor), count, static_cast<T*>(out) + first);
  });
}

bool AllFinite(Real type, const void* in, int64_t count) {
  return WithWide(type, [&](auto wide) HWY_ATTR {
    return FiniteAll(static_cast<const decltype(wide)*>(in), count);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(SoftmaxTile);
HWY_EXPORT(NormalizeTile);
HWY_EXPORT(DifferentiateTile);
HWY_EXPORT(RowDots);
HWY_EXPORT(WriteRow);
HWY_EXPORT(AllFinite);

}  // namespace

ProbabilityTile SoftmaxTile(ScoreTile scores, void* max, void* sum, void* output, int64_t depth) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxTile)(scores, max, sum, output, depth);
}

ProbabilityTile NormalizeTile(
    ScoreTile scores, const void* base, const void* factor, void* slopes) {
  return HWY_DYNAMIC_DISPATCH(NormalizeTile)(scores, base, factor, slopes);
}

GradientTile DifferentiateTile(
    ProbabilityTile probabilities, const void* delta, void* dp, double scale, const void* slopes) {
  return HWY_DYNAMIC_DISPATCH(DifferentiateTile)(probabilities, delta, dp, scale, slopes);
}

void RowDots(Real type, const void* a, const void* b, int64_t rows, int64_t depth, void* dots) {
  HWY_DYNAMIC_DISPATCH(RowDots)(type, a, b, rows, depth, dots);
}

void WriteRow(Real type, const void* in, double factor, int64_t count, void* out, int64_t first) {
  HWY_DYNAMIC_DISPATCH(WriteRow)(type, in, factor, count, out, first);
}

bool AllFinite(Real type, const void* in, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(AllFinite)(type, in, count);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
