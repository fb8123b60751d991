#pragma once

// Sizes of tensors, as they are and as they are computed.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

namespace caffe2op_mask {

// The dims of a tensor, which somebody else holds.
class Sizes {
 public:
  Sizes() = default;
  Sizes(const int64_t* data, int64_t rank) : data_(data), rank_(rank) {}

  const int64_t* data() const { return data_; }
  int64_t rank() const { return rank_; }
  const int64_t* begin() const { return data_; }
  const int64_t* end() const { return data_ + rank_; }
  int64_t operator[](int64_t d) const { return data_[d]; }
  int64_t FromBack(int64_t d) const { return data_[rank_ - d]; }  // 1 is the last

  Sizes First(int64_t dims) const { return {data_, dims}; }
  Sizes From(int64_t d) const { return {data_ + d, rank_ - d}; }
  Sizes Between(int64_t begin, int64_t end) const { return {data_ + begin, end - begin}; }

  bool BeginsWith(Sizes other) const {
    return other.rank_ <= rank_ && std::equal(other.begin(), other.end(), begin());
  }

 private:
  const int64_t* data_ = nullptr;
  int64_t rank_ = 0;
};

inline bool operator==(Sizes a, Sizes b) {
  return a.rank() == b.rank() && a.BeginsWith(b);
}
inline bool operator!=(Sizes a, Sizes b) {
  return !(a == b);
}

// Sizes that are computed. Few take no memory of their own, which a small operator would notice.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> dims) {
    Append({dims.begin(), static_cast<int64_t>(dims.size())});
  }
  Dims(Sizes sizes) { Append(sizes); }  // NOLINT(google-explicit-constructor): a copy of them

  Dims& Append(Sizes more);
  int64_t rank() const { return rank_; }
  int64_t* data() { return many_.empty() ? few_ : many_.data(); }
  int64_t& operator[](int64_t d) { return data()[d]; }
  int64_t& FromBack(int64_t d) { return data()[rank_ - d]; }

  operator Sizes() const {  // NOLINT(google-explicit-constructor): they are sizes
    return {many_.empty() ? few_ : many_.data(), rank_};
  }

 private:
  static constexpr int64_t kFew = 8;

  int64_t rank_ = 0;
  int64_t few_[kFew] = {};
  std::vector<int64_t> many_;  // all of them, where there are more
};

// The product of all, 0 where one of them is; false where it is beyond an int64.
bool Multiply(Sizes sizes, int64_t* product);

// The same, or the greatest int64 where that is less.
inline int64_t Product(Sizes sizes) {
  int64_t product = 1;
  return Multiply(sizes, &product) ? product : std::numeric_limits<int64_t>::max();
}

}  // namespace caffe2op_mask
