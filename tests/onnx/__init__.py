"""Models of ONNX: its own test cases, and ONNX Runtime, beside the operators of xpconv.onnx."""
