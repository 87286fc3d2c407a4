"""Point-in-time truth: what a customer looked like at a cutoff, and whether they left afterwards.

Features are declared once (`declare`), compiled to relational expressions (`compile`), joined with who is at risk and
who left (`label`) and written as one snapshot per cutoff (`snapshot`). `audit` looks for features that know the future.
"""
