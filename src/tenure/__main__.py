"""`python -m tenure`: the program, where its name is not on the path."""

import sys

from tenure.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
