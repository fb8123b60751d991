#pragma once

// Memory that kernels work in for the time of a call.

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>

namespace caffe2op_mask {

// Entries that are not set to anything, from an address on to which every vector is
// aligned. Throws std::bad_alloc where there is no memory.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t entries) {
    constexpr size_t kAlignment = 64;
    const auto count = static_cast<size_t>(entries);
    if (count > (std::numeric_limits<size_t>::max() - kAlignment) / sizeof(T)) {
      throw std::bad_alloc();
    }
    // aligned_alloc takes multiples of the alignment; none at all may give null.
    const size_t bytes = (count * sizeof(T) / kAlignment + 1) * kAlignment;
    memory_.reset(static_cast<T*>(std::aligned_alloc(kAlignment, bytes)));
    if (memory_ == nullptr) throw std::bad_alloc();
  }

  T* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::unique_ptr<T, Free> memory_;
};

}  // namespace caffe2op_mask
