// Masked softmax and its gradient, of each real type.

#include "tests/cpp/masked_softmax_test.cc"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

template <typename T>
class Softmax : public Fuzzed<MaskedSoftmaxTest<T>> {
 public:
  using Fuzzed<MaskedSoftmaxTest<T>>::Fuzzed;

  void TestBody() override {
    Dims dims = this->RandomDims();
    if (Fuzzed<MaskedSoftmaxTest<T>>::OneIn(4)) {
      dims = {Uniform(this->random_, 1, 3), std::min<int64_t>(1 + this->Count(), 600)};
    }
    if (this->random_() % 2 == 0) return this->ExpectSoftmax(dims);
    this->ExpectGradient(dims);
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) {
    switch (random() % 4) {
      case 0: return Softmax<Float16>(random).TestBody();
      case 1: return Softmax<BFloat16>(random).TestBody();
      case 2: return Softmax<float>(random).TestBody();
      default: return Softmax<double>(random).TestBody();
    }
  });
}
