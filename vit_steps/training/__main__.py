"""``python -m vit_steps.training``."""

from vit_steps.training import command
from vit_steps.training._processes import leave


def main(arguments: list[str] | None = None) -> None:
    """Run the command, and end this process, which may be one of several."""
    leave(command.main(arguments))


if __name__ == "__main__":
    main()
