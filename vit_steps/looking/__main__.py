"""``python -m vit_steps.looking``."""

from vit_steps.looking.command import main

if __name__ == "__main__":
    raise SystemExit(main())
