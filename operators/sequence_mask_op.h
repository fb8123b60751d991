#pragma once

#include "contracts/sequence_mask.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// SequenceMask(data [, lengths] [, centers] [, left_pad] | data, mask) -> output
class SequenceMaskOp final : public MaskOperator {
 public:
  SequenceMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool MaskByShape();
  bool MaskByMask();

  const caffe2op_mask::SequenceMaskContract contract_;
};

void FillSequenceMaskSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
