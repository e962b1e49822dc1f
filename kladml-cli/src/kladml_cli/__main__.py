"""`python -m kladml_cli` is `kladml`."""

import sys

from kladml_cli.main import main

sys.exit(main())
