"""One worker: its threads, its memory, its array calls."""
