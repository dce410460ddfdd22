"""``python -m vit_steps.lessons.pack``."""

from vit_steps.lessons.pack.command import main

if __name__ == "__main__":
    raise SystemExit(main())
