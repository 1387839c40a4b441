# gnuplot -e "csv='rows.csv'; png='crossover.png'; machine='...'" crossover.gp
width = 800; height = 460
load plots.'/style.gp'
set logscale x 2
set logscale y
set title "Split lanes or time? KLA forward, channels x length fixed (".machine.")"
set xlabel 'channels of 16 lanes each'
set ylabel 'time of the same work [ms]'
set key outside right top Left reverse samplen 2
set xrange [0.8:320]
all = back_ends('crossover')
plot for [k=1:words(all)] rows('crossover', word(all, k)) using 1:(1e3*$2):(1e3*$3):(1e3*$4) \
  with yerrorlines pt 7 ps 0.6 lw 1.5 title shown(word(all, k)) noenhanced
