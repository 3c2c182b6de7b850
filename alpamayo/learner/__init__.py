"""The learner: exact trace objective, advantages, and the RLlib learner that applies them."""
