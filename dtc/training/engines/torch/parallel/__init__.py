"""Data-parallel training: several processes, each with a device of its own, run parts of every batch.

The worker process is the first of them. It alone optimizes, distorts, evaluates and writes; the others are helpers,
which give it the gradients of their parts. So a run has one writer, and goes on bit for bit, as any other does.
"""
