#include <kalscan/cuda/warp.cuh>
