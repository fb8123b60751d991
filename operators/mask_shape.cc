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

}  // namespace

MaskShape::MaskShape(const OperatorDef& def)
    : radius_(Arguments(def).Int("radius", 10)), diagonal_(Arguments(def).Int("diagonal", 0)) {
  const std::string mode = Arguments(def).String("mode", "");
  for (const std::string& part : Split(mode)) {
    CAFFE_ENFORCE(
        std::count(PartNames().begin(), PartNames().end(), part) == 1, def.type(),
        ": argument mode must be mask, or shapes of sequence, window, upper, lower, upperdiag, "
        "lowerdiag joined by '+', but is '",
        mode, "'.");
    if (!Has(part)) parts_.push_back(part);
  }
  CAFFE_ENFORCE(
      radius_ >= 0, def.type(), ": argument radius must not be negative, but is ", radius_, ".");
}

bool MaskShape::Has(const std::string& part) const {
  return std::count(parts_.begin(), parts_.end(), part) > 0;
}

IntersectionFunctor MaskShape::Functor(
    int64_t rows, const Tensor* lengths, RowIndex lengths_index, const Tensor* centers,
    RowIndex centers_index) const {
  const RowIndex row{1, rows};
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
      functor.Add(UpperFunctor{diagonal_, row});
    } else if (part == "lower") {
      functor.Add(LowerFunctor{diagonal_, row});
    } else if (part == "upperdiag") {
      functor.Add(UpperDiagFunctor{diagonal_, row});
    } else {
      functor.Add(LowerDiagFunctor{diagonal_, row});
    }
  }
  return functor;
}

}  // namespace mask
}  // namespace caffe2
