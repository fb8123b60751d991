#pragma once

// kernels/broadcast.h, by sizes.

#include "contracts/sizes.h"
#include "kernels/broadcast.h"

namespace caffe2op_mask {

inline bool CanBroadcast(Sizes large, Sizes small) {
  return CanBroadcast(large.data(), large.rank(), small.data(), small.rank());
}

inline RowBroadcast BroadcastRows(Sizes large, Sizes small) {
  return RowBroadcast(large.data(), large.rank(), small.data(), small.rank());
}

inline RowBroadcast BroadcastElements(Sizes large, Sizes small) {
  return ElementBroadcast(large.data(), large.rank(), small.data(), small.rank());
}

// Of a mask over the leading dims of data.
inline LeadingEntries BroadcastLeading(Sizes data, Sizes mask) {
  return LeadingBroadcast(data.data(), data.rank(), mask.data(), mask.rank());
}

}  // namespace caffe2op_mask
