"""The public operations: signature, documentation, and the steps of a call."""
