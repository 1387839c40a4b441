# Usage: gnuplot -e "csv='text.csv'; png='text.png'" text.gp
set datafile separator ','
set terminal pngcairo size 1100,700 font 'sans,11'
set output png
set multiplot layout 2,1 title 'KLA filtering the bytes of Pride and Prejudice, nothing trained'
set grid
set lmargin 10
set rmargin 5
set xrange [0:*]
set key Left reverse
set xlabel 'bytes read'
set ylabel 'bits a byte'
set yrange [2:7]
width = 2048  # bytes; their mean is one point
middle(x) = (floor(x / width) + 0.5) * width
plot csv using (middle($1)):2 every ::1 smooth unique lw 2 lc rgb '#0072b2' title 'KLA, from the three bytes before (means of 2048 bytes)', \
     csv using (middle($1)):3 every ::1 smooth unique lw 2 lc rgb '#999999' title 'count of single bytes'
set ylabel 'standard deviation'
set logscale y
set yrange [0.005:0.2]
set ytics add (0.005, 0.02, 0.05, 0.2)
plot csv using 1:4 every ::1 with lines lw 2 lc rgb '#d55e00' title 'reported by the filter for the byte that came'
unset multiplot
