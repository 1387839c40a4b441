# gnuplot -e "csv='cenogrid.csv'; png='cenogrid.png'" cenogrid.gp
set datafile separator ','
set terminal pngcairo size 1100,900 font 'sans,12'
set output png
set xlabel 'million years before present'
set ylabel '{/Symbol d}^{18}O [per mil, warmer upwards]'
set lmargin 9
set rmargin 4
set style fill transparent solid 0.35 noborder
set multiplot layout 2,1
set key top right
set title "67 million years of climate: a Gaussian process through 24,255 points of the deep sea"
set xrange [67.5:0]
set yrange [4.8:-1.7]
plot csv using 1:2 skip 1 with points pt 7 ps 0.12 lc rgb '#a0a0a0' notitle, \
     '' using 1:3 skip 1 every 10 with lines lw 1 lc rgb '#1050a0' title 'smoothed', \
     NaN with points pt 7 ps 0.6 lc rgb '#a0a0a0' title 'observed'
set key bottom left
set title "Two million years of it, in which ice came to Antarctica"
set xrange [35:33]
set yrange [2.5:0.4]
plot csv using 1:($3-1.96*$4):($3+1.96*$4) skip 1 with filledcurves lc rgb '#3070b0' title '95% band', \
     '' using 1:3 skip 1 with lines lw 1 lc rgb '#1050a0' title 'smoothed', \
     '' using 1:2 skip 1 with points pt 7 ps 0.4 lc rgb '#404040' notitle, \
     NaN with points pt 7 ps 0.6 lc rgb '#404040' title 'observed'
unset multiplot
