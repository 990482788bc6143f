#!/bin/sh
# What the README shows is true: its shell blocks run, in order, and its C++ and CMake blocks are files under
# examples/, which are built and run by other tests. Blocks with ./run are left out: this test runs inside it.
# Usage: readme_test.sh SOURCE_DIR PROGRAM_DIR WORK_DIR
set -eu
source_dir=$1
PATH="$2:$PATH"
work=$3

rm -rf "$work"
mkdir -p "$work/blocks" "$work/examples"
cp -r "$source_dir/examples/data" "$work/examples/"
cd "$work"

# One file a fenced block: blocks/01.sh, blocks/02.cpp, ...
awk '
  /^```/ && inside { inside = 0; close(file); next }
  /^```[a-z]+$/    { inside = 1; file = sprintf("blocks/%02d.%s", ++n, substr($0, 4)); next }
  inside           { print > file }
' "$source_dir/README.md"

commands=0
for block in blocks/*.sh; do
  if grep -q '\./run' "$block"; then continue; fi
  echo "--- $block"
  sh -eux "$block" </dev/null
  commands=$((commands + 1))
done
[ "$commands" -gt 0 ] || { echo "the README has no shell block to run" >&2; exit 1; }

listings=0
for block in blocks/*.cpp blocks/*.cmake; do
  found=no
  for file in $(find "$source_dir/examples" -name '*.cc' -o -name CMakeLists.txt); do
    if cmp -s "$block" "$file"; then found=yes; fi
  done
  [ "$found" = yes ] || { echo "$block is not a file under examples/:" >&2; cat "$block" >&2; exit 1; }
  listings=$((listings + 1))
done
echo "$commands shell blocks ran, $listings listings are files"
