"""Everything that follows from sizes and keywords alone, in Python integers; never sees an array."""
