# gnuplot -e "csv='nile.csv'; png='nile.png'" nile.gp
set datafile separator ','
set terminal pngcairo size 1100,600 font 'sans,12'
set output png
set title "Flow of the Nile at Aswan: local level model, exactly diffuse prior"
set xlabel 'year'
set ylabel 'flow [10^8 m^3]'
set xrange [1870:1971]
set key bottom left Left reverse
set style fill transparent solid 0.25 noborder
plot csv using 1:($5-1.96*$6):($5+1.96*$6) skip 1 with filledcurves lc rgb '#3070b0' title 'smoothed level, 95% band', \
     '' using 1:2 skip 1 with points pt 7 ps 0.6 lc rgb '#404040' title 'observed', \
     '' using 1:3 skip 1 with lines lw 1.5 lc rgb '#d08020' title 'filtered level', \
     '' using 1:5 skip 1 with lines lw 2 lc rgb '#1050a0' title 'smoothed level'
