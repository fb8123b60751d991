#pragma once

#include "contracts/random_mask.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// RandomMask(X [, lengths]) -> mask
class RandomMaskOp final : public MaskOperator {
 public:
  RandomMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const caffe2op_mask::RandomMaskContract contract_;
  uint64_t run_ = 0;
};

void FillRandomMaskSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
