#include "kernels/masked_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/scores_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/masked_attention.h"
#include "tests/reference/rounded.h"

namespace caffe2op_mask {
namespace {

template <typename T>
constexpr Real kReal = std::is_same<T, Float16>::value    ? Real::kFloat16
                       : std::is_same<T, BFloat16>::value ? Real::kBFloat16
                       : std::is_same<T, float>::value    ? Real::kFloat32
                                                          : Real::kFloat64;

// batch, heads of k and v, heads of q for each of these, queries, keys, and the depths
// of k and v.
struct Sizes {
  int64_t batch;
  int64_t kv_heads;
  int64_t group;
  int64_t queries;
  int64_t keys;
  int64_t depth;
  int64_t value_depth;

  int64_t heads() const { return kv_heads * group; }
  int64_t rows() const { return batch * heads() * queries; }
  Dims scores() const { return {batch, heads(), queries, keys}; }
  // Of q and k, and of o and v.
  Dims of_queries(int64_t row) const { return {batch, heads(), queries, row}; }
  Dims of_keys(int64_t row) const { return {batch, kv_heads, keys, row}; }
};

// How tensors [batch, heads, rows, entries] lie.
struct Layout {
  bool heads_inside;  // as a view of [batch, rows, heads, entries]
  int64_t gap;        // between rows, and the like between heads or batches

  RowStrides Strides(const Dims& dims) const {
    const int64_t row = dims[3] + gap;
    if (heads_inside) return {dims[2] * dims[1] * row + gap, row, dims[1] * row};
    const int64_t head = dims[2] * row + 2 * gap;
    return {dims[1] * head, head, row};
  }
};

// A tensor that lies so, with NaN in between.
template <typename T>
class Placed {
 public:
  Placed(const Dims& dims, const Layout& layout, size_t slack, const std::vector<T>* values)
      : dims_(dims), strides_(layout.Strides(dims)), memory_(Bytes(values), slack) {}

  T* data() { return memory_.as<T>(); }
  InputRows in() { return {data(), strides_}; }
  OutputRows out() { return {data(), strides_}; }
  void MakeReadOnly() { memory_.MakeReadOnly(); }
  void MakeUnreadable(int64_t count) {
    memory_.MakeUnreadable(static_cast<size_t>(count) * sizeof(T));
  }

  // The values, of a tensor of which nothing in between was written.
  std::vector<T> Values() {
    memory_.ExpectGuards();
    std::vector<T> values;
    reference::Bytes between(memory_.data(), memory_.data() + memory_.size());
    ForEach([&](int64_t at) {
      values.push_back(data()[at]);
      std::fill_n(&between[static_cast<size_t>(at) * sizeof(T)], sizeof(T), kBetween);
    });
    EXPECT_TRUE(std::all_of(between.begin(), between.end(), [](uint8_t byte) {
      return byte == kBetween;
    })) << "written between rows";
    return values;
  }

 private:
  static constexpr uint8_t kBetween = 0xFF;  // NaN of all types

  template <class F>
  void ForEach(const F& f) const {
    for (int64_t b = 0; b < dims_[0]; ++b) {
      for (int64_t h = 0; h < dims_[1]; ++h) {
        for (int64_t r = 0; r < dims_[2]; ++r) {
          for (int64_t i = 0; i < dims_[3]; ++i) {
            f(b * strides_.batch + h * strides_.head + r * strides_.row + i);
          }
        }
      }
    }
  }

  // Up to the last entry, so that what is behind is a fault.
  reference::Bytes Bytes(const std::vector<T>* values) const {
    size_t size = 0;
    ForEach([&](int64_t at) { size = std::max(size, static_cast<size_t>(at) + 1); });
    reference::Bytes bytes(size * sizeof(T), kBetween);
    size_t next = 0;
    if (values == nullptr) return bytes;
    ForEach([&](int64_t at) {
      std::memcpy(&bytes[static_cast<size_t>(at) * sizeof(T)], &(*values)[next++], sizeof(T));
    });
    return bytes;
  }

  Dims dims_;
  RowStrides strides_;
  GuardedBytes memory_;
};

std::ostream& operator<<(std::ostream& out, const Sizes& s) {
  return out << s.batch << " x " << s.kv_heads << " heads for " << s.group << " each, " << s.queries
             << " queries of " << s.depth << ", " << s.keys << " keys, values of " << s.value_depth;
}

// What the two passes are given.
template <typename T>
struct Case {
  Sizes sizes;
  Shape shape;
  std::vector<Broadcast> mask_broadcast;  // one, or none where there is no mask
  Bytes mask;
  std::vector<Broadcast> bias_broadcast;
  std::vector<T> bias;
  std::vector<T> sinks;  // one for each head, or none
  std::vector<T> q;
  std::vector<T> k;
  std::vector<T> v;
  std::vector<T> d_o;
  std::vector<Wide<T>> d_lse;  // none, or one for each row
  Wide<T> scale = 1;
  Wide<T> softcap = 0;
  EmptyRow empty_row = EmptyRow::kZero;
  Layout layout{false, 0};
  size_t slack = 0;
  int64_t unreadable_keys = 0;  // of one unit, the first ones, whose k and v fill whole pages

  std::vector<bool> Kept() const {
    std::vector<bool> kept;
    for (int64_t row = 0; row < sizes.rows(); ++row) {
      for (int64_t j = 0; j < sizes.keys; ++j) {
        kept.push_back(
            shape.Keeps(row, j) &&
            (mask_broadcast.empty() || mask[mask_broadcast[0].entries[kept.size()]] != 0));
      }
    }
    return kept;
  }

  reference::AttentionInputs Reference() const {
    const auto size = [](int64_t n) { return static_cast<size_t>(n); };
    return {
        size(sizes.batch),
        size(sizes.heads()),
        size(sizes.kv_heads),
        size(sizes.queries),
        size(sizes.keys),
        size(sizes.depth),
        size(sizes.value_depth),
        ToDouble(q),
        ToDouble(k),
        ToDouble(v),
        double{scale},
        double{softcap},
        ToDouble(bias),
        bias_broadcast.empty() ? std::vector<size_t>() : bias_broadcast[0].entries,
        ToDouble(sinks),
        Kept(),
        empty_row};
  }
};

// The memory of a case, none of which may be written, and the arguments that lie in it.
template <typename T>
struct Inputs {
  explicit Inputs(const Case<T>& c)
      : q(c.sizes.of_queries(c.sizes.depth), c.layout, c.slack, &c.q),
        k(c.sizes.of_keys(c.sizes.depth), c.layout, c.slack, &c.k),
        v(c.sizes.of_keys(c.sizes.value_depth), c.layout, c.slack, &c.v),
        bias(c.bias, c.slack),
        sinks(c.sinks, c.slack),
        mask(c.mask, c.slack),
        d_o(c.sizes.of_queries(c.sizes.value_depth), c.layout, c.slack, &c.d_o),
        d_lse(c.sizes.of_queries(1), c.layout, c.slack, c.d_lse.empty() ? nullptr : &c.d_lse) {
    const Sizes& s = c.sizes;
    attention = {kReal<T>,  s.batch,       s.heads(), s.kv_heads, s.queries, s.keys,
                 s.depth,   s.value_depth, q.in(),    k.in(),     v.in(),    c.scale,
                 c.softcap, nullptr,       {},        nullptr,    {},        c.empty_row};
    attention.mask.shape = c.shape.functor;
    if (!c.mask_broadcast.empty()) {
      attention.mask.mask = mask.mask();
      attention.mask.mask_rows = c.mask_broadcast[0].rows;
    }
    if (!c.bias_broadcast.empty()) {
      attention.bias = bias.data();
      attention.bias_rows = c.bias_broadcast[0].rows;
    }
    if (!c.sinks.empty()) attention.sinks = sinks.data();
    for (Placed<T>* const memory : {&q, &k, &v, &d_o}) memory->MakeReadOnly();
    for (Guarded<T>* const memory : {&bias, &sinks}) memory->MakeReadOnly();
    mask.MakeReadOnly();
    d_lse.MakeReadOnly();
    if (c.unreadable_keys == 0) return;
    k.MakeUnreadable(c.unreadable_keys * s.depth);
    v.MakeUnreadable(c.unreadable_keys * s.value_depth);
  }

  Placed<T> q;
  Placed<T> k;
  Placed<T> v;
  Guarded<T> bias;
  Guarded<T> sinks;
  GuardedBytes mask;
  Placed<T> d_o;
  Placed<Wide<T>> d_lse;
  Attention attention;
};

template <typename T>
struct Results {
  std::vector<T> o;
  std::vector<Wide<T>> lse;
  std::vector<T> dq;
  std::vector<T> dk;
  std::vector<T> dv;
  std::vector<T> dbias;
  std::vector<T> dsinks;

  Bytes AllBytes() const {
    Bytes all = ToBytes(lse);
    for (const std::vector<T>* const values : {&o, &dq, &dk, &dv, &dbias, &dsinks}) {
      const Bytes bytes = ToBytes(*values);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }
};

// Both passes, the backward one from what the forward one gave.
template <typename T>
Results<T> RunBoth(const Case<T>& c, Inputs<T>* inputs, int64_t threads, ParallelFor parallel_for) {
  const Sizes& s = c.sizes;
  Inputs<T>& in = *inputs;
  Placed<T> o(s.of_queries(s.value_depth), c.layout, c.slack, nullptr);
  Placed<Wide<T>> lse(s.of_queries(1), c.layout, c.slack, nullptr);
  MaskedAttention(in.attention, o.out(), lse.out(), threads, parallel_for);
  o.MakeReadOnly();
  lse.MakeReadOnly();
  Placed<T> dq(s.of_queries(s.depth), c.layout, c.slack, nullptr);
  Placed<T> dk(s.of_keys(s.depth), c.layout, c.slack, nullptr);
  Placed<T> dv(s.of_keys(s.value_depth), c.layout, c.slack, nullptr);
  Guarded<T> dbias(c.bias.size(), c.slack);
  Guarded<T> dsinks(c.sinks.size(), c.slack);
  AttentionGradient gradient{dq.out(), dk.out(), dv.out(), nullptr, nullptr};
  if (!c.bias_broadcast.empty()) gradient.dbias = dbias.data();
  if (!c.sinks.empty()) gradient.dsinks = dsinks.data();
  const AttentionOutputs outputs{
      o.in(), lse.in(), in.d_o.in(), c.d_lse.empty() ? InputRows{} : in.d_lse.in()};
  MaskedAttentionGradient(in.attention, outputs, gradient, threads, parallel_for);
  for (Guarded<T>* const memory : {&dbias, &dsinks}) memory->ExpectGuards();
  return {o.Values(),  lse.Values(),   dq.Values(),    dk.Values(),
          dv.Values(), dbias.values(), dsinks.values()};
}

template <typename T>
Results<T> RunBoth(const Case<T>& c, int64_t threads, ParallelFor parallel_for) {
  Inputs<T> in(c);
  return RunBoth(c, &in, threads, parallel_for);
}

template <typename T>
class MaskedAttentionTest : public SeededTest {
 protected:
  using W = Wide<T>;
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  bool OneIn(uint64_t n) { return caffe2op_mask::OneIn(random_, n); }

  // Numbers alone: what is kept, and how, is for the caller to add.
  Case<T> DrawNumbers(const Sizes& s) {
    constexpr double kSpreads[] = {0.1, 1, 1, 6};
    const double spread = kSpreads[random_() % 4];
    Case<T> c;
    c.sizes = s;
    c.q = RandomReals<T>(random_, s.rows() * s.depth, spread);
    c.k = RandomReals<T>(random_, s.batch * s.kv_heads * s.keys * s.depth, spread);
    c.v = RandomReals<T>(random_, s.batch * s.kv_heads * s.keys * s.value_depth, 1);
    c.d_o = RandomReals<T>(random_, s.rows() * s.value_depth, 1);
    if (OneIn(2)) c.d_lse = RandomReals<W>(random_, s.rows(), 1);
    c.scale = static_cast<W>(OneIn(8) ? -0.6 : 1 / std::sqrt(static_cast<double>(s.depth)));
    if (OneIn(3)) c.softcap = static_cast<W>(OneIn(2) ? 0.5 : 30);
    c.empty_row = static_cast<EmptyRow>(random_() % 3);
    constexpr size_t kSlacks[] = {0, 0, 1, 5};
    c.slack = kSlacks[random_() % 4];
    if (OneIn(2)) c.layout = {OneIn(2), Uniform(random_, 0, 5)};
    return c;
  }

  void AddMask(const Dims& dims, Case<T>* c) {
    const Broadcast& broadcast = c->mask_broadcast.emplace_back(c->sizes.scores(), dims);
    c->mask = RandomMask(random_, broadcast.size, Patterns()[random_() % Patterns().size()]);
  }

  // Of numbers, and sometimes of -inf, which masks as well.
  void AddBias(const Dims& dims, Case<T>* c) {
    const Broadcast& broadcast = c->bias_broadcast.emplace_back(c->sizes.scores(), dims);
    c->bias = RandomReals<T>(random_, broadcast.size, 2);
    if (OneIn(2)) return;
    for (T& v : c->bias) {
      if (OneIn(7)) v = reference::Nearest<T>(-std::numeric_limits<double>::infinity());
    }
  }

  // Of numbers, and sometimes of -inf, which is none.
  void AddSinks(Case<T>* c) {
    c->sinks = RandomReals<T>(random_, c->sizes.heads(), 2);
    if (OneIn(3)) c->sinks[0] = reference::Nearest<T>(-std::numeric_limits<double>::infinity());
  }

  Case<T> DrawCase(const Sizes& s) {
    Case<T> c = DrawNumbers(s);
    c.shape = DrawShape(random_, s.rows(), s.queries, s.keys);
    if (OneIn(2)) AddMask(DrawSmallDims(random_, s.scores()), &c);
    if (OneIn(2)) AddBias(DrawSmallDims(random_, s.scores()), &c);
    if (OneIn(3)) AddSinks(&c);
    return c;
  }

  T DrawSpecial() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const double drawn = OneIn(2) ? kNaN : OneIn(2) ? kInfinity : -kInfinity;
    return reference::Nearest<T>(drawn);
  }

  // Some entries that are not finite, kept or not. No infinity comes back, since what
  // it is multiplied by, a difference, may be taken before or after.
  void Scatter(Case<T>* c) {
    for (std::vector<T>* const values : {&c->q, &c->k, &c->v, &c->bias, &c->sinks, &c->d_o}) {
      if (values->empty() || !OneIn(3)) continue;
      for (int i = 0; i < 3; ++i) {
        T& entry = (*values)[random_() % values->size()];
        entry = values == &c->d_o ? reference::Nearest<T>(kNaN) : DrawSpecial();
      }
    }
  }

  // Makes everything that has no effect anything but finite.
  void PoisonWhatIsMasked(Case<T>* c) {
    const Sizes& s = c->sizes;
    const reference::AttentionInputs in = c->Reference();
    std::vector<bool> key_kept(static_cast<size_t>(s.batch * s.kv_heads * s.keys));
    std::vector<bool> bias_kept(c->bias.size());
    bool uniform = false;  // whether all of v has an effect
    const auto poison = [&](std::vector<T>* values, size_t row, int64_t depth) {
      for (size_t i = 0; i < static_cast<size_t>(depth); ++i) {
        (*values)[row * static_cast<size_t>(depth) + i] = DrawSpecial();
      }
    };
    for (size_t row = 0; row < in.Rows(); ++row) {
      bool row_kept = false;
      for (size_t j = 0; j < in.keys; ++j) {
        if (!in.kept[row * in.keys + j]) continue;
        row_kept = true;
        key_kept[in.FirstKey(row) + j] = true;
        if (!in.bias.empty()) bias_kept[in.bias_entries[row * in.keys + j]] = true;
      }
      if (row_kept) {
        uniform = uniform || (!in.bias.empty() && in.empty_row == EmptyRow::kUniform);
        continue;
      }
      poison(&c->q, row, s.depth);
      // Its sink alone is a row, of which something may come back.
      if (in.Sink(row) != -std::numeric_limits<double>::infinity()) continue;
      if (!c->d_lse.empty()) c->d_lse[row] = static_cast<W>(kNaN);
      if (c->empty_row == EmptyRow::kUniform) {
        uniform = true;
      } else {
        poison(&c->d_o, row, s.value_depth);
      }
    }
    for (size_t key = 0; key < key_kept.size(); ++key) {
      if (key_kept[key]) continue;
      poison(&c->k, key, s.depth);
      if (!uniform) poison(&c->v, key, s.value_depth);
    }
    for (size_t i = 0; i < bias_kept.size(); ++i) {
      if (!bias_kept[i]) c->bias[i] = DrawSpecial();
    }
  }

  Results<T> ExpectCase(const Case<T>& c) {
    constexpr int64_t kThreads[] = {1, 2, 7};
    return ExpectCase(c, kThreads[random_() % 3]);
  }

  Results<T> ExpectCase(const Case<T>& c, int64_t threads) {
    SCOPED_TRACE(::testing::Message() << c.sizes << "; " << threads << " threads");
    const ParallelFor parallel_for = RandomFor(random_, Size(c.sizes.scores()));
    const Results<T> got = RunBoth(c, threads, parallel_for);
    const reference::AttentionInputs in = c.Reference();
    std::vector<reference::Rounded<W>> o;
    std::vector<reference::Rounded<W>> lse;
    for (size_t row = 0; row < in.Rows(); ++row) {
      const reference::AttentionRow<W> exact = reference::RowOf<W>(in, row);
      o.insert(o.end(), exact.o.begin(), exact.o.end());
      lse.push_back(exact.lse);
    }
    ExpectNear("o", got.o, o);
    ExpectNear("lse", got.lse, lse);
    const auto exact = reference::GradientsOf<T>(in, ToDouble(c.d_o), ToDouble(c.d_lse));
    ExpectNear("dq", got.dq, exact.dq);
    ExpectNear("dk", got.dk, exact.dk);
    ExpectNear("dv", got.dv, exact.dv);
    ExpectNear("dbias", got.dbias, exact.dbias);
    ExpectNear("dsinks", got.dsinks, exact.dsinks);
    return got;
  }

  // Nothing but numbers comes of it.
  void ExpectFinite(const Results<T>& results) {
    for (const auto* const values :
         {&results.o, &results.dq, &results.dk, &results.dv, &results.dbias, &results.dsinks}) {
      for (const T& v : *values) ASSERT_TRUE(std::isfinite(reference::ValueOf(v)));
    }
  }

  Sizes SmallSizes() {
    return {
        Uniform(random_, 1, 2),
        Uniform(random_, 1, 2),
        Uniform(random_, 1, 3),
        Uniform(random_, 1, 9),
        Uniform(random_, 1, 20),
        DrawDepth(),
        DrawDepth()};
  }

  int64_t DrawDepth() {
    constexpr int64_t kDepths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 33};
    return kDepths[random_() % 13];
  }
};

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
      Case<TypeParam> c =
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
  const Sizes sizes{2, 2, 2, 37, 259, 5, 3};
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
    Case<TypeParam> c = this->DrawNumbers(sizes);
    this->AddMask(mask, &c);
    this->AddBias(bias, &c);
    this->ExpectCase(c);
  }
}

// Blocks that are kept, masked or mixed, some of which are a tile or more.
TYPED_TEST(MaskedAttentionTest, TilesKeptMaskedAndMixed) {
  const Sizes sizes{1, 1, 2, 100, 700, 8, 8};
  for (const auto& [height, width] :
       std::vector<std::pair<int64_t, int64_t>>{{64, 256}, {20, 90}}) {
    Case<TypeParam> c = this->DrawNumbers(sizes);
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
    Case<TypeParam> c = this->DrawCase(
        small ? this->SmallSizes() : Sizes{1, 2, 2, 70, 300, this->DrawDepth(), this->DrawDepth()});
    this->PoisonWhatIsMasked(&c);
    if (c.empty_row == EmptyRow::kNaN) c.empty_row = EmptyRow::kZero;
    this->ExpectFinite(this->ExpectCase(c));
  }
}

// Keys that no row of a tile keeps are zeros to its sums where they are not finite: the same
// bits come of them as of zeros. Rows that are computed again entry by entry round otherwise.
TYPED_TEST(MaskedAttentionTest, KeysThatNoRowKeepsAreAsZeros) {
  const Sizes sizes{2, 2, 2, 70, 300, 24, 33};
  for (const Dims& dims : {Dims{2, 1, 1, 300}, Dims{70, 300}, Dims{2, 4, 70, 300}}) {
    for (const int kind : {0, 1, 2, 3}) {
      const bool causal = kind % 2 != 0;
      SCOPED_TRACE(::testing::Message() << ::testing::PrintToString(dims) << ", kind " << kind);
      Case<TypeParam> c = this->DrawNumbers(sizes);
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
        const Bytes expected = RunBoth(c, threads, SerialFor).AllBytes();
        fill([&] { return this->DrawSpecial(); });
        const Bytes got = RunBoth(c, threads, SerialFor).AllBytes();
        EXPECT_TRUE(got == expected) << threads << " threads";
      }
    }
  }
}

// And so they are where other tiles' rows keep them.
TYPED_TEST(MaskedAttentionTest, KeysThatOtherTilesKeepAreAsZeros) {
  const Sizes sizes{1, 1, 1, 128, 40, 16, 24};
  Case<TypeParam> c = this->DrawNumbers(sizes);
  this->AddMask({128, 40}, &c);
  for (size_t i = 0; i < c.mask.size(); ++i) {
    c.mask[i] = i % 40 != 3 && i % 40 != 20 ? !this->OneIn(5) : i / 40 >= 64;
  }
  const auto run = [&](double value) {
    for (const size_t key : std::vector<size_t>{3, 20}) {
      std::fill_n(&c.k[key * 16], 16, reference::Nearest<TypeParam>(value));
      std::fill_n(&c.v[key * 24], 24, reference::Nearest<TypeParam>(value));
    }
    return RunBoth(c, 1, SerialFor);
  };
  const Results<TypeParam> zeros = run(0);
  const Results<TypeParam> nan = run(this->kNaN);
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
  const Sizes sizes{1, 1, 2, 70, 2560, 16, 32};
  const int64_t left_pad = 2304 + 3;  // nine tiles, and some of the last
  for (const bool causal : {false, true}) {
    for (const int64_t threads : {1, 7}) {
      Case<TypeParam> c = this->DrawNumbers(sizes);
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
    Case<TypeParam> c = this->DrawCase(
        small ? this->SmallSizes() : Sizes{1, 2, 2, 70, 300, this->DrawDepth(), this->DrawDepth()});
    this->Scatter(&c);
    this->ExpectCase(c);
  }
}

// Sums of weighed rows may pass the greatest number where their mean does not.
TYPED_TEST(MaskedAttentionTest, MeansOfLargeValues) {
  constexpr double kLarge = std::is_same<TypeParam, Float16>::value  ? 49152
                            : std::is_same<TypeParam, double>::value ? 0x1p1023
                                                                     : 0x1p127;
  Case<TypeParam> c = this->DrawNumbers({1, 1, 1, 3, 8, 2, 2});
  c.softcap = 0;
  std::fill(c.q.begin(), c.q.end(), TypeParam{});
  std::fill(c.v.begin(), c.v.end(), reference::Nearest<TypeParam>(kLarge));
  const Results<TypeParam> got = RunBoth(c, 1, SerialFor);
  constexpr double kRoundings = 8 * reference::kUnit<Wide<TypeParam>>;
  for (const TypeParam& v : got.o) {
    EXPECT_NEAR(reference::ValueOf(v), kLarge, kLarge * kRoundings);
  }
}

TYPED_TEST(MaskedAttentionTest, NoLogarithmsWanted) {
  const Case<TypeParam> c = this->DrawCase({1, 2, 1, 70, 300, 8, 8});
  const Results<TypeParam> both = RunBoth(c, 1, SerialFor);
  Inputs<TypeParam> in(c);
  Placed<TypeParam> o(c.sizes.of_queries(8), c.layout, 0, nullptr);
  MaskedAttention(in.attention, o.out(), {}, 1, SerialFor);
  EXPECT_TRUE(ToBytes(o.Values()) == ToBytes(both.o));
}

// To the bit, and nothing between rows is read or written. A tile has rows of several heads.
TYPED_TEST(MaskedAttentionTest, SameBytesWhereverRowsLie) {
  for (const Sizes& sizes :
       {Sizes{2, 2, 3, 33, 300, 24, 17}, Sizes{2, 3, 1, 70, 65, 16, 16},
        Sizes{3, 2, 4, 1, 40, 8, 8}}) {
    for (int time = 0; time < 6; ++time) {
      Case<TypeParam> c = this->DrawCase(sizes);
      if (time % 3 == 0) this->Scatter(&c);
      for (const int64_t threads : {1, 7}) {
        c.layout = {false, 0};
        const Bytes expected = RunBoth(c, threads, SerialFor).AllBytes();
        for (const Layout& layout : {Layout{true, 0}, Layout{false, 1}, Layout{true, 5}}) {
          SCOPED_TRACE(
              ::testing::Message() << sizes << "; heads " << (layout.heads_inside ? "in" : "out")
                                   << "side, gaps of " << layout.gap);
          c.layout = layout;
          ASSERT_TRUE(RunBoth(c, threads, SerialFor).AllBytes() == expected);
        }
      }
    }
  }
}

// Keys and values that are expanded, whose steps are 0, are as copies of them.
TYPED_TEST(MaskedAttentionTest, ExpandedKeysAreAsCopies) {
  const Sizes sizes{2, 3, 1, 40, 270, 8, 5};
  const auto count = [](int64_t n) { return static_cast<size_t>(n); };
  for (const auto& [batch, head, row] :
       std::vector<std::array<int64_t, 3>>{{0, 1, 1}, {1, 0, 1}, {0, 0, 1}, {1, 1, 0}, {0, 0, 0}}) {
    SCOPED_TRACE(::testing::Message() << "steps " << batch << ", " << head << ", " << row);
    Case<TypeParam> c = this->DrawCase(sizes);
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
    Inputs<TypeParam> in(c);
    for (InputRows* const rows : {&in.attention.k, &in.attention.v}) {
      rows->strides.batch *= batch;
      rows->strides.head *= head;
      rows->strides.row *= row;
    }
    for (const int64_t threads : {1, 7}) {
      const Bytes expected = RunBoth(c, threads, SerialFor).AllBytes();
      EXPECT_TRUE(RunBoth(c, &in, threads, SerialFor).AllBytes() == expected);
    }
  }
}

// Of three heads of k and v: with 7 threads the backward pass goes by rows and keys,
// with fewer by heads.
TYPED_TEST(MaskedAttentionTest, SameBytesWhoeverRunsIt) {
  const Sizes sizes{1, 3, 2, 130, 530, 40, 32};
  for (const char* const kept :
       {"all", "causal", "band", "mask", "bias", "bias of keys", "bias of one", "sinks"}) {
    SCOPED_TRACE(kept);
    const std::string name = kept;
    Case<TypeParam> c = this->DrawNumbers(sizes);
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
    const Bytes expected = RunBoth(c, 1, SerialFor).AllBytes();
    for (const int64_t threads : {1, 2, 3, 7}) {
      for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
        const Bytes got = RunBoth(c, threads, parallel_for).AllBytes();
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
  Case<TypeParam> c = this->DrawNumbers({1, 1, 1, 128, 512, 9, 16});
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
      Case<TypeParam> c = this->DrawNumbers({1, 2, 2, 70, 300, 8, 3});
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
      const Results<TypeParam> got = RunBoth(c, threads, SerialFor);
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
    Case<TypeParam> c = this->DrawCase({1, 2, 2, 70, 300, 8, 8});
    c.sinks.clear();
    const Bytes expected = RunBoth(c, threads, SerialFor).AllBytes();
    c.sinks.assign(4, reference::Nearest<TypeParam>(-std::numeric_limits<double>::infinity()));
    Results<TypeParam> got = RunBoth(c, threads, SerialFor);
    for (const TypeParam& d : got.dsinks) EXPECT_EQ(reference::ValueOf(d), 0);
    got.dsinks.clear();
    EXPECT_TRUE(got.AllBytes() == expected);
    std::fill(c.d_o.begin(), c.d_o.end(), reference::Nearest<TypeParam>(this->kNaN));
    got = RunBoth(c, threads, SerialFor);
    for (const TypeParam& d : got.dsinks) EXPECT_EQ(reference::ValueOf(d), 0);
  }
}

// A row with a sink is never empty: of nothing kept it is 0, whatever an empty row is.
TYPED_TEST(MaskedAttentionTest, NothingKeptBesideASink) {
  for (const EmptyRow empty_row : {EmptyRow::kZero, EmptyRow::kNaN, EmptyRow::kUniform}) {
    Case<TypeParam> c = this->DrawNumbers({1, 1, 2, 70, 300, 8, 8});
    c.empty_row = empty_row;
    c.sinks = {reference::Nearest<TypeParam>(0.5), reference::Nearest<TypeParam>(-3)};
    this->AddMask({70, 1}, &c);
    // Tiles of which nothing is kept and others, of the second head, with a row of it.
    for (size_t i = 0; i < 70; ++i) c.mask[i] = i > 40 && i != 55;
    const Results<TypeParam> got = this->ExpectCase(c);
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
      Case<TypeParam> c = this->DrawNumbers({1, 1, 2, 70, 299, 8, 3});
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
      const Results<TypeParam> got = RunBoth(c, threads, SerialFor);
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
  Case<TypeParam> c = this->DrawNumbers({1, 1, 1, 3, 20, 4, 2});
  std::fill(c.q.begin(), c.q.end(), TypeParam{});
  c.softcap = std::numeric_limits<Wide<TypeParam>>::denorm_min();
  this->ExpectFinite(RunBoth(c, 1, SerialFor));
}

TYPED_TEST(MaskedAttentionTest, NothingToDo) {
  const std::vector<Sizes> nothing{
      {0, 2, 2, 3, 4, 5, 6}, {2, 0, 2, 3, 4, 5, 6},  {2, 2, 2, 0, 4, 5, 6},
      {2, 2, 2, 3, 0, 5, 6}, {2, 2, 2, 3, 4, 0, 6},  {2, 2, 2, 3, 4, 5, 0},
      {2, 2, 2, 0, 0, 0, 0}, {1, 1, 1, 70, 0, 3, 3}, {1, 1, 1, 0, 300, 3, 3}};
  for (const Sizes& sizes : nothing) {
    if (sizes.kv_heads == 0) continue;  // the caller's to do nothing
    for (const Dims& bias : {Dims{}, sizes.scores(), Dims{sizes.queries, 1}, Dims{1, sizes.keys}}) {
      SCOPED_TRACE(::testing::PrintToString(bias));
      Case<TypeParam> c = this->DrawNumbers(sizes);
      if (sizes.depth == 0) c.scale = 1;
      this->AddBias(bias, &c);
      this->ExpectCase(c);
    }
    Case<TypeParam> c = this->DrawNumbers(sizes);
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
    const Sizes s{1, 2, 2, 3, 4, 3, 2};
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
