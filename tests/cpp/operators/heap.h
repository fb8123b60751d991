#pragma once

#include <malloc.h>

#include <cstddef>

namespace caffe2op_mask {

// Bytes that malloc has given out and that have not come back.
inline size_t HeapInUse() {
#if __GLIBC_PREREQ(2, 33)
  return mallinfo2().uordblks;
#else
  return static_cast<unsigned int>(mallinfo().uordblks);
#endif
}

}  // namespace caffe2op_mask
