"""From measurements to tables, goals, charts and files."""
