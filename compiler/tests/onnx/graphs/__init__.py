"""Random ONNX networks: drawn, judged against ONNX Runtime, and made smaller. `../random_graphs.py` is the program."""
