# gnuplot -e "csv='forms.csv'; png='forms.png'" forms.gp
width = 1150; height = 560
load plots.'/style.gp'
set encoding utf8
unset grid
set title "Which element? Worst relative error of means and variances; colour: error over the type's epsilon" font 'sans,12' offset 0, 1.2
# x, y, error over epsilon (0 where nothing was lost), text; a number that is not finite is text alone.
cells = "< awk -F';' 'NR > 1 {r = $1; if (!(r in y)) y[r] = n++; c = $2 $3 $4; if (!(c in x)) x[c] = m++ + ($3 == \"double\") * 0.5; bad = $5 ~ /inf|nan/; e = $5 / ($3 == \"float\" ? 1.2e-7 : 2.2e-16); print x[c], y[r], bad ? 20 : e < 1 ? 0 : log(e)/log(10), bad ? \"fails\" : $5 == 0 ? \"0\" : sprintf(\"%.0e\", $5)}' ".csv
regimes = system("awk -F';' 'NR > 1 && !seen[$1]++ {gsub(/ /, \"~\", $1); print $1}' ".csv)
heads = system("awk -F';' 'NR > 1 && !seen[$2 $3 $4]++ {gsub(/ /, \"~\", $2); gsub(/ /, \"~\", $4); print $2 \"|\" $4}' ".csv)
set xrange [-0.6:18.1]
set yrange [words(regimes)-0.5:-0.5]
unset border
set tics scale 0
set ytics ()
do for [i=1:words(regimes)] { set ytics add (shown(word(regimes, i)) i - 1) }
set xtics () rotate by 35 right
do for [i=1:words(heads)] {
  h = word(heads, i)
  set xtics add (shown(h[1:strstrt(h, '|')-1]).', '.shown(h[strstrt(h, '|')+1:*]) i - 1 + (i > 9 ? 0.5 : 0))
}
set label 'float' at 4, -0.9 center font 'sans,11'
set label 'double' at 13.5, -0.9 center font 'sans,11'
set tmargin 4.5
set cbrange [0:8]
set cblabel 'error / epsilon' offset 1.5
set cbtics ('1' 0, '10^2' 2, '10^4' 4, '10^6' 6, '10^8' 8)
set palette maxcolors 16 defined (0 '#2166ac', 1.5 '#92c5de', 3 '#f7f7f7', 5 '#f4a582', 8 '#b2182b')
plot cells using ($3 < 20 ? $1 : NaN):2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror fs solid lc palette notitle, \
     cells using ($3 == 20 ? $1 : NaN):2:($1-0.5):($1+0.5):($2-0.5):($2+0.5) with boxxyerror fs solid lc rgb '#303030' notitle, \
     cells using 1:2:4:($3 == 20 || $3 > 7 ? 0xffffff : 0x000000) with labels font 'sans,8' tc rgb variable notitle
