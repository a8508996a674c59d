"""Measures what profiling costs and how true it is, beside other profilers; no part of the package."""
