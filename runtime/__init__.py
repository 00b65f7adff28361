"""Device: from two pictures to an inspection, in numpy, Pillow, tokenizers and onnxruntime."""
