"""Scores of every customer in a snapshot: as Parquet, as a table of the database, and as a list of whom to contact."""
