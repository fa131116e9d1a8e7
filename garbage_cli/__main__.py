"""`python -m garbage_cli` is the same program as `garbage`."""

from garbage_cli.cli import main

if __name__ == "__main__":
    main()
