// Learns body mass from a table of penguins, then predicts its first row and names the rows behind the
// answer.
#include <kith/neighbors.h>

#include <cstdio>

int main(int argc, char** argv) try {
  const kith::Table penguins = kith::read_csv(argc > 1 ? argv[1] : "examples/data/penguins.csv");
  const kith::Model model = kith::fit(penguins, {.target = "body_mass_g"});
  std::printf("leave-one-out error: %.0f g\n", model.leave_one_out().rmse);

  const kith::Prediction answer = kith::predict(model, penguins, {.interval = 0.9, .why = 3});
  std::printf("row 1: %.0f g, 90 %% interval %.0f to %.0f, from\n", answer.value[0], answer.lower[0],
              answer.upper[0]);
  for (const kith::Neighbor& neighbor : answer.why[0]) {
    std::printf("  row %zu, %s g, with weight %.3f\n", neighbor.row, neighbor.target.c_str(),
                neighbor.weight);
  }
} catch (const kith::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
