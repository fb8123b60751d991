#include "kernels/masked_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/cpp/masked_attention_testing.h"

namespace caffe2op_mask {
namespace {

using RealTypes = ::testing::Types<Float16, BFloat16, float, double>;
TYPED_TEST_SUITE(MaskedAttentionTest, RealTypes);

TYPED_TEST(MaskedAttentionTest, EveryCaseOfSmallSizes) {
  for (int time = 0; time < 500 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    this->ExpectCase(this->DrawCase(this->SmallSizes()));
  }
}

// Tiles are of 64 queries, those of all heads that share a head of k and v, and of 256
// keys from the first that is kept.
TYPED_TEST(MaskedAttentionTest, SizesAroundTiles) {
  const std::vector<int64_t> around{63, 64, 65, 127, 128, 129, 255, 256, 257};
  for (const int64_t queries : around) {
    for (int time = 0; time < 2; ++time) {
      const int64_t keys = around[this->random_() % around.size()];
      const int64_t group = queries < 100 ? Uniform(this->random_, 1, 3) : 1;
      AttentionCase<TypeParam> c =
          this->DrawCase({1, 1, group, queries, keys, this->DrawDepth(), this->DrawDepth()});
      this->ExpectCase(c);
      std::swap(c.sizes.queries, c.sizes.keys);
      this->ExpectCase(this->DrawCase(c.sizes));
      if (this->HasFailure()) return;
    }
  }
  this->ExpectCase(this->DrawCase({2, 2, 1, 3, 777, 8, 5}));
  this->ExpectCase(this->DrawCase({1, 2, 7, 10, 40, 65, 130}));
}

TYPED_TEST(MaskedAttentionTest, EachBroadcastOfMaskAndBias) {
  const AttentionDims sizes{2, 2, 2, 37, 259, 5, 3};
  for (uint64_t bits = 0; bits < 16 && !this->HasFailure(); ++bits) {
    Dims mask = sizes.scores();
    Dims bias = sizes.scores();
    for (size_t d = 0; d < 4; ++d) {
      if ((bits >> d & 1) != 0) mask[d] = 1;
      if ((bits * 7 >> d & 1) != 0) bias[d] = 1;  // every one of them, too
    }
    SCOPED_TRACE(
        ::testing::Message() << "mask " << ::testing::PrintToString(mask) << ", bias "
                             << ::testing::PrintToString(bias));
    AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
    this->AddMask(mask, &c);
    this->AddBias(bias, &c);
    this->ExpectCase(c);
  }
}

// Blocks that are kept, masked or mixed, some of which are a tile or more.
TYPED_TEST(MaskedAttentionTest, TilesKeptMaskedAndMixed) {
  const AttentionDims sizes{1, 1, 2, 100, 700, 8, 8};
  for (const auto& [height, width] :
       std::vector<std::pair<int64_t, int64_t>>{{64, 256}, {20, 90}}) {
    AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
    this->AddMask({2, 100, 700}, &c);
    std::vector<uint64_t> blocks(2 * 5 * 8);
    for (uint64_t& block : blocks) block = this->random_() % 3;
    for (int64_t i = 0; i < 2 * 100; ++i) {
      for (int64_t j = 0; j < 700; ++j) {
        const int64_t block = i / height * 8 + j / width;
        const uint64_t kind = blocks[static_cast<size_t>(block) % blocks.size()];
        const auto mixed = static_cast<uint8_t>(this->random_() % 2);
        c.mask[static_cast<size_t>(i * 700 + j)] = kind == 2 ? mixed : kind == 1 ? 255 : 0;
      }
    }
    this->ExpectCase(c);
  }
}

TYPED_TEST(MaskedAttentionTest, WhatIsMaskedHasNoEffect) {
  for (int time = 0; time < 150 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    const bool small = time < 140;
    AttentionCase<TypeParam> c = this->DrawCase(
        small ? this->SmallSizes()
              : AttentionDims{1, 2, 2, 70, 300, this->DrawDepth(), this->DrawDepth()});
    this->PoisonWhatIsMasked(&c);
    if (c.empty_row == EmptyRow::kNaN) c.empty_row = EmptyRow::kZero;
    this->ExpectFinite(this->ExpectCase(c));
  }
}

// Keys that no row of a tile keeps are zeros to its sums where they are not finite: the same
// bits come of them as of zeros. Rows that are computed again entry by entry round otherwise.
TYPED_TEST(MaskedAttentionTest, KeysThatNoRowKeepsAreAsZeros) {
  const AttentionDims sizes{2, 2, 2, 70, 300, 24, 33};
  for (const Dims& dims : {Dims{2, 1, 1, 300}, Dims{70, 300}, Dims{2, 4, 70, 300}}) {
    for (const int kind : {0, 1, 2, 3}) {
      const bool causal = kind % 2 != 0;
      SCOPED_TRACE(::testing::Message() << ::testing::PrintToString(dims) << ", kind " << kind);
      AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
      c.softcap = kind < 2 ? 0 : 2;
      c.empty_row = this->OneIn(2) ? EmptyRow::kZero : EmptyRow::kNaN;
      if (causal) c.shape.functor.Add(UpperFunctor{200, RowPosition{{1, sizes.queries}}});
      this->AddMask(dims, &c);
      std::vector<bool> kept_key(300);
      for (size_t key = 0; key < 300; ++key) kept_key[key] = key < 210 && !this->OneIn(4);
      for (size_t i = 0; i < c.mask.size(); ++i) {
        // A byte that is not 0 is true.
        c.mask[i] = kept_key[i % 300] && !(dims[0] != 2 && this->OneIn(3)) ? 4 : 0;
      }
      const auto fill = [&](const auto& value) {
        for (const auto& [values, depth] :
             {std::make_pair(&c.k, sizes.depth), std::make_pair(&c.v, sizes.value_depth)}) {
          for (size_t i = 0; i < values->size(); ++i) {
            if (!kept_key[i / static_cast<size_t>(depth) % 300]) (*values)[i] = value();
          }
        }
      };
      for (const int64_t threads : {1, 7}) {
        fill([] { return TypeParam{}; });
        const Bytes expected = RunAttention(c, threads, SerialFor).AllBytes();
        fill([&] { return this->DrawSpecial(); });
        const Bytes got = RunAttention(c, threads, SerialFor).AllBytes();
        EXPECT_TRUE(got == expected) << threads << " threads";
      }
    }
  }
}

// And so they are where other tiles' rows keep them.
TYPED_TEST(MaskedAttentionTest, KeysThatOtherTilesKeepAreAsZeros) {
  const AttentionDims sizes{1, 1, 1, 128, 40, 16, 24};
  AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
  this->AddMask({128, 40}, &c);
  for (size_t i = 0; i < c.mask.size(); ++i) {
    c.mask[i] = i % 40 != 3 && i % 40 != 20 ? !this->OneIn(5) : i / 40 >= 64;
  }
  const auto run = [&](double value) {
    for (const size_t key : std::vector<size_t>{3, 20}) {
      std::fill_n(&c.k[key * 16], 16, reference::Nearest<TypeParam>(value));
      std::fill_n(&c.v[key * 24], 24, reference::Nearest<TypeParam>(value));
    }
    return RunAttention(c, 1, SerialFor);
  };
  const AttentionResults<TypeParam> zeros = run(0);
  const AttentionResults<TypeParam> nan = run(this->kNaN);
  const auto first = [](const std::vector<TypeParam>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    return ToBytes(std::vector<TypeParam>(values.begin(), middle));
  };
  EXPECT_TRUE(first(nan.o) == first(zeros.o));
  EXPECT_TRUE(first(nan.dq) == first(zeros.dq));
  EXPECT_TRUE(std::isnan(reference::ValueOf(nan.o.back())));
  EXPECT_TRUE(std::isnan(reference::ValueOf(nan.dq.back())));
}

// Tiles of keys that lie in the padding are not even read, forward or backward, by units or by
// rows and columns of tiles.
TYPED_TEST(MaskedAttentionTest, LeftPaddingIsSkipped) {
  const AttentionDims sizes{1, 1, 2, 70, 2560, 16, 32};
  const int64_t left_pad = 2304 + 3;  // nine tiles, and some of the last
  for (const bool causal : {false, true}) {
    for (const int64_t threads : {1, 7}) {
      AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
      c.empty_row = EmptyRow::kZero;
      c.layout = {false, 0};
      c.slack = 0;
      c.unreadable_keys = 2304;
      c.shape.functor.Add(LeftPadFunctor<int64_t>{&left_pad, {1, 1}});
      c.shape.parts.emplace_back(
          [&](int64_t, int64_t j) { return reference::LeftPadKeeps(left_pad, j); });
      if (causal) {
        const int64_t diagonal = sizes.keys - sizes.queries;
        c.shape.functor.Add(UpperFunctor{diagonal, RowPosition{{1, sizes.queries}}});
        c.shape.parts.emplace_back([=](int64_t i, int64_t j) {
          return reference::UpperKeeps(i % sizes.queries, diagonal, j);
        });
      }
      this->ExpectCase(c, threads);
    }
  }
}

TYPED_TEST(MaskedAttentionTest, WhatIsKeptAndNotFiniteShows) {
  for (int time = 0; time < 150 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    const bool small = time < 140;
    AttentionCase<TypeParam> c = this->DrawCase(
        small ? this->SmallSizes()
              : AttentionDims{1, 2, 2, 70, 300, this->DrawDepth(), this->DrawDepth()});
    this->Scatter(&c);
    this->ExpectCase(c);
  }
}

// Sums of weighed rows may pass the greatest number where their mean does not.
TYPED_TEST(MaskedAttentionTest, MeansOfLargeValues) {
  constexpr double kLarge = std::is_same<TypeParam, Float16>::value  ? 49152
                            : std::is_same<TypeParam, double>::value ? 0x1p1023
                                                                     : 0x1p127;
  AttentionCase<TypeParam> c = this->DrawNumbers({1, 1, 1, 3, 8, 2, 2});
  c.softcap = 0;
  std::fill(c.q.begin(), c.q.end(), TypeParam{});
  std::fill(c.v.begin(), c.v.end(), reference::Nearest<TypeParam>(kLarge));
  const AttentionResults<TypeParam> got = RunAttention(c, 1, SerialFor);
  constexpr double kRoundings = 8 * reference::kUnit<Wide<TypeParam>>;
  for (const TypeParam& v : got.o) {
    EXPECT_NEAR(reference::ValueOf(v), kLarge, kLarge * kRoundings);
  }
}

TYPED_TEST(MaskedAttentionTest, NoLogarithmsWanted) {
  const AttentionCase<TypeParam> c = this->DrawCase({1, 2, 1, 70, 300, 8, 8});
  const AttentionResults<TypeParam> both = RunAttention(c, 1, SerialFor);
  AttentionMemory<TypeParam> in(c);
  Placed<TypeParam> o(c.sizes.of_queries(8), c.layout, 0, nullptr);
  MaskedAttention(in.attention, o.out(), {}, 1, SerialFor);
  EXPECT_TRUE(ToBytes(o.Values()) == ToBytes(both.o));
}

// To the bit, and nothing between rows is read or written. A tile has rows of several heads.
TYPED_TEST(MaskedAttentionTest, SameBytesWhereverRowsLie) {
  for (const AttentionDims& sizes :
       {AttentionDims{2, 2, 3, 33, 300, 24, 17}, AttentionDims{2, 3, 1, 70, 65, 16, 16},
        AttentionDims{3, 2, 4, 1, 40, 8, 8}}) {
    for (int time = 0; time < 6; ++time) {
      AttentionCase<TypeParam> c = this->DrawCase(sizes);
      if (time % 3 == 0) this->Scatter(&c);
      for (const int64_t threads : {1, 7}) {
        c.layout = {false, 0};
        const Bytes expected = RunAttention(c, threads, SerialFor).AllBytes();
        for (const Layout& layout : {Layout{true, 0}, Layout{false, 1}, Layout{true, 5}}) {
          SCOPED_TRACE(
              ::testing::Message() << sizes << "; heads " << (layout.heads_inside ? "in" : "out")
                                   << "side, gaps of " << layout.gap);
          c.layout = layout;
          ASSERT_TRUE(RunAttention(c, threads, SerialFor).AllBytes() == expected);
        }
      }
    }
  }
}

// Keys and values that are expanded, whose steps are 0, are as copies of them.
TYPED_TEST(MaskedAttentionTest, ExpandedKeysAreAsCopies) {
  const AttentionDims sizes{2, 3, 1, 40, 270, 8, 5};
  const auto count = [](int64_t n) { return static_cast<size_t>(n); };
  for (const auto& [batch, head, row] :
       std::vector<std::array<int64_t, 3>>{{0, 1, 1}, {1, 0, 1}, {0, 0, 1}, {1, 1, 0}, {0, 0, 0}}) {
    SCOPED_TRACE(::testing::Message() << "steps " << batch << ", " << head << ", " << row);
    AttentionCase<TypeParam> c = this->DrawCase(sizes);
    c.layout = {false, 0};
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t j = 0; j < 270; ++j) {
          const int64_t to = (b * 3 + h) * 270 + j;
          const int64_t from = (b * batch * 3 + h * head) * 270 + j * row;
          std::copy_n(&c.k[count(from * 8)], 8, &c.k[count(to * 8)]);
          std::copy_n(&c.v[count(from * 5)], 5, &c.v[count(to * 5)]);
        }
      }
    }
    AttentionMemory<TypeParam> in(c);
    for (InputRows* const rows : {&in.attention.k, &in.attention.v}) {
      rows->strides.batch *= batch;
      rows->strides.head *= head;
      rows->strides.row *= row;
    }
    for (const int64_t threads : {1, 7}) {
      const Bytes expected = RunAttention(c, threads, SerialFor).AllBytes();
      EXPECT_TRUE(RunAttention(c, &in, threads, SerialFor).AllBytes() == expected);
    }
  }
}

// Of three heads of k and v: with 7 threads the backward pass goes by rows and keys,
// with fewer by heads.
TYPED_TEST(MaskedAttentionTest, SameBytesWhoeverRunsIt) {
  const AttentionDims sizes{1, 3, 2, 130, 530, 40, 32};
  for (const char* const kept :
       {"all", "causal", "band", "mask", "bias", "bias of keys", "bias of one", "sinks"}) {
    SCOPED_TRACE(kept);
    const std::string name = kept;
    AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
    const RowPosition position{{1, sizes.queries}};
    if (name == "causal" || name == "bias") c.shape.functor.Add(UpperFunctor{300, position});
    if (name == "band") {
      c.shape.functor.Add(UpperFunctor{170, position});
      c.shape.functor.Add(LowerFunctor{110, position});
    }
    if (name == "mask") {
      const Broadcast& broadcast = c.mask_broadcast.emplace_back(sizes.scores(), Dims{130, 530});
      c.mask = RandomMask(this->random_, broadcast.size, {0.3, true});
    }
    if (name == "bias") this->AddBias({6, 1, 530}, &c);
    // Sums of several parts, and of keys as well.
    if (name == "bias of keys") this->AddBias({530}, &c);
    if (name == "bias of one") this->AddBias({1}, &c);
    if (name == "sinks") this->AddSinks(&c);
    const Bytes expected = RunAttention(c, 1, SerialFor).AllBytes();
    for (const int64_t threads : {1, 2, 3, 7}) {
      for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
        const Bytes got = RunAttention(c, threads, parallel_for).AllBytes();
        ASSERT_TRUE(got == expected) << threads << " threads";
      }
    }
  }
}

// Queries that keep nothing beside keys that only later tiles of queries keep: by heads,
// and not by keys, one tile holds both, and sums over it meet what is not finite.
TYPED_TEST(MaskedAttentionTest, MaskedQueriesBesideMaskedKeys) {
  std::vector<int64_t> centers(128, 250);
  std::fill_n(centers.begin(), 32, 205);
  std::fill_n(centers.begin() + 32, 31, 305);
  centers[63] = -100;
  AttentionCase<TypeParam> c = this->DrawNumbers({1, 1, 1, 128, 512, 9, 16});
  c.shape.functor.Add(WindowFunctor<int64_t>{centers.data(), 5, {}});
  c.shape.parts.emplace_back([&](int64_t i, int64_t j) {
    return reference::WindowKeeps(centers[static_cast<size_t>(i)], 5, j);
  });
  c.empty_row = EmptyRow::kZero;
  this->PoisonWhatIsMasked(&c);
  for (const int64_t threads : {1, 2}) this->ExpectFinite(this->ExpectCase(c, threads));
}

// Where all of a row's scores are large, as under the lowest of biases, lse has no room for the
// logarithm of their sum; the probabilities of a row add up to 1 all the same.
TYPED_TEST(MaskedAttentionTest, LargeScores) {
  const double tolerance = sizeof(TypeParam) == 2 ? 1e-2 : sizeof(TypeParam) == 4 ? 1e-4 : 1e-10;
  const double lowest = -std::numeric_limits<float>::max();
  for (const double bias : {-300.0, 6e4, -6e4, 1e9, -1e9, lowest}) {
    const TypeParam large = reference::Nearest<TypeParam>(bias);
    if (!std::isfinite(reference::ValueOf(large))) continue;
    for (const int64_t threads : {1, 7}) {
      SCOPED_TRACE(::testing::Message() << bias << "; " << threads << " threads");
      AttentionCase<TypeParam> c = this->DrawNumbers({1, 2, 2, 70, 300, 8, 3});
      c.d_lse.clear();
      this->AddBias({70, 1}, &c);
      for (size_t i = 0; i < c.bias.size(); ++i) c.bias[i] = i % 2 == 0 ? TypeParam{} : large;
      this->AddMask({300}, &c);
      std::fill(c.mask.begin(), c.mask.end(), uint8_t{1});
      c.mask[0] = 0;
      const auto fill = [](std::vector<TypeParam>* values, double value) {
        std::fill(values->begin(), values->end(), reference::Nearest<TypeParam>(value));
      };
      fill(&c.v, 1);
      fill(&c.d_o, 1);
      for (int64_t unit = 0; unit < 2; ++unit) {
        const size_t first = static_cast<size_t>(unit * 300 * 3);
        std::fill_n(&c.v[first], 3, reference::Nearest<TypeParam>(this->kNaN));
      }
      const AttentionResults<TypeParam> got = RunAttention(c, threads, SerialFor);
      for (const TypeParam& o : got.o) ASSERT_NEAR(reference::ValueOf(o), 1, tolerance);
      // Each row gives a key as much as it keeps of it, and has 1 to give.
      double given = 0;
      for (const TypeParam& dv : got.dv) given += double{reference::ValueOf(dv)};
      ASSERT_NEAR(given, 2 * 140 * 3, 2 * 140 * 3 * tolerance);
    }
  }
}

// To the bit, and nothing comes back for them, not even of gradients that are NaN.
TYPED_TEST(MaskedAttentionTest, SinksOfMinusInfinityAreNone) {
  for (const int64_t threads : {1, 7}) {
    AttentionCase<TypeParam> c = this->DrawCase({1, 2, 2, 70, 300, 8, 8});
    c.sinks.clear();
    const Bytes expected = RunAttention(c, threads, SerialFor).AllBytes();
    c.sinks.assign(4, reference::Nearest<TypeParam>(-std::numeric_limits<double>::infinity()));
    AttentionResults<TypeParam> got = RunAttention(c, threads, SerialFor);
    for (const TypeParam& d : got.dsinks) EXPECT_EQ(reference::ValueOf(d), 0);
    got.dsinks.clear();
    EXPECT_TRUE(got.AllBytes() == expected);
    std::fill(c.d_o.begin(), c.d_o.end(), reference::Nearest<TypeParam>(this->kNaN));
    got = RunAttention(c, threads, SerialFor);
    for (const TypeParam& d : got.dsinks) EXPECT_EQ(reference::ValueOf(d), 0);
  }
}

// A row with a sink is never empty: of nothing kept it is 0, whatever an empty row is.
TYPED_TEST(MaskedAttentionTest, NothingKeptBesideASink) {
  for (const EmptyRow empty_row : {EmptyRow::kZero, EmptyRow::kNaN, EmptyRow::kUniform}) {
    AttentionCase<TypeParam> c = this->DrawNumbers({1, 1, 2, 70, 300, 8, 8});
    c.empty_row = empty_row;
    c.sinks = {reference::Nearest<TypeParam>(0.5), reference::Nearest<TypeParam>(-3)};
    this->AddMask({70, 1}, &c);
    // Tiles of which nothing is kept and others, of the second head, with a row of it.
    for (size_t i = 0; i < 70; ++i) c.mask[i] = i > 40 && i != 55;
    const AttentionResults<TypeParam> got = this->ExpectCase(c);
    for (size_t row = 0; row < 140; ++row) {
      if (c.mask[row % 70] != 0) continue;
      EXPECT_EQ(got.lse[row], row < 70 ? 0.5 : -3);
      for (size_t i = 0; i < 8; ++i) EXPECT_EQ(reference::ValueOf(got.o[row * 8 + i]), 0);
    }
  }
}

// Where lse has no room for the logarithm of a sum, a sink has its share of it all the same.
TYPED_TEST(MaskedAttentionTest, LargeSinks) {
  const double tolerance = sizeof(TypeParam) == 2 ? 1e-2 : sizeof(TypeParam) == 4 ? 1e-4 : 1e-10;
  for (const double bias : {-300.0, 6e4, -6e4, 1e9, -1e9}) {
    const TypeParam large = reference::Nearest<TypeParam>(bias);
    if (!std::isfinite(reference::ValueOf(large))) continue;
    for (const int64_t threads : {1, 7}) {
      SCOPED_TRACE(::testing::Message() << bias << "; " << threads << " threads");
      AttentionCase<TypeParam> c = this->DrawNumbers({1, 1, 2, 70, 299, 8, 3});
      c.d_lse.clear();
      const auto fill = [](std::vector<TypeParam>* values, double value) {
        std::fill(values->begin(), values->end(), reference::Nearest<TypeParam>(value));
      };
      fill(&c.q, 0);
      fill(&c.v, 1);
      fill(&c.d_o, 1);
      this->AddBias({1, 1}, &c);
      c.bias[0] = large;
      c.sinks.assign(2, large);
      const AttentionResults<TypeParam> got = RunAttention(c, threads, SerialFor);
      // 299 keys and the sink are alike.
      const double p = 1.0 / 300;
      for (const TypeParam& o : got.o) {
        ASSERT_NEAR(reference::ValueOf(o), 1 - p, tolerance);
      }
      for (const TypeParam& d : got.dsinks) {
        ASSERT_NEAR(reference::ValueOf(d), -70 * 3 * p * (1 - p), 70 * 3 * p * tolerance);
      }
    }
  }
}

// A cap of which the inverse is no float leaves a score of 0 what it is.
TYPED_TEST(MaskedAttentionTest, SmallestCap) {
  AttentionCase<TypeParam> c = this->DrawNumbers({1, 1, 1, 3, 20, 4, 2});
  std::fill(c.q.begin(), c.q.end(), TypeParam{});
  c.softcap = std::numeric_limits<Wide<TypeParam>>::denorm_min();
  this->ExpectFinite(RunAttention(c, 1, SerialFor));
}

TYPED_TEST(MaskedAttentionTest, NothingToDo) {
  const std::vector<AttentionDims> nothing{
      {0, 2, 2, 3, 4, 5, 6}, {2, 0, 2, 3, 4, 5, 6},  {2, 2, 2, 0, 4, 5, 6},
      {2, 2, 2, 3, 0, 5, 6}, {2, 2, 2, 3, 4, 0, 6},  {2, 2, 2, 3, 4, 5, 0},
      {2, 2, 2, 0, 0, 0, 0}, {1, 1, 1, 70, 0, 3, 3}, {1, 1, 1, 0, 300, 3, 3}};
  for (const AttentionDims& sizes : nothing) {
    if (sizes.kv_heads == 0) continue;  // the caller's to do nothing
    for (const Dims& bias : {Dims{}, sizes.scores(), Dims{sizes.queries, 1}, Dims{1, sizes.keys}}) {
      SCOPED_TRACE(::testing::PrintToString(bias));
      AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
      if (sizes.depth == 0) c.scale = 1;
      this->AddBias(bias, &c);
      this->ExpectCase(c);
    }
    AttentionCase<TypeParam> c = this->DrawNumbers(sizes);
    this->ExpectCase(c);
    this->AddSinks(&c);
    this->ExpectCase(c);
  }
}

// The oracle's gradients are those of its own results, by differences.
TEST(AttentionReferenceTest, GradientsAreDerivatives) {
  Random random(1);
  for (const auto& [empty_row, with_sinks] : std::vector<std::pair<EmptyRow, bool>>{
           {EmptyRow::kZero, false}, {EmptyRow::kUniform, false}, {EmptyRow::kUniform, true}}) {
    const AttentionDims s{1, 2, 2, 3, 4, 3, 2};
    const Dims bias_dims{3, 4};
    const Broadcast bias(s.scores(), bias_dims);
    reference::AttentionInputs in{1,  4,   2,   3,  4,  3,  2,  {},       {},
                                  {}, 0.7, 1.5, {}, {}, {}, {}, empty_row};
    in.q = RandomReals<double>(random, s.rows() * s.depth, 1);
    in.k = RandomReals<double>(random, 2 * s.keys * s.depth, 1);
    in.v = RandomReals<double>(random, 2 * s.keys * s.value_depth, 1);
    in.bias = RandomReals<double>(random, bias.size, 1);
    in.bias_entries = bias.entries;
    if (with_sinks) in.sinks = RandomReals<double>(random, s.heads(), 1);
    const std::vector<double> d_o = RandomReals<double>(random, s.rows() * s.value_depth, 1);
    const std::vector<double> d_lse = RandomReals<double>(random, s.rows(), 1);
    // The first row of each head keeps nothing.
    for (int64_t i = 0; i < Size(s.scores()); ++i) {
      in.kept.push_back(i / s.keys % s.queries > 0 && !OneIn(random, 4));
    }
    const auto loss = [&] {
      double sum = 0;
      for (size_t row = 0; row < in.Rows(); ++row) {
        const auto result = reference::RowOf<double>(in, row);
        for (size_t i = 0; i < 2; ++i) sum += d_o[row * 2 + i] * result.o[i].value;
        if (!result.empty) sum += d_lse[row] * result.lse.value;
      }
      return sum;
    };
    const auto gradients = reference::GradientsOf<double>(in, d_o, d_lse);
    const auto expect = [&](std::vector<double>* input, const auto& gradient) {
      ASSERT_EQ(input->size(), gradient.size());
      for (size_t i = 0; i < gradient.size(); ++i) {
        constexpr double kStep = 1e-5;
        double& entry = (*input)[i];
        const double before = entry;
        entry = before + kStep;
        const double above = loss();
        entry = before - kStep;
        const double below = loss();
        entry = before;
        EXPECT_NEAR((above - below) / (2 * kStep), gradient[i].value, 1e-8);
      }
    };
    expect(&in.q, gradients.dq);
    expect(&in.k, gradients.dk);
    expect(&in.v, gradients.dv);
    expect(&in.bias, gradients.dbias);
    expect(&in.sinks, gradients.dsinks);
  }
}

}  // namespace
}  // namespace caffe2op_mask
