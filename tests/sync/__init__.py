"""Tests of the sync without FUSE: whole devices on the in-memory twins, on a clock that is turned by hand."""
