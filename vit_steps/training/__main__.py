"""``python -m vit_steps.training``."""

from vit_steps.training._processes import leave
from vit_steps.training.command import main

if __name__ == "__main__":
    leave(main())
