// The only place that registers. docs/architecture.md tells why stock names get
// an engine and new names none; tests hold this list against the live registry.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "caffe2/core/module.h"
#include "caffe2/core/operator.h"
#include "caffe2/utils/string_utils.h"
#include "gradients/bernoulli_mask_gradient.h"
#include "gradients/boolean_mask_gradient.h"
#include "gradients/boolean_mask_jagged_gradient.h"
#include "gradients/boolean_unmask_gradient.h"
#include "gradients/gate_gradient.h"
#include "gradients/highway_gradient.h"
#include "gradients/masked_attention_gradient.h"
#include "gradients/masked_softmax_gradient.h"
#include "gradients/mixture_gate_gradient.h"
#include "gradients/sequence_mask_gradient.h"
#include "operators/bernoulli_mask_op.h"
#include "operators/boolean_mask_jagged_op.h"
#include "operators/boolean_mask_lengths_op.h"
#include "operators/boolean_mask_op.h"
#include "operators/boolean_unmask_op.h"
#include "operators/gate_op.h"
#include "operators/highway_op.h"
#include "operators/known_arguments.h"
#include "operators/masked_attention_jagged_op.h"
#include "operators/masked_attention_op.h"
#include "operators/masked_softmax_op.h"
#include "operators/mixture_gate_op.h"
#include "operators/random_mask_op.h"
#include "operators/sequence_mask_op.h"

// A module tells the runtime its name and is looked up by a symbol of that name,
// which must be seen from outside.
#pragma GCC visibility push(default)
CAFFE2_MODULE(caffe2op_mask, "Mask operators: exact, fast, for every type and shape.");
#pragma GCC visibility pop

namespace caffe2 {

// Names that the runtime has already. Under their own name the registry would
// end the process, so they are registered as engine MASK; PreferOperator below
// makes the operators those of the name itself, too.
REGISTER_CPU_OPERATOR_WITH_ENGINE(BooleanMask, MASK, mask::BooleanMaskOp);
REGISTER_CPU_OPERATOR_WITH_ENGINE(BooleanMaskGradient, MASK, mask::BooleanMaskGradientOp);
REGISTER_CPU_OPERATOR_WITH_ENGINE(BooleanMaskLengths, MASK, mask::BooleanMaskLengthsOp);
REGISTER_CPU_OPERATOR_WITH_ENGINE(BooleanUnmask, MASK, mask::BooleanUnmaskOp);
REGISTER_CPU_OPERATOR_WITH_ENGINE(SequenceMask, MASK, mask::SequenceMaskOp);

// Names of our own. They have a definition's arguments or refuse it.
#define REGISTER_OWN_OPERATOR(name) \
  REGISTER_CPU_OPERATOR_CREATOR(name, mask::CreateOfKnownArguments<mask::name##Op>)

REGISTER_OWN_OPERATOR(BernoulliMask);
OPERATOR_SCHEMA(BernoulliMask).FillUsing(mask::FillBernoulliMaskSchema);
REGISTER_GRADIENT(BernoulliMask, mask::GetBernoulliMaskGradient);
REGISTER_OWN_OPERATOR(BernoulliMaskGradient);
GRADIENT_OPERATOR_SCHEMA(BernoulliMaskGradient).FillUsing(mask::FillBernoulliMaskGradientSchema);
REGISTER_OWN_OPERATOR(BooleanMaskJagged);
OPERATOR_SCHEMA(BooleanMaskJagged).FillUsing(mask::FillBooleanMaskJaggedSchema);
REGISTER_GRADIENT(BooleanMaskJagged, mask::GetBooleanMaskJaggedGradient);
// With the arguments of an operator that may have any.
REGISTER_CPU_GRADIENT_OPERATOR(BooleanUnmaskGradient, mask::BooleanUnmaskGradientOp);
GRADIENT_OPERATOR_SCHEMA(BooleanUnmaskGradient).FillUsing(mask::FillBooleanUnmaskGradientSchema);
REGISTER_OWN_OPERATOR(Gate);
OPERATOR_SCHEMA(Gate).FillUsing(mask::FillGateSchema);
REGISTER_GRADIENT(Gate, mask::GetGateGradient);
REGISTER_OWN_OPERATOR(GateGradient);
GRADIENT_OPERATOR_SCHEMA(GateGradient).FillUsing(mask::FillGateGradientSchema);
REGISTER_OWN_OPERATOR(Highway);
OPERATOR_SCHEMA(Highway).FillUsing(mask::FillHighwaySchema);
REGISTER_GRADIENT(Highway, mask::GetHighwayGradient);
REGISTER_OWN_OPERATOR(HighwayGradient);
GRADIENT_OPERATOR_SCHEMA(HighwayGradient).FillUsing(mask::FillHighwayGradientSchema);
REGISTER_OWN_OPERATOR(MaskedAttention);
OPERATOR_SCHEMA(MaskedAttention).FillUsing(mask::FillMaskedAttentionSchema);
REGISTER_GRADIENT(MaskedAttention, mask::GetMaskedAttentionGradient);
REGISTER_OWN_OPERATOR(MaskedAttentionGradient);
GRADIENT_OPERATOR_SCHEMA(MaskedAttentionGradient)
    .FillUsing(mask::FillMaskedAttentionGradientSchema);
REGISTER_OWN_OPERATOR(MaskedAttentionJagged);
OPERATOR_SCHEMA(MaskedAttentionJagged).FillUsing(mask::FillMaskedAttentionJaggedSchema);
REGISTER_GRADIENT(MaskedAttentionJagged, mask::GetMaskedAttentionGradient);
REGISTER_OWN_OPERATOR(MaskedAttentionJaggedGradient);
GRADIENT_OPERATOR_SCHEMA(MaskedAttentionJaggedGradient)
    .FillUsing(mask::FillMaskedAttentionJaggedGradientSchema);
REGISTER_OWN_OPERATOR(MaskedSoftmax);
OPERATOR_SCHEMA(MaskedSoftmax).FillUsing(mask::FillMaskedSoftmaxSchema);
REGISTER_GRADIENT(MaskedSoftmax, mask::GetMaskedSoftmaxGradient);
REGISTER_OWN_OPERATOR(MaskedSoftmaxGradient);
GRADIENT_OPERATOR_SCHEMA(MaskedSoftmaxGradient).FillUsing(mask::FillMaskedSoftmaxGradientSchema);
REGISTER_OWN_OPERATOR(MixtureGate);
OPERATOR_SCHEMA(MixtureGate).FillUsing(mask::FillMixtureGateSchema);
REGISTER_GRADIENT(MixtureGate, mask::GetMixtureGateGradient);
REGISTER_OWN_OPERATOR(MixtureGateGradient);
GRADIENT_OPERATOR_SCHEMA(MixtureGateGradient).FillUsing(mask::FillMixtureGateGradientSchema);
REGISTER_OWN_OPERATOR(RandomMask);
OPERATOR_SCHEMA(RandomMask).FillUsing(mask::FillRandomMaskSchema);
NO_GRADIENT(RandomMask);

namespace mask {
namespace {

using Creator = OperatorRegistry::Creator;
using Creators = std::unordered_map<std::string, Creator>;

// The registry hands out no creator, and the stock one is needed once its place is taken. An
// explicit instantiation, and nothing else, may name a private member.
Creators OperatorRegistry::*CreatorsOfRegistry();

template <Creators OperatorRegistry::*member>
struct PrivateMember {
  friend Creators OperatorRegistry::*CreatorsOfRegistry() { return member; }
};
template struct PrivateMember<&OperatorRegistry::registry_>;

// Whether an operator is to be the stock one. The runtime takes engine DEFAULT for the name itself.
bool AsksForStock(const OperatorDef& def) {
  const std::vector<std::string> engines = split(',', def.engine());
  return std::find(engines.begin(), engines.end(), "DEFAULT") != engines.end();
}

// Makes operators of this name Op. That outlives engine preferences, which anybody may replace.
template <class Op>
void PreferOperator(const std::string& name) {
  OperatorRegistry& registry = *CPUOperatorRegistry();
  const Creators& creators = registry.*CreatorsOfRegistry();
  const auto found = creators.find(name);
  const Creator stock = found == creators.end() ? nullptr : found->second;
  const auto create = [stock](const OperatorDef& def, Workspace* ws) {
    return stock && AsksForStock(def) ? stock(def, ws) : std::make_unique<Op>(def, ws);
  };
  registry.Register(name, create, c10::REGISTRY_PREFERRED);
}

template <class Maker>
void PreferGradient(const std::string& name) {
  GradientRegistry()->Register(
      name,
      c10::Registerer<
          std::string, std::unique_ptr<GradientMakerBase>, const OperatorDef&,
          const std::vector<GradientWrapper>&>::DefaultCreator<Maker>,
      "", c10::REGISTRY_PREFERRED);
}

// Replaces the schema of `name`, which may exist only once, or makes it.
void SetSchema(const std::string& name, void (*fill)(OpSchema&)) {
  // The registry hands out const pointers to objects that are not const.
  auto* schema = const_cast<OpSchema*>(OpSchemaRegistry::Schema(name));
  if (schema == nullptr) {
    schema = &OpSchemaRegistry::NewSchema(name, __FILE__, __LINE__);
  } else {
    *schema = OpSchema(name, __FILE__, __LINE__);
  }
  fill(*schema);
}

bool OverrideStock() {
  const char* const value = std::getenv("CAFFE2OP_MASK_OVERRIDE");
  return value == nullptr || std::strcmp(value, "0") != 0;
}

bool RegisterStockNames() {
  SetSchema("BooleanMask", FillBooleanMaskSchema);
  SetSchema("BooleanMaskGradient", FillBooleanMaskGradientSchema);
  SetSchema("BooleanMaskLengths", FillBooleanMaskLengthsSchema);
  SetSchema("BooleanUnmask", FillBooleanUnmaskSchema);
  SetSchema("SequenceMask", FillSequenceMaskSchema);
  if (OverrideStock()) {
    PreferOperator<BooleanMaskOp>("BooleanMask");
    PreferOperator<BooleanMaskGradientOp>("BooleanMaskGradient");
    PreferOperator<BooleanMaskLengthsOp>("BooleanMaskLengths");
    PreferOperator<BooleanUnmaskOp>("BooleanUnmask");
    PreferOperator<SequenceMaskOp>("SequenceMask");
  }
  PreferGradient<GetBooleanMaskGradient>("BooleanMask");
  PreferGradient<GetBooleanUnmaskGradient>("BooleanUnmask");
  PreferGradient<GetSequenceMaskGradient>("SequenceMask");
  return true;
}

const bool kRegistered = RegisterStockNames();

}  // namespace
}  // namespace mask
}  // namespace caffe2
