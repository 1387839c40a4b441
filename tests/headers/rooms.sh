#!/usr/bin/env bash
# Holds the includes of include/kalscan against the table of rooms: rooms.sh TABLE INCLUDE
# Fails on an arrow that the table does not have, on a room that it does not name, on a folder of more than a dozen
# headers, and on a README.md whose line "Entered by: ROOM, ROOM." does not name the rooms that include its headers, in
# the table's order; those of rooms `inside` must have one. With --arrows it prints the arrows and their numbers.
set -euo pipefail
table=$(realpath "$1")
cd "$2/kalscan"
find . -type f \( -name '*.hpp' -o -name '*.cuh' \) | sed 's|^\./||' | sort | xargs grep -H '^ *# *include <kalscan/' |
  awk -v table="$table" -v show="${3:-}" '
    function room_of(path) { return path ~ /\// ? substr(path, 1, match(path, /\/[^\/]*$/) - 1) : path }
    function fault(text) { print text; bad = 1 }
    BEGIN {
      while ((getline line < table) > 0) {
        if (line ~ /^#/ || line == "") continue
        n = split(line, word, " +")
        for (i = 2; i <= n; ++i) {
          if (word[i] == "inside") { says[word[1]] = word[1] != "support"; continue }  # everybody enters support
          if (!(word[i] in known)) fault("rooms.txt: " word[1] " may include " word[i] ", which does not stand above it")
          allowed[word[1], word[i]] = 1
        }
        known[word[1]] = 1
        rooms[++count] = word[1]
      }
      while (("find . -name \"*.hpp\" -o -name \"*.cuh\"" | getline path) > 0) {
        path = substr(path, 3)
        room = room_of(path)
        if (!(room in known)) fault(path " is in no room of rooms.txt")
        if (++headers[room] == 13) fault(room " has more than a dozen headers")
      }
    }
    {
      file = substr($0, 1, index($0, ":") - 1)
      target = substr($0, index($0, "<kalscan/") + 9)
      target = substr(target, 1, index(target, ">") - 1)
      from = room_of(file); to = room_of(target)
      if (from == to) next
      ++arrows[from " -> " to]
      if (!((from, to) in allowed)) fault(file " includes <kalscan/" target ">, but " from " may not include " to)
    }
    END {
      for (room in headers) {
        callers = ""
        for (i = 1; i <= count; ++i)
          if ((rooms[i] " -> " room) in arrows) callers = callers (callers == "" ? "" : ", ") rooms[i]
        told = 0
        while ((getline line < (room "/README.md")) > 0)
          if (sub(/^Entered by: /, "", line) && ++told && line != callers ".")
            fault(room "/README.md: it is entered by: " callers ".")
        if (says[room] && !told) fault(room "/README.md does not say: Entered by: " callers ".")
      }
      if (show == "--arrows") for (arrow in arrows) print arrow, arrows[arrow] | "sort"
      exit bad
    }'
