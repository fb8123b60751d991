#include <gtest/gtest.h>

#include "caffe2/core/init.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  caffe2::GlobalInit(&argc, &argv);
  return RUN_ALL_TESTS();
}
