# roofline.svg, ratios.svg and growth.svg from what bench_operator --output wrote into the current folder.
set encoding utf8
blue = "#0072B2"; vermillion = "#D55E00"; ink = "#222222"; muted = "#666666"
set border 3 linecolor rgb muted
set tics nomirror textcolor rgb ink
set grid linecolor rgb "#EFEFEF"
set style fill solid

# There is nothing to draw without lines that hold data.
lines(file) = system(sprintf("grep -cv '^#' %s 2>/dev/null || true", file)) + 0

if (lines("roofline.dat") > 0) {
  load "machine.gp"
  set terminal svg size 900,520 font "DejaVu Sans,11" background "white"
  set output "roofline.svg"
  set title sprintf("One thread against its limits: %.0f GFLOP/s of multiply-adds, %.1f GB/s read", peak, read)
  set xlabel "operations a byte of input and output"
  set ylabel "GFLOP/s"
  set logscale xy
  set key off
  stats "roofline.dat" using 1:2 nooutput
  set xrange [STATS_min_x / 2 : STATS_max_x * 4]
  set yrange [STATS_min_y / 2 : peak * 1.5]
  # Points lie close together, so they bear numbers, and the names stand beside the plot.
  names = system("grep -v '^#' roofline.dat | cut -d '\"' -f 2")
  set rmargin 30
  do for [i = 1:words(names)] {
    set label sprintf("%d  %s", i, word(names, i)) at graph 1.03, graph 1.04 - 0.042 * i font ",9" noenhanced
  }
  roof(x) = x * read < peak ? x * read : peak
  plot roof(x) linecolor rgb muted linewidth 2, \
       "roofline.dat" using 1:2 with points pointtype 7 linecolor rgb blue, \
       "" using 1:2:(sprintf("%d", $0 + 1)) with labels left offset 0.6,-0.5 font ",9" textcolor rgb ink
  reset session
}

set encoding utf8
blue = "#0072B2"; ink = "#222222"; muted = "#666666"
lines(file) = system(sprintf("grep -cv '^#' %s 2>/dev/null || true", file)) + 0
n = lines("ratios.dat")
if (n > 0) {
  # Before any range is set: statistics leave out what lies outside.
  stats "ratios.dat" using 1 nooutput
  low = STATS_min < 1 ? STATS_min / 1.5 : 0.7
  set terminal svg size 900,(90 + 17 * n) font "DejaVu Sans,10" background "white"
  set output "ratios.svg"
  set title "Kith's speed over the peer's (bars: median; lines: quartiles)"
  set style fill solid
  set border 3 linecolor rgb muted
  set tics nomirror textcolor rgb ink noenhanced
  set logscale x
  set key off
  set yrange [n - 0.5 : -0.5]
  set xrange [low : STATS_max * 1.5]
  set rmargin 8  # the longest bar has its number behind it
  set arrow from 1, graph 0 to 1, graph 1 nohead linecolor rgb ink front
  plot "ratios.dat" using 1:0:(low):1:($0 - 0.35):($0 + 0.35):ytic(sprintf("%s: %s", strcol(4), strcol(5))) \
         with boxxyerror linecolor rgb blue, \
       "" using 1:0:2:3 with xerrorbars pointtype 0 linecolor rgb ink, \
       "" using 3:0:(sprintf("%.3g", $1)) with labels left offset 0.8,0 font ",8" textcolor rgb ink
  reset session
}

set encoding utf8
ink = "#222222"; muted = "#666666"
lines(file) = system(sprintf("grep -cv '^#' %s 2>/dev/null || true", file)) + 0
if (lines("growth.dat") > 0) {
  set terminal svg size 800,700 font "DejaVu Sans,11" background "white"
  set output "growth.svg"
  set multiplot layout 2,1 title "Forward, full, one head, d = 64, one thread"
  set linetype 1 linecolor rgb "#0072B2"
  set linetype 2 linecolor rgb "#D55E00"
  set linetype 3 linecolor rgb "#009E73"
  set linetype 4 linecolor rgb "#CC79A7"
  set border 3 linecolor rgb muted
  set tics nomirror textcolor rgb ink
  set grid linecolor rgb "#EFEFEF"
  set logscale x 2
  set xlabel "N = M"
  set key outside right noenhanced
  stats "growth.dat" using 1 nooutput
  blocks = int(STATS_blocks)
  set ylabel "GFLOP/s"
  set yrange [0:*]
  plot for [i = 0:blocks - 1] "growth.dat" index i using 1:2 with linespoints pointtype 7 title columnheader(1)
  set ylabel "MB beyond the inputs"
  set logscale y
  set yrange [*:*]
  plot for [i = 0:blocks - 1] "growth.dat" index i using 1:($3 > 0 ? $3 : NaN) with linespoints pointtype 7 title columnheader(1)
  unset multiplot
}
