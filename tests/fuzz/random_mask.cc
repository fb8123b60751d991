// Masks that are drawn, by element, row, span or logit.

#include "tests/cpp/random_mask_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

class RandomMasks : public Fuzzed<RandomMaskKernelTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const double probabilities[] = {0, 1, 0.5, std::generate_canonical<double, 53>(random_)};
    const double p = probabilities[random_() % 4];
    const int64_t rows = Uniform(random_, 0, 9);
    const int64_t columns = std::min<int64_t>(Count(), 3000);
    switch (random_() % 5) {
      case 0: return ExpectElements(p, Count());
      case 1: ExpectRows(p, rows, columns); return;
      case 2: ExpectSpans(p, int64_t{1} << random_() % 63, rows, columns); return;
      case 3: {
        const int64_t span = random_() % 2 == 0 ? 0 : int64_t{1} << random_() % 63;
        return ExpectLimits(p, span, Uniform(random_, 0, 20), rows, columns);
      }
      default: return ExpectBernoulli(RealTypes()[random_() % 4], Count());
    }
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) { RandomMasks(random).TestBody(); });
}
