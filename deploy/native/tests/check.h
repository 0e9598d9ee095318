// Just enough to test without a dependency: CHECK(condition), CHECK_NEAR(a, b, tolerance), and TEST(name) { ... }.
#ifndef DTC_TESTS_CHECK_H_
#define DTC_TESTS_CHECK_H_

#include <cmath>
#include <cstdio>
#include <exception>
#include <vector>

namespace dtc::testing {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

inline void report(bool good, const char* file, int line, const char* what) {
  if (good) return;
  ++failures();
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

/// Runs every test of the program; returns its exit status.
inline int run_all() {
  for (const Test& test : tests()) {
    const int before = failures();
    try {
      test.run();
    } catch (const std::exception& error) {
      ++failures();
      std::fprintf(stderr, "%s: %s\n", test.name, error.what());
    }
    std::printf("%s %s\n", failures() == before ? "pass" : "FAIL", test.name);
  }
  return failures() == 0 ? 0 : 1;
}

}  // namespace dtc::testing

#define TEST(name)                                                          \
  static void name();                                                       \
  static const ::dtc::testing::Registration name##_registered(#name, name); \
  static void name()

#define CHECK(condition) ::dtc::testing::report((condition), __FILE__, __LINE__, #condition)

#define CHECK_NEAR(a, b, tolerance) \
  ::dtc::testing::report(std::fabs((a) - (b)) <= (tolerance), __FILE__, __LINE__, #a " is not near " #b)

/// Passes if the statement throws Error with `text` somewhere in its message.
#define CHECK_REFUSED(statement, text)                                                                   \
  do {                                                                                                   \
    bool refused = false;                                                                                \
    try {                                                                                                \
      statement;                                                                                         \
    } catch (const ::dtc::Error& error) {                                                                \
      refused = std::string(error.what()).find(text) != std::string::npos;                               \
    }                                                                                                    \
    ::dtc::testing::report(refused, __FILE__, __LINE__, #statement " is not refused with \"" text "\""); \
  } while (false)

#endif  // DTC_TESTS_CHECK_H_
