"""Tests of the outside: servers and storage hosts, real ones and their twins."""
