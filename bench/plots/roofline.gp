# gnuplot -e "csv='rows.csv'; ceilings='ceilings.txt'; png='roofline.png'; machine='...'" roofline.gp
width = 900; height = 520
load plots.'/style.gp'
set logscale xy
set title "Roofline: the longest series of each work (".machine.")"
set xlabel 'operations a byte that must move [flop/B]'
set ylabel 'operations a second [Gflop/s]'
set xrange [0.1:30]
set yrange [0.05:*]
set key outside right top Left reverse samplen 2
roof(what, by) = (found = system("awk -F';' '{gsub(/ /, \"~\", $2)} $1 == \"".what."\" && $2 == \"".by."\" {print $3}' ".ceilings), strlen(found) ? real(found) : NaN)
machines = system("awk -F';' '$1 == \"copy\" {gsub(/ /, \"~\", $2); print $2}' ".ceilings)
threads = system("awk -F';' '$1 == \"copy\" && $2 ~ /thread/ {print $2 + 0}' ".ceilings." | tail -1")
by(i) = word(machines, i)
ceiling(what, i, x) = (slope = roof('copy', by(i)) * x, flat = roof(what, by(i)), slope < flat ? slope : flat == flat ? flat : NaN)
works = "affine~map filtering~element KLA~forward GLA~forward"
points = ""
do for [i=1:words(works)] { do for [name in back_ends(word(works, i))] {
  if (name eq 'seq' || name eq 'omp{'.threads.'}' || name eq 'cuda{}' || name eq 'CUB~DeviceScan') { points = points.' '.word(works, i).':'.name }
} }
at(p) = strstrt(p, ':')
last_row(p) = "< awk -F, '".under."$1 == \"".p[1:at(p)-1]."\" && $2 == \"".p[at(p)+1:*]."\" && $4 !~ /nan/ {x = $12/($8*$4) \" \" 1e-9*$12/$4} END {print x}' ".csv
plot for [i=1:words(machines)] ceiling('vector multiply-add', i, x) with lines lw 2 dt i lc rgb '#404040' title 'copy; vector multiply-add, '.shown(by(i)), \
     for [i=1:words(machines)] ceiling('scalar multiply-add', i, x) with lines lw 1 dt i lc rgb '#999999' title shown(by(i)) eq 'device' ? '' : 'copy; scalar multiply-add, '.shown(by(i)), \
     for [k=1:words(points)] last_row(word(points, k)) using 1:2 with points pt 4 + k ps 1.6 lw 1.5 \
       lc rgb colour(word(points, k)[at(word(points, k))+1:*]) title shown(word(points, k)[1:at(word(points, k))-1].', '.word(points, k)[at(word(points, k))+1:*]) noenhanced
