# gnuplot -e "csv='lengths.csv'; png='error.png'" error.gp
width = 1100; height = 480
load plots.'/style.gp'
set encoding utf8
set datafile separator ';'
set logscale xy
set format xy '10^{%L}'
set xlabel 'length [steps]'
forms = "'sequential step' 'filtering element' 'information map' 'Möbius, trace' 'Möbius, logs'"
inks = "#000000 #009e73 #56b4e9 #e69f00 #d55e00"
of(regime, form, type) = "< awk -F';' '$1 == \"".regime."\" && $2 == \"".form."\" && $3 == \"".type."\" && $4 != \"chunks\" && $6 !~ /inf|nan/ {print $5 \";\" $6}' ".csv
set multiplot title 'Error of a balanced tree over each element form (above: float; below: double)' font 'sans,12'
regimes = "'typical' 'slow decay'"
do for [i=1:2] {
  regime = word(regimes, i)
  set lmargin at screen 0.07 + 0.39 * (i - 1); set rmargin at screen 0.42 + 0.39 * (i - 1)
  set tmargin at screen 0.86; set bmargin at screen 0.12
  set title regime.(i == 1 ? ' (a = 0.9, p = 0.1)' : ' (a = 0.99999, p = 10^{-8})')
  if (i == 1) { set ylabel 'worst error of mean and variance, relative' } else { unset ylabel }
  if (i == 2) { set key at screen 0.825, screen 0.86 left top Left reverse samplen 2 } else { unset key }
  set yrange [1e-17:10]
  plot for [k=1:words(forms)] of(regime, word(forms, k), 'float') using 1:2 with linespoints pt 7 ps 0.6 lw 1.5 lc rgb word(inks, k) title word(forms, k), \
       for [k=1:words(forms)] of(regime, word(forms, k), 'double') using 1:2 with linespoints pt 6 ps 0.6 lw 1.5 dt 2 lc rgb word(inks, k) notitle, \
       1.2e-7 lc rgb '#bbbbbb' title 'epsilon of float', 2.2e-16 dt 2 lc rgb '#bbbbbb' title 'epsilon of double'
}
unset multiplot
