// SPDX-License-Identifier: MIT
// Threads of one process as ranks with devices, perhaps all the same one: what they tell each other goes from device
// memory to device memory, each copy behind an event of the other's stream. So that one GPU can test ranks.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <kalscan/ranks/threads.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace kla_test {

class loopback {
  static void ok(cudaError_t code) {
    if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
  }
  static cudaEvent_t event_in(cudaStream_t stream) {
    cudaEvent_t event;
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    ok(cudaEventRecord(event, stream));
    return event;
  }
  static void wait_for(cudaStream_t stream, cudaEvent_t event) { ok(cudaStreamWaitEvent(stream, event, 0)); }

  struct letter {
    std::span<const std::byte> bytes;
    cudaEvent_t ready, taken;
    bool is_taken;
  };
  struct letters {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::pair<int, int>, letter> of;  // from, to
    std::size_t sent = 0;                      // bytes from rank to rank
  };
  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, Done done) const {
    if (!letters_->changed.wait_for(lock, std::chrono::seconds(60), done))
      throw std::runtime_error("a rank waits for another one in vain");
  }

 public:
  loopback(kalscan::thread_communicator threads, std::shared_ptr<letters> all) : threads_(threads), letters_(all) {}
  static std::shared_ptr<letters> post_office() { return std::make_shared<letters>(); }

  int rank() const { return threads_.rank(); }
  int size() const { return threads_.size(); }
  std::size_t sent() const { return letters_->sent; }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const { threads_.all_gather(in, out); }

  void all_gather(std::span<const std::byte> in, std::span<std::byte> out, cudaStream_t stream) const {
    struct offer {
      std::span<const std::byte> bytes;
      cudaEvent_t ready;
    };
    const auto offers = gather(offer{in, event_in(stream)});
    std::size_t at = 0;
    for (const offer& x : offers) {
      if (x.bytes.size() != in.size() || at + in.size() > out.size()) throw std::logic_error("sizes differ");
      wait_for(stream, x.ready);
      ok(cudaMemcpyAsync(out.data() + at, x.bytes.data(), in.size(), cudaMemcpyDefault, stream));
      at += in.size();
    }
    for (const cudaEvent_t read : gather(event_in(stream))) wait_for(stream, read);
  }
  void send(std::span<const std::byte> in, int to, cudaStream_t stream) const {
    std::unique_lock lock(letters_->mutex);
    letter& x = letters_->of[{rank(), to}];
    x = {in, event_in(stream), nullptr, false};
    letters_->sent += in.size();
    letters_->changed.notify_all();
    wait(lock, [&] { return x.is_taken; });
    wait_for(stream, x.taken);
    letters_->of.erase({rank(), to});
  }
  void receive(std::span<std::byte> out, int from, cudaStream_t stream) const {
    std::unique_lock lock(letters_->mutex);
    const std::pair key(from, rank());
    wait(lock, [&] { return letters_->of.count(key) > 0 && !letters_->of[key].is_taken; });
    letter& x = letters_->of[key];
    if (x.bytes.size() != out.size()) throw std::logic_error("sizes differ");
    wait_for(stream, x.ready);
    ok(cudaMemcpyAsync(out.data(), x.bytes.data(), out.size(), cudaMemcpyDefault, stream));
    x.taken = event_in(stream), x.is_taken = true;
    letters_->changed.notify_all();
  }

 private:
  template <class X>
  std::vector<X> gather(const X& mine) const {
    std::vector<X> all(static_cast<std::size_t>(size()), mine);
    threads_.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    return all;
  }

  kalscan::thread_communicator threads_;
  std::shared_ptr<letters> letters_;
};

}  // namespace kla_test
