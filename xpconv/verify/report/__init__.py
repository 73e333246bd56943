"""What is told: a run on the screen and in files, and against what another machine reported."""
