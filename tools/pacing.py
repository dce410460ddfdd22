"""How long to stay on each slide: 45 minutes of slides and, where there are any, 45 of exercises.

A lecture's minutes are shared out as a reader's would be (``reading_time``), and no slide gets less than
twenty seconds. An exercise has as many minutes as the next one, on the slide where it is worked at. reveal.js
shows the speaker whether time is kept.
"""

from deck import Slide, is_stub
from reading_time import Reading, count, of_text

LECTURE = EXERCISES = 45 * 60  # seconds
LEAST = 20


def pace(stacks: list[list[Slide]]) -> None:
    """Give every slide its ``seconds``."""
    slides = [slide for stack in stacks for slide in stack]
    exercises = [slide for slide in slides if slide.is_exercise]
    share_out(LECTURE, [slide for slide in slides if not slide.is_exercise], minutes)
    share_out(EXERCISES, exercises, is_worked_at)


def share_out(total: int, slides: list[Slide], weigh) -> None:
    """Whole seconds that come to the total: each slide ends where its share of the way does."""
    weights = [weigh(slide) for slide in slides]
    left = total - LEAST * len(slides)
    for number, slide in enumerate(slides):
        ends = [left * sum(weights[:end]) / sum(weights) for end in (number, number + 1)]
        slide.seconds = LEAST + round(ends[1]) - round(ends[0])


def is_worked_at(slide: Slide) -> bool:
    return any(not isinstance(part, str) and is_stub(part) for part in slide.parts)


def minutes(slide: Slide) -> float:
    """What a reader would need for what is on it."""
    parts = (of_text(part) if isinstance(part, str) else count(part) for part in slide.parts)
    return sum(parts, Reading(words=1)).minutes
