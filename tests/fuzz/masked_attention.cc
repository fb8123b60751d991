// Masked attention, forward and backward, of each real type, with what is masked or kept not
// finite.

#include "tests/cpp/masked_attention_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

template <typename T>
class Attentions : public Fuzzed<MaskedAttentionTest<T>> {
 public:
  using Fuzzed<MaskedAttentionTest<T>>::Fuzzed;

  void TestBody() override {
    // Tiles are of 64 queries and 256 keys.
    AttentionDims sizes = this->SmallSizes();
    if (this->random_() % 8 == 0) {
      sizes = {1, 1, 1, Uniform(this->random_, 60, 70), Uniform(this->random_, 1, 70), 4, 3};
    } else if (this->random_() % 8 == 0) {
      sizes = {1, 1, 2, Uniform(this->random_, 1, 4), Uniform(this->random_, 250, 260), 4, 3};
    }
    AttentionCase<T> one = this->DrawCase(sizes);
    const uint64_t values = this->random_() % 4;
    if (values == 1) this->Scatter(&one);
    if (values == 2) {
      this->PoisonWhatIsMasked(&one);
      if (one.empty_row == EmptyRow::kNaN) one.empty_row = EmptyRow::kZero;
    }
    const AttentionResults<T> results = this->ExpectCase(one);
    if (values == 2) this->ExpectFinite(results);
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) {
    switch (random() % 4) {
      case 0: return Attentions<Float16>(random).TestBody();
      case 1: return Attentions<BFloat16>(random).TestBody();
      case 2: return Attentions<float>(random).TestBody();
      default: return Attentions<double>(random).TestBody();
    }
  });
}
