// How every picture looks: colors that stay apart for color-blind readers and in gray print (Okabe & Ito
// 2008), sizes in pixels of a picture 800 wide.
#pragma once

#include <array>

namespace kith::draw {

/// Colors as gnuplot takes them: "#RRGGBB", or "#AARRGGBB" with AA = 00 for opaque.
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kVermillion = "#D55E00";
inline constexpr const char* kSkyBlue = "#56B4E9";
inline constexpr const char* kInk = "#222222";    ///< titles, names, numbers
inline constexpr const char* kMuted = "#666666";  ///< what explains them
inline constexpr const char* kFaint = "#9A9A9A";  ///< what does not count
inline constexpr const char* kTrack = "#EFEFEF";  ///< empty part of a bar

/// One color a class, in this order; the yellow of the palette is left out, it is not read on white.
inline constexpr std::array<const char*, 7> kClassColor = {kBlue,     kVermillion, "#009E73", "#CC79A7",
                                                           "#E69F00", kSkyBlue,    "#000000"};

inline constexpr const char* kFont = "DejaVu Sans";
inline constexpr double kTitleSize = 16;
inline constexpr double kTextSize = 12;
inline constexpr double kSmallSize = 10.5;

inline constexpr double kMargin = 20;      ///< between the picture's edge and what is drawn
inline constexpr double kTitleAt = 26;     ///< middle of the title line, from the top
inline constexpr double kSubtitleAt = 49;  ///< middle of the line under it
inline constexpr double kContentAt = 70;   ///< where the rest begins

}  // namespace kith::draw
