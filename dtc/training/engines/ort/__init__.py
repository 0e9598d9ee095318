"""The `ort` engine: onnxruntime-training 1.19.2 in a process of its own, installed apart from the user's runtime."""
