#pragma once

// Gates of every kind and their gradients beside the reference, as tests and a fuzzer draw them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/gate.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/gate.h"

namespace caffe2op_mask {

constexpr double kInf = std::numeric_limits<double>::infinity();
inline const double kNaN = std::nan("");

// For each entry of the larger shape, the entry of the smaller that serves it.
inline std::vector<size_t> EntriesAt(const Dims& dims, const Dims& small) {
  std::vector<size_t> entries(static_cast<size_t>(Size(dims)));
  for (size_t i = 0; i < entries.size(); ++i) {
    auto rest = static_cast<int64_t>(i);
    int64_t entry = 0;
    int64_t stride = 1;
    for (size_t back = 1; back <= dims.size(); ++back) {
      const int64_t index = rest % dims[dims.size() - back];
      rest /= dims[dims.size() - back];
      if (back > small.size()) continue;
      const int64_t size = small[small.size() - back];
      if (size != 1) entry += index * stride;
      stride *= size;
    }
    entries[i] = static_cast<size_t>(entry);
  }
  return entries;
}

inline RowBroadcast Broadcast(const Dims& dims, const Dims& small) {
  return ElementBroadcast(
      dims.data(), static_cast<int64_t>(dims.size()), small.data(),
      static_cast<int64_t>(small.size()));
}

inline const std::vector<GateKind>& Kinds() {
  static const std::vector<GateKind> kinds{GateKind::kSigmoid, GateKind::kTanh,
                                           GateKind::kSoftmax, GateKind::kRelu,
                                           GateKind::kHard,    GateKind::kHardConcrete};
  return kinds;
}

inline GateFunction FunctionOf(Random& random, GateKind kind) {
  GateFunction function;
  function.kind = kind;
  if (kind == GateKind::kHard) function.clip = random() % 2 == 0 ? 0 : 1.5;
  if (kind == GateKind::kHardConcrete) {
    function.beta = 2.0 / 3;
    function.gamma = -0.1;
    function.zeta = 1.1;
  }
  if (kind == GateKind::kSoftmax) {
    function.hard = random() % 3 == 0;
    // Where one of a row is chosen, its quotient is exact, so that no two become equal.
    if (random() % 2 == 0) function.tau = function.hard ? 0.5 : 0.625;
  }
  if (kind == GateKind::kHardConcrete || kind == GateKind::kSoftmax) {
    function.noisy = random() % 3 != 0;
    function.noise = {static_cast<uint32_t>(random()), random()};
  }
  return function;
}

// One gate with everything that may come with it.
struct GateCase {
  GateFunction function;
  Real type;
  Dims dims;
  Dims gate_dims;
  Dims threshold_dims;
  bool has_carry = false;
  bool has_d_g = false;
  bool has_threshold = false;
};

class GateKernelTest : public SeededTest {
 protected:
  struct Outputs {
    Outputs(Real type, size_t size, size_t gate_size, size_t threshold_size, size_t slack)
        : y(type, size, slack),
          g(type, gate_size, slack),
          d_x(type, size, slack),
          d_carry(type, size, slack),
          d_z(type, gate_size, slack),
          d_threshold(type, threshold_size, slack) {}

    RealOutput y, g, d_x, d_carry, d_z, d_threshold;
  };

  static void Run(
      const GateCase& one, const GateTensors& tensors, const void* d_y, const void* d_g,
      Outputs* out, bool with_g, ParallelFor parallel_for) {
    Gate(one.function, tensors, out->y.data(), with_g ? out->g.data() : nullptr, parallel_for);
    const GateGradients gradients{
        d_y,
        d_g,
        out->d_x.data(),
        one.has_carry ? out->d_carry.data() : nullptr,
        out->d_z.data(),
        tensors.threshold == nullptr ? nullptr : out->d_threshold.data()};
    GateGradient(one.function, tensors, gradients, parallel_for);
  }

  void Expect(const GateCase& one) {
    const Real type = one.type;
    const int64_t size = Size(one.dims);
    const int64_t gate_size = Size(one.gate_dims);
    const bool relu = one.function.kind == GateKind::kRelu && one.has_threshold;
    const int64_t threshold_size = relu ? Size(one.threshold_dims) : 0;
    const Doubles x = RandomReals(random_, type, size, 3);
    const Doubles carry = RandomReals(random_, type, one.has_carry ? size : 0, 3);
    Doubles z = RandomReals(random_, type, gate_size, 4);
    const Doubles threshold = RandomReals(random_, type, threshold_size, 2);
    const Doubles d_y = RandomReals(random_, type, size, 2);
    const Doubles d_g = RandomReals(random_, type, one.has_d_g ? gate_size : 0, 2);
    // Where a gate is flat, it is so exactly.
    if (gate_size > 2) z[static_cast<size_t>(gate_size) / 2] = -1000;
    const RealInput x_in(type, x), carry_in(type, carry), z_in(type, z);
    const RealInput threshold_in(type, threshold), d_y_in(type, d_y), d_g_in(type, d_g);
    GateTensors tensors{};
    tensors.type = type;
    tensors.size = size;
    tensors.gate_size = gate_size;
    tensors.columns = one.gate_dims.empty() ? 1 : one.gate_dims.back();
    tensors.x = x_in.data();
    tensors.carry = one.has_carry ? carry_in.data() : nullptr;
    tensors.z = z_in.data();
    if (size > 0) tensors.gate_at = Broadcast(one.dims, one.gate_dims);
    if (relu) {
      tensors.threshold = threshold_in.data();
      tensors.threshold_size = threshold_size;
      if (gate_size > 0) tensors.threshold_at = Broadcast(one.gate_dims, one.threshold_dims);
    }
    const auto make = [&] {
      return Outputs(
          type, x.size(), z.size(), threshold.size(),
          static_cast<size_t>(random_() % 17) * static_cast<size_t>(RealBytes(type)));
    };
    Outputs out = make();
    const void* const d_g_data = one.has_d_g ? d_g_in.data() : nullptr;
    Run(one, tensors, d_y_in.data(), d_g_data, &out, true, SerialFor);
    const reference::GateResult expected = reference::Gate(
        one.function, x, carry, z, EntriesAt(one.dims, one.gate_dims), tensors.columns, threshold,
        relu ? EntriesAt(one.gate_dims, one.threshold_dims) : std::vector<size_t>(), d_y, d_g);

    // Noise is a logarithm, whose error the slope of the gate carries on.
    const double computed = one.function.noisy ? 400 : 40;
    const Doubles ones(x.size(), 6), gate_ones(z.size(), 1);
    out.y.ExpectNear("y", expected.y, ones, computed);
    out.g.ExpectNear(
        "g", expected.g, one.function.kind == GateKind::kRelu ? Doubles(z.size(), 6) : gate_ones,
        computed);
    out.d_x.ExpectNear("d_x", expected.d_x, ones, computed);
    if (one.has_carry) out.d_carry.ExpectNear("d_carry", expected.d_carry, ones, computed);
    out.d_z.ExpectNear("d_z", expected.d_z, expected.d_z_scale, computed);
    if (relu) {
      out.d_threshold.ExpectNear(
          "d_threshold", expected.d_threshold, expected.d_threshold_scale, computed);
    }

    // Whoever runs what piece, with g or without it: the same bits.
    Outputs again = make();
    Run(one, tensors, d_y_in.data(), d_g_data, &again, false, RandomFor(random_, size * 64));
    EXPECT_EQ(again.y.bytes(), out.y.bytes());
    EXPECT_EQ(again.d_x.bytes(), out.d_x.bytes());
    EXPECT_EQ(again.d_carry.bytes(), out.d_carry.bytes());
    EXPECT_EQ(again.d_z.bytes(), out.d_z.bytes());
    EXPECT_EQ(again.d_threshold.bytes(), out.d_threshold.bytes());
  }

  void ExpectOver(
      const Dims& dims, const Dims& gate_dims, const Dims& threshold_dims,
      const std::vector<Real>& types = RealTypes()) {
    for (const Real type : types) {
      for (const GateKind kind : Kinds()) {
        ExpectKind(type, kind, dims, gate_dims, threshold_dims);
        if (HasFailure()) return;
      }
    }
  }

  void ExpectKind(
      Real type, GateKind kind, const Dims& dims, const Dims& gate_dims,
      const Dims& threshold_dims) {
    GateCase one{FunctionOf(random_, kind), type, dims, gate_dims, threshold_dims};
    one.has_carry = random_() % 3 == 0;
    one.has_d_g = random_() % 2 == 0;
    one.has_threshold = random_() % 4 != 0;
    SCOPED_TRACE(
        ::testing::Message() << NameOf(type) << ", kind " << static_cast<int>(kind) << ", "
                             << ::testing::PrintToString(gate_dims) << " to "
                             << ::testing::PrintToString(dims) << ", threshold "
                             << ::testing::PrintToString(threshold_dims) << ", carry "
                             << one.has_carry << ", d_g " << one.has_d_g);
    Expect(one);
  }

  // Dims that broadcast to these.
  Dims Smaller(const Dims& large) {
    Dims small(large.end() - static_cast<int64_t>(random_() % (large.size() + 1)), large.end());
    for (int64_t& dim : small) dim = random_() % 2 == 0 ? 1 : dim;
    return small;
  }
};

}  // namespace caffe2op_mask
