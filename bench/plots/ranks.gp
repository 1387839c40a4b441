# gnuplot -e "csv='rows.csv'; png='efficiency.png'; machine='...'" ranks.gp
width = 640; height = 380
set datafile separator ','
load plots.'/style.gp'
set logscale x 2
set title "One sequence over GPUs: KLA, 1 x 1,048,576 x 1024, 16 states (".machine.")"
set xlabel 'GPUs'
set ylabel 'speedup over one GPU / GPUs'
set xrange [0.9:9]
set xtics (1, 2, 4, 8)
set yrange [0:1.1]
set key bottom left Left reverse
plot csv every ::1 using 1:($3/$1) with lines lw 1.5 lc rgb '#999999' title 'model of absorb, carry and replay', \
  csv every ::1 using 1:($2/$1) with linespoints pt 7 ps 1 lw 1.5 lc rgb colour('cuda{}') title 'measured, forward and backward'
