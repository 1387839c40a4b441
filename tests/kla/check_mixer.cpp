// SPDX-License-Identifier: MIT
// What checks a user's mixer passes those that ship, and catches each planted fault by the law that it breaks.
#include <doctest/doctest.h>

#include <algorithm>
#include <kalscan/kalscan.hpp>
#include <kalscan/kla/check_mixer.hpp>
#include <random>
#include <string>
#include <vector>

#include "../../examples/rotation.hpp"

namespace check_mixer_tests {
namespace {

using kalscan::gla;
using kalscan::kla;
using predicted_kla = kalscan::kla_mixer<kalscan::readout::predicted>;
constexpr auto tolerance = kalscan::relative(1e-6);

double uniform(std::mt19937_64& e, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(e);
}
template <class M>
kalscan::mixer_trial<M> kla_trial(std::mt19937_64& e) {
  return {{uniform(e, -1, 1), uniform(e, 0.1, 3)},
          {uniform(e, -2, 2), uniform(e, 0.1, 3), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1),
           uniform(e, 0.1, 1)}};
}
template <class M>
kalscan::mixer_trial<M> gla_trial(std::mt19937_64& e) {
  return {{uniform(e, -1, 1)}, {uniform(e, -2, 2), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1)}};
}

/// The laws that are shown as broken.
std::vector<std::string> broken(const kalscan::law_report& report) {
  std::vector<std::string> names;
  for (const auto& r : report.results)
    if (!r.holds && r.follows_from.empty()) names.push_back(r.law);
  return names;
}
using names = std::vector<std::string>;

/// A mixer that ships, for a test to replace parts of.
template <class M, class Base>
struct variant : Base {
  template <class T>
  using state = typename Base::template state<T>;
  template <class T>
  static kalscan::step_adjoint<M, T> adjoint(const state<T>& x, const kalscan::terms_t<Base, T>& u, const state<T>& y,
                                             const state<T>& later, const typename Base::template outputs<T>& bar) {
    const auto back = Base::adjoint(x, u, y, later, bar);
    return {back.earlier, back.inputs};
  }
};
struct wrong_sign : variant<wrong_sign, gla> {
  template <class T>
  static kalscan::step_adjoint<wrong_sign, T> adjoint(const state<T>& x, const inputs<T>& u, const state<T>& y,
                                               const state<T>& later, const outputs<T>& bar) {
    auto back = variant::adjoint(x, u, y, later, bar);
    back.inputs.k = -back.inputs.k;
    return back;
  }
};
struct forgets_the_readout : variant<forgets_the_readout, gla> {
  template <class T>
  static kalscan::step_adjoint<forgets_the_readout, T> adjoint(const state<T>& x, const inputs<T>& u, const state<T>& y,
                                               const state<T>& later, const outputs<T>& bar) {
    auto back = variant::adjoint(x, u, y, later, bar);
    back.earlier.h = u.g * later.h;
    return back;
  }
};
struct lost_sums : variant<lost_sums, gla> {
  using gla::readout;
  template <class T>
  static outputs<T> readout(const state<T>& x, const inputs<T>& u, const outputs<T>&) {
    return gla::readout(x, u);
  }
};
struct wrong_act : variant<wrong_act, gla> {
  template <class T>
  static state<T> act(const kalscan::affine_map<T>& x, const state<T>& s) {
    return {x.gain * s.h - x.offset};
  }
};
struct wrong_absorb : variant<wrong_absorb, gla> {
  template <class T>
  static kalscan::affine_map<T> absorb(const kalscan::affine_map<T>& x, const inputs<T>& u) {
    return {u.g * x.gain, x.offset + u.k * u.v};
  }
};
struct swapped_adjoint : variant<swapped_adjoint, kla> {
  template <class T>
  struct swapped : kalscan::belief_adjoint_monoid<T> {
    auto operator()(const kalscan::belief_adjoint_map<T>& x, const kalscan::belief_adjoint_map<T>& y) const {
      return kalscan::belief_adjoint_monoid<T>::operator()(y, x);
    }
  };
  template <class T>
  static swapped<T> adjoint_monoid() {
    return {};
  }
};
struct wrong_extend : variant<wrong_extend, kla> {
  template <class T>
  static kalscan::information_map<T> extend(const kalscan::information_map<T>& x, const kalscan::kla_terms<T>& u) {
    return kalscan::extend(x, u.a, u.aa, u.p, u.Lambda * u.kk, u.v * u.k);  // r without the precision
  }
};
struct wrong_fourth : variant<wrong_fourth, kla> {
  template <class T>
  static kalscan::information_map<T> extend_in_four(const kalscan::information_map<T>& x,
                                                    const kalscan::kla_terms<T>& u, int i) {
    return kla::extend_in_four(x, u, i == 3 ? 2 : i);
  }
};
struct wrong_run_act : variant<wrong_run_act, kla> {
  using kla::act;
  template <class T>
  static kalscan::belief<T> act(const kalscan::information_map<T>& x, const kalscan::belief<T>& before) {
    auto after = kla::act(x, before);
    after.mean *= 1 + 1e-4;
    return after;
  }
};
struct wrong_ordinary : variant<wrong_ordinary, kla> {
  struct ordinary : kla::ordinary {
    template <class T>
    static kalscan::belief<T> step(const kalscan::belief<T>& x, const kalscan::kla_terms<T>& u) {
      auto after = kla::step(x, u);
      after.variance *= 1 + 1e-5;
      return after;
    }
  };
};

/// Faults of a frame: the way back of outputs, the order of frames, torques as they are seen from the frame.
struct unturned_outputs : kalscan::rotating_frame {
  using rotating_frame::out_of;
  template <class T>
  static kalscan::rotating_kla_outputs<T> out_of(const kalscan::quaternion<T>&,
                                                 const kalscan::rotating_kla_outputs<T>& y) {
    return y;
  }
};
struct swapped_frames : kalscan::rotating_frame {
  template <class T>
  static kalscan::quaternion<T> compose(const kalscan::quaternion<T>& x, const kalscan::quaternion<T>& y) {
    return rotating_frame::compose(y, x);
  }
};
struct unturned_torques : kalscan::rotating_frame {
  template <class T>
  static kalscan::rotating_kla_inputs<T> adjoint(const kalscan::quaternion<T>& f, const kalscan::direction<T>& step,
                                                 const kalscan::rotating_kla_inputs<T>& bar) {
    auto x = rotating_frame::adjoint(f, step, bar);
    const auto r = kalscan::rotation_adjoint(step, {bar.rx, bar.ry, bar.rz});
    x.rw = r.w, x.rx = r.x, x.ry = r.y, x.rz = r.z;
    return x;
  }
};
template <class Frame>
struct framed : variant<framed<Frame>, kalscan::rotating_kla> {
  using frame = Frame;
};
template <class M>
kalscan::mixer_trial<M> rotating_trial(std::mt19937_64& e) {
  const auto u = [&] { return uniform(e, -1, 1); };
  return {{u(), u(), u(), uniform(e, 0.1, 3)},
          {u(), u(), u(), uniform(e, 0.1, 3), u(), u(), u(), u(), u(), u(), u(), uniform(e, 0.1, 1)}};
}

TEST_CASE("the mixers that ship, and the example's, pass") {
  const auto check = [](const kalscan::law_report& report, std::size_t laws) {
    CHECK_MESSAGE(report, report.message());
    CHECK(report.results.size() == laws);
  };
  check(kalscan::check_mixer(kla{}, kla_trial<kla>, tolerance), 8 + 4 + 1 + 1 + 1 + 2);
  check(kalscan::check_mixer(predicted_kla{}, kla_trial<predicted_kla>, tolerance), 17);
  check(kalscan::check_mixer(gla{}, gla_trial<gla>, tolerance), 5 + 4 + 1 + 1);
  const auto turning = [](std::mt19937_64& e) -> kalscan::mixer_trial<rotation> {
    return {{uniform(e, -1, 1), uniform(e, -1, 1)},
            {uniform(e, -2, 2), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1)}};
  };
  check(kalscan::check_mixer(rotation{}, turning, tolerance), 7);
}

TEST_CASE("a planted fault is named by the law that it breaks") {
  const auto of_gla = [](auto m) { return broken(kalscan::check_mixer(m, gla_trial<decltype(m)>, tolerance)); };
  const auto of_kla = [](auto m) { return broken(kalscan::check_mixer(m, kla_trial<decltype(m)>, tolerance)); };
  CHECK(of_gla(wrong_sign{}) == names{"adjoint of k"});
  CHECK(of_gla(forgets_the_readout{}) == names{"adjoint of state h", "adjoint elements"});
  CHECK(of_gla(lost_sums{}) == names{"sums of outputs"});
  CHECK(of_gla(wrong_act{}) == names{"lift"});
  CHECK(of_gla(wrong_absorb{}) == names{"absorb"});
  CHECK(of_kla(swapped_adjoint{}) == names{"adjoint elements"});
  CHECK(of_kla(wrong_extend{}) == names{"runs", "runs by four"});
  CHECK(of_kla(wrong_fourth{}) == names{"runs by four"});
  CHECK(of_kla(wrong_run_act{}) == names{"runs", "runs by four"});
  CHECK(of_kla(wrong_ordinary{}) == names{"ordinary"});
  const auto of_frame = [](auto frame) {
    using M = framed<decltype(frame)>;
    return broken(kalscan::check_mixer(M{}, rotating_trial<M>, tolerance, {.trials = 20, .max_length = 12}));
  };
  CHECK(of_frame(kalscan::rotating_frame{}).empty());
  for (const auto& found : {of_frame(unturned_outputs{}), of_frame(swapped_frames{}), of_frame(unturned_torques{})})
    CHECK(found == names{"frame"});
}

TEST_CASE("the report of a wrong adjoint shows its number, the derivative, and short operands") {
  const auto message = kalscan::check_mixer(wrong_sign{}, gla_trial<wrong_sign>, tolerance).message();
  CHECK(message.find("adjoint of k fails: adjoint(s, u, step(s, u), s_bar, y_bar).inputs.k == ") == 0);
  for (const char* part : {"\n  s = {", "\n  u = {", "\n  s_bar = {", "\n  y_bar = {", "\n  left = {", "\n  right = {"})
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

}  // namespace
}  // namespace check_mixer_tests
