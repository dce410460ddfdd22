"""``python -m vit_steps.lessons.grading``."""

from vit_steps.lessons.grading.command import main

if __name__ == "__main__":
    raise SystemExit(main())
