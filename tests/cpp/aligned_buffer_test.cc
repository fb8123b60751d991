#include "kernels/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace caffe2op_mask {
namespace {

TEST(AlignedBufferTest, EveryVectorIsAligned) {
  for (const int64_t entries : {0, 1, 7, 8, 9, 1000}) {
    AlignedBuffer<double> buffer(entries);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0U);
    std::memset(buffer.data(), 1, static_cast<size_t>(entries) * sizeof(double));
  }
}

TEST(AlignedBufferTest, MovesAndIsEmptyByDefault) {
  AlignedBuffer<float> buffer;
  EXPECT_EQ(buffer.data(), nullptr);
  AlignedBuffer<float> other(3);
  float* const data = other.data();
  buffer = std::move(other);
  EXPECT_EQ(buffer.data(), data);
}

TEST(AlignedBufferTest, ThrowsWhereThereIsNoMemory) {
  volatile int64_t entries =
      std::numeric_limits<int64_t>::max();  // nothing for compilers to refuse
  EXPECT_THROW(AlignedBuffer<double>{entries}, std::bad_alloc);
  entries = entries / 16;
  EXPECT_THROW(AlignedBuffer<double>{entries}, std::bad_alloc);
}

}  // namespace
}  // namespace caffe2op_mask
