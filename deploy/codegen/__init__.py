"""Models as C11 without heap or operating system: what targets `c` and `wasm` share.

`compiling` makes calls of kernels of the nodes of a model, `planning` gives their tensors places in one arena, and
`emitting` writes both as C, beside the kernels in `kernels/`, which are the same for all models. `weights` finds the
form that each weight is stored and computed on in; `operators` has a module for each kind of operators.
"""
