// SPDX-License-Identifier: MIT
// A user's mixer with three numbers a state, formulas without branches, and no input that varies with the state: three
// damped sums one after the other, x' = a x + v, y' = a y + x', z' = a z + y', of which g w z is read out.
#pragma once

#include <array>
#include <kalscan/mixer/mixer.hpp>

namespace kla_test {

struct cascade_types {
  template <class X>
  struct inputs {
    X v, g, a, w;
  };
  template <class X>
  struct outputs {
    X out;
  };
  template <class X>
  struct state {
    X x, y, z;
  };
};

template <bool Ordinary>
struct cascade_mixer : cascade_types {
  using ordinary = cascade_mixer<true>;

  static constexpr std::array<kalscan::mixer_input, 4> inputs_info{{{"v", kalscan::role::channel},
                                                                    {"g", kalscan::role::channel},
                                                                    {"a", kalscan::role::parameter},
                                                                    {"w", kalscan::role::parameter}}};
  static constexpr std::array<kalscan::mixer_state, 3> state_info{{{"x"}, {"y"}, {"z"}}};
  static constexpr std::array output_names{"out"};

  template <class T>
  static constexpr state<T> start() {
    return {T(0), T(0), T(0)};
  }
  template <class T>
  static constexpr bool is_ordinary(const state<T>&) {
    return true;
  }
  template <class T>
  static constexpr state<T> step(const state<T>& h, const inputs<T>& u) {
    const T x = u.a * h.x + u.v, y = u.a * h.y + x;
    return {x, y, u.a * h.z + y};
  }
  template <class T>
  static constexpr outputs<T> readout(const state<T>& h, const inputs<T>& u) {
    return {u.g * u.w * h.z};
  }
  template <class T>
  static constexpr kalscan::step_adjoint<cascade_mixer, T> adjoint(const state<T>& before, const inputs<T>& u,
                                                                   const state<T>& after, const state<T>& later,
                                                                   const outputs<T>& bar) {
    const T z = later.z + u.g * u.w * bar.out, y = later.y + z, x = later.x + y;
    return {{u.a * x, u.a * y, u.a * z},
            {x, u.w * after.z * bar.out, before.x * x + before.y * y + before.z * z, u.g * after.z * bar.out}};
  }
};
using cascade = cascade_mixer<false>;

}  // namespace kla_test
