#include "operators/boolean_unmask_op.h"

#include <limits>

#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

UnmaskLayout ReadLayout(const OperatorDef& def) {
  const std::string_view layout = Arguments(def).String("layout", "auto");
  return Checked([&] { return ReadUnmaskLayout(def.type().c_str(), layout); });
}

}  // namespace

UnmaskOperator::UnmaskOperator(const OperatorDef& def, Workspace* ws)
    : MaskOperator(def, ws), layout_(ReadLayout(def)) {}

UnmaskViews UnmaskOperator::Bind(const char* op, int pairs, bool has_fill) {
  UnmaskViews views;
  for (int i = 0; i < pairs; ++i) {
    views.masks.push_back(View(2 * i));
    views.values.push_back(View(2 * i + 1));
  }
  BindBooleanUnmask(
      op, layout_, views.masks.data(), views.values.data(), pairs, has_fill, AtParallelFor,
      &bound_);
  return views;
}

BooleanUnmaskOp::BooleanUnmaskOp(const OperatorDef& def, Workspace* ws)
    : UnmaskOperator(def, ws), fill_val_(Arguments(def).OptionalNumber("fill_val")) {
  CAFFE_ENFORCE(
      def.input_size() >= 2 && def.input_size() % 2 == 0,
      "BooleanUnmask: inputs must be pairs of a mask and its values, but there are ",
      def.input_size(), ".");
}

bool BooleanUnmaskOp::RunOnDevice() {
  return Checked([this] { return Unmask(); });
}

bool BooleanUnmaskOp::Unmask() {
  const UnmaskViews views = Bind("BooleanUnmask", InputSize() / 2, fill_val_.has_value());
  const TensorView& first = views.values[0];
  const uint64_t fill = fill_val_ ? UnmaskFill("BooleanUnmask", *fill_val_, first) : 0;
  if (first.is_plain) {
    Expand(views, fill);
  } else {
    ExpandByCopy(views);
  }
  return true;
}

void BooleanUnmaskOp::Expand(const UnmaskViews& views, uint64_t fill_pattern) {
  c10::SmallVector<const void*, 4> values;
  for (const TensorView& one : views.values) values.push_back(one.data);
  void* const data = Make(0, bound().data_sizes, Input(1).dtype());
  ExpandRows(
      bound().masks.data(), bound().k(), bound().entries,
      RowBytes(bound().entries, bound().row, views.values[0].element_bytes), values.data(),
      fill_pattern, data, AtParallelFor);
}

// Elements that are objects (strings) are copied one row at a time, as they know how.
void BooleanUnmaskOp::ExpandByCopy(const UnmaskViews& views) {
  const TypeMeta type = Input(1).dtype();
  const int64_t row_bytes = RowBytes(bound().entries, bound().row, views.values[0].element_bytes);
  std::vector<const char*> next;
  for (const TensorView& one : views.values) next.push_back(one.As<char>());
  auto* to = static_cast<char*>(Make(0, bound().data_sizes, type));
  for (int64_t position = 0; position < bound().entries; ++position, to += row_bytes) {
    bool owned = false;
    for (size_t i = 0; i < next.size(); ++i) {
      const MaskedRows& rows = bound().masks[i];
      const bool claims = !owned && reinterpret_cast<const uint8_t*>(rows.mask)[position] != 0;
      if (claims) {
        const auto items = static_cast<size_t>(Product(bound().row));
        context_.CopyItemsSameDevice(type, items, next[i], to);
      }
      if (claims || rows.dense) next[i] += row_bytes;
      owned = owned || claims;
    }
  }
}

BooleanUnmaskGradientOp::BooleanUnmaskGradientOp(const OperatorDef& def, Workspace* ws)
    : UnmaskOperator(WithDistinctOutputs(def), ws) {
  CAFFE_ENFORCE(
      def.input_size() >= 3 && def.input_size() == 2 * def.output_size() + 1,
      "BooleanUnmaskGradient: inputs must be k pairs of a mask and its values and then d_data for "
      "k outputs, but there are ",
      def.input_size(), " inputs and ", def.output_size(), " outputs.");
}

bool BooleanUnmaskGradientOp::RunOnDevice() {
  return Checked([this] { return Split(); });
}

bool BooleanUnmaskGradientOp::Split() {
  const TensorView d_data = View(InputSize() - 1);
  CheckUnmaskGradientType("BooleanUnmaskGradient", d_data);
  Bind("BooleanUnmaskGradient", OutputSize(), /*has_fill=*/true);
  CheckUnmaskGradientSizes("BooleanUnmaskGradient", d_data, bound());
  c10::SmallVector<void*, 4> d_values;
  for (int i = 0; i < OutputSize(); ++i) {
    d_values.push_back(Make(i, SizesOf(2 * i + 1), Input(InputSize() - 1).dtype()));
  }
  SplitRows(
      bound().masks.data(), bound().k(), bound().entries,
      RowBytes(bound().entries, bound().row, d_data.element_bytes), d_data.data, d_values.data(),
      AtParallelFor);
  return true;
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
        out[0].set_data_type(in[1].data_type());
        const Dims values = DimsOf(in[1]);
        if (values.rank() == 0) {
          out[0].set_unknown_shape(true);
        } else {
          SetDims(UnmaskedSizes(ReadLayout(def), DimsOf(in[0]), values), &out[0]);
        }
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
