#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/reference/bytes.h"

namespace caffe2op_mask {

// Memory for a kernel to work on, so placed that a step outside shows. It ends
// `slack` bytes before a page that may not be touched: with a slack of 0, one
// byte read behind the end is a fault. What is written before it, or into the
// slack, is found by ExpectGuards. As sizes and slacks vary, so does alignment.
class GuardedBytes {
 public:
  static constexpr uint8_t kSentinel = 0xA5;

  // `size` bytes of kSentinel.
  explicit GuardedBytes(size_t size, size_t slack = 0) : size_(size), slack_(slack) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t pages = (kFront + size + slack + page - 1) / page * page;
    usable_ = pages;
    mapped_ = pages + page;
    void* const memory =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(static_cast<uint8_t*>(memory) + pages, page, PROT_NONE)) {
      std::abort();
    }
    begin_ = static_cast<uint8_t*>(memory);
    data_ = begin_ + pages - slack - size;
    std::memset(data_ - kFront, kSentinel, kFront + size + slack);
  }

  explicit GuardedBytes(const reference::Bytes& content, size_t slack = 0)
      : GuardedBytes(content.size(), slack) {
    std::copy(content.begin(), content.end(), data_);
  }

  ~GuardedBytes() { munmap(begin_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

  // The bytes as a mask, whatever their values.
  const bool* mask() const { return reinterpret_cast<const bool*>(data_); }

  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

  // From now on every write is a fault.
  void MakeReadOnly() {
    if (mprotect(begin_, usable_, PROT_READ) != 0) std::abort();
  }

  // From now on every read of the first `bytes` is a fault. They are whole pages.
  void MakeUnreadable(size_t bytes) {
    if (mprotect(data_, bytes, PROT_NONE) != 0) std::abort();
  }

  // Nothing was written around the memory, and it holds what is expected.
  void Expect(const reference::Bytes& expected) const {
    ExpectGuards();
    ASSERT_EQ(size_, expected.size());
    if (size_ == 0 || std::memcmp(data_, expected.data(), size_) == 0) return;
    const auto at = std::mismatch(expected.begin(), expected.end(), data_).first - expected.begin();
    ADD_FAILURE() << "byte " << at << " of " << size_ << " is " << int{data_[at]} << ", not "
                  << int{expected[static_cast<size_t>(at)]};
  }

  void ExpectGuards() const {
    const auto intact = [](uint8_t byte) { return byte == kSentinel; };
    EXPECT_TRUE(std::all_of(data_ - kFront, data_, intact)) << "written before the beginning";
    EXPECT_TRUE(std::all_of(data_ + size_, data_ + size_ + slack_, intact))
        << "written behind the end";
  }

 private:
  static constexpr size_t kFront = 64;

  size_t size_;
  size_t slack_;
  size_t usable_ = 0;
  size_t mapped_ = 0;
  uint8_t* begin_ = nullptr;
  uint8_t* data_ = nullptr;
};

}  // namespace caffe2op_mask
