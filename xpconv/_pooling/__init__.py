"""Pooling and its gradients, axis after axis."""
