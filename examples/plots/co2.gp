# gnuplot -e "csv='co2.csv'; png='co2.png'" co2.gp
set datafile separator ','
set terminal pngcairo size 1100,900 font 'sans,12'
set output png
set xdata time
set timefmt '%Y-%m-%d'
set ylabel 'CO_2 [ppm]'
set key top left Left reverse
set lmargin 9
set rmargin 4
set style fill transparent solid 0.35 noborder
set multiplot layout 2,1
set title "Weekly CO_2 at Mauna Loa: local linear trend and two yearly harmonics"
set format x '%Y'
set xrange ['1958-01-01':'2002-06-01']
plot csv using 1:2 skip 1 with points pt 7 ps 0.25 lc rgb '#808080' notitle, \
     '' using 1:($3-1.96*$4):($3+1.96*$4) skip 1 with filledcurves lc rgb '#3070b0' title 'smoothed level, 95% band', \
     '' using 1:3 skip 1 with lines lw 1.5 lc rgb '#1050a0' title 'smoothed level', \
     NaN with points pt 7 ps 0.6 lc rgb '#808080' title 'observed'
set format x '%Y-%m'
set title "The first years, with weeks that are missing"
set xrange ['1958-03-01':'1960-12-31']
set yrange [310:324]
plot csv using 1:($5-1.96*$6):($5+1.96*$6) skip 1 with filledcurves lc rgb '#3070b0' title 'smoothed signal, 95% band', \
     '' using 1:5 skip 1 with lines lw 1 lc rgb '#1050a0' title 'smoothed signal', \
     '' using 1:($3-1.96*$4):($3+1.96*$4) skip 1 with filledcurves lc rgb '#d08080' title 'smoothed level, 95% band', \
     '' using 1:3 skip 1 with lines lw 2 lc rgb '#b03030' title 'smoothed level', \
     '' using (strlen(strcol(2)) ? NaN : timecolumn(1)):5 skip 1 with points pt 6 ps 0.7 lc rgb '#1050a0' title 'missing, filled', \
     '' using 1:2 skip 1 with points pt 7 ps 0.5 lc rgb '#404040' title 'observed'
unset multiplot
