"""What a teacher's commands are made of."""

from hostile.trial import Row
from vit_steps.lessons.exercises import find_exercise
from vit_steps.lessons.pack.questions import read_exam

ROWS = {
    "lessons.exercises.find_exercise": Row(find_exercise, lambda: dict(id="2b")),
    "lessons.pack.questions.read_exam": Row(read_exam, lambda: dict(lesson="2_cls_token")),
}
