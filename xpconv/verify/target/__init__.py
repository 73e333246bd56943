"""Somebody else's functions: loaded, asked what the course's are asked, judged in a process of their own."""
