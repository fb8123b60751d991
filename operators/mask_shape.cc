#include "operators/mask_shape.h"

#include <algorithm>
#include <limits>

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

constexpr std::array<const char*, 7> kPartNames{"sequence", "window",    "left_pad", "upper",
                                                "lower",    "upperdiag", "lowerdiag"};
static_assert(
    kPartNames.size() + 2 == IntersectionFunctor::kMaxParts, "all shapes, and the sides of a band");

// The shape that reads an input, and what the input is called.
struct Reader {
  const char* part;
  const char* input;
};

constexpr std::array<Reader, kRowInputs> kReaders{
    {{"sequence", "lengths"}, {"window", "centers"}, {"left_pad", "left_pad"}}};

// A shape of entries of the type that the input has.
template <template <typename> class Shape, typename... Arguments>
MaskFunctor OfEntries(const RowEntries& of, Arguments... arguments) {
  if (of.tensor->IsType<int32_t>()) {
    return Shape<int32_t>{of.tensor->data<int32_t>(), arguments..., of.index};
  }
  return Shape<int64_t>{of.tensor->data<int64_t>(), arguments..., of.index};
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

const char* NameOf(RowInput input) {
  return kReaders[input].input;
}

MaskShape::MaskShape(const OperatorDef& def, Use use)
    : radius_(Arguments(def).Int("radius", 10)), diagonal_(Arguments(def).Int("diagonal", 0)) {
  const std::string mode = Arguments(def).String("mode", "");
  const bool scores = use == Use::kScores;
  if (!scores || !mode.empty()) {
    for (const std::string& part : Split(mode)) {
      CAFFE_ENFORCE(
          std::count(kPartNames.begin(), kPartNames.end(), part) == 1, def.type(),
          ": argument mode must be ", scores ? "empty" : "mask",
          ", or shapes of sequence, window, left_pad, upper (causal), lower, upperdiag, lowerdiag "
          "joined by '+', but is '",
          mode, "'.");
      if (!Has(part)) parts_.push_back(part);
    }
  }
  for (size_t i = 0; i < kRowInputs; ++i) {
    if (Has(kReaders[i].part)) row_inputs_.push_back(static_cast<RowInput>(i));
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
    const RowPosition& position, const std::array<RowEntries, kRowInputs>& entries) const {
  IntersectionFunctor functor;
  for (const std::string& part : parts_) {
    if (part == "sequence") {
      functor.Add(OfEntries<SequenceFunctor>(entries[kLengths]));
    } else if (part == "window") {
      functor.Add(OfEntries<WindowFunctor>(entries[kCenters], radius_));
    } else if (part == "left_pad") {
      functor.Add(OfEntries<LeftPadFunctor>(entries[kLeftPad]));
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
