#include "contracts/sizes.h"

namespace caffe2op_mask {

Dims& Dims::Append(Sizes more) {
  if (many_.empty() && rank_ + more.rank() <= kFew) {
    std::copy(more.begin(), more.end(), few_ + rank_);
  } else {
    if (many_.empty()) many_.assign(few_, few_ + rank_);
    many_.insert(many_.end(), more.begin(), more.end());
  }
  rank_ += more.rank();
  return *this;
}

bool Multiply(Sizes sizes, int64_t* product) {
  *product = 1;
  bool overflow = false;
  for (const int64_t size : sizes) {
    if (size == 0) {
      *product = 0;
      return true;
    }
    overflow = overflow || __builtin_mul_overflow(*product, size, product);
  }
  return !overflow;
}

}  // namespace caffe2op_mask
