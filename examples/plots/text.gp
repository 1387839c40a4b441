# Usage: gnuplot -e "csv='text.csv'; png='text.png'" text.gp
set datafile separator ','
set terminal pngcairo size 1100,700 font 'sans,11'
set output png
set multiplot layout 2,1 title 'KLA filtering the bytes of Pride and Prejudice, nothing trained'
set grid
set rmargin 5
set xlabel 'bytes read'
set ylabel 'bits a byte'
set yrange [2:7]
plot csv using 1:2 every ::1 smooth bezier lw 2 lc rgb '#0072b2' title 'KLA, from the three bytes before', \
     csv using 1:3 every ::1 smooth bezier lw 2 lc rgb '#999999' title 'count of single bytes'
set ylabel 'standard deviation'
set logscale y
set yrange [*:*]
plot csv using 1:4 every ::1 with lines lw 2 lc rgb '#d55e00' title 'reported by the filter for the byte that came'
unset multiplot
