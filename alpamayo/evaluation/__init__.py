"""Evaluation: run episodes, in one process or many, compare paired results, write the report."""
