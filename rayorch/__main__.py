"""`python -m rayorch` is `rayorch`."""

from rayorch.cli.main import main

if __name__ == "__main__":
    main()
