// SPDX-License-Identifier: MIT
// The concepts ask for all that the back ends use: a type that lacks any one part of it does not pass. What the library
// ships does.
#include <array>
#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>
#include <kalscan/kalman/elements/square_root_element.hpp>
#include <kalscan/kalman/small/diffuse.hpp>
#include <kalscan/kalman/small/filtering.hpp>
#include <kalscan/kalman/small/square_root.hpp>
#include <kalscan/kalscan.hpp>
#include <kalscan/kla/vector_kla.hpp>
#include <optional>

namespace {

// Each type below leaves out the part that `Missing` names.

enum class part { none, lanes, length, splits, start, replay, lift, absorb, act, finish };

template <part Missing>
struct lane {
  int start() const requires(Missing != part::start) { return 0; }
  void replay(std::int64_t, int&) const requires(Missing != part::replay) {}
  long lift(std::int64_t) const requires(Missing != part::lift) { return 0; }
  void absorb(std::int64_t, long&) const requires(Missing != part::absorb) {}
  void finish(const int&) const requires(Missing != part::finish) {}
};
template <part Missing>
struct some_sweep {
  static constexpr bool has_outputs = true;
  static constexpr double absorb_cost = 1;
  std::int64_t lanes() const requires(Missing != part::lanes) { return 1; }
  std::int64_t length() const requires(Missing != part::length) { return 1; }
  bool splits() const requires(Missing != part::splits) { return true; }
  int act(const long&, const int&) const requires(Missing != part::act) { return 0; }
  ::lane<Missing> lane(std::int64_t) const { return {}; }
};
template <part... Each>
constexpr bool no_sweep = (!kalscan::sweep<some_sweep<Each>> && ...);

static_assert(kalscan::sweep<some_sweep<part::none>>);
static_assert(no_sweep<part::lanes, part::length, part::splits>);
static_assert(no_sweep<part::start, part::replay, part::lift, part::absorb, part::act, part::finish>);

/// What the engine of the host runs, and a back end of three functions.
template <part Missing>
struct some_chains {
  static constexpr bool has_outputs = true;
  std::int64_t chains() const requires(Missing != part::lanes) { return 1; }
  std::int64_t pieces(std::int64_t) const requires(Missing != part::length) { return 1; }
  int start(std::int64_t) const requires(Missing != part::start) { return 0; }
  void replay(std::int64_t, std::int64_t, int&) const requires(Missing != part::replay) {}
  long absorb(std::int64_t, std::int64_t) const requires(Missing != part::absorb) { return 0; }
  std::optional<int> act(std::int64_t, std::int64_t, const long&, const int&) const requires(Missing != part::act) {
    return 0;
  }
  void finish(std::int64_t, const int&) const requires(Missing != part::finish) {}
};
template <part... Each>
constexpr bool no_chains = (!kalscan::detail::piecewise<some_chains<Each>> && ...);

static_assert(kalscan::detail::piecewise<some_chains<part::none>>);
static_assert(no_chains<part::lanes, part::length, part::start, part::replay, part::absorb, part::act, part::finish>);

template <part Missing>
struct some_policy {};
template <part Missing>
int worker_count(const some_policy<Missing>&) requires(Missing != part::lanes);
template <part Missing>
std::int64_t chunk_length(const some_policy<Missing>&) requires(Missing != part::length);
template <part Missing>
void run_tasks(const some_policy<Missing>&, std::int64_t, kalscan::task_ref) requires(Missing != part::replay);

}  // namespace

template <part Missing>
inline constexpr bool kalscan::is_policy<some_policy<Missing>> = true;

namespace {

static_assert(kalscan::task_policy<some_policy<part::none>>);
static_assert(!kalscan::task_policy<some_policy<part::lanes>> && !kalscan::task_policy<some_policy<part::length>>);
static_assert(!kalscan::task_policy<some_policy<part::replay>>);

template <part Missing>
struct some_recurrence {
  using state_type = float;
  using input_type = float;
  static kalscan::affine_monoid<float> monoid() requires(Missing != part::length) { return {}; }
  float step(float, float) const requires(Missing != part::replay) { return 0; }
  kalscan::affine_map<float> lift(float) const requires(Missing != part::lift) { return {}; }
  float act(const kalscan::affine_map<float>&, float) const requires(Missing != part::act) { return 0; }
};
static_assert(kalscan::recurrence<some_recurrence<part::none>>);
static_assert(!kalscan::recurrence<some_recurrence<part::length>> && !kalscan::recurrence<some_recurrence<part::lift>>);
static_assert(!kalscan::recurrence<some_recurrence<part::replay>> && !kalscan::recurrence<some_recurrence<part::act>>);

enum class mixer_part {
  none, step, readout, adjoint, start, term_roles, prepare, is_ordinary,
  monoid, lift, act, absorb,
  no_steps, extend, is_large, rescaled, act_of_run,
  adjoint_monoid, adjoint_lift, adjoint_act
};

template <class X>
struct number {
  X x;
};
template <class X>
struct squares {
  X xx;
};
template <class X>
struct run_of_steps {
  X x;
};

template <mixer_part Missing>
struct terms_roles_of {
  static constexpr std::array<kalscan::role, 1> term_roles{kalscan::role::channel};
};
template <>
struct terms_roles_of<mixer_part::term_roles> {};

template <mixer_part Missing>
struct some_mixer : terms_roles_of<Missing> {
  template <class X> using inputs = number<X>;
  template <class X> using outputs = number<X>;
  template <class X> using state = number<X>;
  template <class X> using terms = squares<X>;
  template <class X> using run = run_of_steps<X>;
  template <class X> using map = kalscan::affine_map<X>;
  using ordinary = some_mixer;
  static constexpr std::array<kalscan::mixer_input, 1> inputs_info{{{"x", kalscan::role::channel}}};
  static constexpr std::array<kalscan::mixer_state, 1> state_info{{{"x"}}};
  static constexpr std::array output_names{"y"};
  static constexpr bool has(mixer_part p) { return Missing != p; }

  template <class T> static terms<T> prepare(const inputs<T>&) requires(has(mixer_part::prepare)) { return {}; }
  template <class T> static bool is_ordinary(const state<T>&) requires(has(mixer_part::is_ordinary)) { return true; }
  template <class T> static state<T> start() requires(has(mixer_part::start)) { return {}; }
  template <class T> static state<T> step(const state<T>&, const terms<T>&) requires(has(mixer_part::step)) { return {}; }
  template <class T>
  static outputs<T> readout(const state<T>&, const terms<T>&) requires(has(mixer_part::readout)) { return {}; }
  template <class T>
  static kalscan::step_adjoint<some_mixer, T> adjoint(const state<T>&, const terms<T>&, const state<T>&,
                                                      const state<T>&, const outputs<T>&)
    requires(has(mixer_part::adjoint)) { return {}; }

  template <class T> static kalscan::affine_monoid<T> monoid() requires(has(mixer_part::monoid)) { return {}; }
  template <class T> static map<T> lift(const terms<T>&) requires(has(mixer_part::lift)) { return {}; }
  template <class T> static state<T> act(const map<T>&, const state<T>&) requires(has(mixer_part::act)) { return {}; }
  template <class T>
  static map<T> absorb(const map<T>&, const terms<T>&) requires(has(mixer_part::absorb)) { return {}; }

  template <class T> static run<T> no_steps() requires(has(mixer_part::no_steps)) { return {}; }
  template <class T>
  static run<T> extend(const run<T>&, const terms<T>&) requires(has(mixer_part::extend)) { return {}; }
  template <class T> static bool is_large(const run<T>&) requires(has(mixer_part::is_large)) { return false; }
  template <class T> static run<T> rescaled(const run<T>& x) requires(has(mixer_part::rescaled)) { return x; }
  template <class T>
  static state<T> act(const run<T>&, const state<T>&) requires(has(mixer_part::act_of_run)) { return {}; }

  template <class T>
  static kalscan::affine_monoid<T> adjoint_monoid() requires(has(mixer_part::adjoint_monoid)) { return {}; }
  template <class T>
  static map<T> adjoint_lift(const state<T>&, const terms<T>&, const state<T>&, const outputs<T>&)
    requires(has(mixer_part::adjoint_lift)) { return {}; }
  template <class T>
  static state<T> adjoint_act(const map<T>&, const state<T>&) requires(has(mixer_part::adjoint_act)) { return {}; }
};

template <mixer_part P>
constexpr bool any_mixer = kalscan::mixer<some_mixer<P>>;
template <mixer_part P>
constexpr bool elements = kalscan::mixer_with_elements<some_mixer<P>>;
template <mixer_part P>
constexpr bool runs = kalscan::mixer_with_runs<some_mixer<P>>;
template <mixer_part P>
constexpr bool adjoint_elements = kalscan::mixer_with_adjoint_elements<some_mixer<P>>;

template <mixer_part... Each>
constexpr bool no_mixer = ((!any_mixer<Each> && !elements<Each>)&&...);
template <mixer_part... Each>
constexpr bool mixer_without_elements = ((any_mixer<Each> && !elements<Each> && !runs<Each>)&&...);
template <mixer_part... Each>
constexpr bool elements_without_runs = ((elements<Each> && !runs<Each> && adjoint_elements<Each>)&&...);
template <mixer_part... Each>
constexpr bool elements_without_adjoint = ((elements<Each> && runs<Each> && !adjoint_elements<Each>)&&...);

using enum mixer_part;
static_assert(any_mixer<none> && elements<none> && runs<none> && adjoint_elements<none>);
static_assert(no_mixer<mixer_part::step, readout, adjoint, mixer_part::start, term_roles, prepare, is_ordinary>);
static_assert(mixer_without_elements<mixer_part::monoid, mixer_part::lift, mixer_part::act, mixer_part::absorb>);
static_assert(elements_without_runs<no_steps, extend, is_large, rescaled, act_of_run>);
static_assert(elements_without_adjoint<adjoint_monoid, adjoint_lift, adjoint_act>);

}  // namespace

// Said here and not beside each type: asking takes a sixth of the time in which a program reads the library's headers.
namespace kalscan {
static_assert(monoid<matrix_filtering_monoid<double, 2>>);
static_assert(monoid<smoothing_monoid<double, 2>>);
static_assert(monoid<square_root_monoid<double, 2>>);
static_assert(monoid<belief_adjoint_monoid<float>>);
static_assert(recurrence<scalar_filter<float>>);
static_assert(monoid<filtering_monoid<float>>);
static_assert(monoid<information_monoid<float>>);
static_assert(recurrence<information_filter<float>>);
static_assert(recurrence<mobius_filter<float>>);
static_assert(monoid<rotating_monoid<float>>);
static_assert(monoid<rotating_adjoint_monoid<float>>);
static_assert(monoid<small_diffuse_monoid<double, 2>>);
static_assert(monoid<small_filtering_monoid<double, 2>>);
static_assert(monoid<small_root_monoid<double, 2>>);
static_assert(mixer_with_adjoint_elements<gla>);
static_assert(mixer_with_adjoint_elements<kla> && mixer_with_runs<kla>);
static_assert(mixer_with_adjoint_elements<kla::ordinary>);
static_assert(mixer_with_adjoint_elements<rotating_kla> && mixer_with_frame<rotating_kla>);
static_assert(mixer_with_adjoint_elements<rotating_kla::ordinary>);
static_assert(monoid<vector_adjoint_monoid<float>>);
static_assert(mixer_with_adjoint_elements<vector_kla_mixer<>>);
static_assert(mixer_with_adjoint_elements<vector_kla_mixer<>::ordinary>);
static_assert(monoid<affine_monoid<float>>);
static_assert(monoid<bicyclic_monoid>);
static_assert(recurrence<hmm_forward<float, 2>>);
static_assert(recurrence<linear_recurrence<float>>);
static_assert(semiring<plus_times<float>>);
static_assert(semiring<log_sum_exp<float>>);
static_assert(monoid<matrix_monoid<plus_times<float>, 2>>);
static_assert(monoid<mobius_monoid<float>>);
static_assert(monoid<permutation_monoid<5>>);
static_assert(monoid<rotation_monoid<float>>);
}  // namespace kalscan
