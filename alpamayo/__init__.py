"""Alpamayo: closed-loop post-training for end-to-end driving policies."""

__version__ = "0.1.0"
