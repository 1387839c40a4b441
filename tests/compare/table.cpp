// SPDX-License-Identifier: MIT
// The printed table keeps its columns, whatever was measured.
#include <doctest/doctest.h>

#include <kalscan/compare/row.hpp>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::vector<std::string> printed(const std::vector<kalscan::compare_row>& rows) {
  std::stringstream table;
  kalscan::print_table(table, rows);
  std::vector<std::string> lines;
  for (std::string line; std::getline(table, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream text(line);
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

}  // namespace

TEST_CASE("no value breaks a column of the table") {
  std::vector<kalscan::compare_row> rows;
  for (const double x : {0.0, 1e-300, 0.0364, 0.99999, 9999.996, 99999.96, 363958.1, 1e7, 3.4e12, 1e300, infinity,
                         kalscan::compare_row::none}) {
    rows.push_back({.back_end = "seq", .size = 1000, .median = x, .lower = 1, .upper = 2, .bytes_per_second = 1e9 * x,
                    .speed_over_first = x, .error = x});
    rows.push_back({.back_end = "seq", .size = std::numeric_limits<std::int64_t>::max(), .median = 1, .lower = 0,
                    .upper = 0.02 * x});
  }
  const auto lines = printed(rows);
  REQUIRE(lines.size() == rows.size() + 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    CAPTURE(lines[i]);
    CHECK(lines[i].size() == lines[0].size());
    CHECK(lines[i].size() <= 96);
    for (const std::size_t end : {44U, 56U, 63U, 71U, 78U, 88U}) {  // of size, ms, +-%, GB/s, speed, error
      CHECK(lines[i][end - 1] != ' ');
      CHECK(lines[i][end] == ' ');
    }
    for (const std::size_t begin : {34U, 44U, 56U, 63U, 71U, 78U}) CHECK(lines[i][begin] == ' ');
    CHECK(words(lines[i].substr(0, 88)).size() == (lines[i].find("no ref.") == std::string::npos ? 7 : 8));
  }
}

TEST_CASE("a value that has room keeps its decimals, a large one loses them first") {
  const auto row = [](double spread) {
    return words(printed({{.back_end = "seq", .size = 10, .median = 1, .lower = 0, .upper = spread / 50}})[1])[3];
  };
  CHECK(row(12.34) == "12.3");
  CHECK(row(9999.4) == "9999.4");
  CHECK(row(36395.81) == "36396");
  CHECK(row(363958.1) == "363958");
  CHECK(row(3639581) == "4e+06");
}

TEST_CASE("a long name widens its column for all rows") {
  const std::string name(50, 'x');
  const auto lines = printed({{.back_end = name, .size = 10}, {.back_end = "seq", .size = 10}});
  CHECK(lines[1].rfind(name + ' ', 0) == 0);
  CHECK(lines[0].size() == lines[1].size());
  CHECK(lines[1].size() == lines[2].size());
}
