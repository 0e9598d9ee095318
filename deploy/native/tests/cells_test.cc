#include "kernels/cells.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cells_isa.h"
#include "tests/check.h"

namespace {

using dtc::kernels::Cells;
using dtc::kernels::cells;

std::vector<float> spread(float low, float high, std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = low + (high - low) * static_cast<float>(i) / static_cast<float>(count - 1);
  }
  return x;
}

template <typename Exact>
double worst_relative(void (*kernel)(const float*, float*, std::size_t), Exact exact, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  kernel(x.data(), y.data(), x.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double right = exact(static_cast<double>(x[i]));
    if (right != 0) worst = std::fmax(worst, std::fabs(static_cast<double>(y[i]) - right) / std::fabs(right));
  }
  return worst;
}

double exact_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(activations_have_a_small_relative_error) {
  for (const auto& x : {spread(-80, 80, 100003), spread(-1, 1, 100003), spread(-1e-3f, 1e-3f, 1001)}) {
    CHECK(worst_relative(cells().sigmoid, exact_sigmoid, x) < 4e-7);
    CHECK(worst_relative(cells().tanh, [](double v) { return std::tanh(v); }, x) < 5e-7);
    CHECK(worst_relative(dtc::kernels::cells_scalar.sigmoid, exact_sigmoid, x) < 4e-7);
    CHECK(worst_relative(dtc::kernels::cells_scalar.tanh, [](double v) { return std::tanh(v); }, x) < 5e-7);
  }
}

TEST(activations_saturate_and_hand_on_what_is_not_a_number) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("0x12345");
  const std::vector<float> x = {infinity, -infinity, 3e38f, -3e38f, 0.0f, nan, -nan};
  for (const Cells* each : {&cells(), &dtc::kernels::cells_scalar}) {
    std::vector<float> sigmoid(x.size()), tanh(x.size());
    each->sigmoid(x.data(), sigmoid.data(), x.size());
    each->tanh(x.data(), tanh.data(), x.size());
    CHECK_NEAR(sigmoid[0], 1.0f, 0.0f);
    CHECK_NEAR(sigmoid[1], 0.0f, 1e-37f);
    CHECK_NEAR(sigmoid[2], 1.0f, 0.0f);
    CHECK_NEAR(sigmoid[3], 0.0f, 1e-37f);
    CHECK_NEAR(sigmoid[4], 0.5f, 0.0f);
    CHECK_NEAR(tanh[0], 1.0f, 1e-6f);
    CHECK_NEAR(tanh[1], -1.0f, 1e-6f);
    CHECK_NEAR(tanh[4], 0.0f, 0.0f);
    for (std::size_t i : {5, 6}) CHECK(std::isnan(sigmoid[i]) && std::isnan(tanh[i]));
  }
}

TEST(activations_write_no_more_than_they_are_asked_for) {
  for (std::size_t count = 0; count < 20; ++count) {
    std::vector<float> x(count + 1, 1.0f), y(count + 1, 7.0f);
    cells().sigmoid(x.data(), y.data(), count);
    CHECK(y[count] == 7.0f);
    cells().tanh(x.data(), y.data(), count);
    CHECK(y[count] == 7.0f);
    if (count > 0) CHECK_NEAR(y[count - 1], std::tanh(1.0f), 1e-6f);
  }
}

}  // namespace
