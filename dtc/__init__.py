"""dtc compresses an ONNX model into an ONNX model."""
