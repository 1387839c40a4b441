# gnuplot -e "csv='rows.csv'; png='time.png'; machine='...'" time.gp
width = 1200; height = 760
load plots.'/style.gp'
set logscale xy
set format xy '10^{%L}'
set multiplot title "Time a step against length: median, bars from the lower to the upper quartile (".machine.")" font 'sans,12'
works = "affine~map filtering~element filtering~element~4x4 KLA~forward KLA~backward GLA~forward"
titles = "'affine map (8 B)' 'scalar filtering element (20 B)' '4 x 4 filtering element (224 B)' 'KLA forward, 64 x 16 lanes' 'KLA backward, 64 x 16 lanes' 'gated linear recurrence, 64 x 16 lanes'"
do for [i=1:6] {
  work = word(works, i)
  column = (i - 1) % 3; row = (i - 1) / 3
  set lmargin at screen 0.065 + 0.275 * column; set rmargin at screen 0.255 + 0.275 * column
  set tmargin at screen 0.89 - 0.47 * row; set bmargin at screen 0.55 - 0.47 * row
  set title word(titles, i)
  set xlabel 'length [steps]'
  set ylabel 'time a step [ns]' offset -0.5
  set xrange [(row ? 40 : 600):*]
  if (column == 2) { set key at screen 0.825, screen (0.89 - 0.47 * row) left top Left reverse samplen 2 } else { unset key }
  all = back_ends(work)
  # The key of a row names what any of its panels has.
  keyed = column == 2 ? back_ends_of(word(works, 3 * row + 1), word(works, 3 * row + 2), word(works, 3 * row + 3)) : ''
  if (words(all) > 0) {
    plot for [k=1:words(keyed)] 1/0 with linespoints pt 7 ps 0.5 lw 1.5 lc rgb colour(word(keyed, k)) title shown(word(keyed, k)) noenhanced, \
      for [k=1:words(all)] rows(work, word(all, k)) using 1:(1e9*$2/$1):(1e9*$3/$1):(1e9*$4/$1) \
      with yerrorlines pt 7 ps 0.5 lw 1.5 lc rgb colour(word(all, k)) notitle
  }
}
unset multiplot
