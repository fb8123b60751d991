#include "kernels/target.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/target.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace {

const char* TargetName() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(TargetName);

int64_t forced = 0;  // the target forced, or 0

void Choose(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// The targets of this machine, whatever is forced.
std::vector<int64_t> Targets() {
  hwy::SetSupportedTargetsForTest(0);
  std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  Choose(forced);
  return targets;
}

}  // namespace

std::vector<const char*> TargetNames() {
  std::vector<const char*> names;
  for (const int64_t target : Targets()) names.push_back(hwy::TargetName(target));
  return names;
}

const char* TargetName() {
  return HWY_DYNAMIC_DISPATCH(TargetName)();
}

bool ForceTarget(const char* name) {
  int64_t found = 0;
  for (const int64_t target : Targets()) {
    if (name != nullptr && std::strcmp(name, hwy::TargetName(target)) == 0) found = target;
  }
  if (found == 0 && name != nullptr) return false;
  forced = found;
  Choose(forced);
  return true;
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
