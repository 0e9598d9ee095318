"""The runtimes that a file can be checked in beside the installed ONNX Runtime, a module each.

A module has a `NAME` for the command line, the pip `PACKAGE` that brings the runtime, the `MODULE` that is imported of
it, and `run(path, feeds, outputs)`: of a model file, arrays by the names of inputs, and the names of outputs it returns
the outputs as arrays, in order, and raises what the runtime raises. It may end the process, as it runs in one of its
own, under any interpreter that has the package; so it imports NumPy and the runtime alone, and those inside `run`.
"""
