#!/bin/sh
# The operator's bench, table and plots, in one command:
#     bench/run.sh [FOLDER] [ARGS]
# FOLDER (build/bench) receives table.md, bench.json, roofline.svg, ratios.svg and growth.svg. ARGS go to bench_operator,
# e.g. --quick, or --only forward. Growth is measured up to N = $KITH_BENCH_ROWS (131072; 0: not at all). Peers come
# from bench/peers.sh; without it they are missing in the table. The machine should have nothing else to do.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/build/bench
case ${1:-} in
  '' | -*) ;;
  *)
    folder=$1
    shift
    ;;
esac
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$root"
cmake --preset release -DKITH_BUILD_BENCH=ON >"$folder/build.log"
cmake --build --preset release --target bench_operator >>"$folder/build.log" || {
  cat "$folder/build.log" >&2
  exit 1
}
build/release/bin/bench_operator --output "$folder" --growth "${KITH_BENCH_ROWS:-131072}" "$@"
cd "$folder"
gnuplot "$root/bench/plots.gp"
