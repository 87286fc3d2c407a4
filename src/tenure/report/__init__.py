"""A version's report: one HTML page that says what the model can do, how sure that is, and what it was made from."""
