"""Files that keep weights compressed in memory too: decoded at every run where the native library is present."""

from dtc.passes.lower.target import Target

TARGET = Target(
    name="storage",
    title="weights stay compressed in memory too; an operator of the domain dtc decodes each for its readers",
    functions=True,
    replaces_readers=False,
)
