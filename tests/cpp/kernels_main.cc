// Runs the kernel tests with the target that --target=NAME names, or the best.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

#include "kernels/target.h"
#include "tests/cpp/forced_target.h"

namespace caffe2op_mask {

const char* forced_target = nullptr;

}  // namespace caffe2op_mask

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  constexpr const char kFlag[] = "--target=";
  if (argc > 1 && std::strncmp(argv[1], kFlag, std::strlen(kFlag)) == 0) {
    caffe2op_mask::forced_target = argv[1] + std::strlen(kFlag);
    if (!caffe2op_mask::ForceTarget(caffe2op_mask::forced_target)) {
      std::printf("This machine lacks the target %s.\n", caffe2op_mask::forced_target);
      return 0;
    }
  }
  return RUN_ALL_TESTS();
}
