#pragma once

// Which arguments an operator has: an argument that it does not have would be without effect,
// and so a misspelt one is an error.

#include <memory>

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// Throws where the definition has an argument that is neither in the schema of its operator, nor,
// if it is a gradient, in that of the operator whose arguments its maker copies, nor one that
// Caffe2 gives to operators of any kind.
void CheckKnownArguments(const OperatorDef& def);

// Creates an operator whose arguments are all known. Operators of stock names are created without
// this: their nets ran with any arguments before.
template <class Op>
std::unique_ptr<OperatorBase> CreateOfKnownArguments(const OperatorDef& def, Workspace* ws) {
  CheckKnownArguments(def);
  return std::make_unique<Op>(def, ws);
}

}  // namespace mask
}  // namespace caffe2
