"""Who runs against whom, in which turns, and whether the results agree."""
