// What this machine can do at most: the yardsticks of `kith bench`.
#pragma once

namespace kith::kernels {

/// Fused multiply-adds on registers alone, with the widest vectors in use: GFLOP/s (2 per FMA) of all threads
/// together, the best of the slices that fit into `seconds`.
double measure_fma_gflops(int threads, double seconds);

/// Reading memory far larger than the caches (256 MB a thread): GB/s of all threads together.
double measure_read_gb_s(int threads, double seconds);

}  // namespace kith::kernels
