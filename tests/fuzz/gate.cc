// Gates of every kind and mixtures of experts, with their gradients.

#include "tests/cpp/gate_testing.h"
#include "tests/cpp/mixture_gate_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

class Gates : public Fuzzed<GateKernelTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    Dims dims(1 + random_() % 4);
    for (int64_t& dim : dims) dim = Uniform(random_, OneIn(8) ? 0 : 1, 4);
    if (OneIn(3)) dims[random_() % dims.size()] = std::min<int64_t>(Count(), 1100);
    const Real type = RealTypes()[random_() % 4];
    const GateKind kind = Kinds()[random_() % Kinds().size()];
    const Dims gate_dims = Smaller(dims);
    ExpectKind(type, kind, dims, gate_dims, Smaller(gate_dims));
  }
};

class Mixtures : public Fuzzed<MixtureGateKernelTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const int64_t experts = Uniform(random_, 2, 24);
    const int64_t columns = OneIn(4) ? Uniform(random_, 500, 530) : Uniform(random_, 0, 40);
    Expect(
        RealTypes()[random_() % 4], Uniform(random_, 0, 6), experts, columns,
        Uniform(random_, 1, experts));
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) {
    if (random() % 3 == 0) return Mixtures(random).TestBody();
    Gates(random).TestBody();
  });
}
