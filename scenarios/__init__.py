"""Scenarios: the YAML language, its library of long-tail families, sampling, and suites."""
