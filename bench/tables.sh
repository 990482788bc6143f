#!/bin/sh
# Accuracy and time of kith fit, score and predict on real tables, as one table on stdout:
#     bench/tables.sh DATA [KITH]
# DATA holds california/{train,val,test}.csv, california_raw/housing.csv and adult/{train,test}.csv; KITH is the program
# (default: build/release/bin/kith). Times are of whole processes, start and files included.
set -eu
data=${1:?usage: bench/tables.sh DATA [KITH]}
kith=$(realpath "${2:-$(dirname "$0")/../build/release/bin/kith}")
data=$(realpath "$data")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# field NAME: of the JSON object on stdin.
field() { sed "s/.*\"$1\":\(-\{0,1\}[0-9.e+-]*\).*/\1/"; }
# seconds COMMAND...: what it took, by the clock.
seconds() {
  start=$(date +%s.%N)
  "$@" >out 2>err || { cat err >&2; exit 1; }
  date +%s.%N | awk -v start="$start" '{ printf "%.2f", $1 - start }'
}
# line NAME: the RMSE or accuracy in the line NAME of the readable score in file scored.
line() { awk -v name="$1" 'index($0, "  " name) == 1 { sub("  " name, ""); print $1; exit }' scored; }
row() { printf '| %s | %s |\n' "$1" "$2"; }

echo '| what | measured |'
echo '|---|---|'
c=$data/california
for metric in scalar linear encoder diagonal; do
  took=$(seconds "$kith" fit "$c/train.csv" --target MedHouseVal --validation "$c/val.csv" --metric $metric -o c.kith)
  row "California, $metric: test RMSE" "$("$kith" score c.kith "$c/test.csv" --json | field rmse), fitted in $took s"
  for level in 0.8 0.9 0.95; do
    row "California, $metric: share of test rows inside $level intervals" \
      "$("$kith" score c.kith "$c/test.csv" --interval $level --json | field coverage)"
  done
done
"$kith" score c.kith "$c/test.csv" --baselines >scored
row 'California, plain kNN, k = 9, and one bandwidth: test RMSE' "$(line 'kNN, k = 9'), $(line 'one bandwidth')"
head -n 2 "$c/test.csv" >one.csv
row 'California, model opened and one row predicted' "$(seconds "$kith" predict c.kith one.csv) s"
head -n 1 "$c/test.csv" >many.csv
for _ in 1 2 3 4 5 6 7 8 9 10; do tail -n +2 "$c/test.csv"; done >>many.csv
rows=$(($(wc -l <many.csv) - 1))
row "California, $rows rows predicted from $(wc -l <"$c/train.csv" | awk '{ print $1 - 1 }')" \
  "$(seconds "$kith" predict c.kith many.csv -o p.csv | awk -v n="$rows" '{ printf "%.1f us a row", $1 * 1e6 / n }')"

# A fifth at random for testing, by the minimal standard generator (Park & Miller 1988), the same in every awk.
for seed in 1 2 3; do
  awk -v s=$seed 'BEGIN { for (i = 0; i < 20; ++i) s = s * 16807 % 2147483647 }
    NR == 1 { print >"train.csv"; print >"test.csv"; next }
    { s = s * 16807 % 2147483647; print >(s % 5 == 0 ? "test.csv" : "train.csv") }' \
    "$data/california_raw/housing.csv"
  took=$(seconds "$kith" fit train.csv --target median_house_value -o r.kith)
  "$kith" score r.kith test.csv --baselines >scored
  own=$(line kith) knn=$(line 'kNN, k = 9')
  row "California with text and blanks, split $seed: RMSE against kNN" \
    "$own, $knn: $(awk -v a="$own" -v b="$knn" 'BEGIN { printf "%.1f", 100 * (1 - a / b) }') % lower, fitted in $took s"
done

sed 's/\.$//' "$data/adult/test.csv" >adult.csv
took=$(seconds "$kith" fit "$data/adult/train.csv" --no-header --target c15 -o a.kith)
"$kith" score a.kith adult.csv --no-header --json >a.json
row 'Adult: test accuracy, log loss' "$(field accuracy <a.json), $(field log_loss <a.json), fitted in $took s"
