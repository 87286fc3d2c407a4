"""The tests, one folder per stage; `architecture/` holds the rules that the code itself must keep."""
