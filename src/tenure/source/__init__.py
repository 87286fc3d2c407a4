"""Events, customers, periods and plain tables come in, are checked row by row, and leave in one canonical form.

`ingest` reads what the settings name and gives a `History` and a `ContractReport`; everything later reads only those.
"""
