// Masked softmax and its gradient, of each real type.

#include "tests/cpp/masked_softmax_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

class Softmax : public Fuzzed<SoftmaxTesting> {
 public:
  using Fuzzed<SoftmaxTesting>::Fuzzed;

  void TestBody() override {
    type_ = RealTypes()[random_() % 4];
    Dims dims = RandomDims();
    if (Fuzzed<SoftmaxTesting>::OneIn(4)) {
      dims = {Uniform(random_, 1, 3), std::min<int64_t>(1 + Count(), 600)};
    }
    if (random_() % 2 == 0) return ExpectSoftmax(dims);
    ExpectGradient(dims);
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) { Softmax(random).TestBody(); });
}
