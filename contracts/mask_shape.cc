#include "contracts/mask_shape.h"

#include <algorithm>
#include <list>
#include <string>
#include <tuple>

#include "contracts/error.h"

namespace caffe2op_mask {

// Where a functor is made: for rows at a position, with the arguments and inputs of an operator.
struct Place {
  const RowPosition& position;
  const std::array<RowEntries, kRowInputs>& entries;
  int64_t radius;
  int64_t diagonal;
};

struct MaskPart {
  const char* name;
  const char* also;   // what others call it, or empty
  const char* keeps;  // of row i
  RowInput reads;     // kRowInputs stands for none
  MaskFunctor (*make)(const Place& at);
};

namespace {

constexpr std::array<const char*, kRowInputs> kInputNames{"lengths", "centers", "left_pad"};

// A shape of entries of the type that its input has.
template <template <typename> class Shape, typename... Arguments>
MaskFunctor OfEntries(const RowEntries& of, Arguments... arguments) {
  if (of.is_int32)
    return Shape<int32_t>{static_cast<const int32_t*>(of.data), arguments..., of.index};
  return Shape<int64_t>{static_cast<const int64_t*>(of.data), arguments..., of.index};
}

template <class Triangle>
MaskFunctor TriangleAt(const Place& at) {
  return Triangle{at.diagonal, at.position};
}

// All shapes, in the order in which texts name them.
constexpr std::array<MaskPart, 7> kParts{{
    {"sequence", "", "j < lengths[i]", kLengths,
     [](const Place& at) { return OfEntries<SequenceFunctor>(at.entries[kLengths]); }},
    {"window", "", "abs(j - centers[i]) <= radius", kCenters,
     [](const Place& at) { return OfEntries<WindowFunctor>(at.entries[kCenters], at.radius); }},
    {"left_pad", "", "j >= left_pad[i]", kLeftPad,
     [](const Place& at) { return OfEntries<LeftPadFunctor>(at.entries[kLeftPad]); }},
    {"upper", "causal", "j <= i + diagonal", kRowInputs, TriangleAt<UpperFunctor>},
    {"lower", "", "j >= i + diagonal", kRowInputs, TriangleAt<LowerFunctor>},
    {"upperdiag", "", "j < i + diagonal", kRowInputs, TriangleAt<UpperDiagFunctor>},
    {"lowerdiag", "", "j > i + diagonal", kRowInputs, TriangleAt<LowerDiagFunctor>},
}};
static_assert(
    std::tuple_size<decltype(kParts)>::value + 2 == IntersectionFunctor::kMaxParts,
    "all shapes, and the sides of a band");

// Null where there is no such shape.
const MaskPart* FindPart(std::string_view name) {
  const auto* const found = std::find_if(
      kParts.begin(), kParts.end(), [&](const MaskPart& part) { return part.name == name; });
  return found == kParts.end() ? nullptr : found;
}

// " (causal)", or nothing.
std::string AlsoOf(const MaskPart& part) {
  return *part.also == 0 ? "" : std::string(" (") + part.also + ")";
}

std::string ListOfParts() {
  std::string list;
  for (const MaskPart& part : kParts) {
    list += (list.empty() ? "" : ", ") + (part.name + AlsoOf(part));
  }
  return list;
}

std::string RowsOfParts() {
  std::string rows;
  for (const MaskPart& part : kParts) {
    const char* const input = part.reads == kRowInputs ? "" : kInputNames[part.reads];
    rows += std::string(rows.empty() ? "| " : "\n| ") + part.name + " | " + part.keeps +
            AlsoOf(part) + " | " + input + (*input == 0 ? "|" : " |");
  }
  return rows;
}

void Replace(const std::string& name, const std::string& by, std::string* text) {
  const size_t at = text->find(name);
  if (at != std::string::npos) text->replace(at, name.size(), by);
}

std::vector<std::string_view> Split(std::string_view mode) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = mode.find('+', begin);
    parts.push_back(mode.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

void CheckSide(const char* op, const char* name, int64_t side) {
  Require(side >= -1, op, ": argument ", name, " must be -1 (open) or more, but is ", side, ".");
}

}  // namespace

const char* NameOf(RowInput input) {
  return kInputNames[input];
}

const char* WithShapes(const char* text) {
  static std::list<std::string> texts;
  std::string& with = texts.emplace_back(text);
  Replace("{shapes}", RowsOfParts(), &with);
  Replace("{names}", ListOfParts(), &with);
  return with.c_str();
}

MaskShape::MaskShape(const char* op, const ShapeOptions& options, Use use)
    : radius_(options.radius),
      diagonal_(options.diagonal),
      window_left_(options.window_left),
      window_right_(options.window_right) {
  const bool scores = use == Use::kScores;
  if (!scores || !options.mode.empty()) {
    for (const std::string_view name : Split(options.mode)) {
      const MaskPart* const part = FindPart(name);
      if (part == nullptr) {
        Throw(
            Sentence() << op << ": argument mode must be " << (scores ? "empty" : "mask")
                       << ", or shapes of " << std::string_view(ListOfParts())
                       << " joined by '+', but is '" << options.mode << "'.");
      }
      if (std::count(parts_.begin(), parts_.end(), part) == 0) parts_.push_back(part);
    }
  }
  for (size_t i = 0; i < kRowInputs; ++i) {
    const auto input = static_cast<RowInput>(i);
    if (Reads(input)) row_inputs_.push_back(input);
  }
  Require(radius_ >= 0, op, ": argument radius must not be negative, but is ", radius_, ".");
  CheckSide(op, "window_left", window_left_);
  CheckSide(op, "window_right", window_right_);
}

bool MaskShape::Reads(RowInput input) const {
  return std::any_of(
      parts_.begin(), parts_.end(), [input](const MaskPart* part) { return part->reads == input; });
}

IntersectionFunctor MaskShape::Functor(
    const RowPosition& position, const std::array<RowEntries, kRowInputs>& entries) const {
  IntersectionFunctor functor;
  const Place at{position, entries, radius_, diagonal_};
  for (const MaskPart* const part : parts_) functor.Add(part->make(at));
  if (window_left_ >= 0) functor.Add(LowerFunctor{-window_left_, position});
  if (window_right_ >= 0) functor.Add(UpperFunctor{window_right_, position});
  return functor;
}

}  // namespace caffe2op_mask
