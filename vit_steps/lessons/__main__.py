"""``python -m vit_steps.lessons``."""

from vit_steps.lessons.editions.command import main

if __name__ == "__main__":
    raise SystemExit(main())
