"""The three passes of a convolution, planned and run."""
