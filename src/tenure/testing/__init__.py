"""Checks that everything behind one protocol must pass, for tenure's own backends and for yours.

A check takes what it judges, returns nothing, and raises `AssertionError` with a sentence that says which promise was
broken. `tenure.testing.family` judges model families.
"""
