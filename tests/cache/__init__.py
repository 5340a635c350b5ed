"""Tests of the local side: state, rows, working copies, what users and servers do to them, recovery."""
