"""Files that are fast where the native library of dtc is present, and run on any ONNX Runtime."""

from dtc.passes.lower.target import Target

TARGET = Target(
    name="compute",
    title="operators of the domain dtc compute on compressed weights; each brings its function in standard operators",
    functions=True,
    replaces_readers=True,
    integers=True,
)
