"""The questions as Moodle XML, which Moodle's question bank imports (docs.moodle.org: Moodle XML format)."""

import re
from html import escape
from xml.etree import ElementTree

from vit_steps.lessons.pack.questions import Exam, Question


def to_moodle(exam: Exam) -> bytes:
    """Write an exam as a quiz of multiple-choice questions, each in the category of its lesson."""
    quiz = ElementTree.Element("quiz")
    category = ElementTree.SubElement(quiz, "question", type="category")
    _text(ElementTree.SubElement(category, "category"), f"$course$/vit-steps/{exam.lesson}")
    for question in exam.questions:
        quiz.append(_question(exam.lesson, question))
    ElementTree.indent(quiz)
    return ElementTree.tostring(quiz, encoding="utf-8", xml_declaration=True)


def _question(lesson: str, question: Question) -> ElementTree.Element:
    element = ElementTree.Element("question", type="multichoice")
    _text(ElementTree.SubElement(element, "name"), f"{lesson[0]} {question.name}")
    _html(element, "questiontext", question.text)
    _html(element, "generalfeedback", question.why)
    settings = {"defaultgrade": "1", "penalty": "0.3333333", "hidden": "0", "single": "true"}
    for name, value in {**settings, "shuffleanswers": "true", "answernumbering": "abc"}.items():
        ElementTree.SubElement(element, name).text = value
    for text, said in question.choices:
        fraction = "100" if text == question.right else "0"
        answer = _html(element, "answer", text, fraction=fraction)
        _html(answer, "feedback", said)
    return element


def _text(element: ElementTree.Element, text: str) -> None:
    ElementTree.SubElement(element, "text").text = text


def _html(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name, {**attributes, "format": "html"})
    _text(element, to_html(text))
    return element


def to_html(text: str) -> str:
    """Write a line of our files as HTML: code between backquotes, stress between asterisks.

    >>> to_html("a `b_c` < *d*")
    'a <code>b_c</code> &lt; <em>d</em>'
    """
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else re.sub(r"\*([^*]+)\*", r"<em>\1</em>", escape(part))
        for number, part in enumerate(parts)
    )
