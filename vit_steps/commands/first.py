"""``vit-steps doctor`` speaks before anything is loaded: its news may be that nothing can be."""

import os
import sys

if sys.argv[1:2] == ["doctor"] and os.path.splitext(os.path.basename(sys.argv[0]))[0] in ("vit-steps", "-m"):
    from vit_steps.commands.doctor import main

    raise SystemExit(main(sys.argv[2:]))
