# What all figures share. Colours follow the back end (or the form), whatever else is in the figure.
set terminal pngcairo size width, height font 'sans,10'
set output png
set grid lc rgb '#dddddd'
set border lw 1 lc rgb '#606060'
set tics nomirror
names = "seq omp{1} omp{2} omp{4} omp{8} omp{16} omp{32} omp{64} cuda~whole~lanes cuda~time~split std::inclusive_scan std::execution::par Thrust~OpenMP Thrust~TBB cuda{} CUB~DeviceScan cuda{.chunk~=~1024} cuda~one~block cuda~one~warp"
colours = "#000000 #9ad0f5 #56b4e9 #2b8cbe #0868ac #084081 #3f007d #6a51a3 #41ab5d #a1d99b #999999 #e69f00 #f0e442 #d55e00 #009e73 #cc79a7 #66c2a5 #8da0cb #a6d854"
colour(name) = (c = name[1:4] eq 'omp{' ? '#7b3294' : '#884400', sum[i=1:words(names)] (word(names, i) eq name ? (c = word(colours, i), 0) : 0), c)
shown(name) = system("echo '".name."' | tr '~' ' '")
# Blanks in names are ~, since gnuplot's lists are words. Figures of suite rows: distinct back ends of a work and of three, and the rows of one, as size, seconds, quartiles, bytes/s, flops.
under = "{gsub(/ /, \"~\", $1); gsub(/ /, \"~\", $2)} "
back_ends(work) = system("awk -F, '".under."$1 == \"".work."\" && $4 !~ /nan/ && !seen[$2]++ {print $2}' ".csv)
back_ends_of(a, b, c) = system("awk -F, '".under."($1 == \"".a."\" || $1 == \"".b."\" || $1 == \"".c."\") && $4 !~ /nan/ && !seen[$2]++ {print $2}' ".csv)
rows(work, name) = "< awk -F, '".under."$1 == \"".work."\" && $2 == \"".name."\" && $4 !~ /nan/ {print $3, $4, $5, $6, $8, $12}' ".csv
