// Pictures: SVG or PNG by the file's ending, drawn with gnuplot.
#pragma once

#include <string>

#include "kith/audit.h"
#include "kith/neighbors.h"

namespace kith::draw {

struct PictureOptions {
  int width = 800;   ///< pixels
  int height = 500;  ///< pixels
};

/// For a model with one numeric feature: the rows, the fitted curve and its interval. kith::Error otherwise.
void curve(const Model& model, const std::string& path, double interval = 0.9,
           const PictureOptions& options = {});

/// Each column's importance as bars, most important first.
void importance(const Model& model, const std::string& path, const PictureOptions& options = {});

/// The rows behind one prediction: their weights as bars with their targets, and what each column contributes
/// to how far apart they are. `row` counts the rows of `prediction`, which must carry `why`, from 1.
void why(const Model& model, const Prediction& prediction, std::size_t row, const std::string& path,
         const PictureOptions& options = {});

/// What `kith audit --picture` draws: the rows in most doubt, how much each row weighs in others' predictions,
/// and how many rows and columns were found wanting.
void audit(const Model& model, const Audit& findings, const std::string& path,
           const PictureOptions& options = {});

/// What `kith show --picture` draws: the curve where there is one numeric feature, else the importance.
void model(const Model& model, const std::string& path, const PictureOptions& options = {});

}  // namespace kith::draw
