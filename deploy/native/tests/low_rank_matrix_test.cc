#include "forms/low_rank_matrix.h"

#include "forms/dense_matrix.h"
#include "tests/dense_reference.h"

namespace dtc::testing {

TEST(low_rank_is_the_product_of_its_factors) {
  for (const std::size_t rank : {0, 1, 7, 24}) {
    for (const std::size_t count : {0, 1, 3, 20}) {
      const std::size_t rows = 37, cols = 53;
      const Floats left = normal(rows * rank, 1), right = normal(rank * cols, 2), x = normal(count * cols, 3);
      const LowRankMatrix matrix(std::make_unique<DenseMatrix>(left.data(), rows, rank),
                                 std::make_unique<DenseMatrix>(right.data(), rank, cols));
      CHECK(matrix.rows() == rows && matrix.cols() == cols);
      const Floats y = product_of(matrix, x, count);
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t r = 0; r < rows; ++r) {
          double sum = 0;
          for (std::size_t k = 0; k < rank; ++k) {
            for (std::size_t c = 0; c < cols; ++c) {
              sum += static_cast<double>(left[r * rank + k]) * static_cast<double>(right[k * cols + c]) *
                     static_cast<double>(x[i * cols + c]);
            }
          }
          CHECK_NEAR(static_cast<double>(y[i * rows + r]), sum, 1e-3);
        }
      }
    }
  }
}

TEST(low_rank_factors_that_do_not_meet_are_refused) {
  const Floats values(20);
  CHECK_REFUSED(LowRankMatrix(std::make_unique<DenseMatrix>(values.data(), 4, 3),
                              std::make_unique<DenseMatrix>(values.data(), 2, 5)),
                "3 columns");
}

}  // namespace dtc::testing
