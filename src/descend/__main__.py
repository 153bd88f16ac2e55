"""`python -m descend` is the `descend` command."""

import sys

from descend.cli import main

sys.exit(main())
