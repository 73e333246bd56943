"""What is right: every operation in plain loops over positions and taps. Nothing of the engine is imported.

Arrays are channels last. The arithmetic is that of the arrays that come in: whole numbers (int64, or Python integers in
arrays of dtype object) are summed exactly; what is divided becomes a `fractions.Fraction`. Nothing is ever rounded.
"""
