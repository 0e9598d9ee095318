// Nodes that an operator takes, of random sizes and contents.
#ifndef DTC_TESTS_FUZZ_FORMS_H_
#define DTC_TESTS_FUZZ_FORMS_H_

#include <map>
#include <string>
#include <vector>

#include "tests/fuzz_source.h"

namespace dtc::testing {

/// A node: its inputs, those that are left out being of no type, and its attributes.
struct Example {
  std::string name;
  std::vector<Array> inputs;
  std::map<std::string, std::int64_t> integers;
  std::map<std::string, std::string> strings;
  std::map<std::string, float> reals;
};

/// A node that operator `name` takes; of operators that are not known here, one with random inputs.
Example example_of(const std::string& name, std::size_t inputs, Source& source);

/// Changes something, most likely so that the operator does not take the node any more.
void damage(Example& example, Source& source);

}  // namespace dtc::testing

#endif  // DTC_TESTS_FUZZ_FORMS_H_
