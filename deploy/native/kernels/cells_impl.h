// The cells in terms of `Vec`, which a file of one instruction set defines in its anonymous namespace before it
// includes this one there:
//   struct Vec, kLanes; load(p), store(p, v), set(x); +, -, *, /; fma(a, b, c) = a b + c; min(a, b), max(a, b), which
//   hand on a b that is not a number; power_of_two(t): 2^n of the whole number n in the low bits of t.
// No header guard: it is part of that file.

// A vector at the end of a row that has fewer numbers left than lanes.
Vec load(const float* p, std::size_t count) {
  if (count >= kLanes) return load(p);
  float padded[kLanes] = {};
  for (std::size_t lane = 0; lane < count; ++lane) padded[lane] = p[lane];
  return load(padded);
}

void store(float* p, Vec v, std::size_t count) {
  if (count >= kLanes) {
    store(p, v);
    return;
  }
  float padded[kLanes];
  store(padded, v);
  for (std::size_t lane = 0; lane < count; ++lane) p[lane] = padded[lane];
}

// exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with the polynomial of Cephes' expf. Cut to where 2^n is a normal number.
Vec exponential(Vec x) {
  x = max(set(-87.0f), min(set(88.0f), x));
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits: no conversion to an integer, which
  // for what is not a number would be undefined.
  const Vec magic = set(12582912.0f);
  const Vec shifted = fma(x, set(1.44269504088896341f), magic);
  const Vec n = shifted - magic;
  Vec r = fma(n, set(-0.693359375f), x);
  r = fma(n, set(2.12194440e-4f), r);
  Vec p = set(1.9875691500e-4f);
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(p, r * r, r + set(1.0f));
  return p * power_of_two(shifted);  // a product, so that a NaN stays one
}

Vec sigmoid(Vec x) { return set(1.0f) / (set(1.0f) + exponential(set(0.0f) - x)); }

// The rational approximation of Eigen's fast tanh; beyond the cut it is 1 in float.
Vec hyperbolic_tangent(Vec x) {
  x = max(set(-7.90531110763549805f), min(set(7.90531110763549805f), x));
  const Vec s = x * x;
  Vec p = set(-2.76076847742355e-16f);
  p = fma(p, s, set(2.00018790482477e-13f));
  p = fma(p, s, set(-8.60467152213735e-11f));
  p = fma(p, s, set(5.12229709037114e-08f));
  p = fma(p, s, set(1.48572235717979e-05f));
  p = fma(p, s, set(6.37261928875436e-04f));
  p = fma(p, s, set(4.89352455891786e-03f));
  Vec q = set(1.19825839466702e-06f);
  q = fma(q, s, set(1.18534705686654e-04f));
  q = fma(q, s, set(2.26843463243900e-03f));
  q = fma(q, s, set(4.89352518554385e-03f));
  return x * p / q;
}

Vec clipped(Vec x, Vec clip) { return max(set(0.0f) - clip, min(clip, x)); }

void lstm(const LstmRow& row) {
  const std::size_t hidden = row.hidden;
  const Vec clip = set(row.clip);
  for (std::size_t j = 0; j < hidden; j += kLanes) {
    const std::size_t left = hidden - j;
    const auto gate = [&row, hidden, j, left](std::size_t index) {
      const std::size_t at = index * hidden + j;
      return load(row.given + at, left) + load(row.recurrent + at, left) + load(row.bias + at, left);
    };
    const auto peephole = [&row, hidden, j, left](std::size_t index, Vec state) {
      return row.peepholes == nullptr ? set(0.0f) : load(row.peepholes + index * hidden + j, left) * state;
    };
    const Vec before = load(row.c + j, left);
    const Vec i = sigmoid(clipped(gate(0) + peephole(0, before), clip));
    const Vec f = sigmoid(clipped(gate(2) + peephole(2, before), clip));
    const Vec g = hyperbolic_tangent(clipped(gate(3), clip));
    const Vec c = fma(f, before, i * g);
    const Vec o = sigmoid(clipped(gate(1) + peephole(1, c), clip));
    store(row.c + j, c, left);
    store(row.h + j, o * hyperbolic_tangent(c), left);  // c is not clipped, as in ONNX Runtime
  }
}

void gru_reset(const GruRow& row) {
  const std::size_t hidden = row.hidden;
  const Vec clip = set(row.clip);
  for (std::size_t j = 0; j < hidden; j += kLanes) {
    const std::size_t left = hidden - j;
    const auto gate = [&row, hidden, clip, j, left](std::size_t index) {
      const std::size_t at = index * hidden + j;
      const Vec sum = load(row.given + at, left) + load(row.recurrent + at, left) + load(row.bias + at, left);
      return sigmoid(clipped(sum, clip));
    };
    store(row.z + j, gate(0), left);
    store(row.scaled + j, gate(1) * (load(row.operand + j, left) + load(row.hidden_bias + j, left)), left);
  }
}

void gru_update(const GruRow& row) {
  const std::size_t hidden = row.hidden;
  const Vec clip = set(row.clip);
  for (std::size_t j = 0; j < hidden; j += kLanes) {
    const std::size_t left = hidden - j, at = 2 * hidden + j;
    const Vec sum = load(row.given + at, left) + load(row.term + j, left) + load(row.bias + at, left);
    const Vec candidate = hyperbolic_tangent(clipped(sum, clip));
    const Vec before = load(row.h + j, left);
    store(row.h + j, fma(load(row.z + j, left), before - candidate, candidate), left);
  }
}

void each_sigmoid(const float* x, float* y, std::size_t count) {
  for (std::size_t j = 0; j < count; j += kLanes) store(y + j, sigmoid(load(x + j, count - j)), count - j);
}

void each_tanh(const float* x, float* y, std::size_t count) {
  for (std::size_t j = 0; j < count; j += kLanes) store(y + j, hyperbolic_tangent(load(x + j, count - j)), count - j);
}
