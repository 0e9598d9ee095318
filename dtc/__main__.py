"""`python -m dtc`: the command line."""

from dtc.cli import main

if __name__ == "__main__":
    main()
