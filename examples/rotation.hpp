// SPDX-License-Identifier: MIT
// A sequence mixer of one's own: damped rotations, h' = (c + i s) h + k v with complex h, y = sum over states of q Re
// h, as in linear recurrent units (Orvieto et al. 2023, arXiv 2303.06349). The step, its readout and its adjoint are
// all it takes; with constexpr (or KALSCAN_HD) it runs on a device, too.
#pragma once

#include <array>
#include <kalscan/mixer/mixer.hpp>

struct rotation {
  template <class X>
  struct inputs {
    X v, k, q, c, s;
  };
  template <class X>
  struct outputs {
    X y;
  };
  template <class X>
  struct state {
    X re, im;
  };

  static constexpr std::array<kalscan::mixer_input, 5> inputs_info{{{"v", kalscan::role::channel},
                                                                    {"k", kalscan::role::state},
                                                                    {"q", kalscan::role::state},
                                                                    {"c", kalscan::role::parameter},
                                                                    {"s", kalscan::role::parameter}}};
  static constexpr std::array<kalscan::mixer_state, 2> state_info{{{"re"}, {"im"}}};
  static constexpr std::array output_names{"y"};

  template <class T>
  static constexpr state<T> start() {
    return {T(0), T(0)};
  }
  template <class T>
  static constexpr state<T> step(const state<T>& h, const inputs<T>& u) {
    return {u.c * h.re - u.s * h.im + u.k * u.v, u.s * h.re + u.c * h.im};
  }
  template <class T>
  static constexpr outputs<T> readout(const state<T>& h, const inputs<T>& u) {
    return {u.q * h.re};
  }
  template <class T>
  static constexpr kalscan::step_adjoint<rotation, T> adjoint(const state<T>& before, const inputs<T>& u,
                                                              const state<T>& after, const state<T>& later,
                                                              const outputs<T>& bar) {
    const T re = later.re + u.q * bar.y, im = later.im;
    return {{u.c * re + u.s * im, u.c * im - u.s * re},
            {u.k * re, u.v * re, bar.y * after.re, before.re * re + before.im * im, before.re * im - before.im * re}};
  }
};
