// Attention of sequences that lie one behind the other: to the bit what each is by itself, which
// is compared with the oracle.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "tests/cpp/masked_attention_testing.h"

namespace caffe2op_mask {
namespace {

// Cases of one sequence each, alike but for their lengths, and what is kept of them all.
template <typename T>
struct JaggedCase {
  std::vector<AttentionCase<T>> each;
  std::vector<int64_t> unused_keys;  // of each, behind its keys, of NaN
  std::vector<int64_t> shifts;
  IntersectionFunctor shape;  // of rows by where they stand
  Layout layout{true, 0};
  bool lse_by_heads = false;  // [H, T] rather than [T, H]
};

template <typename T>
class JaggedAttentionTest : public MaskedAttentionTest<T> {
 protected:
  using W = Wide<T>;
  using Test = MaskedAttentionTest<T>;
  using Test::random_;

  // All sequences in one tensor. `part(c)` is the part of each case, of [1, heads, rows(c), depth];
  // rows that no case has are NaN. Without parts there is memory alone.
  template <typename E>
  class Joined {
   public:
    Joined(
        const JaggedCase<T>& c, int64_t heads, const std::vector<int64_t>& rows,
        const std::vector<int64_t>& unused, int64_t depth, const Layout& layout)
        : heads_(heads), rows_(rows), unused_(unused), depth_(depth), layout_(layout) {
      for (size_t i = 0; i < c.each.size(); ++i) {
        firsts_.push_back(all_);
        all_ += rows[i] + unused[i];
      }
    }

    void Join(const std::vector<const std::vector<E>*>& parts) {
      std::vector<E> values;
      for (int64_t head = 0; head < heads_; ++head) {
        for (size_t i = 0; i < rows_.size(); ++i) {
          const int64_t begin = head * rows_[i] * depth_;
          values.insert(
              values.end(), parts[i]->begin() + begin,
              parts[i]->begin() + begin + rows_[i] * depth_);
          values.insert(
              values.end(), static_cast<size_t>(unused_[i] * depth_),
              reference::Nearest<E>(std::numeric_limits<double>::quiet_NaN()));
        }
      }
      placed_.emplace(Dims{1, heads_, all_, depth_}, layout_, 0, &values);
      placed_->MakeReadOnly();
    }
    void Make() { placed_.emplace(Dims{1, heads_, all_, depth_}, layout_, 0, nullptr); }

    Placed<E>& placed() { return *placed_; }
    const std::vector<int64_t>& firsts() const { return firsts_; }
    InputRows in() { return {placed_->in().data, Strides()}; }
    OutputRows out() { return {placed_->out().data, Strides()}; }

    // The part of each; what no case has is 0.
    std::vector<std::vector<E>> Parts() {
      const std::vector<E> values = placed_->Values();
      std::vector<std::vector<E>> parts(rows_.size());
      auto at = values.begin();
      for (int64_t head = 0; head < heads_; ++head) {
        for (size_t i = 0; i < rows_.size(); ++i) {
          parts[i].insert(parts[i].end(), at, at + rows_[i] * depth_);
          at += rows_[i] * depth_;
          for (int64_t j = 0; j < unused_[i] * depth_; ++j) {
            EXPECT_EQ(reference::ValueOf(*at++), 0) << "of a key that is not used";
          }
        }
      }
      return parts;
    }

   private:
    // One behind the other: there is no step from sequence to sequence.
    RowStrides Strides() {
      RowStrides strides = placed_->in().strides;
      strides.batch = 0;
      return strides;
    }

    int64_t heads_;
    std::vector<int64_t> rows_;
    std::vector<int64_t> unused_;
    int64_t depth_;
    Layout layout_;
    int64_t all_ = 0;
    std::vector<int64_t> firsts_;
    std::optional<Placed<E>> placed_;
  };

  template <typename E, class F>
  static std::vector<const std::vector<E>*> PartsOf(const JaggedCase<T>& c, const F& part) {
    std::vector<const std::vector<E>*> parts;
    for (const AttentionCase<T>& one : c.each) parts.push_back(&part(one));
    return parts;
  }

  // Of each sequence; the gradient of sinks, which is of all, is the first one's.
  std::vector<AttentionResults<T>> Run(
      const JaggedCase<T>& c, int64_t threads, ParallelFor parallel_for) {
    const AttentionCase<T>& first = c.each[0];
    AttentionDims s = first.sizes;
    std::vector<int64_t> queries;
    std::vector<int64_t> keys;
    for (const AttentionCase<T>& one : c.each) {
      queries.push_back(one.sizes.queries);
      keys.push_back(one.sizes.keys);
    }
    s.queries = *std::max_element(queries.begin(), queries.end());
    s.keys = *std::max_element(keys.begin(), keys.end());
    const std::vector<int64_t> none(c.each.size());
    const auto of_queries = [&](int64_t depth) {
      return Joined<T>(c, s.heads(), queries, none, depth, c.layout);
    };
    const auto of_keys = [&](int64_t depth) {
      return Joined<T>(c, s.kv_heads, keys, c.unused_keys, depth, c.layout);
    };
    const auto of_rows = [&] {
      return Joined<W>(c, s.heads(), queries, none, 1, {!c.lse_by_heads, c.layout.gap});
    };
    auto q = of_queries(s.depth);
    auto k = of_keys(s.depth);
    auto v = of_keys(s.value_depth);
    auto d_o = of_queries(s.value_depth);
    auto d_lse = of_rows();
    using Case = AttentionCase<T>;
    q.Join(PartsOf<T>(
        c, [](const Case& one) -> const auto& { return one.q; }));
    k.Join(PartsOf<T>(
        c, [](const Case& one) -> const auto& { return one.k; }));
    v.Join(PartsOf<T>(
        c, [](const Case& one) -> const auto& { return one.v; }));
    d_o.Join(PartsOf<T>(
        c, [](const Case& one) -> const auto& { return one.d_o; }));
    d_lse.Join(PartsOf<W>(
        c, [](const Case& one) -> const auto& { return one.d_lse; }));

    std::vector<Sequence> sequences;
    for (size_t i = 0; i < c.each.size(); ++i) {
      sequences.push_back(
          {queries[i], keys[i], c.unused_keys[i], q.firsts()[i], k.firsts()[i],
           s.heads() * q.firsts()[i], c.shifts[i]});
    }
    Guarded<T> sinks(first.sinks);
    Attention attention{};
    attention.type = kReal<T>;
    attention.batch = static_cast<int64_t>(sequences.size());
    attention.heads = s.heads();
    attention.kv_heads = s.kv_heads;
    attention.queries = s.queries;
    attention.keys = s.keys;
    attention.depth = s.depth;
    attention.value_depth = s.value_depth;
    attention.q = q.in();
    attention.k = k.in();
    attention.v = v.in();
    attention.scale = first.scale;
    attention.softcap = first.softcap;
    attention.sinks = first.sinks.empty() ? nullptr : sinks.data();
    attention.mask.shape = c.shape;
    attention.empty_row = first.empty_row;
    attention.sequences = sequences.data();

    auto o = of_queries(s.value_depth);
    auto lse = of_rows();
    o.Make();
    lse.Make();
    MaskedAttention(attention, o.out(), lse.out(), threads, parallel_for);
    o.placed().MakeReadOnly();
    lse.placed().MakeReadOnly();
    auto dq = of_queries(s.depth);
    auto dk = of_keys(s.depth);
    auto dv = of_keys(s.value_depth);
    for (auto* const gradient : {&dq, &dk, &dv}) gradient->Make();
    Guarded<T> dsinks(first.sinks.size());
    const AttentionGradient gradient{
        dq.out(), dk.out(), dv.out(), nullptr, first.sinks.empty() ? nullptr : dsinks.data()};
    MaskedAttentionGradient(
        attention, {o.in(), lse.in(), d_o.in(), d_lse.in()}, gradient, threads, parallel_for);
    dsinks.ExpectGuards();

    std::vector<AttentionResults<T>> results(c.each.size());
    const auto take = [&](auto* joined, auto member) {
      auto parts = joined->Parts();
      for (size_t i = 0; i < parts.size(); ++i) results[i].*member = std::move(parts[i]);
    };
    take(&o, &AttentionResults<T>::o);
    take(&lse, &AttentionResults<T>::lse);
    take(&dq, &AttentionResults<T>::dq);
    take(&dk, &AttentionResults<T>::dk);
    take(&dv, &AttentionResults<T>::dv);
    results[0].dsinks = dsinks.values();
    return results;
  }

  // Triangles and bands, at the top left or the bottom right of each sequence.
  void AddShape(JaggedCase<T>* c) {
    const uint64_t chosen = random_() % 4 == 0 ? 0 : random_();
    const bool bottom_right = this->OneIn(2);
    const int64_t right = Uniform(random_, -2, 6);
    const int64_t left = Uniform(random_, -9, 2);
    if ((chosen & 1) != 0) c->shape.Add(UpperFunctor{right, {}});
    if ((chosen & 2) != 0) c->shape.Add(LowerDiagFunctor{left, {}});
    for (AttentionCase<T>& one : c->each) {
      const int64_t queries = std::max<int64_t>(one.sizes.queries, 1);
      const int64_t shift = bottom_right ? one.sizes.keys - one.sizes.queries : 0;
      c->shifts.push_back(shift);
      one.shape.shifts = {shift};
      const RowPosition position{{1, queries}, one.shape.shifts.data(), {1, 1}};
      if ((chosen & 1) != 0) {
        one.shape.functor.Add(UpperFunctor{right, position});
        one.shape.parts.emplace_back([=](int64_t i, int64_t j) {
          return reference::UpperKeeps(i % queries + shift, right, j);
        });
      }
      if ((chosen & 2) != 0) {
        one.shape.functor.Add(LowerDiagFunctor{left, position});
        one.shape.parts.emplace_back([=](int64_t i, int64_t j) {
          return reference::LowerDiagKeeps(i % queries + shift, left, j);
        });
      }
    }
  }

  JaggedCase<T> Draw(
      AttentionDims sizes, const std::vector<std::pair<int64_t, int64_t>>& queries_and_keys) {
    JaggedCase<T> c;
    sizes.batch = 1;
    for (const auto& [queries, keys] : queries_and_keys) {
      sizes.queries = queries;
      sizes.keys = keys;
      AttentionCase<T> one = this->DrawNumbers(sizes);
      one.layout = {false, 0};
      one.d_lse = RandomReals<W>(random_, sizes.rows(), 1);
      if (!c.each.empty()) {
        one.scale = c.each[0].scale;
        one.softcap = c.each[0].softcap;
        one.empty_row = c.each[0].empty_row;
        one.sinks = c.each[0].sinks;
      } else if (this->OneIn(3)) {
        this->AddSinks(&one);
      }
      c.each.push_back(std::move(one));
      c.unused_keys.push_back(this->OneIn(2) ? 0 : Uniform(random_, 0, 4));
    }
    AddShape(&c);
    c.layout.gap = this->OneIn(2) ? 0 : Uniform(random_, 1, 5);
    c.lse_by_heads = this->OneIn(2);
    return c;
  }

  JaggedCase<T> DrawSmall() {
    std::vector<std::pair<int64_t, int64_t>> lengths(random_() % 5 + 1);
    const bool self = this->OneIn(2);
    for (auto& [queries, keys] : lengths) {
      queries = this->OneIn(4) ? 0 : Uniform(random_, 1, 9);
      keys = self ? queries : this->OneIn(4) ? 0 : Uniform(random_, 1, 20);
    }
    return Draw(this->SmallSizes(), lengths);
  }

  // Of sinks: what comes back from all sequences.
  void ExpectSinks(const JaggedCase<T>& c, const std::vector<T>& got) {
    std::vector<reference::Rounded<W>> sums(got.size(), reference::Rounded<W>(0));
    for (const AttentionCase<T>& one : c.each) {
      const auto exact =
          reference::GradientsOf<T>(one.Reference(), ToDouble(one.d_o), ToDouble(one.d_lse));
      for (size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + exact.dsinks[i];
    }
    ExpectNear("dsinks", got, sums);
  }

  void ExpectAsEachByItself(const JaggedCase<T>& c) {
    for (const int64_t threads : {1, 2, 7}) {
      std::vector<AttentionResults<T>> got = this->Run(c, threads, RandomFor(random_, 1 << 13));
      ExpectSinks(c, got[0].dsinks);
      for (size_t i = 0; i < c.each.size(); ++i) {
        SCOPED_TRACE(
            ::testing::Message() << "sequence " << i << " of " << c.each.size() << ": "
                                 << c.each[i].sizes << "; " << threads << " threads");
        const AttentionResults<T> alone = RunAttention(c.each[i], threads, SerialFor);
        got[i].dsinks = alone.dsinks;
        ASSERT_TRUE(got[i].AllBytes() == alone.AllBytes());
        if (threads == 1) this->ExpectResults(c.each[i], got[i]);
      }
      if (this->HasFailure()) return;
    }
  }
};

using RealTypes = ::testing::Types<Float16, BFloat16, float, double>;
TYPED_TEST_SUITE(JaggedAttentionTest, RealTypes);

TYPED_TEST(JaggedAttentionTest, EachSequenceIsAsByItself) {
  for (int time = 0; time < 200 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    this->ExpectAsEachByItself(this->DrawSmall());
  }
}

TYPED_TEST(JaggedAttentionTest, SequencesAroundTiles) {
  for (int time = 0; time < 4 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    this->ExpectAsEachByItself(this->Draw(
        {1, 2, time % 2 + 1, 0, 0, this->DrawDepth(), this->DrawDepth()},
        {{65, 257}, {0, 3}, {130, 64}, {1, 300}, {64, 256}, {3, 0}, {33, 255}}));
  }
}

// One is longer than all others, and there are 30 of these: no thread takes it alone.
TYPED_TEST(JaggedAttentionTest, SameBytesWhoeverRunsIt) {
  std::vector<std::pair<int64_t, int64_t>> lengths(30, {7, 9});
  lengths[11] = {300, 520};
  const JaggedCase<TypeParam> c = this->Draw({1, 2, 2, 0, 0, 16, 24}, lengths);
  const auto bytes = [&](int64_t threads, ParallelFor parallel_for) {
    Bytes all;
    for (const AttentionResults<TypeParam>& one : this->Run(c, threads, parallel_for)) {
      const Bytes bytes = one.AllBytes();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  };
  const Bytes expected = bytes(1, SerialFor);
  for (const int64_t threads : {1, 2, 3, 7}) {
    for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
      ASSERT_TRUE(bytes(threads, parallel_for) == expected) << threads << " threads";
    }
  }
}

TYPED_TEST(JaggedAttentionTest, WhatIsKeptAndNotFiniteShows) {
  for (int time = 0; time < 60 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    JaggedCase<TypeParam> c = this->DrawSmall();
    const std::vector<TypeParam> sinks = c.each[0].sinks;
    for (AttentionCase<TypeParam>& one : c.each) {
      this->Scatter(&one);
      one.sinks = sinks;
    }
    std::vector<AttentionResults<TypeParam>> got = this->Run(c, time % 2 == 0 ? 1 : 7, SerialFor);
    this->ExpectSinks(c, got[0].dsinks);
    for (size_t i = 0; i < c.each.size(); ++i) {
      got[i].dsinks = RunAttention(c.each[i], 1, SerialFor).dsinks;
      this->ExpectResults(c.each[i], got[i]);
    }
  }
}

// What a run takes grows with what there is, not with the number of sequences times the longest:
// that would be some 10^10 rows.
using FloatJaggedAttentionTest = JaggedAttentionTest<float>;

TEST_F(FloatJaggedAttentionTest, ManySequencesBesideALongOne) {
  constexpr int64_t kLong = 10000;
  constexpr int64_t kMany = 1000000;
  constexpr int64_t kDepth = 4;
  std::vector<Sequence> sequences;
  int64_t rows = 0;
  for (int64_t i = 0; i < kMany; ++i) {
    const int64_t length = i == kMany / 2 ? kLong : i % 1000 == 0 ? 1 : 0;
    sequences.push_back({length, length, 0, rows, rows, rows, 0});
    rows += length;
  }
  const std::vector<float> ones(static_cast<size_t>(rows * kDepth), 1);
  std::vector<float> results[4];
  for (std::vector<float>& one : results) one.resize(ones.size());
  std::vector<float> lse(static_cast<size_t>(rows));
  const RowStrides at{0, kDepth, kDepth};
  const RowStrides entries_at{0, 1, 1};
  Attention attention{};
  attention.type = Real::kFloat32;
  attention.batch = kMany;
  attention.heads = 1;
  attention.kv_heads = 1;
  attention.queries = kLong;
  attention.keys = kLong;
  attention.depth = kDepth;
  attention.value_depth = kDepth;
  attention.q = attention.k = attention.v = {ones.data(), at};
  attention.scale = 1;
  attention.mask.shape.Add(UpperFunctor{0, {}});
  attention.mask.shape.Add(LowerFunctor{-1, {}});
  attention.sequences = sequences.data();
  MaskedAttention(attention, {results[0].data(), at}, {lse.data(), entries_at}, 2, ThreadedFor);
  MaskedAttentionGradient(
      attention, {{results[0].data(), at}, {lse.data(), entries_at}, {ones.data(), at}, {}},
      {{results[1].data(), at}, {results[2].data(), at}, {results[3].data(), at}, nullptr, nullptr},
      2, ThreadedFor);
  for (const float o : results[0]) ASSERT_NEAR(o, 1, 1e-6);
  // Of each query the gradient of values is 1, shared out over what it keeps.
  double given = 0;
  for (const float dv : results[3]) given += double{dv};
  EXPECT_NEAR(given, static_cast<double>(rows * kDepth), 1e-2);
}

}  // namespace
}  // namespace caffe2op_mask
