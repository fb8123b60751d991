// Contracts without a runtime. What each operator takes and refuses is tested by way of Caffe2, in
// tests/python; here is what contracts are made of, and that each can be called alone.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "contracts/boolean_mask.h"
#include "contracts/boolean_mask_lengths.h"
#include "contracts/boolean_unmask.h"
#include "contracts/check.h"
#include "contracts/error.h"
#include "contracts/fill_value.h"
#include "contracts/gate.h"
#include "contracts/masked_attention.h"
#include "contracts/masked_attention_jagged.h"
#include "contracts/masked_softmax.h"
#include "contracts/mixture_gate.h"
#include "contracts/random_mask.h"
#include "contracts/sequence_mask.h"
#include "kernels/real.h"

namespace caffe2op_mask {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// The sentence that f() throws.
template <class F>
std::string ErrorOf(const F& f) {
  try {
    f();
  } catch (const ContractError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

template <class... Parts>
std::string Text(const Parts&... parts) {
  Sentence sentence;
  (sentence << ... << parts);
  return std::string(sentence.text());
}

// A tensor of a type, whose data may be null where only its sizes are looked at.
TensorView ViewOf(ElementType type, const Dims& sizes, const void* data = nullptr) {
  TensorView view;
  view.type = type;
  view.element_bytes = ElementBytes(type);
  view.is_plain = type != ElementType::kOther;
  view.sizes = sizes;
  view.data = data;
  return view;
}

TEST(SizesTest, ProductSaturatesAndZeroWins) {
  EXPECT_EQ(Product(Dims{}), 1);
  EXPECT_EQ(Product(Dims{2, 3, 4}), 24);
  EXPECT_EQ(Product(Dims{kMost, 2}), kMost);
  EXPECT_EQ(Product(Dims{kMost, 2, 0}), 0);
  int64_t product = 0;
  EXPECT_FALSE(Multiply(Dims{int64_t{1} << 32, int64_t{1} << 31}, &product));
  EXPECT_TRUE(Multiply(Dims{int64_t{1} << 31, int64_t{1} << 31}, &product));
  EXPECT_EQ(product, int64_t{1} << 62);
}

TEST(SizesTest, DimsGrowBeyondTheFew) {
  Dims dims;
  std::vector<int64_t> expected;
  for (int64_t d = 0; d < 20; ++d) {
    dims.Append(Dims{d, -d});
    expected.insert(expected.end(), {d, -d});
    const Dims copy = dims;
    const Sizes sizes = copy;
    ASSERT_EQ(std::vector<int64_t>(sizes.begin(), sizes.end()), expected);
  }
  dims.FromBack(1) = 7;
  EXPECT_EQ(Sizes(dims)[39], 7);
}

TEST(SizesTest, Parts) {
  const Dims dims{2, 3, 4};
  const Sizes sizes = dims;
  EXPECT_TRUE(sizes.BeginsWith(Dims{2, 3}));
  EXPECT_TRUE(sizes.BeginsWith(Dims{}));
  EXPECT_FALSE(sizes.BeginsWith(Dims{2, 3, 4, 5}));
  EXPECT_FALSE(sizes.BeginsWith(Dims{3}));
  EXPECT_TRUE(sizes.From(1) == Dims({3, 4}));
  EXPECT_TRUE(sizes.Between(1, 2) == Dims{3});
  EXPECT_TRUE(sizes.First(0) == Sizes());
}

TEST(SentenceTest, Parts) {
  EXPECT_EQ(Text("a ", std::string_view("b\0c", 3), 1, int64_t{-2}), std::string("a b\0c1-2", 8));
  EXPECT_EQ(Text(Sizes(Dims{})), "[]");
  EXPECT_EQ(Text(Sizes(Dims{2, -1})), "[2, -1]");
  // Of float32 the fewest digits that say which; of others those of float64.
  EXPECT_EQ(Text(double{0.1F}), "0.1");
  EXPECT_EQ(Text(std::nextafter(0.1, 1.0)), "0.10000000000000002");
  EXPECT_EQ(Text(1e300), "1e+300");
  EXPECT_EQ(Text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(Text(Number{true, kMost, 0}), "9223372036854775807");
}

TEST(NumberTest, ReadsAllOfATextOrNone) {
  double number = 0;
  EXPECT_TRUE(ParseNumber("-1.5e3", &number));
  EXPECT_EQ(number, -1500);
  EXPECT_TRUE(ParseNumber("inf", &number));
  EXPECT_TRUE(std::isinf(number));
  EXPECT_TRUE(ParseNumber("0e5", &number));
  for (const char* text : {"", " 1", "1 ", "1,5", "0x1", "one", "1e999", "1e-999", "+inf"}) {
    EXPECT_FALSE(ParseNumber(text, &number)) << text;
  }
  EXPECT_FALSE(ParseNumber(std::string_view("1\0", 2), &number));
}

TEST(CheckTest, SizeOfAnOutputInBytes) {
  const Dims most{kMost / 4};
  CheckOutputSize("Op", "Y", most, ElementType::kFloat32);
  EXPECT_EQ(
      ErrorOf([&] { CheckOutputSize("Op", "Y", most, ElementType::kFloat64); }),
      "Op: Y would be of shape [2305843009213693951] and type float64, which is more than 2^63 - 1 "
      "bytes.");
  CheckOutputSize("Op", "Y", Dims{kMost, kMost, 0}, ElementType::kFloat64);
}

// The number nearest to `value` of a type that a table of all its elements gives.
template <typename T>
uint16_t Nearest(double value) {
  double best = std::numeric_limits<double>::infinity();
  uint16_t bits = 0;
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const T element{static_cast<uint16_t>(i)};
    const float number = ToFloat(element);
    if (!std::isfinite(number) || std::signbit(number) != std::signbit(value)) continue;
    const double distance = std::fabs(double{number} - value);
    const bool even = (i & 1U) == 0;
    if (distance < best || (distance == best && even)) {
      best = distance;
      bits = static_cast<uint16_t>(i);
    }
  }
  return bits;
}

TEST(FillValueTest, SixteenBitsAreRoundedOnce) {
  // Between two halves and a little more: by way of float it would be rounded to even.
  for (const double value :
       {1.0 + 0x1p-11 + 0x1p-40, 1.0 + 0x1p-11, -3.1415926535, 65519.99, 1e-7, 5.9e-8, 0.0}) {
    EXPECT_EQ(
        FillValue("Op", RealNumber(value), ElementType::kFloat16),
        0x0001000100010001U * Nearest<Float16>(value))
        << value;
  }
  for (const double value : {1.0 + 0x1p-8 + 0x1p-40, 1.0 + 0x1p-8, -3.1415926535, 1e-30}) {
    EXPECT_EQ(
        FillValue("Op", RealNumber(value), ElementType::kBFloat16),
        0x0001000100010001U * Nearest<BFloat16>(value))
        << value;
  }
}

TEST(FillValueTest, WholeTypesTakeWholeNumbersInReach) {
  const Number most{true, kMost, 0};
  EXPECT_EQ(FillValue("Op", most, ElementType::kInt64), uint64_t{kMost});
  EXPECT_EQ(FillValue("Op", RealNumber(255), ElementType::kUInt8), ~uint64_t{0});
  EXPECT_EQ(FillValue("Op", RealNumber(-1), ElementType::kInt16), ~uint64_t{0});
  EXPECT_EQ(FillValue("Op", RealNumber(1), ElementType::kBool), 0x0101010101010101U);
  const auto refused = [](const Number& number, ElementType type) {
    return ErrorOf([&] { FillValue("Op", number, type); });
  };
  EXPECT_EQ(
      refused(RealNumber(0.5), ElementType::kInt32),
      "Op: argument fill_val is 0.5, which data of type int32 cannot hold.");
  for (const ElementType type :
       {ElementType::kInt32, ElementType::kInt64, ElementType::kBool, ElementType::kUInt8,
        ElementType::kInt8, ElementType::kUInt16, ElementType::kInt16}) {
    EXPECT_NE(refused(RealNumber(0x1p63), type), "nothing was thrown");
    EXPECT_NE(refused(RealNumber(std::nan("")), type), "nothing was thrown");
    EXPECT_NE(
        refused(RealNumber(-std::numeric_limits<double>::infinity()), type), "nothing was thrown");
  }
  EXPECT_NE(refused(RealNumber(1e5), ElementType::kFloat16), "nothing was thrown");
  EXPECT_NE(refused(RealNumber(1e39), ElementType::kFloat32), "nothing was thrown");
}

TEST(MaskShapeTest, PartsAndTheirInputs) {
  ShapeOptions options;
  options.mode = "upper+window+sequence+upper";
  const MaskShape shape("Op", options, MaskShape::Use::kSequenceMask);
  EXPECT_EQ(shape.row_inputs(), (std::vector<RowInput>{kLengths, kCenters}));
  const std::vector<int32_t> lengths{3};
  const std::vector<int64_t> centers{4};
  std::array<RowEntries, kRowInputs> entries;
  entries[kLengths] = {lengths.data(), true, {1, 1}};
  entries[kCenters] = {centers.data(), false, {1, 1}};
  const IntersectionFunctor functor = shape.Functor(RowIndex{1, 8}, entries);
  EXPECT_EQ(functor.size(), 3U);
  EXPECT_EQ(functor(1, 8), (Interval{0, 2}));
  options.mode = "uper";
  const std::string error = ErrorOf([&] { MaskShape("Op", options, MaskShape::Use::kScores); });
  EXPECT_EQ(error.find("Op: argument mode must be empty, or shapes of sequence, "), 0U) << error;
  EXPECT_NE(error.find("joined by '+', but is 'uper'."), std::string::npos) << error;
}

TEST(MaskShapeTest, AWindowOfScoresFollowsTheRow) {
  ShapeOptions options;
  options.window_left = 1;
  options.window_right = 0;
  const MaskShape shape("Op", options, MaskShape::Use::kScores);
  const IntersectionFunctor functor = shape.Functor(RowIndex{1, 8}, {});
  EXPECT_EQ(functor(5, 8), (Interval{4, 6}));
  options.window_left = -2;
  EXPECT_EQ(
      ErrorOf([&] { MaskShape("Op", options, MaskShape::Use::kScores); }),
      "Op: argument window_left must be -1 (open) or more, but is -2.");
}

TEST(BooleanMaskTest, SizesOfWhatIsKept) {
  const Dims data{4, 3, 2};
  const Dims by{4, 3};
  const TensorView values = ViewOf(ElementType::kFloat32, data);
  const RowMask rows = BindBooleanMask("Op", values, ViewOf(ElementType::kBool, by));
  EXPECT_EQ(rows.entries, 12);
  EXPECT_TRUE(MaskedSizes(rows, 5) == Dims({5, 2}));
  EXPECT_EQ(
      ErrorOf([&] { BindBooleanMask("Op", values, ViewOf(ElementType::kUInt8, by)); }),
      "Op: mask must be of type bool, but is uint8.");
  EXPECT_TRUE(MaskedLengthsSizes(Dims{7}, Dims{20}) == Dims{7});
  EXPECT_TRUE(MaskedLengthsSizes(Dims{4, 5}, Dims{4, 5}) == Dims{4});
  EXPECT_TRUE(UnmaskedSizes(UnmaskLayout::kAuto, by, data) == data);
  EXPECT_TRUE(UnmaskedSizes(UnmaskLayout::kCompact, by, data) == Dims({4, 3, 3, 2}));
}

TEST(AttentionContractTest, BindsWhatKernelsTake) {
  const Dims q_sizes{2, 4, 5, 8};
  const Dims k_sizes{2, 2, 7, 8};
  const Dims v_sizes{2, 2, 7, 3};
  const auto bind = [&](const Dims& v, AttentionContract::Bound* bound) {
    AttentionOptions options;
    options.align = "bottom_right";
    options.scores.shape.mode = "upper";
    AttentionContract("Op", options)
        .Bind(
            ViewOf(ElementType::kBFloat16, q_sizes), ViewOf(ElementType::kBFloat16, k_sizes),
            ViewOf(ElementType::kBFloat16, v), {}, bound);
  };
  AttentionContract::Bound bound;
  bind(v_sizes, &bound);
  EXPECT_EQ(bound.attention.type, Real::kBFloat16);
  EXPECT_EQ(bound.attention.heads, 4);
  EXPECT_EQ(bound.attention.kv_heads, 2);
  EXPECT_EQ(bound.attention.value_depth, 3);
  EXPECT_EQ(bound.attention.scale, 1 / std::sqrt(8.0));
  // The last query stands on the last key.
  EXPECT_EQ(bound.attention.mask.shape(0, 7), (Interval{0, 3}));
  EXPECT_EQ(bound.attention.mask.shape(4, 7), (Interval{0, 7}));
  EXPECT_TRUE(AttentionSizes(q_sizes, v_sizes) == Dims({2, 4, 5, 3}));
  EXPECT_EQ(
      ErrorOf([&] {
        bind(Dims{2, 2, 6, 3}, &bound);
      }),
      "Op: V must be of shape [B, Hkv, Lk, Dv] of K, but is of shape [2, 2, 6, 3] where Q is of "
      "shape [2, 4, 5, 8].");
}

// Heads as a view of [B, L, H, D], keys that are expanded, and one head alone.
TEST(AttentionContractTest, TakesStrides) {
  const auto expect = [](const RowStrides& got, const RowStrides& expected) {
    EXPECT_EQ(got.batch, expected.batch);
    EXPECT_EQ(got.head, expected.head);
    EXPECT_EQ(got.row, expected.row);
  };
  const Dims q_sizes{2, 4, 5, 8};
  const Dims q_strides{160, 8, 32, 1};
  const Dims k_sizes{2, 2, 7, 8};
  const Dims k_strides{0, 0, 10, 1};
  const auto bind = [&](Sizes k_at, AttentionContract::Bound* bound) {
    TensorView q = ViewOf(ElementType::kFloat32, q_sizes, &q_sizes);
    q.strides = q_strides;
    TensorView k = ViewOf(ElementType::kFloat32, k_sizes, &k_sizes);
    k.strides = k_at;
    AttentionContract("Op", {}).Bind(q, k, ViewOf(ElementType::kFloat32, k_sizes), {}, bound);
  };
  AttentionContract::Bound bound;
  bind(k_strides, &bound);
  EXPECT_EQ(bound.attention.q.data, &q_sizes);
  EXPECT_EQ(bound.attention.k.data, &k_sizes);
  expect(bound.attention.q.strides, {160, 8, 32});
  expect(bound.attention.k.strides, {0, 0, 10});
  expect(bound.attention.v.strides, {112, 56, 8});
  expect(RowStridesOf(Dims{2, 5, 8}), {40, 0, 8});
  expect(RowStridesOf(Dims{2, 5, 8}, Dims{48, 9, 1}), {48, 0, 9});
  expect(EntryStridesOf(Dims{2, 4, 5}), {20, 5, 1});
  expect(EntryStridesOf(Dims{2, 4, 5}, Dims{20, 1, 4}), {20, 1, 4});
  expect(EntryStridesOf(Dims{2, 5}), {5, 0, 1});
  expect(EntryStridesOf(Dims{2, 5}, Dims{1, 2}), {1, 0, 2});
  // Sizes without entries may be beyond an int64.
  expect(RowStridesOf(Dims{0, kMost, kMost, 2}), {kMost, kMost, 2});
}

// Where entries of a row lie apart, a front end copies.
TEST(AttentionContractTest, RowsAreContiguous) {
  const auto contiguous = [](const Dims& sizes, const Dims& strides) {
    TensorView view = ViewOf(ElementType::kFloat32, sizes);
    view.strides = strides;
    return HasContiguousRows(view);
  };
  EXPECT_TRUE(contiguous({2, 3, 4}, {}));
  EXPECT_TRUE(contiguous({2, 3, 4}, {100, 0, 1}));
  EXPECT_TRUE(contiguous({2, 3, 1}, {3, 1, 7}));
  EXPECT_TRUE(contiguous({2, 3, 0}, {3, 1, 7}));
  EXPECT_FALSE(contiguous({2, 3, 4}, {12, 1, 3}));
  EXPECT_FALSE(contiguous({2, 3, 4}, {12, 4, 0}));
  EXPECT_TRUE(contiguous({}, {}));
}

class JaggedContractTest : public ::testing::Test {
 protected:
  template <typename T>
  static TensorView Numbers(const std::vector<T>& numbers, const Dims& sizes) {
    return ViewOf(
        sizeof(T) == 4 ? ElementType::kInt32 : ElementType::kInt64, sizes, numbers.data());
  }

  void Bind(const JaggedInputs& inputs) {
    JaggedAttentionContract("Op", options_)
        .Bind(
            ViewOf(ElementType::kFloat32, q_sizes_), ViewOf(ElementType::kFloat32, k_sizes_),
            ViewOf(ElementType::kFloat32, v_sizes_), inputs, {}, &bound_);
  }

  // What offsets of the keys beside right ones of the queries, or lengths of both, are refused for.
  std::string OffsetsError(const std::vector<int64_t>& keys) {
    const std::vector<int32_t> queries{0, 4, 4, 5};
    const Dims four{4};
    const Dims count{static_cast<int64_t>(keys.size())};
    const TensorView q = Numbers(queries, four);
    const TensorView k = Numbers(keys, count);
    return ErrorOf([&] { Bind({JaggedInputs::By::kOffsets, &q, &k}); });
  }
  std::string LengthsError(const std::vector<int64_t>& lengths) {
    const Dims count{static_cast<int64_t>(lengths.size())};
    const TensorView both = Numbers(lengths, count);
    JaggedInputs inputs{JaggedInputs::By::kLengths, &both};
    inputs.queries_name = "lengths";
    return ErrorOf([&] { Bind(inputs); });
  }

  Dims q_sizes_{5, 4, 8};
  Dims k_sizes_{7, 2, 8};
  Dims v_sizes_{7, 2, 3};
  AttentionOptions options_;
  JaggedAttentionContract::Bound bound_;
};

TEST_F(JaggedContractTest, CutsByOffsets) {
  options_.align = "bottom_right";
  options_.scores.shape.mode = "upper";
  const std::vector<int32_t> queries{0, 4, 4, 5};
  const std::vector<int64_t> keys{0, 2, 5, 7};
  const std::vector<int32_t> used{1, 3, 0};
  const Dims four{4};
  const Dims three{3};
  const TensorView q = Numbers(queries, four);
  const TensorView k = Numbers(keys, four);
  const TensorView u = Numbers(used, three);
  Bind({JaggedInputs::By::kOffsets, &q, &k, &u});
  const Attention& in = bound_.attention;
  EXPECT_EQ(in.batch, 3);
  EXPECT_EQ(in.heads, 4);
  EXPECT_EQ(in.kv_heads, 2);
  EXPECT_EQ(in.queries, 4);
  EXPECT_EQ(in.keys, 3);
  EXPECT_EQ(in.value_depth, 3);
  EXPECT_EQ(in.q.strides.row, 32);
  EXPECT_EQ(in.q.strides.head, 8);
  EXPECT_EQ(in.q.strides.batch, 0);
  const auto expect = [&](size_t i, const std::vector<int64_t>& expected) {
    const Sequence& one = in.sequences[i];
    const std::vector<int64_t> got{one.queries,   one.keys,      one.unused_keys, one.first_query,
                                   one.first_key, one.first_row, one.shift};
    EXPECT_EQ(got, expected) << i;
  };
  expect(0, {4, 1, 1, 0, 0, 0, -3});
  expect(1, {0, 3, 0, 4, 2, 16, 3});
  expect(2, {1, 0, 2, 4, 5, 16, -1});
  // Of rows by where they stand.
  EXPECT_EQ(in.mask.shape(1, 3), (Interval{0, 2}));
  EXPECT_EQ(in.mask.shape(-3, 3), (Interval{0, 0}));
}

TEST_F(JaggedContractTest, CutsByLengthsOfQueriesThatAreKeys) {
  k_sizes_ = Dims{5, 2, 8};
  v_sizes_ = Dims{5, 2, 3};
  const std::vector<int64_t> lengths{3, 0, 2};
  const Dims three{3};
  const TensorView both = Numbers(lengths, three);
  Bind({JaggedInputs::By::kLengths, &both});
  ASSERT_EQ(bound_.attention.batch, 3);
  EXPECT_EQ(bound_.sequences[2].first_query, 3);
  EXPECT_EQ(bound_.sequences[2].first_key, 3);
  EXPECT_EQ(bound_.sequences[2].keys, 2);
  EXPECT_EQ(bound_.attention.queries, 3);
}

TEST_F(JaggedContractTest, RefusesWhatDoesNotCut) {
  EXPECT_EQ(OffsetsError({0, 2, 5, 7}), "nothing was thrown");
  EXPECT_EQ(OffsetsError({1, 2, 5, 7}), "Op: cu_seq_k must begin with 0, but begins with 1.");
  EXPECT_EQ(
      OffsetsError({0, 5, 2, 7}), "Op: cu_seq_k must not decrease, but cu_seq_k[2] is 2 behind 5.");
  EXPECT_EQ(
      OffsetsError({0, 2, 5, 8}), "Op: cu_seq_k must end with the 7 rows of K, but ends with 8.");
  EXPECT_EQ(
      OffsetsError({0, 2, kMost, 7}),
      "Op: cu_seq_k must not decrease, but cu_seq_k[3] is 7 behind 9223372036854775807.");
  EXPECT_EQ(
      OffsetsError({0, 7}),
      "Op: cu_seq_k must be of as many sequences as cu_seq_q, 3, but is of "
      "1.");
  EXPECT_EQ(
      OffsetsError({}),
      "Op: cu_seq_k must have an entry for each sequence and one for the end of the last, but has "
      "none.");
  k_sizes_ = Dims{5, 2, 8};
  v_sizes_ = Dims{5, 2, 3};
  EXPECT_EQ(LengthsError({2, 0, 3}), "nothing was thrown");
  EXPECT_EQ(LengthsError({2, -1, 4}), "Op: lengths must not be negative, but lengths[1] is -1.");
  EXPECT_EQ(
      LengthsError({2, kMost, 4}),
      "Op: lengths must add up to the 5 rows of Q, but pass them at lengths[1].");
  EXPECT_EQ(LengthsError({2, 2}), "Op: lengths must add up to the 5 rows of Q, but add up to 4.");
  // Those of queries are not those of keys.
  k_sizes_ = Dims{6, 2, 8};
  v_sizes_ = Dims{6, 2, 3};
  EXPECT_EQ(LengthsError({2, 3}), "Op: lengths must add up to the 6 rows of K, but add up to 5.");
}

TEST_F(JaggedContractTest, RefusesOtherInputs) {
  const std::vector<int32_t> queries{0, 5};
  const std::vector<int32_t> keys{0, 7};
  const Dims two{2};
  const Dims matrix{1, 2};
  const TensorView q = Numbers(queries, two);
  const TensorView k = Numbers(keys, two);
  const auto refused = [&](TensorView cu_seq_q, const std::vector<int32_t>& used) {
    const Dims count{static_cast<int64_t>(used.size())};
    const TensorView u = Numbers(used, count);
    return ErrorOf([&] { Bind({JaggedInputs::By::kOffsets, &cu_seq_q, &k, &u}); });
  };
  EXPECT_EQ(refused(q, {7}), "nothing was thrown");
  EXPECT_EQ(
      refused(q, {8}),
      "Op: seqused_k must be between 0 and the keys of its sequence, 7, but seqused_k[0] is 8.");
  EXPECT_EQ(
      refused(q, {-1}),
      "Op: seqused_k must be between 0 and the keys of its sequence, 7, but seqused_k[0] is -1.");
  EXPECT_EQ(
      refused(q, {1, 2}), "Op: seqused_k must have an entry for each sequence, 1, but has 2.");
  EXPECT_EQ(
      refused(ViewOf(ElementType::kFloat32, two), {7}),
      "Op: cu_seq_q must be of type int32 or int64, but is float32.");
  EXPECT_EQ(
      refused(Numbers(queries, matrix), {7}),
      "Op: cu_seq_q must have 1 dim, but is of shape [1, 2].");
  q_sizes_ = Dims{5, 3, 8};
  EXPECT_EQ(
      refused(q, {7}),
      "Op: the heads of Q must be a multiple of those of K and V, but Q has 3 and K has 2.");
  q_sizes_ = Dims{1, 5, 4, 8};
  EXPECT_EQ(refused(q, {7}), "Op: Q must be of shape [Tq, H, D], but is of shape [1, 5, 4, 8].");
  q_sizes_ = Dims{5, 4, 8};
  v_sizes_ = Dims{6, 2, 3};
  EXPECT_EQ(
      refused(q, {7}),
      "Op: V must be of shape [Tk, Hkv, Dv] of K, but is of shape [6, 2, 3] where Q is of shape "
      "[5, 4, 8].");
}

TEST_F(JaggedContractTest, RefusesWhatReadsAnInputForEachRow) {
  const auto error = [&] { return ErrorOf([&] { JaggedAttentionContract("Op", options_); }); };
  options_.scores.shape.mode = "upper+sequence";
  EXPECT_EQ(
      error(),
      "Op: argument mode must be of shapes that read no input, but 'upper+sequence' reads "
      "lengths.");
  options_.scores.shape.mode = "";
  options_.scores.has_mask = true;
  EXPECT_EQ(error(), "Op: argument has_mask must be 0, but is 1.");
  options_.scores.has_mask = false;
  options_.scores.has_bias = true;
  EXPECT_EQ(error(), "Op: argument has_bias must be 0, but is 1.");
}

TEST(SoftmaxContractTest, ScaleIsHeldByTheTypeComputedIn) {
  SoftmaxOptions options;
  options.scores.scale = RealNumber(1e300);
  const SoftmaxContract contract("Op", options);
  const Dims sizes{2, 3};
  const auto bind = [&](ElementType type) { contract.Bind(ViewOf(type, sizes), {}, false); };
  bind(ElementType::kFloat64);
  EXPECT_EQ(
      ErrorOf([&] { bind(ElementType::kFloat16); }),
      "Op: argument scale is 1e+300, which float32 cannot hold.");
  EXPECT_EQ(
      ErrorOf([&] { bind(ElementType::kInt8); }),
      "Op: X must be of type float16, bfloat16, float32 or float64, but is int8.");
}

TEST(GateContractTest, OptionsGoWithTheirKind) {
  GateOptions options;
  options.kind = "hard_concrete";
  EXPECT_TRUE(ReadGateFunction("Op", options, kGateKinds).noisy);
  options.is_test = true;
  EXPECT_FALSE(ReadGateFunction("Op", options, kGateKinds).noisy);
  options.clip = RealNumber(1);
  EXPECT_EQ(
      ErrorOf([&] { ReadGateFunction("Op", options, kGateKinds); }),
      "Op: argument clip goes with kind = hard, but kind is hard_concrete.");
  options.kind = "tanh";
  EXPECT_EQ(
      ErrorOf([&] { ReadGateFunction("Op", options, kHighwayKinds); }),
      "Op: argument kind must be sigmoid, softmax or hard, but is 'tanh'.");
}

TEST(MixtureContractTest, TopKOfTheExperts) {
  MixtureOptions options;
  options.top_k = 4;
  const Dims e{5, 3, 2};
  const Dims z{5, 3};
  const auto bind = [&] {
    return BindMixture(
        "Op", options, ViewOf(ElementType::kFloat32, e), ViewOf(ElementType::kFloat32, z), nullptr);
  };
  EXPECT_EQ(ErrorOf(bind), "Op: argument top_k must be at most the 3 experts of Z, but is 4.");
  options.top_k.reset();
  EXPECT_EQ(bind().top_k, 3);
  EXPECT_TRUE(MixedSizes(e) == Dims({5, 2}));
}

}  // namespace
}  // namespace caffe2op_mask
