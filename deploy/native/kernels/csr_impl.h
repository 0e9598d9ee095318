// The kernels of csr.h over the `Lanes` of an instruction set (8 floats, and how to read them) and FourOf<vectors>:
// four values, each of which can be had in all lanes of the registers that a tile of so many vectors is in. Included
// into the anonymous namespace of one file an instruction set, so that no code of one is taken for another.

template <typename Column>
struct Row {
  std::size_t begin, count;
  const Column* columns;
};

// Columns that are stored as they are used.
template <typename Column>
struct Stored {
  static DTC_CSR_INLINE Row<Column> row(const CsrArrays& a, std::size_t row, void*) {
    const std::size_t begin = a.row_begins[row];
    return {begin, a.row_begins[row + 1] - begin, static_cast<const Column*>(a.columns) + begin};
  }
};

// Columns within K-blocks, written out to the scratch: 16 at a time, which mostly is as many steps for every K-block
// and so costs no mispredicted branch.
template <typename Column>
struct Blocked {
  static DTC_CSR_INLINE Row<Column> row(const CsrArrays& a, std::size_t row, void* scratch) {
    const std::size_t begin = a.row_begins[row];
    const std::uint8_t* from = static_cast<const std::uint8_t*>(a.columns) + begin;
    const std::uint16_t* const counts = a.block_counts + row * a.blocks;
    Column* const columns = static_cast<Column*>(scratch);
    Column* to = columns;
    for (std::size_t block = 0; block < a.blocks; ++block) {
      const std::size_t count = counts[block];
      prefetch(from + kAhead);
      for (std::size_t i = 0; i < count; i += 16) widen16(from + i, block * kCsrBlock, to + i);
      from += count;
      to += count;
    }
    const std::uint8_t zeros[16] = {};
    widen16(zeros, 0, to);  // some are read behind the end, and should be columns
    return {begin, static_cast<std::size_t>(to - columns), columns};
  }
};

// A row times x. `readable` values and columns can be read.
template <typename Value, typename Column>
DTC_CSR_INLINE Lanes dot(const Value* values, const Column* columns, std::size_t count, std::size_t readable,
                         const float* x) {
  Lanes sum = Lanes::zero();
  std::size_t i = 0;
  for (; i + kCsrLanes < count; i += kCsrLanes) {
    prefetch(values + i + kAhead);
    prefetch(columns + i + kAhead);
    sum = fma(Lanes::values(values + i), Lanes::gather(x, columns + i), sum);
  }
  // What lies behind the end is of the next rows: its columns are as good, its products are not wanted.
  if (i + kCsrLanes <= readable) {
    const Lanes products = mul(Lanes::values(values + i), Lanes::gather(x, columns + i));
    return add(sum, products.first(count - i));
  }
  for (; i < count; ++i) sum = add(sum, Lanes::lowest(single(values[i]) * x[columns[i]]));
  return sum;
}

template <typename Value, typename Columns>
void multiply(const CsrArrays& a, const float* x, std::size_t begin, std::size_t rows, float* y, void* scratch) {
  const Value* const values = static_cast<const Value*>(a.values);
  for (std::size_t at = begin; at < begin + rows; ++at) {
    const auto row = Columns::row(a, at, scratch);
    y[at] = dot(values + row.begin, row.columns, row.count, a.count - row.begin, x).sum();
  }
}

// sums += a value times a row of x.
template <typename Wide, std::size_t parts>
DTC_CSR_INLINE void add_row(Wide value, const float* x, std::size_t column, Wide (&sums)[parts]) {
  const float* const row = x + column * parts * Wide::size;
  for (std::size_t part = 0; part < parts; ++part)
    sums[part] = fma(value, Wide::load(row + part * Wide::size), sums[part]);
}

// The values of a row times rows of x, in several sums taken in turns: an addition takes 4 cycles, the loads for a
// value 2 or less.
template <std::size_t vectors, typename Value, typename Column>
DTC_CSR_INLINE void accumulate_row(const Value* values, const Column* columns, std::size_t count, const float* x,
                                   float* y) {
  using Weights = FourOf<vectors>;
  using Wide = typename Weights::Wide;
  constexpr std::size_t parts = vectors * kCsrLanes / Wide::size, chains = parts < 3 ? 4 : 2;
  Wide sums[chains][parts];
  for (auto& chain : sums)
    for (Wide& lanes : chain) lanes = Wide::zero();
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    prefetch(values + i + kAhead);
    prefetch(columns + i + kAhead);
    const Weights four = Weights::values(values + i);
    add_row(four.template all<0>(), x, columns[i], sums[0]);
    add_row(four.template all<1>(), x, columns[i + 1], sums[1]);
    add_row(four.template all<2>(), x, columns[i + 2], sums[2 % chains]);
    add_row(four.template all<3>(), x, columns[i + 3], sums[3 % chains]);
  }
  for (; i < count; ++i) add_row(Wide::all(values + i), x, columns[i], sums[0]);
  for (std::size_t part = 0; part < parts; ++part) {
    Wide sum = add(sums[0][part], sums[1][part]);
    if (chains == 4) sum = add(sum, add(sums[2 % chains][part], sums[3 % chains][part]));
    sum.store(y + part * Wide::size);
  }
}

template <std::size_t vectors, typename Value, typename Columns>
void accumulate(const CsrArrays& a, const float* x, std::size_t begin, std::size_t rows, float* y, void* scratch) {
  const Value* const values = static_cast<const Value*>(a.values);
  for (std::size_t at = 0; at < rows; ++at) {
    const auto row = Columns::row(a, begin + at, scratch);
    accumulate_row<vectors>(values + row.begin, row.columns, row.count, x, y + at * vectors * kCsrLanes);
  }
}

template <typename Value, typename Columns>
constexpr CsrKernels kernels() {
  return {multiply<Value, Columns>,
          {accumulate<1, Value, Columns>, accumulate<2, Value, Columns>, accumulate<3, Value, Columns>,
           accumulate<4, Value, Columns>},
          transpose};
}

// All kernels for values so stored, by CsrColumn.
#define DTC_CSR_KERNELS(Value)                                                        \
  {kernels<Value, Stored<std::uint8_t>>(), kernels<Value, Stored<std::uint16_t>>(),   \
   kernels<Value, Stored<std::uint32_t>>(), kernels<Value, Blocked<std::uint16_t>>(), \
   kernels<Value, Blocked<std::uint32_t>>()}
