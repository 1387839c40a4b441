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
roof(name) = real(system("awk -F';' '$1 == \"".name."\" {print $3}' ".ceilings))
threads = system("awk -F'[;, ]+' '/^copy/ {print $2}' ".ceilings)
by(n) = n." thread".(int(n) == 1 ? '' : 's')
copy(n) = roof('copy, '.by(n)); vector(n) = roof('vector multiply-add, '.by(n)); scalar(n) = roof('scalar multiply-add, '.by(n))
least(x, y) = x < y ? x : y
works = "affine~map filtering~element KLA~forward GLA~forward"
points = ""
do for [i=1:words(works)] { do for [name in back_ends(word(works, i))] {
  if (name eq 'seq' || name eq 'omp{'.word(threads, words(threads)).'}' || name eq 'cuda{}' || name eq 'CUB~DeviceScan') { points = points.' '.word(works, i).':'.name }
} }
at(p) = strstrt(p, ':')
last_row(p) = "< awk -F, '".under."$1 == \"".p[1:at(p)-1]."\" && $2 == \"".p[at(p)+1:*]."\" && $4 !~ /nan/ {x = $12/($8*$4) \" \" 1e-9*$12/$4} END {print x}' ".csv
n(i) = word(threads, i)
plot for [i=1:words(threads)] least(copy(n(i))*x, vector(n(i))) with lines lw 2 dt 3-i lc rgb '#404040' title 'copy; vector multiply-add, '.by(n(i)), \
     for [i=1:words(threads)] least(copy(n(i))*x, scalar(n(i))) with lines lw 1 dt 3-i lc rgb '#999999' title 'copy; scalar multiply-add, '.by(n(i)), \
     for [k=1:words(points)] last_row(word(points, k)) using 1:2 with points pt 4 + k ps 1.6 lw 1.5 \
       lc rgb colour(word(points, k)[at(word(points, k))+1:*]) title shown(word(points, k)) noenhanced
