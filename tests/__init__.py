"""The test suite of xpconv: an oracle in plain loops, generators of cases, and checks that are tested themselves."""
