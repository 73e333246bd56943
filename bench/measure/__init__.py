"""Clocks, how long to time, the machine, devices, memory, and the record of what was measured."""
