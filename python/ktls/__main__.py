"""``python -m ktls``: the command ``ktls``, without its entry point."""

import sys

from ktls.cli import main

if __name__ == "__main__":
    sys.exit(main())
