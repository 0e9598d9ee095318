// The kernels of csr.h over the `Lanes` of an instruction set: 8 floats, and how to read them. Included into the
// anonymous namespace of one file an instruction set, so that no code of one is taken for another.

// The values of a row, or of its part in a K-block, times x. `readable` values and columns can be read.
template <typename Value, typename Column>
Lanes dot(const Value* values, const Column* columns, std::size_t count, std::size_t readable, const float* x,
          Lanes sum) {
  std::size_t i = 0;
  for (; i + kCsrLanes <= count; i += kCsrLanes)
    sum = fma(Lanes::values(values + i), Lanes::gather(x, columns + i), sum);
  if (i == count) return sum;
  // What lies behind the end is of the next rows: its columns are as good, its products are not wanted.
  if (i + kCsrLanes <= readable) {
    const Lanes products = mul(Lanes::values(values + i), Lanes::gather(x, columns + i));
    return add(sum, products.first(count - i));
  }
  for (; i < count; ++i) sum = add(sum, Lanes::lowest(single(values[i]) * x[columns[i]]));
  return sum;
}

template <typename Value, typename Column>
void multiply_flat(const CsrArrays& a, const float* x, std::size_t begin, std::size_t end, float* y) {
  const Value* const values = static_cast<const Value*>(a.values);
  const Column* const columns = static_cast<const Column*>(a.columns);
  for (std::size_t row = begin; row < end; ++row) {
    const std::size_t from = a.row_begins[row], count = a.row_begins[row + 1] - from;
    y[row] = dot(values + from, columns + from, count, a.count - from, x, Lanes::zero()).sum();
  }
}

template <typename Value, typename Column>
void multiply_relative(const CsrArrays& a, const float* x, std::size_t begin, std::size_t end, float* y) {
  const Value* const values = static_cast<const Value*>(a.values);
  const Column* const columns = static_cast<const Column*>(a.columns);
  for (std::size_t row = begin; row < end; ++row) {
    const std::uint16_t* const counts = a.block_counts + row * a.blocks;
    std::size_t from = a.row_begins[row];
    Lanes sum = Lanes::zero();
    for (std::size_t block = 0; block < a.blocks; ++block) {
      sum = dot(values + from, columns + from, counts[block], a.count - from, x + block * kCsrBlock, sum);
      from += counts[block];
    }
    y[row] = sum.sum();
  }
}

template <typename Value, typename Column>
void multiply(const CsrArrays& a, const float* x, std::size_t begin, std::size_t end, float* y) {
  if (a.relative)
    multiply_relative<Value, Column>(a, x, begin, end, y);
  else
    multiply_flat<Value, Column>(a, x, begin, end, y);
}

// Two sums, taken in turns: an addition takes 4 cycles, the loads of a value and its row of x about 2.
template <std::size_t vectors, typename Value, typename Column>
void accumulate(const CsrArrays& a, const std::uint32_t* from, const std::uint32_t* to, std::size_t rows,
                const float* x, float* y) {
  constexpr std::size_t width = vectors * kCsrLanes;
  const Value* const values = static_cast<const Value*>(a.values);
  const Column* const columns = static_cast<const Column*>(a.columns);
  for (std::size_t row = 0; row < rows; ++row, y += width) {
    Lanes even[vectors], odd[vectors];
    for (std::size_t v = 0; v < vectors; ++v) {
      even[v] = Lanes::load(y + v * kCsrLanes);
      odd[v] = Lanes::zero();
    }
    std::size_t i = from[row];
    const std::size_t end = to[row];
    for (; i + 2 <= end; i += 2) {
      const float* const one = x + std::size_t{columns[i]} * width;
      const float* const two = x + std::size_t{columns[i + 1]} * width;
      const Lanes first = Lanes::all(values + i), second = Lanes::all(values + i + 1);
      for (std::size_t v = 0; v < vectors; ++v) even[v] = fma(first, Lanes::load(one + v * kCsrLanes), even[v]);
      for (std::size_t v = 0; v < vectors; ++v) odd[v] = fma(second, Lanes::load(two + v * kCsrLanes), odd[v]);
    }
    if (i < end) {
      const float* const last = x + std::size_t{columns[i]} * width;
      const Lanes value = Lanes::all(values + i);
      for (std::size_t v = 0; v < vectors; ++v) even[v] = fma(value, Lanes::load(last + v * kCsrLanes), even[v]);
    }
    for (std::size_t v = 0; v < vectors; ++v) add(even[v], odd[v]).store(y + v * kCsrLanes);
  }
}

template <typename Value, typename Column>
constexpr CsrKernels kernels() {
  return {multiply<Value, Column>,
          {accumulate<1, Value, Column>, accumulate<2, Value, Column>, accumulate<3, Value, Column>,
           accumulate<4, Value, Column>},
          transpose};
}

#define DTC_CSR_KERNELS                                                                                   \
  {                                                                                                       \
    {kernels<float, std::uint8_t>(), kernels<float, std::uint16_t>(), kernels<float, std::uint32_t>()}, { \
      kernels<Half, std::uint8_t>(), kernels<Half, std::uint16_t>(), kernels<Half, std::uint32_t>()       \
    }                                                                                                     \
  }
