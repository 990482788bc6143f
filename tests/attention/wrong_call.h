// A right call to be made wrong, and what is then expected.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "attention/geometry.h"

namespace kith::test {

/// The call fails with this very message.
inline void expect_message(const std::function<void()>& call, const std::string& message) {
  try {
    call();
    ADD_FAILURE() << "no error; needed: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), message);
  }
}

/// The call fails; its message starts with the argument's name and holds the telling figures.
inline void expect_error(const std::function<void()>& call, const std::string& argument,
                         const std::vector<std::string>& figures = {}) {
  try {
    call();
    ADD_FAILURE() << argument << ": no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.substr(0, argument.size() + 1), argument + ":") << message;
    for (const std::string& figure : figures) {
      EXPECT_NE(message.find(figure), std::string::npos) << '"' << message << "\" lacks " << figure;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

/// A right call, to be made wrong in one place: B 2, Hq 8, Hk 4, N 5, M 7, D 4, Dv 6.
struct Call {
  Array<float, 4> query_memory{{2, 8, 5, 4}}, key_memory{{2, 4, 7, 4}}, value_memory{{2, 4, 7, 6}};
  Array<float, 4> d_out_memory{{2, 8, 5, 6}};
  Array<float, 3> d_lse_memory{{2, 8, 5}};
  View<const float, 4> query = query_memory, key = key_memory, value = value_memory, d_out = d_out_memory;
  View<const float, 3> d_lse = d_lse_memory;
  AttentionOptions options{.want = {.lse = true}};

  Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  AttentionResult forward() const { return attend(query, key, value, options); }
};

/// `check` refuses the spoiled call with this message.
inline void expect_wrong(const std::function<void(Call&)>& spoil, const std::string& message) {
  Call call;
  spoil(call);
  expect_message([&] { check(call.query, call.key, call.value, call.options); }, message);
}

inline void expect_right(const std::function<void(Call&)>& change) {
  Call call;
  change(call);
  EXPECT_NO_THROW(check(call.query, call.key, call.value, call.options));
}

/// Any memory that a view of this shape fits; elements are `x`.
template <class T, int R>
struct Filled {
  Array<T, R> memory;
  explicit Filled(const Shape<R>& shape, T x = T{1}) : memory(shape) {
    std::fill(memory.begin(), memory.end(), x);
  }
  operator View<const T, R>() const { return memory.view(); }
};
template <class T, int R>
View<const T, R> null(const Shape<R>& shape) {
  return {nullptr, shape};
}

}  // namespace kith::test
