"""How it is judged: one check on one backend, what its result is held to, and what a failure comes down to."""
