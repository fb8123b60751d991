#pragma once

// What tests of attention share: cases of it in memory of any layout, run and compared with the
// oracle.

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

#include "kernels/masked_attention.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/scores_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/masked_attention.h"
#include "tests/reference/rounded.h"

namespace caffe2op_mask {

template <typename T>
constexpr Real kReal = std::is_same<T, Float16>::value    ? Real::kFloat16
                       : std::is_same<T, BFloat16>::value ? Real::kBFloat16
                       : std::is_same<T, float>::value    ? Real::kFloat32
                                                          : Real::kFloat64;

// batch, heads of k and v, heads of q for each of these, queries, keys, and the depths
// of k and v.
struct AttentionDims {
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

// A tensor that lies so, with NaN in between. Its entries are aligned, whatever the slack.
template <typename T>
class Placed {
 public:
  Placed(const Dims& dims, const Layout& layout, size_t slack, const std::vector<T>* values)
      : dims_(dims),
        strides_(layout.Strides(dims)),
        memory_(Bytes(values), slack / sizeof(T) * sizeof(T)) {}

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

inline std::ostream& operator<<(std::ostream& out, const AttentionDims& s) {
  return out << s.batch << " x " << s.kv_heads << " heads for " << s.group << " each, " << s.queries
             << " queries of " << s.depth << ", " << s.keys << " keys, values of " << s.value_depth;
}

// What the two passes are given.
template <typename T>
struct AttentionCase {
  AttentionDims sizes;
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
struct AttentionMemory {
  explicit AttentionMemory(const AttentionCase<T>& c)
      : q(c.sizes.of_queries(c.sizes.depth), c.layout, c.slack, &c.q),
        k(c.sizes.of_keys(c.sizes.depth), c.layout, c.slack, &c.k),
        v(c.sizes.of_keys(c.sizes.value_depth), c.layout, c.slack, &c.v),
        bias(c.bias, c.slack),
        sinks(c.sinks, c.slack),
        mask(c.mask, c.slack),
        d_o(c.sizes.of_queries(c.sizes.value_depth), c.layout, c.slack, &c.d_o),
        d_lse(c.sizes.of_queries(1), c.layout, c.slack, c.d_lse.empty() ? nullptr : &c.d_lse) {
    const AttentionDims& s = c.sizes;
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
struct AttentionResults {
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
AttentionResults<T> RunAttention(
    const AttentionCase<T>& c, AttentionMemory<T>* inputs, int64_t threads,
    ParallelFor parallel_for) {
  const AttentionDims& s = c.sizes;
  AttentionMemory<T>& in = *inputs;
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
AttentionResults<T> RunAttention(
    const AttentionCase<T>& c, int64_t threads, ParallelFor parallel_for) {
  AttentionMemory<T> in(c);
  return RunAttention(c, &in, threads, parallel_for);
}

template <typename T>
class MaskedAttentionTest : public SeededTest {
 protected:
  using W = Wide<T>;
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  bool OneIn(uint64_t n) { return caffe2op_mask::OneIn(random_, n); }

  // Numbers alone: what is kept, and how, is for the caller to add.
  AttentionCase<T> DrawNumbers(const AttentionDims& s) {
    constexpr double kSpreads[] = {0.1, 1, 1, 6};
    const double spread = kSpreads[random_() % 4];
    AttentionCase<T> c;
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

  void AddMask(const Dims& dims, AttentionCase<T>* c) {
    const Broadcast& broadcast = c->mask_broadcast.emplace_back(c->sizes.scores(), dims);
    c->mask = RandomMask(random_, broadcast.size, Patterns()[random_() % Patterns().size()]);
  }

  // Of numbers, and sometimes of -inf, which masks as well.
  void AddBias(const Dims& dims, AttentionCase<T>* c) {
    const Broadcast& broadcast = c->bias_broadcast.emplace_back(c->sizes.scores(), dims);
    c->bias = RandomReals<T>(random_, broadcast.size, 2);
    if (OneIn(2)) return;
    for (T& v : c->bias) {
      if (OneIn(7)) v = reference::Nearest<T>(-std::numeric_limits<double>::infinity());
    }
  }

  // Of numbers, and sometimes of -inf, which is none.
  void AddSinks(AttentionCase<T>* c) {
    c->sinks = RandomReals<T>(random_, c->sizes.heads(), 2);
    if (OneIn(3)) c->sinks[0] = reference::Nearest<T>(-std::numeric_limits<double>::infinity());
  }

  AttentionCase<T> DrawCase(const AttentionDims& s) {
    AttentionCase<T> c = DrawNumbers(s);
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
  void Scatter(AttentionCase<T>* c) {
    for (std::vector<T>* const values : {&c->q, &c->k, &c->v, &c->bias, &c->sinks, &c->d_o}) {
      if (values->empty() || !OneIn(3)) continue;
      for (int i = 0; i < 3; ++i) {
        T& entry = (*values)[random_() % values->size()];
        entry = values == &c->d_o ? reference::Nearest<T>(kNaN) : DrawSpecial();
      }
    }
  }

  // Makes everything that has no effect anything but finite.
  void PoisonWhatIsMasked(AttentionCase<T>* c) {
    const AttentionDims& s = c->sizes;
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

  AttentionResults<T> ExpectCase(const AttentionCase<T>& c) {
    constexpr int64_t kThreads[] = {1, 2, 7};
    return ExpectCase(c, kThreads[random_() % 3]);
  }

  AttentionResults<T> ExpectCase(const AttentionCase<T>& c, int64_t threads) {
    SCOPED_TRACE(::testing::Message() << c.sizes << "; " << threads << " threads");
    const ParallelFor parallel_for = RandomFor(random_, Size(c.sizes.scores()));
    const AttentionResults<T> got = RunAttention(c, threads, parallel_for);
    ExpectResults(c, got);
    return got;
  }

  void ExpectResults(const AttentionCase<T>& c, const AttentionResults<T>& got) {
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
  }

  // Nothing but numbers comes of it.
  void ExpectFinite(const AttentionResults<T>& results) {
    for (const auto* const values :
         {&results.o, &results.dq, &results.dk, &results.dv, &results.dbias, &results.dsinks}) {
      for (const T& v : *values) ASSERT_TRUE(std::isfinite(reference::ValueOf(v)));
    }
  }

  AttentionDims SmallSizes() {
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

}  // namespace caffe2op_mask
