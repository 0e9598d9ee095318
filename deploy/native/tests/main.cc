#include "tests/check.h"

int main() { return dtc::testing::run_all(); }
