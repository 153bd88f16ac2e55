"""`python -m descend` is the `descend` command."""

import sys

from descend.interfaces.cli import main

sys.exit(main())
