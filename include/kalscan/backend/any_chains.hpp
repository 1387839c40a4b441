// SPDX-License-Identifier: MIT
// Policies and chains called through pointers, so that what runs them compiles once, not for every sweep.
#pragma once

#include <any>
#include <cstdint>
#include <optional>
#include <utility>

#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>

namespace kalscan {
namespace detail {

/// Any policy that runs tasks. Holds a reference: the policy must outlive it.
class any_tasks {
 public:
  template <task_policy P>
  explicit any_tasks(const P& p)
      : policy_(&p),
        run_([](const void* policy, std::int64_t count, task_ref task) {
          run_tasks(*static_cast<const P*>(policy), count, task);
        }),
        workers_(worker_count(p)),
        chunk_(chunk_length(p)) {}

  friend int worker_count(const any_tasks& p) { return p.workers_; }
  friend std::int64_t chunk_length(const any_tasks& p) { return p.chunk_; }
  friend void run_tasks(const any_tasks& p, std::int64_t count, task_ref task) { p.run_(p.policy_, count, task); }

 private:
  const void* policy_;
  void (*run_)(const void*, std::int64_t, task_ref);
  int workers_;
  std::int64_t chunk_;
};

/// Any chains that are `piecewise`. Holds a reference: they must outlive it. Its states and elements are std::any, which
/// holds theirs.
template <bool HasOutputs>
class any_chains {
 public:
  static constexpr bool has_outputs = HasOutputs;

  template <piecewise C>
    requires(C::has_outputs == HasOutputs)
  explicit any_chains(const C& c) : chains_(&c), calls_(&calls_of<C>) {}

  std::int64_t chains() const { return calls_->chains(chains_); }
  std::int64_t pieces(std::int64_t i) const { return calls_->pieces(chains_, i); }
  std::any start(std::int64_t i) const { return calls_->start(chains_, i); }
  void replay(std::int64_t i, std::int64_t k, std::any& x) const { calls_->replay(chains_, i, k, x); }
  std::any absorb(std::int64_t i, std::int64_t k) const { return calls_->absorb(chains_, i, k); }
  std::optional<std::any> act(std::int64_t i, std::int64_t k, const std::any& element, const std::any& before) const {
    std::any after = calls_->act(chains_, i, k, element, before);
    if (!after.has_value()) return {};
    return after;
  }
  void finish(std::int64_t i, const std::any& x) const { calls_->finish(chains_, i, x); }

 private:
  struct calls {
    std::int64_t (*chains)(const void*);
    std::int64_t (*pieces)(const void*, std::int64_t);
    std::any (*start)(const void*, std::int64_t);
    void (*replay)(const void*, std::int64_t, std::int64_t, std::any&);
    std::any (*absorb)(const void*, std::int64_t, std::int64_t);
    std::any (*act)(const void*, std::int64_t, std::int64_t, const std::any&, const std::any&);
    void (*finish)(const void*, std::int64_t, const std::any&);
  };

  template <class X>
  static std::any any_of(X x) {
    return std::any(std::in_place_type<X>, std::move(x));
  }

  template <class C>
  struct caller {
    using state = chain_state_t<const C>;
    using element = chain_element_t<const C>;

    static const C& of(const void* c) { return *static_cast<const C*>(c); }
    static std::int64_t chains(const void* c) { return of(c).chains(); }
    static std::int64_t pieces(const void* c, std::int64_t i) { return of(c).pieces(i); }
    static std::any start(const void* c, std::int64_t i) { return any_of<state>(of(c).start(i)); }
    static void replay(const void* c, std::int64_t i, std::int64_t k, std::any& x) {
      of(c).replay(i, k, *std::any_cast<state>(&x));
    }
    static std::any absorb(const void* c, std::int64_t i, std::int64_t k) {
      return any_of<element>(of(c).absorb(i, k));
    }
    static std::any act(const void* c, std::int64_t i, std::int64_t k, const std::any& x, const std::any& before) {
      auto after = of(c).act(i, k, *std::any_cast<element>(&x), *std::any_cast<state>(&before));
      return after ? any_of<state>(std::move(*after)) : std::any();
    }
    static void finish(const void* c, std::int64_t i, const std::any& x) { of(c).finish(i, *std::any_cast<state>(&x)); }
  };
  template <class C>
  static constexpr calls calls_of{caller<C>::chains, caller<C>::pieces, caller<C>::start, caller<C>::replay,
                                  caller<C>::absorb, caller<C>::act,    caller<C>::finish};

  const void* chains_;
  const calls* calls_;
};

}  // namespace detail

template <>
inline constexpr bool is_policy<detail::any_tasks> = true;

}  // namespace kalscan
