// Powers of two in steps of 1/32, for kernels that look them up in two registers.
#pragma once

#include <cstdint>

namespace kith::kernels {

/// The bits of the float 2^(i/32) less i << 18. Adding 1.5 * 2^18 to an exponent x leaves k = round(32 x) in
/// the lowest bits of the sum: entry k mod 32 plus k << 18 are then the bits of 2^(k/32).
alignas(64) inline constexpr std::uint32_t kExp2Table[32] = {
    0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3, 0x3f78f4f0,
    0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043, 0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6,
    0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,
    0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3};

}  // namespace kith::kernels
