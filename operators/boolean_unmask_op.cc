#include "operators/boolean_unmask_op.h"

#include <algorithm>
#include <limits>

#include "kernels/chunk.h"
#include "kernels/fill.h"
#include "operators/check.h"
#include "operators/element_types.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

// Lists that need no memory of their own where there are few pairs.
using Tensors = c10::SmallVector<const Tensor*, 4>;
using Pointers = c10::SmallVector<const void*, 4>;

std::string Numbered(const char* name, size_t i) {
  return name + std::to_string(i + 1);
}

}  // namespace

UnmaskInputs::UnmaskInputs(const OperatorDef& def) : op_(def.type()) {
  const std::string layout = Arguments(def).String("layout", "auto");
  CAFFE_ENFORCE(
      layout == "auto" || layout == "compact" || layout == "dense", op_,
      ": argument layout must be auto, compact or dense, but is '", layout, "'.");
  layout_ =
      layout == "auto" ? Layout::kAuto : (layout == "dense" ? Layout::kDense : Layout::kCompact);
}

// Sizes of one row of values i; notes whether they are dense.
at::IntArrayRef UnmaskInputs::RowSizes(size_t i, const Tensor& mask, const Tensor& values) {
  const auto mask_sizes = mask.sizes();
  const auto sizes = values.sizes();
  const bool aligned = sizes.size() >= mask_sizes.size() &&
                       std::equal(mask_sizes.begin(), mask_sizes.end(), sizes.begin());
  CAFFE_ENFORCE(
      layout_ != Layout::kDense || aligned, op_, ": with layout = dense ", Numbered("values_", i),
      " must have the leading dims of ", Numbered("mask_", i), ", ", ShapeName(mask_sizes),
      ", but is of shape ", ShapeName(sizes), ".");
  CAFFE_ENFORCE(
      !sizes.empty(), op_, ": ", Numbered("values_", i),
      " must have at least one dim, but is of shape [].");
  masks_[i].dense = aligned && layout_ != Layout::kCompact;
  return sizes.slice(masks_[i].dense ? mask_sizes.size() : 1);
}

void UnmaskInputs::Read(
    at::ArrayRef<const Tensor*> masks, at::ArrayRef<const Tensor*> values, bool has_fill) {
  const size_t k = masks.size();
  const Tensor& first = *masks[0];
  CAFFE_ENFORCE(first.dim() >= 1, op_, ": mask_1 must have at least one dim, but is of shape [].");
  entries_ = first.numel();
  const int64_t chunks = NumChunks(entries_);
  masks_.resize(k);
  offsets_.resize(k * static_cast<size_t>(chunks));
  at::IntArrayRef row_sizes;
  for (size_t i = 0; i < k; ++i) {
    CAFFE_ENFORCE(
        masks[i]->sizes() == first.sizes(), op_,
        ": all masks must have one shape, but mask_1 is of shape ", ShapeName(first.sizes()),
        " and ", Numbered("mask_", i), " of shape ", ShapeName(masks[i]->sizes()), ".");
    CAFFE_ENFORCE(
        values[i]->dtype() == values[0]->dtype(), op_,
        ": all values must have one type, but values_1 is of type ", TypeName(values[0]->dtype()),
        " and ", Numbered("values_", i), " of type ", TypeName(values[i]->dtype()), ".");
    // Names are put together for what throws alone.
    masks_[i].mask = masks[i]->IsType<bool>()
                         ? masks[i]->data<bool>()
                         : MaskData(op_.c_str(), Numbered("mask_", i).c_str(), *masks[i]);
    masks_[i].offsets = offsets_.data() + static_cast<int64_t>(i) * chunks;
    const at::IntArrayRef sizes = RowSizes(i, *masks[i], *values[i]);
    if (i == 0) row_sizes = sizes;
    CAFFE_ENFORCE(
        sizes == row_sizes, op_,
        ": all values must have rows of one shape, but a row of values_1 is of shape ",
        ShapeName(row_sizes), " and one of ", Numbered("values_", i), " of shape ",
        ShapeName(sizes), ".");
  }
  row_ = Product(row_sizes, 0, static_cast<int64_t>(row_sizes.size()));
  data_sizes_.assign(first.sizes().begin(), first.sizes().end());
  data_sizes_.insert(data_sizes_.end(), row_sizes.begin(), row_sizes.end());
  CheckOutputSize(op_.c_str(), "data", data_sizes_, values[0]->dtype());

  const int64_t unowned = CountOwned(masks_.data(), this->k(), entries_, AtParallelFor);
  for (size_t i = 0; i < k; ++i) {
    CAFFE_ENFORCE(
        masks_[i].dense || values[i]->size(0) == masks_[i].owned, op_, ": ", Numbered("values_", i),
        " must have one row for each of the ", masks_[i].owned, " positions that ",
        Numbered("mask_", i), " is the first to claim, but is of shape ",
        ShapeName(values[i]->sizes()), ".");
  }
  CAFFE_ENFORCE(
      has_fill || unowned == 0, op_,
      ": every position must be True in some mask unless fill_val is given, but all masks are "
      "False at position ",
      unowned == 0 ? 0 : FirstUnowned(masks_.data(), this->k(), entries_), ".");
}

BooleanUnmaskOp::BooleanUnmaskOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(def, ws),
      has_fill_(Arguments(def).Has("fill_val")),
      fill_val_(Arguments(def).Float("fill_val", 0.0F)),
      inputs_(def) {
  CAFFE_ENFORCE(
      def.input_size() >= 2 && def.input_size() % 2 == 0,
      "BooleanUnmask: inputs must be pairs of a mask and its values, but there are ",
      def.input_size(), ".");
}

bool BooleanUnmaskOp::RunOnDevice() {
  Tensors masks;
  Tensors values;
  for (int i = 0; i < InputSize(); i += 2) {
    masks.push_back(&Input(i));
    values.push_back(&Input(i + 1));
  }
  inputs_.Read(masks, values, has_fill_);
  return DispatchAny(this, *values[0]);
}

void BooleanUnmaskOp::Expand(uint64_t fill_pattern) {
  const TypeMeta type = Input(1).dtype();
  Pointers values;
  for (int i = 1; i < InputSize(); i += 2) values.push_back(Input(i).raw_data());
  Tensor* const data = Output(0);
  data->Resize(inputs_.data_sizes());
  ExpandRows(
      inputs_.masks(), inputs_.k(), inputs_.entries(),
      RowBytes(inputs_.entries(), inputs_.row(), type), values.data(), fill_pattern,
      data->raw_mutable_data(type), AtParallelFor);
}

// Elements that are objects (strings) are copied one row at a time, as they know how.
void BooleanUnmaskOp::ExpandByCopy() {
  const TypeMeta type = Input(1).dtype();
  const int64_t row_bytes = RowBytes(inputs_.entries(), inputs_.row(), type);
  std::vector<const char*> next;
  for (int i = 1; i < InputSize(); i += 2) {
    next.push_back(static_cast<const char*>(Input(i).raw_data()));
  }
  Tensor* const data = Output(0);
  data->Resize(inputs_.data_sizes());
  auto* to = static_cast<char*>(data->raw_mutable_data(type));
  for (int64_t position = 0; position < inputs_.entries(); ++position, to += row_bytes) {
    bool owned = false;
    for (size_t i = 0; i < next.size(); ++i) {
      const MaskedRows& rows = inputs_.masks()[i];
      const bool claims = !owned && reinterpret_cast<const uint8_t*>(rows.mask)[position] != 0;
      if (claims) {
        context_.CopyItemsSameDevice(type, static_cast<size_t>(inputs_.row()), next[i], to);
      }
      if (claims || rows.dense) next[i] += row_bytes;
      owned = owned || claims;
    }
  }
}

template <typename T>
bool BooleanUnmaskOp::DoRunWithType() {
  Expand(has_fill_ ? FillPattern(ConvertFill<T>("BooleanUnmask", fill_val_)) : 0);
  return true;
}

bool BooleanUnmaskOp::DoRunWithOtherType() {
  const TypeMeta type = Input(1).dtype();
  CAFFE_ENFORCE(
      !has_fill_, "BooleanUnmask: with fill_val values must be numbers or bool, but are of type ",
      TypeName(type), ".");
  if (IsPlain(type)) {
    Expand(0);
  } else {
    ExpandByCopy();
  }
  return true;
}

BooleanUnmaskGradientOp::BooleanUnmaskGradientOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws), inputs_(def) {
  CAFFE_ENFORCE(
      def.input_size() >= 3 && def.input_size() == 2 * def.output_size() + 1,
      "BooleanUnmaskGradient: inputs must be k pairs of a mask and its values and then d_data for "
      "k outputs, but there are ",
      def.input_size(), " inputs and ", def.output_size(), " outputs.");
}

bool BooleanUnmaskGradientOp::RunOnDevice() {
  return DispatchAny(this, Input(InputSize() - 1));
}

template <typename T>
bool BooleanUnmaskGradientOp::DoRunWithType() {
  Tensors masks;
  Tensors values;
  for (int i = 0; i + 1 < InputSize(); i += 2) {
    masks.push_back(&Input(i));
    values.push_back(&Input(i + 1));
  }
  inputs_.Read(masks, values, /*has_fill=*/true);
  const Tensor& d_data = Input(InputSize() - 1);
  CAFFE_ENFORCE(
      d_data.sizes() == at::IntArrayRef(inputs_.data_sizes()),
      "BooleanUnmaskGradient: d_data must be of the shape of data, ",
      ShapeName(inputs_.data_sizes()), ", but is of shape ", ShapeName(d_data.sizes()), ".");
  const T* const from = d_data.data<T>();
  c10::SmallVector<void*, 4> d_values;
  for (int i = 0; i < OutputSize(); ++i) {
    d_values.push_back(Output(i, values[static_cast<size_t>(i)]->sizes(), at::dtype<T>())
                           ->template mutable_data<T>());
  }
  SplitRows(
      inputs_.masks(), inputs_.k(), inputs_.entries(),
      RowBytes(inputs_.entries(), inputs_.row(), d_data.dtype()), from, d_values.data(),
      AtParallelFor);
  return true;
}

bool BooleanUnmaskGradientOp::DoRunWithOtherType() {
  CAFFE_THROW(
      "BooleanUnmaskGradient: d_data must be a number or bool, but is of type ",
      TypeName(Input(InputSize() - 1).dtype()), ".");
}

void FillBooleanUnmaskSchema(OpSchema& schema) {
  // That inputs come in pairs is checked by the operator, which says so in words.
  schema.NumInputs(1, std::numeric_limits<int>::max())
      .NumOutputs(1)
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(1);
        if (in.size() < 2 || in[0].unknown_shape() || in[1].unknown_shape()) {
          out[0].set_unknown_shape(true);
          return out;
        }
        const int rank = in[0].dims_size();
        bool dense = in[1].dims_size() >= rank;
        for (int d = 0; dense && d < rank; ++d) dense = in[0].dims(d) == in[1].dims(d);
        dense = dense &&
                ArgumentHelper(def).GetSingleArgument<std::string>("layout", "auto") != "compact";
        out[0] = in[0];
        out[0].set_data_type(in[1].data_type());
        for (int d = dense ? rank : 1; d < in[1].dims_size(); ++d) out[0].add_dims(in[1].dims(d));
        return out;
      })
      .SetDoc(R"DOC(
Puts values back to where their masks are True: the inverse of BooleanMask, for one mask or many.

Masks are of one shape. Each position belongs to the first mask that is True there; a True behind
another is shadowed and takes no value. The values of a mask are rows of any shape, one for each
position that belongs to it, in order: `[count, ..]` (compact). `data` has shape
`mask.shape + values.shape[1:]`. With `fill_val`, positions at which all masks are False are filled;
without it, they are an error.

Values that have the leading dims of their mask are dense: each position takes the row that stands
there. With one pair and `fill_val` = 0, `data` is `values` where the mask is True and 0 elsewhere.
For a 1-D mask both readings agree wherever the compact one is valid. For a mask of r >= 2 dims and
values of r or more, the shape alone decides, so that a change in the mask never changes how values
are read; give `layout` = "compact" where compact rows could have the mask's dims by chance.

The gradient goes to all values; those of dense values are 0 where the position is not theirs.

Errors: an odd number of inputs; a mask that is not bool; masks of different shapes; values of
different types or rows; compact values that are too few or too many; a position that belongs to no
mask, without `fill_val`; a `fill_val` that the type cannot hold.

Source: Caffe2's BooleanUnmask (1-D, compact); NumPy's `numpy.where` and `numpy.place`.

**Example**

```
workspace.FeedBlob("mask_1", np.array([True, False, True, False, False]))
workspace.FeedBlob("values_1", np.array([1, 3], dtype=np.float32))
workspace.FeedBlob("mask_2", np.array([False, True, True, False, False]))
workspace.FeedBlob("values_2", np.array([2], dtype=np.float32))
op = core.CreateOperator(
    "BooleanUnmask", ["mask_1", "values_1", "mask_2", "values_2"], ["data"], fill_val=0.0)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("data").tolist())
```

**Result**

```
[1.0, 2.0, 3.0, 0.0, 0.0]
```
)DOC")
      .Arg(
          "fill_val",
          "float or int: what stands where all masks are False; without it that is an error")
      .Arg("layout", "string (default auto): auto, compact or dense, how values are read")
      .Input(0, "mask_1", "(Tensor<bool>) of any shape with at least one dim; all masks alike")
      .Input(1, "values_1", "(Tensor) `[count, ..]` compact or `mask.shape + [..]` dense; any type")
      .Output(0, "data", "(Tensor) `mask.shape` and the dims of a row, of values' type");
}

void FillBooleanUnmaskGradientSchema(OpSchema& schema) {
  schema.NumInputs(3, std::numeric_limits<int>::max())
      .NumOutputs(1, std::numeric_limits<int>::max())
      .SetDoc(
          "The gradient of BooleanUnmask: each row of `d_data` goes to the values it came from.")
      .Arg("layout", "string (default auto): as given to BooleanUnmask")
      .Input(
          0, "mask_1",
          "(Tensor<bool>) and values_1, .., mask_k, values_k: as given to BooleanUnmask; last "
          "d_data")
      .Output(0, "d_values_1", "(Tensor) of values_1's shape and d_data's type; one for each pair");
}

}  // namespace mask
}  // namespace caffe2
