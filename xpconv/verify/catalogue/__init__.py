"""What is asked: the operations, the shapes and options that each is tried on, the data, the dtypes."""
