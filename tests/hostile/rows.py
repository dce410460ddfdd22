"""All rows."""

from hostile import (
    rows_files,
    rows_launch,
    rows_lessons,
    rows_look,
    rows_looking,
    rows_plots,
    rows_steps,
    rows_training,
)

ROWS = rows_steps.ROWS | rows_plots.ROWS | rows_looking.ROWS | rows_files.ROWS | rows_training.ROWS
ROWS |= rows_look.ROWS | rows_launch.ROWS | rows_lessons.ROWS
