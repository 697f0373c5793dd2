"""``python -m ktls.cli``: the command without its entry point."""

import sys

from ktls.cli import main

sys.exit(main())
