// SPDX-License-Identifier: MIT
// A mixer's call, checked: sizes, offsets, signs, and NaN where that is asked for.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/call.hpp>
#include <kalscan/mixer/mixer.hpp>
#include <kalscan/mixer/states.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/bad_argument.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace kalscan::detail {

/// Whether a policy's arrays can be looked at before it runs. A back end whose arrays lie elsewhere sets it to false.
template <class P>
inline constexpr bool reads_values = true;

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_mixer(const std::string& what) {
  throw std::invalid_argument("kalscan: " + what);
}

[[gnu::noinline, gnu::cold]] inline std::string shape_text(const extents& x) {
  return text({"[", x[0], ", ", x[1], ", ", x[2], ", ", x[3], "]"});
}

// What is checked does not depend on the type of the numbers. Names are put together for errors alone.

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_extent(text_item name, const extents& extent,
                                                              const extents& wanted) {
  bad_mixer(text({name, " is ", shape_text(extent), ", not ", shape_text(wanted)}));
}
inline void require_extent(const char* name, const extents& extent, const extents& wanted) {
  if (extent != wanted) bad_extent(name, extent, wanted);
}

inline void require_input(const mixer_input& info, const extents& e, bool present, const mixer_shape& s) {
  const char* const name = info.name;
  const auto some = [](const extents& x) { return x[0] > 0 && x[1] > 0 && x[2] > 0 && x[3] > 0; };
  if (!present && some(e)) bad_mixer(text({name, " is a null pointer"}));
  if (!present && e == extents{} && some({s.batch, s.time, s.channels, s.states}))
    bad_mixer(text({name, " is not given: give all inputs of the mixer, as tensors with their shapes"}));
  switch (info.varies) {
    case role::channel:
      return require_extent(name, e, {s.batch, s.time, s.channels, 1});
    case role::state:
      return require_extent(name, e, {s.batch, s.time, 1, s.states});
    case role::parameter:
      break;
  }
  const bool fits = (e[2] == 1 || e[2] == s.channels) && (e[3] == 1 || e[3] == s.states) &&
                    ((e[1] == 1 && (e[0] == 1 || e[0] == s.batch)) || (e[1] == s.time && e[0] == s.batch));
  if (!fits) {
    bad_mixer(text({name, " is ", shape_text(e), ", neither [1, 1, M, S] nor [B, L, M, S] = ",
                    shape_text({s.batch, s.time, s.channels, s.states}), ", each of M and S or 1"}));
  }
}

/// Either none of the tensors of a state is there, or all are, with the wanted extent. `name(i)` names them.
template <class Tensors, class Name>
void require_state(const Tensors& tensors, Name name, const extents& wanted) {
  bool any = false;
  for (const auto& x : tensors) any = any || x.present();
  if (!any) return;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].present()) bad_mixer(text({name(i), " is a null pointer"}));
    if (tensors[i].extent != wanted) bad_extent(name(i), tensors[i].extent, wanted);
  }
}

/// Whether all of n values lie in [least, most]; a NaN lies nowhere. Compares without branches: vector code.
template <class T, class Number>
bool all_within(const T* x, std::int64_t n, std::int64_t stride, Number least, Number most) {
  int valid = 1;
  const auto check = [&](const T& value) {
    const auto number = static_cast<Number>(value);
    valid &= static_cast<int>(number >= least) & static_cast<int>(number <= most);
  };
  if (stride == 1) {
    for (std::int64_t i = 0; i < n; ++i) check(x[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) check(x[i * stride]);
  }
  return valid != 0;
}

/// What the values of a tensor must be; with neither they may be NaN too.
struct valid_values {
  bool nonnegative, finite;
};

[[noreturn, gnu::noinline, gnu::cold]] inline void bad_value(const std::string& name, const extents& index,
                                                             double value, bool negative) {
  bad_mixer(text({name, " ", shape_text(index), " is ", value, negative ? ", not a number >= 0" : ""}));
}

/// The first value of x that is not so is named with its index, and by `name()`.
template <class T, class Name>
void require_values(Name name, const tensor<T>& x, const valid_values& must_be) {
  using number = typename arithmetic<std::remove_const_t<T>>::type;
  if (!x.present() || (!must_be.nonnegative && !must_be.finite)) return;
  const auto most = must_be.finite ? (std::numeric_limits<number>::max)() : std::numeric_limits<number>::infinity();
  const auto least = must_be.nonnegative ? number(0) : -most;
  if (x.extent[2] == 0 || x.extent[3] == 0) return;
  const bool many_states = x.extent[3] > 1;
  const std::int64_t rows = many_states ? x.extent[2] : 1, length = x.extent[many_states ? 3 : 2];
  for (std::int64_t b = 0; b < x.extent[0]; ++b) {
    for (std::int64_t t = 0; t < x.extent[1]; ++t) {
      for (std::int64_t r = 0; r < rows; ++r) {
        if (all_within(x.at(b, t, r, 0), length, x.stride[many_states ? 3 : 2], least, most)) continue;
        for (std::int64_t i = 0; i < length; ++i) {
          const std::int64_t m = many_states ? r : i, s = many_states ? i : 0;
          const auto value = static_cast<number>(x(b, t, m, s));
          if (value >= least && value <= most) continue;
          bad_value(name(), {b, t, m, s}, static_cast<double>(value), must_be.nonnegative && !(value >= 0));
        }
      }
    }
  }
}

inline void require_sizes(const mixer_shape& s) {
  if (s.batch < 0 || s.time < 0 || s.channels < 0 || s.states < 0) {
    bad_mixer(text({"the shape is ", shape_text({s.batch, s.time, s.channels, s.states})}));
  }
  if (s.offsets.empty()) return;
  if (s.batch != 1) bad_mixer(text({"with offsets the batch is 1, not ", s.batch}));
  const auto bad_offset = [&](std::size_t i, const char* how, std::int64_t other) {
    bad_mixer(text({"offsets[", i, "] is ", s.offsets[i], how, other}));
  };
  if (s.offsets.front() != 0) bad_offset(0, ", not ", 0);
  for (std::size_t i = 1; i < s.offsets.size(); ++i) {
    if (s.offsets[i] < s.offsets[i - 1]) bad_offset(i, ", less than ", s.offsets[i - 1]);
  }
  if (s.offsets.back() != s.time) bad_offset(s.offsets.size() - 1, ", not the time ", s.time);
}

/// [N, 1, M, S].
inline extents state_extent(const mixer_shape& s) { return {s.sequences(), 1, s.channels, s.states}; }

template <class M>
auto state_name(const char* what) {
  return [what](std::size_t k) { return text({what, " ", M::state_info[k].name}); };
}
template <class M, class Tensors>
auto state_name(const char* what, const Tensors& x) {
  return [what, &x](std::size_t k) { return text({what, " ", describe_state<M>(x, k).name}); };
}

/// Those tensors of the adjoint of a state that are there have the wanted extent.
template <class M, class T, class Tensors>
void require_state_adjoint(const char* what, const Tensors& x, const extents& wanted) {
  const auto tensors = tensors_of<T>(x);
  const auto name = state_name<M>(what, x);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].present() && tensors[i].extent != wanted) bad_extent(name(i), tensors[i].extent, wanted);
  }
}

/// What the calls forward and backward have in common: `x` is a mixer_states or a mixer_adjoints.
template <class M, class In, class States>
void check_inputs(const mixer_shape& s, const In& in, const States& x, bool check_nan, bool check_values) {
  if (check_nan && !check_values) bad_mixer("nan_check::on needs arrays that the host can read");
  require_sizes(s);
  std::size_t i = 0;
  for_each_member(in,
                  [&](const auto& tensor) { require_input(M::inputs_info[i++], tensor.extent, tensor.present(), s); });
  const auto initial_name = state_name<M>("initial", x.initial);
  const auto initial = x.initial.all_tensors();
  require_state(initial, initial_name, state_extent(s));
  const auto checkpoints = with_members(x.checkpoints, [](const auto&... tensor) { return std::array{tensor...}; });
  if (std::any_of(checkpoints.begin(), checkpoints.end(), [](const auto& tensor) { return tensor.present(); })) {
    if (x.every <= 0) bad_mixer(text({"every is ", x.every, ", not a positive number of steps"}));
    require_state(checkpoints, state_name<M>("checkpoints"),
                  {s.batch, checkpoint_count(s, x.every), s.channels, s.states});
  }
  if (!check_values) return;
  i = 0;
  for_each_member(in, [&](const auto& tensor) {
    const mixer_input& info = M::inputs_info[i++];
    require_values([&] { return std::string(info.name); }, tensor, {info.nonnegative, check_nan});
  });
  for (std::size_t k = 0; k < initial.size(); ++k) {
    const bool nonnegative = describe_state<M>(x.initial, k).nonnegative;  // a variance may be infinite
    require_values([&] { return initial_name(k); }, initial[k], {nonnegative, check_nan && !nonnegative});
  }
}

template <class M, class Out>
void check_outputs(const mixer_shape& s, const Out& out, const char* what) {
  std::size_t i = 0;
  for_each_member(out, [&](const auto& x) {
    const char* const name = M::output_names[i++];
    const extents wanted{s.batch, s.time, s.channels, 1};
    if (x.present() && x.extent != wanted) bad_extent(text({what, name}), x.extent, wanted);
  });
}

/// Throws std::invalid_argument unless the call fits itself. With `check_values`, inputs with a sign are always checked
/// for it and for NaN; all are checked for NaN and infinities when `check_nan`.
template <class M, class In, class Out>
void check_forward_call(const forward_call<M, In, Out>& call, bool check_nan, bool check_values) {
  check_inputs<M>(call.shape, call.in, call.states, check_nan, check_values);
  check_outputs<M>(call.shape, call.out, "");
  require_state(tensors_of<number_t<In>>(call.states.final), state_name<M>("final", call.states.final),
                state_extent(call.shape));
}

template <class M, class Call>
void check_backward_call(const Call& call, bool check_nan, bool check_values) {
  using T = typename Call::number;
  check_inputs<M>(call.shape, call.in, call.states, check_nan, check_values);
  check_outputs<M>(call.shape, call.out_bar, "the adjoint of ");
  std::array<extents, M::inputs_info.size()> extent;
  std::size_t i = 0;
  for_each_member(call.in, [&](const auto& x) { extent[i++] = x.extent; });
  i = 0;
  for_each_member(call.in_bar, [&](const auto& x) {
    if (x.present() && x.extent != extent[i])
      bad_extent(text({"the adjoint of ", M::inputs_info[i].name}), x.extent, extent[i]);
    ++i;
  });
  require_state_adjoint<M, const T>("the adjoint of final", call.states.final_bar, state_extent(call.shape));
  require_state_adjoint<M, T>("the adjoint of initial", call.states.initial_bar, state_extent(call.shape));
}

}  // namespace kalscan::detail
