// SPDX-License-Identifier: MIT
// Runs the suite and writes its rows as a table, as CSV and as Google Benchmark's JSON. See bench/run.sh.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>

#include "suite.hpp"

namespace {

using bench::record;

constexpr const char* usage =
    "usage: bench_compare [--quick] [--only=REGEX] [--csv=FILE] [--ceilings=FILE] [--json=FILE] "
    "[--context=KEY=VALUE]...\n"
    "  --quick     shorter series and fewer samples\n"
    "  --only      tasks whose name matches: affine map, filtering element, KLA forward, crossover, ...\n"
    "  --context   a line for the JSON's context, such as the commit\n";

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Progress with an estimate: what was done so far took as long for its cost as the rest will for its own.
std::vector<record> run(const std::vector<bench::task>& tasks) {
  double total = 0, done = 0;
  for (const auto& t : tasks) total += t.cost;
  const double start = now();
  std::vector<record> records;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const auto& t = tasks[i];
    const double elapsed = now() - start;
    std::fprintf(stderr, "[%2zu/%zu] %-22s %9lld  %4.0f s so far", i + 1, tasks.size(), t.work.c_str(),
                 static_cast<long long>(t.size), elapsed);
    if (done > 0) std::fprintf(stderr, ", about %.0f s left", elapsed / done * (total - done));
    std::fprintf(stderr, "\n");
    for (auto& row : t.run()) records.push_back({t.work, bench::flops_of(t.work), std::move(row)});
    done += t.cost;
  }
  return records;
}

void print(const std::vector<record>& records) {
  std::string work;
  std::vector<kalscan::compare_row> rows;
  const auto flush = [&] {
    if (!rows.empty()) std::cout << '\n' << work << '\n', kalscan::print_table(std::cout, rows);
    rows.clear();
  };
  for (const auto& r : records) {
    if (r.work != work) flush(), work = r.work;
    rows.push_back(r.row);
  }
  flush();
}

std::ofstream create(const std::string& path) {
  std::ofstream file(path);
  if (!file) throw std::runtime_error("cannot write " + path);
  return file;
}

/// Names hold no commas; the reason, which may, is the last column.
void write_csv(std::ostream& out, const std::vector<record>& records) {
  out.precision(9);
  out << "work,back_end,size,median_s,lower_s,upper_s,samples,bytes_per_s,speed_over_first,error,repeatable,flops,"
         "reason\n";
  for (const auto& [work, flops, r] : records) {
    out << work << ',' << r.back_end << ',' << r.size << ',' << r.median << ',' << r.lower << ',' << r.upper << ','
        << r.samples << ',' << r.bytes_per_second << ',' << r.speed_over_first << ',';
    if (r.error) out << *r.error;
    out << ',' << r.repeatable << ',' << flops * static_cast<double>(r.size) << ",\"" << r.missing << "\"\n";
  }
}

/// Google Benchmark renamed these after 1.7.
template <class Run>
void set_error(Run& run, const std::string& why) {
  if constexpr (requires { run.error_occurred; }) {
    run.error_occurred = true, run.error_message = why;
  } else {
    run.skipped = decltype(run.skipped)(2), run.skip_message = why;
  }
}

/// The median of each row as an aggregate; the rest are counters.
void write_json(std::ostream& out, const std::vector<record>& records) {
  using benchmark::BenchmarkReporter;
  std::vector<BenchmarkReporter::Run> runs;
  for (const auto& [work, flops, r] : records) {
    BenchmarkReporter::Run run;
    run.run_name.function_name = work + '/' + r.back_end + '/' + std::to_string(r.size);
    run.family_index = run.per_family_instance_index = 0;
    run.run_type = BenchmarkReporter::Run::RT_Aggregate;
    run.aggregate_name = "median";
    run.time_unit = benchmark::kNanosecond;
    run.repetitions = r.samples;
    run.iterations = 1;
    run.statistics = nullptr;
    if (!r) {
      set_error(run, r.missing);
    } else {
      run.real_accumulated_time = r.median;  // processor time is not measured: 0
      run.counters["lower_quartile"] = 1e9 * r.lower;
      run.counters["upper_quartile"] = 1e9 * r.upper;
      run.counters["bytes_per_second"] = r.bytes_per_second;
      run.counters["speed_over_first"] = r.speed_over_first;
      run.counters["repeatable"] = r.repeatable;
      if (r.error) run.counters["error"] = *r.error;
    }
    runs.push_back(run);
  }
  std::ostringstream text;
  benchmark::JSONReporter reporter;
  reporter.SetOutputStream(&text);
  reporter.ReportContext(BenchmarkReporter::Context());
  reporter.ReportRuns(runs);
  reporter.Finalize();
  out << std::regex_replace(text.str(), std::regex("[^\n]*\"host_name\"[^\n]*\n"), "");  // results are shared
}

int run(int argc, char** argv) {
  bool quick = false;
  std::string csv, json, ceilings, only = ".*";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&](const char* name) {
      const bool is = argument.rfind(name, 0) == 0;
      return is ? argument.substr(std::strlen(name)) : std::string();
    };
    if (argument == "--quick") {
      quick = true;
    } else if (const auto path = value("--csv="); !path.empty()) {
      csv = path;
    } else if (const auto json_path = value("--json="); !json_path.empty()) {
      json = json_path;
    } else if (const auto ceilings_path = value("--ceilings="); !ceilings_path.empty()) {
      ceilings = ceilings_path;
    } else if (const auto pattern = value("--only="); !pattern.empty()) {
      only = pattern;
    } else if (const auto pair = value("--context="); pair.find('=') != std::string::npos) {
      benchmark::AddCustomContext(pair.substr(0, pair.find('=')), pair.substr(pair.find('=') + 1));
    } else {
      return std::cerr << usage, argument == "--help" ? 0 : 2;
    }
  }
  const bench::settings settings{quick, {.row_seconds = quick ? 0.15 : 1.0, .laws = {.trials = 200}}};
  auto tasks = bench::scan_tasks(settings);
  for (auto& t : bench::mixer_tasks(settings)) tasks.push_back(std::move(t));
  std::erase_if(tasks, [&](const auto& t) { return !std::regex_search(t.work, std::regex(only)); });
  const auto records = run(tasks);
  print(records);
  if (!csv.empty()) {
    auto file = create(csv);
    write_csv(file, records);
  }
  if (!json.empty()) {
    auto file = create(json);
    write_json(file, records);
  }
  if (!ceilings.empty()) {
    auto file = create(ceilings);
    for (const auto& c : bench::measure_ceilings(quick)) file << c.what << ';' << c.by << ';' << c.value << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return std::cerr << "bench_compare: " << error.what() << '\n', 1;
  }
}
