"""What is right: windows, and what every operation makes of them, in plain loops over exact numbers."""
