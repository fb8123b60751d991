#include "operators/mask_shape.h"

#include <algorithm>
#include <limits>

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

const std::vector<std::string>& PartNames() {
  static const std::vector<std::string> names{"sequence", "window",    "upper",
                                              "lower",    "upperdiag", "lowerdiag"};
  return names;
}

std::vector<std::string> Split(const std::string& mode) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = mode.find('+', begin);
    parts.push_back(mode.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

int64_t WindowSide(const OperatorDef& def, const char* name) {
  const int64_t side = Arguments(def).Int(name, -1);
  CAFFE_ENFORCE(
      side >= -1, def.type(), ": argument ", name, " must be -1 (open) or more, but is ", side,
      ".");
  return side;
}

}  // namespace

MaskShape::MaskShape(const OperatorDef& def, Use use)
    : radius_(Arguments(def).Int("radius", 10)), diagonal_(Arguments(def).Int("diagonal", 0)) {
  const std::string mode = Arguments(def).String("mode", "");
  const bool scores = use == Use::kScores;
  if (!scores || !mode.empty()) {
    for (const std::string& part : Split(mode)) {
      CAFFE_ENFORCE(
          std::count(PartNames().begin(), PartNames().end(), part) == 1, def.type(),
          ": argument mode must be ", scores ? "empty" : "mask",
          ", or shapes of sequence, window, upper (causal), lower, upperdiag, lowerdiag joined by "
          "'+', but is '",
          mode, "'.");
      if (!Has(part)) parts_.push_back(part);
    }
  }
  CAFFE_ENFORCE(
      radius_ >= 0, def.type(), ": argument radius must not be negative, but is ", radius_, ".");
  if (!scores) return;
  window_left_ = WindowSide(def, "window_left");
  window_right_ = WindowSide(def, "window_right");
}

bool MaskShape::Has(const std::string& part) const {
  return std::count(parts_.begin(), parts_.end(), part) > 0;
}

IntersectionFunctor MaskShape::Functor(
    const RowPosition& position, const Tensor* lengths, RowIndex lengths_index,
    const Tensor* centers, RowIndex centers_index) const {
  IntersectionFunctor functor;
  for (const std::string& part : parts_) {
    if (part == "sequence") {
      if (lengths->IsType<int32_t>()) {
        functor.Add(SequenceFunctor<int32_t>{lengths->data<int32_t>(), lengths_index});
      } else {
        functor.Add(SequenceFunctor<int64_t>{lengths->data<int64_t>(), lengths_index});
      }
    } else if (part == "window") {
      if (centers->IsType<int32_t>()) {
        functor.Add(WindowFunctor<int32_t>{centers->data<int32_t>(), radius_, centers_index});
      } else {
        functor.Add(WindowFunctor<int64_t>{centers->data<int64_t>(), radius_, centers_index});
      }
    } else if (part == "upper") {
      functor.Add(UpperFunctor{diagonal_, position});
    } else if (part == "lower") {
      functor.Add(LowerFunctor{diagonal_, position});
    } else if (part == "upperdiag") {
      functor.Add(UpperDiagFunctor{diagonal_, position});
    } else {
      functor.Add(LowerDiagFunctor{diagonal_, position});
    }
  }
  if (window_left_ >= 0) functor.Add(LowerFunctor{-window_left_, position});
  if (window_right_ >= 0) functor.Add(UpperFunctor{window_right_, position});
  return functor;
}

}  // namespace mask
}  // namespace caffe2
