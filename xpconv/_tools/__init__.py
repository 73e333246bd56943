"""For programs, never for operations: libraries found, machine, terminal, files."""
