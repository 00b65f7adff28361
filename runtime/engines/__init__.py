"""TensorRT engines of a bundle's vision side: build, keep a record, find, run."""
