// SPDX-License-Identifier: MIT
// The interface's functions for mixers: checks what is common to all, and finds the code for the types and the device.
#include <cstddef>
#include <deque>
#include <string>

#include "built.hpp"
#include "calls.hpp"
#include "mixer_call.hpp"
#include "widened.hpp"

namespace kalscan::c {
namespace {

constexpr const char* mixer_names[] = {"kla", "predicted kla", "rotating_kla", "gla", "predicted rotating_kla"};

enum class verb { forward, step, backward };

/// An array of a call, and what it is for.
struct array_use {
  std::string name;
  const DLTensor*& array;
  bool storage, written, required;
  bool exists;  // in this mixer
};

template <class F>
void for_each_input(kalscan_mixer mixer, const std::string& of, kalscan_inputs& x, bool written, F f) {
  const bool kla = mixer != KALSCAN_GLA, turns = turning(mixer);
  const auto one = [&](const char* name, const DLTensor*& array, bool storage, bool exists) {
    f(array_use{of + name, array, storage, written, !written, exists});
  };
  one("v", x.v, true, true);
  one("Lambda", x.Lambda, true, kla);
  one("r", x.r, true, turns);
  one("k", x.k, true, true);
  one("q", x.q, true, true);
  one("a", x.a, false, kla);
  one("p", x.p, false, kla);
  one("g", x.g, false, !kla);
}
template <class F>
void for_each_of_state(kalscan_mixer mixer, const std::string& of, kalscan_state& x, bool written, F f) {
  f(array_use{of + " mean", x.mean, false, written, false, true});
  f(array_use{of + " variance", x.variance, false, written, false, mixer != KALSCAN_GLA});
}
template <class F>
void for_each_array(mixer_call& call, verb what, F f) {
  const bool back = what == verb::backward;
  const std::string bar = "the adjoint of ";
  for_each_input(call.mixer, "", call.in, false, f);
  f(array_use{(back ? bar : "") + "y", call.out.y, true, !back, false, true});
  f(array_use{(back ? bar : "") + "yvar", call.out.yvar, true, !back, false, call.mixer != KALSCAN_GLA});
  if (back) for_each_input(call.mixer, bar, call.in_bar, true, f);
  for_each_of_state(call.mixer, "initial", call.states.initial, false, f);
  for_each_of_state(call.mixer, "checkpoints", call.states.checkpoints, !back, f);
  if (!back) for_each_of_state(call.mixer, "final", call.states.final, true, f);
  if (back) for_each_of_state(call.mixer, bar + "final", call.states.final_bar, false, f);
  if (back) for_each_of_state(call.mixer, bar + "initial", call.states.initial_bar, true, f);
}

std::string device_name(const DLTensor& x) {
  const std::string number = std::to_string(x.device.device_id);
  if (on_host(x)) return "the CPU";
  if (x.device.device_type == kDLCUDA || x.device.device_type == kDLCUDAManaged) return "CUDA device " + number;
  return "a device of DLPack's type " + std::to_string(x.device.device_type);
}

void check(mixer_call& call, verb what) {
  if (call.mixer < KALSCAN_KLA || call.mixer > KALSCAN_ROTATING_KLA_PREDICTED)
    bad("mixer is " + std::to_string(call.mixer));
  const std::string mixer = mixer_names[call.mixer];
  if (call.in.v == nullptr) bad("v is not given");
  const DLTensor& v = *call.in.v;
  for_each_array(call, what, [&](const array_use& use) {
    if (use.array == nullptr) {
      if (use.required && use.exists) bad(use.name + " is not given");
      return;
    }
    const DLTensor& x = *use.array;
    if (!use.exists) bad(use.name + " is given, which " + mixer + " does not have");
    if (on_host(x) != on_host(v) || (!on_host(x) && x.device.device_id != v.device.device_id))
      bad(use.name + " lies on " + device_name(x) + ", but v on " + device_name(v));
    if (use.storage && !same(x.dtype, v.dtype))
      bad(use.name + " is " + name_of(x.dtype) + ", but v is " + name_of(v.dtype) +
          ": values, keys, queries, outputs and their adjoints have one type");
    const DLDataType number = same(v.dtype, type_of<double>) ? type_of<double> : type_of<float>;
    if (!use.storage && !same(x.dtype, number))
      bad(use.name + " is " + name_of(x.dtype) + ", not " + name_of(number) + ", where v is " + name_of(v.dtype));
    if (use.written) require_own_elements(use.name, x);
  });
}

const mixer_functions& functions_of(const mixer_call& call, const DLDataType& storage) {
  const DLTensor& v = *call.in.v;
  for (const built_mixer& one : built_mixers) {
    if (one.mixer == call.mixer && one.host == on_host(v) && same(one.storage, storage)) return *one.functions;
  }
  throw not_built("kalscan: the library was built without " + std::string(mixer_names[call.mixer]) + " in " +
                  name_of(storage) + " on " + device_name(v));
}

bool is_16_bit(const DLDataType& type) { return same(type, type_of<bfloat16>) || same(type, type_of<float16>); }

void run(mixer_call call, verb what) {
  check(call, what);
  const auto call_verb = [&](const mixer_functions& functions) {
    (what == verb::forward ? functions.forward : what == verb::step ? functions.step : functions.backward)(call);
  };
  const DLTensor v = *call.in.v;
  if (!on_host(v) || !is_16_bit(v.dtype)) return call_verb(functions_of(call, v.dtype));
  const mixer_functions& functions = functions_of(call, type_of<float>);
  std::deque<widened> arrays;
  for_each_array(call, what, [&](const array_use& use) {
    if (use.storage && use.array != nullptr) use.array = arrays.emplace_back(use.array, use.written).array();
  });
  call_verb(functions);
  for (const widened& x : arrays) x.finish();
}

mixer_call gathered(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out,
                    const kalscan_inputs* in_bar, const kalscan_states* states, const kalscan_run* how) {
  mixer_call call{mixer, {}, {}, {}, {}, given_or_none(how)};
  if (in != nullptr) call.in = *in;
  if (out != nullptr) call.out = *out;
  if (in_bar != nullptr) call.in_bar = *in_bar;
  if (states != nullptr) call.states = *states;
  return call;
}

/// What a query asks of the functions that the call would use.
template <class Ask>
auto asked(mixer_call call, verb what, Ask ask) {
  check(call, what);
  const DLDataType type = call.in.v->dtype;
  return ask(functions_of(call, on_host(*call.in.v) && is_16_bit(type) ? type_of<float> : type), call);
}
/// On the CPU the answer depends on no array, and their types there are those of the widened ones.
bool needs_none(const kalscan_inputs* in) { return in != nullptr && in->v != nullptr && on_host(*in->v); }

}  // namespace
}  // namespace kalscan::c

using namespace kalscan::c;

int kalscan_forward(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out,
                    const kalscan_states* states, const kalscan_run* how) {
  return guarded([&] { run(gathered(mixer, in, out, nullptr, states, how), verb::forward); });
}

int kalscan_step(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out, const kalscan_state* state,
                 const kalscan_run* how) {
  return guarded([&] {
    mixer_call call = gathered(mixer, in, out, nullptr, nullptr, how);
    if (state != nullptr) call.states.final = *state;
    run(call, verb::step);
  });
}

int kalscan_backward(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_outputs* out_bar,
                     const kalscan_inputs* in_bar, const kalscan_states* states, const kalscan_run* how) {
  return guarded([&] { run(gathered(mixer, in, out_bar, in_bar, states, how), verb::backward); });
}

int kalscan_forward_workspace(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_states* states,
                              const kalscan_run* how, size_t* bytes) {
  return guarded([&] {
    *bytes = 0;
    if (needs_none(in)) return;
    *bytes = asked(gathered(mixer, in, nullptr, nullptr, states, how), verb::forward,
                   [](const mixer_functions& f, const mixer_call& call) { return f.forward_workspace(call); });
  });
}

int kalscan_backward_workspace(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_states* states,
                               const kalscan_run* how, size_t* bytes) {
  return guarded([&] {
    *bytes = 0;
    if (needs_none(in)) return;
    *bytes = asked(gathered(mixer, in, nullptr, nullptr, states, how), verb::backward,
                   [](const mixer_functions& f, const mixer_call& call) { return f.backward_workspace(call); });
  });
}

int kalscan_backward_checkpoints(kalscan_mixer mixer, const kalscan_inputs* in, const kalscan_states* states,
                                 int64_t* every) {
  return guarded([&] {
    *every = asked(gathered(mixer, in, nullptr, nullptr, states, nullptr), verb::forward,
                   [](const mixer_functions& f, const mixer_call& call) { return f.backward_checkpoints(call); });
  });
}

const char* kalscan_last_error(void) { return last_error.c_str(); }
int kalscan_interface_version(void) { return 1; }
int kalscan_has_device(DLDeviceType device) {
  for (const built_mixer& one : built_mixers) {
    if (one.host == (device == kDLCPU || device == kDLCUDAHost)) return 1;
  }
  return 0;
}
