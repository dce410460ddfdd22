"""The questions as QTI 1.2 in a package, which Canvas, Blackboard, ILIAS and others import (IMS, 2002)."""

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from vit_steps.files.writing import write_whole
from vit_steps.lessons.pack.moodle import to_html
from vit_steps.lessons.pack.questions import Exam, Question

NAMESPACE = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
PACKAGE = "http://www.imsglobal.org/xsd/imscp_v1p1"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes, whenever it is made


def to_qti(exam: Exam) -> bytes:
    """Write an exam as an assessment of one section."""
    root = Element("questestinterop", xmlns=NAMESPACE)
    name = f"lesson_{exam.lesson[0]}"
    assessment = SubElement(root, "assessment", ident=name, title=f"vit-steps, lesson {exam.lesson[0]}")
    section = SubElement(assessment, "section", ident="root_section")
    for question in exam.questions:
        section.append(_item(name, question))
    return _written(root)


def write_package(path: Path, exam: Exam) -> None:
    """Write the assessment and its manifest as a zip, at once and whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in (("imsmanifest.xml", _manifest()), ("assessment.xml", to_qti(exam))):
            package.writestr(zipfile.ZipInfo(name, EPOCH), text)
    write_whole(path, lambda draft: draft.write_bytes(buffer.getvalue()))


def _written(root: Element) -> bytes:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _manifest() -> bytes:
    root = Element("manifest", xmlns=PACKAGE, identifier="vit_steps")
    metadata = SubElement(root, "metadata")
    SubElement(metadata, "schema").text = "IMS Content"
    SubElement(metadata, "schemaversion").text = "1.1.3"
    SubElement(root, "organizations")
    resources = SubElement(root, "resources")
    resource = SubElement(
        resources, "resource", identifier="questions", type="imsqti_xmlv1p2", href="assessment.xml"
    )
    SubElement(resource, "file", href="assessment.xml")
    return _written(root)


def _item(name: str, question: Question) -> Element:
    item = Element("item", ident=f"{name}_{question.name}", title=question.name)
    presentation = SubElement(item, "presentation")
    _material(presentation, question.text)
    response = SubElement(presentation, "response_lid", ident="response1", rcardinality="Single")
    choices = SubElement(response, "render_choice", shuffle="Yes")
    for number, (text, _) in enumerate(question.choices, start=1):
        _material(SubElement(choices, "response_label", ident=f"choice{number}"), text)
    _processing(item, question)
    for number, (_, said) in enumerate(question.choices, start=1):
        feedback = SubElement(item, "itemfeedback", ident=f"said{number}")
        _material(SubElement(feedback, "flow_mat"), said)
    return item


def _material(parent: Element, text: str) -> None:
    SubElement(
        SubElement(parent, "material"), "mattext", texttype="text/html"
    ).text = f"<p>{to_html(text)}</p>"


def _processing(item: Element, question: Question) -> None:
    """What a choice scores, and which words it hears."""
    processing = SubElement(item, "resprocessing")
    limits = {"minvalue": "0", "maxvalue": "100", "defaultval": "0"}
    SubElement(SubElement(processing, "outcomes"), "decvar", varname="SCORE", vartype="Decimal", **limits)
    for number, (text, _) in enumerate(question.choices, start=1):
        condition = SubElement(processing, "respcondition", {"continue": "Yes"})
        chosen = SubElement(SubElement(condition, "conditionvar"), "varequal", respident="response1")
        chosen.text = f"choice{number}"
        score = "100" if text == question.right else "0"
        SubElement(condition, "setvar", action="Set", varname="SCORE").text = score
        SubElement(condition, "displayfeedback", feedbacktype="Response", linkrefid=f"said{number}")
