// Three examples (51 -> 40, 56 -> 43, 58 -> 48) and a question: what goes with 57.5?
#include <kith/attention.h>

#include <cstdio>

int main() {
  using Rows = kith::View<const float, 2>;  // [rows, columns]; borrows memory
  const float query[] = {57.5}, key[] = {51, 56, 58}, value[] = {40, 43, 48};
  const kith::AttentionResult answer =
      kith::attend(Rows(query, {1, 1}), Rows(key, {3, 1}), Rows(value, {3, 1}),
                   {.similarity = kith::Gaussian{.bandwidth = 2}, .want = {.top = 3}});

  std::printf("%.2f, from\n", answer.out(0, 0, 0, 0));
  for (int i = 0; i < 3; ++i) {
    std::printf("  key %g with weight %.3f\n", key[answer.top_key(0, 0, 0, i)],
                answer.top_weight(0, 0, 0, i));
  }
}
