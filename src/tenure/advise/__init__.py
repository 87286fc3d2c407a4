"""Advice from measurements: which model is worth having on this project's own data, at which cost."""
