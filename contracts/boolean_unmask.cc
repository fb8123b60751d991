#include "contracts/boolean_unmask.h"

#include "contracts/check.h"
#include "contracts/fill_value.h"
#include "kernels/chunk.h"

namespace caffe2op_mask {
namespace {

// "mask_2", of the second.
struct Numbered {
  const char* name;
  int64_t i;
};

Sentence& operator<<(Sentence& sentence, const Numbered& numbered) {
  return sentence << numbered.name << numbered.i + 1;
}

// Sizes of one row of the values; notes whether they are dense.
Sizes RowOf(const char* op, UnmaskLayout layout, int64_t i, Sizes mask, Sizes values, bool* dense) {
  Require(
      layout != UnmaskLayout::kDense || values.BeginsWith(mask), op, ": with layout = dense ",
      Numbered{"values_", i}, " must have the leading dims of ", Numbered{"mask_", i}, ", ", mask,
      ", but is of shape ", values, ".");
  Require(
      values.rank() > 0, op, ": ", Numbered{"values_", i},
      " must have at least one dim, but is of shape [].");
  *dense = IsDense(layout, mask, values);
  return values.From(*dense ? mask.rank() : 1);
}

}  // namespace

UnmaskLayout ReadUnmaskLayout(const char* op, std::string_view layout) {
  if (layout == "auto") return UnmaskLayout::kAuto;
  if (layout == "compact") return UnmaskLayout::kCompact;
  Require(
      layout == "dense", op, ": argument layout must be auto, compact or dense, but is '", layout,
      "'.");
  return UnmaskLayout::kDense;
}

void BindBooleanUnmask(
    const char* op, UnmaskLayout layout, const TensorView* masks, const TensorView* values,
    int64_t k, bool has_fill, ParallelFor parallel_for, UnmaskBound* bound) {
  const Sizes mask = masks[0].sizes;
  Require(mask.rank() >= 1, op, ": mask_1 must have at least one dim, but is of shape [].");
  bound->entries = Product(mask);
  const int64_t chunks = NumChunks(bound->entries);
  bound->masks.resize(static_cast<size_t>(k));
  bound->offsets.resize(static_cast<size_t>(k * chunks));
  MaskedRows* const rows = bound->masks.data();
  for (int64_t i = 0; i < k; ++i) {
    Require(
        masks[i].sizes == mask, op, ": all masks must have one shape, but mask_1 is of shape ",
        mask, " and ", Numbered{"mask_", i}, " of shape ", masks[i].sizes, ".");
    Require(
        SameType(values[i], values[0]), op,
        ": all values must have one type, but values_1 is of type ", values[0].type_name(), " and ",
        Numbered{"values_", i}, " of type ", values[i].type_name(), ".");
    Require(
        masks[i].Is(ElementType::kBool), op, ": ", Numbered{"mask_", i},
        " must be of type bool, but is ", masks[i].type_name(), ".");
    rows[i].mask = masks[i].As<bool>();
    rows[i].offsets = bound->offsets.data() + i * chunks;
    const Sizes row = RowOf(op, layout, i, mask, values[i].sizes, &rows[i].dense);
    if (i == 0) bound->row = row;
    Require(
        row == bound->row, op,
        ": all values must have rows of one shape, but a row of values_1 is of shape ", bound->row,
        " and one of ", Numbered{"values_", i}, " of shape ", row, ".");
  }
  bound->data_sizes = Dims(mask).Append(bound->row);
  CheckOutputSize(op, "data", bound->data_sizes, values[0]);

  const int64_t unowned = CountOwned(rows, k, bound->entries, parallel_for);
  for (int64_t i = 0; i < k; ++i) {
    Require(
        rows[i].dense || values[i].sizes[0] == rows[i].owned, op, ": ", Numbered{"values_", i},
        " must have one row for each of the ", rows[i].owned, " positions that ",
        Numbered{"mask_", i}, " is the first to claim, but is of shape ", values[i].sizes, ".");
  }
  if (has_fill || unowned == 0) return;
  Throw(
      Sentence() << op
                 << ": every position must be True in some mask unless fill_val is given, but all "
                    "masks are False at position "
                 << FirstUnowned(rows, k, bound->entries) << ".");
}

uint64_t UnmaskFill(const char* op, const Number& fill_val, const TensorView& values) {
  Require(
      !values.Is(ElementType::kOther), op,
      ": with fill_val values must be numbers or bool, but are of type ", values.type_name(), ".");
  return FillValue(op, fill_val, values.type);
}

void CheckUnmaskGradientType(const char* op, const TensorView& d_data) {
  Require(
      !d_data.Is(ElementType::kOther), op, ": d_data must be a number or bool, but is of type ",
      d_data.type_name(), ".");
}

void CheckUnmaskGradientSizes(const char* op, const TensorView& d_data, const UnmaskBound& bound) {
  Require(
      d_data.sizes == bound.data_sizes, op, ": d_data must be of the shape of data, ",
      Sizes(bound.data_sizes), ", but is of shape ", d_data.sizes, ".");
}

}  // namespace caffe2op_mask
