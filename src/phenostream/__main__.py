"""``python -m phenostream`` is the command ``phenostream``."""

from phenostream.cli import main

if __name__ == "__main__":
    main()
