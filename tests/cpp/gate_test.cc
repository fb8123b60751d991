#include "kernels/gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cpp/gate_testing.h"

namespace caffe2op_mask {
namespace {

TEST_F(GateKernelTest, OfOneShape) {
  for (const int64_t count : Counts(random_)) {
    ExpectOver({count}, {count}, {1});
    if (HasFailure()) return;
  }
}

TEST_F(GateKernelTest, BroadcastOfUpToFourDims) {
  for (int time = 0; time < 120; ++time) {
    Dims dims(1 + random_() % 4);
    for (int64_t& dim : dims) dim = Uniform(random_, time % 10 == 0 ? 0 : 1, 4);
    if (time % 4 == 0) dims[random_() % dims.size()] = Uniform(random_, 500, 1100);
    const Dims gate_dims = Smaller(dims);
    ExpectOver(dims, gate_dims, Smaller(gate_dims));
    if (HasFailure()) return;
  }
}

// Sums that several units, and several parts, make up.
TEST_F(GateKernelTest, SumsOverManyRows) {
  const std::vector<Real> types{Real::kFloat32};
  ExpectOver({2, 70000}, {2, 1}, {1}, types);
  ExpectOver({300, 600}, {600}, {1}, types);
  ExpectOver({140000}, {1}, {1}, types);
  ExpectOver({40, 5, 700}, {5, 1}, {5, 1}, types);
}

// Of g alone: as if x were 1 everywhere, to the bit.
TEST_F(GateKernelTest, GradientOfGAlone) {
  for (const Real type : RealTypes()) {
    for (const GateKind kind : Kinds()) {
      const int64_t columns = Uniform(random_, 1, 700);
      const int64_t count = columns * Uniform(random_, 1, 4);
      const auto size = static_cast<size_t>(count);
      const Doubles z = RandomReals(random_, type, count, 4),
                    d_g = RandomReals(random_, type, count, 2);
      const RealInput x_in(type, Doubles(size, 1)), z_in(type, z), d_g_in(type, d_g),
          t_in(type, {0.5});
      GateTensors tensors{};
      tensors.type = type;
      tensors.size = count;
      tensors.gate_size = count;
      tensors.columns = columns;
      tensors.x = x_in.data();
      tensors.z = z_in.data();
      tensors.gate_at = Broadcast({count}, {count});
      if (kind == GateKind::kRelu) {
        tensors.threshold = t_in.data();
        tensors.threshold_size = 1;
        tensors.threshold_at = Broadcast({count}, {1});
      }
      const GateFunction function = FunctionOf(random_, kind);
      RealOutput d_x(type, size), d_z(type, size), d_t(type, 1), alone(type, size),
          t_alone(type, 1);
      GateGradients gradients{d_g_in.data(), nullptr, d_x.data(), nullptr, d_z.data(), nullptr};
      if (tensors.threshold != nullptr) gradients.d_threshold = d_t.data();
      GateGradient(function, tensors, gradients, SerialFor);
      gradients = {nullptr, d_g_in.data(), nullptr, nullptr, alone.data(), nullptr};
      if (tensors.threshold != nullptr) gradients.d_threshold = t_alone.data();
      GateGradient(function, tensors, gradients, RandomFor(random_, count * 64));
      EXPECT_EQ(alone.bytes(), d_z.bytes()) << NameOf(type) << " " << static_cast<int>(kind);
      EXPECT_EQ(t_alone.bytes(), d_t.bytes());
    }
  }
}

// Of rows of any length, hard: one-hot at the greatest, with the gradient of the soft sample to Z,
// to the bit.
TEST_F(GateKernelTest, HardIsStraightThrough) {
  for (const Real type : RealTypes()) {
    for (const int64_t columns : {1, 2, 31, 32, 33, 511, 512, 513, 1500}) {
      for (const Dims& dims : {Dims{3, columns}, Dims{2, 3, columns}}) {
        SCOPED_TRACE(
            ::testing::Message() << NameOf(type) << ", " << ::testing::PrintToString(dims));
        GateFunction function = FunctionOf(random_, GateKind::kSoftmax);
        const auto size = static_cast<size_t>(Size(dims));
        const auto gate_size = static_cast<size_t>(3 * columns);
        const Doubles z = RandomReals(random_, type, 3 * columns, 4);
        const Doubles x = RandomReals(random_, type, Size(dims), 2);
        const Doubles d_y = RandomReals(random_, type, Size(dims), 2);
        const RealInput x_in(type, x), z_in(type, z), d_y_in(type, d_y);
        GateTensors tensors{};
        tensors.type = type;
        tensors.size = Size(dims);
        tensors.gate_size = 3 * columns;
        tensors.columns = columns;
        tensors.x = x_in.data();
        tensors.z = z_in.data();
        tensors.gate_at = Broadcast(dims, {3, columns});
        RealOutput y(type, size), g(type, gate_size), soft(type, gate_size);
        RealOutput d_x(type, size), d_z(type, gate_size), soft_d_z(type, gate_size);
        function.hard = false;
        Gate(function, tensors, y.data(), soft.data(), SerialFor);
        GateGradient(
            function, tensors,
            {d_y_in.data(), nullptr, d_x.data(), nullptr, soft_d_z.data(), nullptr}, SerialFor);
        function.hard = true;
        Gate(function, tensors, y.data(), g.data(), SerialFor);
        GateGradient(
            function, tensors, {d_y_in.data(), nullptr, d_x.data(), nullptr, d_z.data(), nullptr},
            SerialFor);
        EXPECT_EQ(d_z.bytes(), soft_d_z.bytes());
        const Doubles chosen = g.values(), sample = soft.values();
        for (int64_t row = 0; row < 3; ++row) {
          const auto at = row * columns;
          const auto one = std::find(chosen.begin() + at, chosen.begin() + at + columns, 1.0);
          ASSERT_NE(one, chosen.begin() + at + columns);
          EXPECT_EQ(std::count(chosen.begin() + at, chosen.begin() + at + columns, 0), columns - 1);
          EXPECT_EQ(
              sample[static_cast<size_t>(one - chosen.begin())],
              *std::max_element(sample.begin() + at, sample.begin() + at + columns));
        }
        for (size_t i = 0; i < size; ++i) {
          ASSERT_EQ(y.values()[i], chosen[i % gate_size] * x[i]);
          ASSERT_EQ(d_x.values()[i], chosen[i % gate_size] * d_y[i]);
        }
      }
    }
  }
}

// Rows of hard gates of which none is the greatest, and of which two are.
TEST_F(GateKernelTest, HardChoosesTheFirstOfEqualsOrIsNaN) {
  struct Row {
    Doubles z, g;
  };
  const std::vector<Row> rows{
      {{1, 3, 3}, {0, 1, 0}},
      {{-kInf, -5, -kInf}, {0, 1, 0}},
      {{-0.0, 0.0, -1}, {1, 0, 0}},
      {{-kInf, -kInf, -kInf}, {kNaN, kNaN, kNaN}},
      {{1, kInf, 2}, {kNaN, kNaN, kNaN}},
      {{kNaN, 1, 2}, {kNaN, kNaN, kNaN}},
      {{1, 2, kNaN}, {kNaN, kNaN, kNaN}}};
  for (const Real type : RealTypes()) {
    for (const size_t filler : std::vector<size_t>{0, 40, 700}) {
      for (const Row& row : rows) {
        SCOPED_TRACE(
            ::testing::Message() << NameOf(type) << ", " << ::testing::PrintToString(row.z)
                                 << " and " << filler);
        Doubles z = row.z, expected = row.g;
        z.resize(3 + filler, -kInf);
        expected.resize(3 + filler, std::isnan(row.g[0]) ? kNaN : 0);
        const RealInput z_in(type, z), x_in(type, Doubles(z.size(), 1));
        GateFunction function;
        function.kind = GateKind::kSoftmax;
        function.hard = true;
        GateTensors tensors{};
        tensors.type = type;
        tensors.size = tensors.gate_size = tensors.columns = static_cast<int64_t>(z.size());
        tensors.x = x_in.data();
        tensors.z = z_in.data();
        tensors.gate_at = Broadcast({tensors.size}, {tensors.size});
        RealOutput y(type, z.size()), g(type, z.size());
        Gate(function, tensors, y.data(), g.data(), SerialFor);
        for (size_t i = 0; i < z.size(); ++i) {
          if (std::isnan(expected[i])) {
            EXPECT_TRUE(std::isnan(g.values()[i])) << i;
          } else {
            EXPECT_EQ(g.values()[i], expected[i]) << i;
          }
        }
      }
    }
  }
}

// 30 million times the same number: were it added up in float, the sum would stop
// growing at half of that.
TEST_F(GateKernelTest, SumsOfMillionsAreExact) {
  constexpr int64_t kCount = 30000000;
  const std::vector<float> ones(kCount, 1.0F);
  const float z = 0;
  GateTensors tensors{};
  tensors.type = Real::kFloat32;
  tensors.size = kCount;
  tensors.gate_size = 1;
  tensors.columns = 1;
  tensors.x = ones.data();
  tensors.z = &z;
  tensors.gate_at = Broadcast({kCount}, {1});
  std::vector<float> d_x(kCount);
  float d_z = 0;
  GateGradient(
      GateFunction(), tensors, {ones.data(), nullptr, d_x.data(), nullptr, &d_z, nullptr},
      SerialFor);
  EXPECT_EQ(d_z, kCount / 4.0F);
}

// Products (1 + e)^2 and -(1 + 2e) of which 16 bits round the first to the other: what a
// threshold sums is the e^2 that is lost of d_z.
TEST_F(GateKernelTest, ThresholdsSumWhatIsNotRounded) {
  struct Shapes {
    Dims dims, gate_dims, threshold_dims;
  };
  const std::vector<Shapes> all{
      {{1000}, {1000}, {1}},
      {{200000}, {200000}, {1}},
      {{512, 37}, {512, 37}, {512, 1}},
      {{99, 8}, {99, 8}, {8}},
      {{700, 600}, {700, 600}, {600}},
      {{64, 6, 3}, {64, 6, 1}, {1}},
      {{64, 6, 3}, {64, 6, 1}, {6, 1}},
      {{4, 64, 6}, {64, 6}, {64, 1}}};
  for (const Real type : {Real::kFloat16, Real::kBFloat16}) {
    const double e = type == Real::kFloat16 ? 0x1p-10 : 0x1p-7;
    for (const Shapes& shapes : all) {
      SCOPED_TRACE(
          ::testing::Message() << NameOf(type) << ", " << ::testing::PrintToString(shapes.gate_dims)
                               << ", threshold "
                               << ::testing::PrintToString(shapes.threshold_dims));
      const std::vector<size_t> gate_at = EntriesAt(shapes.dims, shapes.gate_dims);
      const std::vector<size_t> threshold_at = EntriesAt(shapes.gate_dims, shapes.threshold_dims);
      const auto gate_size = static_cast<size_t>(Size(shapes.gate_dims));
      Doubles x(gate_at.size()), d_y(gate_at.size());
      // Of each entry of Z one of X counts.
      std::vector<bool> seen(gate_size);
      Doubles expected(static_cast<size_t>(Size(shapes.threshold_dims)));
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t entry = gate_at[i];
        if (seen[entry]) continue;
        seen[entry] = true;
        x[i] = entry % 2 == 0 ? 1 + e : -(1 + 2 * e);
        d_y[i] = entry % 2 == 0 ? 1 + e : 1;
        expected[threshold_at[entry]] -= x[i] * d_y[i];
      }
      const RealInput x_in(type, x), d_y_in(type, d_y), z_in(type, Doubles(gate_size, 2));
      const RealInput threshold_in(type, Doubles(expected.size(), 1));
      GateFunction function;
      function.kind = GateKind::kRelu;
      GateTensors tensors{};
      tensors.type = type;
      tensors.size = Size(shapes.dims);
      tensors.gate_size = Size(shapes.gate_dims);
      tensors.columns = shapes.gate_dims.back();
      tensors.x = x_in.data();
      tensors.z = z_in.data();
      tensors.gate_at = Broadcast(shapes.dims, shapes.gate_dims);
      tensors.threshold = threshold_in.data();
      tensors.threshold_size = Size(shapes.threshold_dims);
      tensors.threshold_at = Broadcast(shapes.gate_dims, shapes.threshold_dims);
      for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
        RealOutput d_x(type, x.size()), d_z(type, gate_size), d_t(type, expected.size());
        GateGradient(
            function, tensors,
            {d_y_in.data(), nullptr, d_x.data(), nullptr, d_z.data(), d_t.data()}, parallel_for);
        EXPECT_EQ(d_t.values(), Rounded(type, expected));
      }
    }
  }
}

// Every float16 and bfloat16 passes an open gate as it is.
TEST_F(GateKernelTest, OpenGateCopies16Bits) {
  for (const Real type : {Real::kFloat16, Real::kBFloat16}) {
    Bytes all(2 * 65536);
    for (size_t i = 0; i < 65536; ++i) {
      const auto bits = static_cast<uint16_t>(i);
      std::memcpy(all.data() + 2 * i, &bits, 2);
    }
    const RealInput z(type, {1.0});
    GuardedBytes out(all);
    GateFunction function;
    function.kind = GateKind::kHard;
    GateTensors tensors{};
    tensors.type = type;
    tensors.size = 65536;
    tensors.gate_size = 1;
    tensors.columns = 1;
    tensors.x = out.data();
    tensors.z = z.data();
    tensors.gate_at = Broadcast({65536}, {1});
    Gate(function, tensors, out.data(), nullptr, SerialFor);  // in place
    const Doubles expected = reference::Decode(type, all.data(), 65536);
    const Doubles actual = reference::Decode(type, out.data(), 65536);
    for (size_t i = 0; i < 65536; ++i) {
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(actual[i])) << i;
      } else {
        ASSERT_EQ(std::memcmp(all.data() + 2 * i, out.data() + 2 * i, 2), 0) << i;
      }
    }
  }
}

// A product of two numbers of 16 bits is exact in float: what is rounded is known.
TEST_F(GateKernelTest, RoundsOnceToNearestEven) {
  for (const Real type : {Real::kFloat16, Real::kBFloat16}) {
    constexpr size_t kCount = 20000;
    Bytes x_bytes = RandomBytes(random_, 2 * kCount);
    const Doubles x = reference::Decode(type, x_bytes.data(), kCount);
    Doubles z = RandomReals(random_, type, kCount, 2);
    for (double& value : z) value = std::fabs(value) + 0x1p-10;
    z = Rounded(type, z);
    const GuardedBytes x_in(x_bytes);
    const RealInput z_in(type, z), threshold(type, {0.0});
    RealOutput y(type, kCount);
    GateFunction function;
    function.kind = GateKind::kRelu;
    GateTensors tensors{};
    tensors.type = type;
    tensors.size = tensors.gate_size = kCount;
    tensors.columns = kCount;
    tensors.x = x_in.data();
    tensors.z = z_in.data();
    tensors.gate_at = Broadcast({kCount}, {kCount});
    tensors.threshold = threshold.data();
    tensors.threshold_size = 1;
    tensors.threshold_at = Broadcast({kCount}, {1});
    Gate(function, tensors, y.data(), nullptr, SerialFor);
    Doubles expected(kCount);
    for (size_t i = 0; i < kCount; ++i) {
      expected[i] = static_cast<double>(static_cast<float>(x[i]) * static_cast<float>(z[i]));
    }
    expected = Rounded(type, expected);
    const Doubles actual = y.values();
    for (size_t i = 0; i < kCount; ++i) {
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(actual[i]));
      } else {
        ASSERT_EQ(actual[i], expected[i]) << x[i] << " * " << z[i];
      }
    }
  }
}

// z at which each kind is flat or not a number, and what comes of it.
TEST_F(GateKernelTest, SaturationAndNaN) {
  const Doubles z{-kInf, -1000, -200, 0, 200, 1000, kInf, kNaN};
  const std::vector<size_t> itself{0, 1, 2, 3, 4, 5, 6, 7};
  for (const Real type : RealTypes()) {
    for (const GateKind kind : Kinds()) {
      if (kind == GateKind::kSoftmax) continue;
      SCOPED_TRACE(::testing::Message() << NameOf(type) << ", kind " << static_cast<int>(kind));
      const auto count = static_cast<int64_t>(z.size());
      GateFunction function = FunctionOf(random_, kind);
      function.clip = 0;
      const RealInput z_in(type, z), x_in(type, Doubles(z.size(), 2)), threshold(type, {0.0});
      GateTensors tensors{};
      tensors.type = type;
      tensors.size = tensors.gate_size = tensors.columns = count;
      tensors.x = x_in.data();
      tensors.z = z_in.data();
      tensors.gate_at = Broadcast({count}, {count});
      if (kind == GateKind::kRelu) {
        tensors.threshold = threshold.data();
        tensors.threshold_size = 1;
        tensors.threshold_at = Broadcast({count}, {1});
      }
      RealOutput y(type, z.size()), d_x(type, z.size()), d_z(type, z.size()), d_t(type, 1);
      Gate(function, tensors, y.data(), nullptr, SerialFor);
      GateGradient(
          function, tensors,
          {x_in.data(), nullptr, d_x.data(), nullptr, d_z.data(),
           kind == GateKind::kRelu ? d_t.data() : nullptr},
          SerialFor);
      for (size_t i = 0; i < z.size(); ++i) {
        SCOPED_TRACE(z[i]);
        if (std::isnan(z[i])) {
          EXPECT_EQ(std::isnan(y.values()[i]), kind != GateKind::kHard);
          continue;
        }
        const double expected = reference::GateOf(function, z[i], 0, static_cast<int64_t>(i)).g * 2;
        if (std::isfinite(expected)) {
          EXPECT_NEAR(y.values()[i], Rounded(type, {expected})[0], 1e-2);
        } else {
          EXPECT_EQ(y.values()[i], expected);
        }
        EXPECT_EQ(d_x.values()[i], y.values()[i]);
        EXPECT_TRUE(std::isfinite(d_z.values()[i]));
        if (std::fabs(z[i]) > 100 && kind != GateKind::kRelu) {
          EXPECT_LT(std::fabs(d_z.values()[i]), 1e-80);
        }
      }
    }
  }
}

// An infinity or NaN does not pass a gate that masks, in either direction.
TEST_F(GateKernelTest, WhatIsMaskedStaysOut) {
  for (const Real type : RealTypes()) {
    for (const GateKind kind : {GateKind::kRelu, GateKind::kHard, GateKind::kHardConcrete}) {
      SCOPED_TRACE(::testing::Message() << NameOf(type) << ", kind " << static_cast<int>(kind));
      GateFunction function = FunctionOf(random_, kind);
      function.clip = 10;
      const RealInput x(type, {kInf, kNaN, -kInf}), z(type, {-50.0});
      const RealInput threshold(type, {0.0}), d_y(type, {kNaN, kInf, 1});
      GateTensors tensors{};
      tensors.type = type;
      tensors.size = 3;
      tensors.gate_size = tensors.columns = 1;
      tensors.x = x.data();
      tensors.z = z.data();
      tensors.gate_at = Broadcast({3}, {1});
      if (kind == GateKind::kRelu) {
        tensors.threshold = threshold.data();
        tensors.threshold_size = 1;
        tensors.threshold_at = Broadcast({1}, {1});
      }
      RealOutput y(type, 3), d_x(type, 3), d_z(type, 1), d_t(type, 1);
      Gate(function, tensors, y.data(), nullptr, SerialFor);
      GateGradient(
          function, tensors,
          {d_y.data(), nullptr, d_x.data(), nullptr, d_z.data(),
           kind == GateKind::kRelu ? d_t.data() : nullptr},
          SerialFor);
      EXPECT_EQ(y.values(), Doubles({0, 0, 0}));
      EXPECT_EQ(d_x.values(), Doubles({0, 0, 0}));
      EXPECT_EQ(d_z.values(), Doubles({0}));
      // Between two values, what is not chosen.
      if (kind != GateKind::kHard) continue;
      const RealInput carry(type, {1, 2, 3});
      tensors.carry = carry.data();
      Gate(function, tensors, y.data(), nullptr, SerialFor);
      EXPECT_EQ(y.values(), Doubles({1, 2, 3}));
      std::swap(tensors.x, tensors.carry);
      const RealInput open(type, {50.0});
      tensors.z = open.data();
      Gate(function, tensors, y.data(), nullptr, SerialFor);
      EXPECT_EQ(y.values(), Doubles({1, 2, 3}));
    }
  }
}

TEST_F(GateKernelTest, PiecesApart) {
  constexpr int64_t kCount = 100 * kRealBlock + 7;
  const std::vector<float> ones(kCount, 1.0F);
  GateTensors tensors{};
  tensors.type = Real::kFloat32;
  tensors.size = tensors.gate_size = tensors.columns = kCount;
  tensors.x = tensors.z = ones.data();
  tensors.gate_at = Broadcast({kCount}, {kCount});
  ExpectPiecesApart(kCount * sizeof(float), [&](ParallelFor parallel_for, uint8_t* out) {
    Gate(GateFunction(), tensors, out, nullptr, parallel_for);
  });
}

}  // namespace
}  // namespace caffe2op_mask
