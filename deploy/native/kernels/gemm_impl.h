// The product of two float matrices on any vector type. Each file of an instruction set defines, in an anonymous
// namespace and before including this, `Vector`: `Type`, `lanes`, `tile_x` and `tile_w` (how many rows of x and of w
// its registers hold sums for; tile_w a multiple of 4) and the operations used below. Nothing here has external
// linkage.
#ifndef DTC_KERNELS_GEMM_IMPL_H_
#define DTC_KERNELS_GEMM_IMPL_H_

#include <cstddef>

namespace dtc {
namespace {

/// What a tile is computed from, and where to; strides in floats.
struct Operands {
  const float* x;
  std::size_t x_stride;
  const float* w;
  std::size_t w_stride;
  std::size_t depth;
  float* y;
  std::size_t y_stride;
};

struct Store {
  static void to(float* y, float sum) { *y = sum; }
};

struct Add {
  static void to(float* y, float sum) { *y += sum; }
};

/// Whether to fetch the next W rows of w meanwhile. They come from memory, and a processor does not guess that they
/// follow: for 650 x 2600 and 2 to 8 rows of x that halved the time. Nothing beyond w is fetched, as it may be what
/// another thread writes.
struct Fetch {
  static constexpr bool wanted = true;
};

struct Stay {
  static constexpr bool wanted = false;
};

/// X rows of x with W rows of w: an accumulator for each pair, along the depth, summed across its lanes at the end.
template <class Write, class Next, std::size_t X, std::size_t W>
void tile(const Operands& o) {
  typename Vector::Type sums[X][W];
  for (std::size_t i = 0; i < X; ++i) {
    for (std::size_t j = 0; j < W; ++j) sums[i][j] = Vector::zero();
  }
  std::size_t c = 0;
  for (; c + Vector::lanes <= o.depth; c += Vector::lanes) {
    typename Vector::Type w[W];
    for (std::size_t j = 0; j < W; ++j) {
      w[j] = Vector::load(o.w + j * o.w_stride + c);
      if constexpr (Next::wanted) __builtin_prefetch(o.w + (j + W) * o.w_stride + c, 0, 2);
    }
    for (std::size_t i = 0; i < X; ++i) {
      const typename Vector::Type x = Vector::load(o.x + i * o.x_stride + c);
      for (std::size_t j = 0; j < W; ++j) sums[i][j] = Vector::multiply_add(x, w[j], sums[i][j]);
    }
  }
  if (c < o.depth) {  // the rest of both is filled with zeros
    for (std::size_t j = 0; j < W; ++j) {
      const typename Vector::Type w = Vector::load_part(o.w + j * o.w_stride + c, o.depth - c);
      for (std::size_t i = 0; i < X; ++i) {
        const typename Vector::Type x = Vector::load_part(o.x + i * o.x_stride + c, o.depth - c);
        sums[i][j] = Vector::multiply_add(x, w, sums[i][j]);
      }
    }
  }
  for (std::size_t i = 0; i < X; ++i) {
    float* const y = o.y + i * o.y_stride;
    for (std::size_t j = 0; j < W; j += 4) {
      float across[4];
      const auto at = [&](std::size_t k) { return k < W ? sums[i][k < W ? k : 0] : Vector::zero(); };
      Vector::sums_of(at(j), at(j + 1), at(j + 2), at(j + 3), across);
      for (std::size_t k = j; k < j + 4 && k < W; ++k) Write::to(y + k, across[k - j]);
    }
  }
}

/// `count` rows of x, at most X.
template <class Write, class Next, std::size_t X, std::size_t W>
void tile_of(std::size_t count, const Operands& o) {
  if constexpr (X > 1) {
    if (count < X) return tile_of<Write, Next, X - 1, W>(count, o);
  }
  tile<Write, Next, X, W>(o);
}

/// W rows of w with all `count` rows of x, which are divided into tiles as equal as can be: 20 as 7 tiles of 3 and
/// less.
template <class Write, class Next, std::size_t W>
void strip(Operands o, std::size_t count) {
  std::size_t tiles = (count + Vector::tile_x - 1) / Vector::tile_x;
  std::size_t rows = (count + tiles - 1) / tiles;
  tile_of<Write, Next, Vector::tile_x, W>(rows, o);
  for (--tiles; tiles > 0; --tiles) {
    o.x += rows * o.x_stride;
    o.y += rows * o.y_stride;
    count -= rows;
    rows = (count + tiles - 1) / tiles;
    tile_of<Write, Stay, Vector::tile_x, W>(rows, o);
  }
}

/// All rows of w: each is read once, from wherever it is, and meets x in the near caches.
template <class Write>
void block(Operands o, std::size_t count, std::size_t rows) {
  constexpr std::size_t wide = Vector::tile_w, wider = 2 * Vector::tile_w;
  if (count == 1) {  // one row of x leaves registers for twice the rows of w
    for (; rows >= wider; rows -= wider, o.w += wider * o.w_stride, o.y += wider) tile<Write, Stay, 1, wider>(o);
  }
  for (; rows >= 2 * wide; rows -= wide, o.w += wide * o.w_stride, o.y += wide) strip<Write, Fetch, wide>(o, count);
  for (; rows >= wide; rows -= wide, o.w += wide * o.w_stride, o.y += wide) strip<Write, Stay, wide>(o, count);
  for (; rows > 0; --rows, o.w += o.w_stride, ++o.y) strip<Write, Stay, 1>(o, count);
}

constexpr std::size_t near_floats = 64 * 1024;  // of x in one pass: half of a second-level cache of 512 KB
constexpr std::size_t near_rows = 96;           // of x in one pass: w is read anew for each as many

template <class First>
void gemm(const float* x, std::size_t x_stride, std::size_t count, const float* w, std::size_t w_stride,
          std::size_t rows, std::size_t depth, float* y, std::size_t y_stride) {
  for (std::size_t i = 0; i < count; i += near_rows) {
    const std::size_t some = count - i < near_rows ? count - i : near_rows;
    const std::size_t step = near_floats / some / 64 * 64;
    Operands o{x + i * x_stride, x_stride, w, w_stride, depth < step ? depth : step, y + i * y_stride, y_stride};
    block<First>(o, some, rows);
    for (std::size_t c = step; c < depth; c += step) {
      o.x = x + i * x_stride + c;
      o.w = w + c;
      o.depth = depth - c < step ? depth - c : step;
      block<Add>(o, some, rows);
    }
  }
}

constexpr GemmKernels kernels{gemm<Store>, gemm<Add>};

}  // namespace
}  // namespace dtc

#endif  // DTC_KERNELS_GEMM_IMPL_H_
