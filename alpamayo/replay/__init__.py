"""Replays: recorded episodes that can be re-simulated, verified and shown."""
