"""The teacher's pack: plans fill their time, right answers are computed, wrong ones are mistakes."""

import doctest
import json
import math
import re
import zipfile
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import vit_steps
from vit_steps import ViT, attention_weights, image2emb_conv, image2patches, lessons, pool_mean
from vit_steps.commands.where import find_lessons
from vit_steps.lessons import encoder
from vit_steps.lessons.exercises import EXERCISES, LESSONS, find_exercise
from vit_steps.lessons.pack import command, moodle, plan
from vit_steps.lessons.pack.moodle import to_html, to_moodle
from vit_steps.lessons.pack.qti import to_qti, write_package
from vit_steps.lessons.pack.questions import parse_exam, read_exam, sentence
from vit_steps.training import load_checkpoint

each_lesson = pytest.mark.parametrize("lesson", LESSONS)
QUESTIONS = {(lesson[0], each.name): each for lesson in LESSONS for each in read_exam(lesson).questions}


# Right answers that are numbers or shapes come out of the package


def cut(height, width, patch_size, stride):
    kernel = torch.ones(192, 3, patch_size, patch_size)
    return image2emb_conv(torch.ones(1, 3, height, width), kernel, stride).shape[1]


def shared_columns(patch_size, stride):
    image = torch.ones(1, 1, patch_size, 3 * stride + patch_size, requires_grad=True)
    tokens = image2emb_conv(image, torch.ones(1, 1, patch_size, patch_size), stride)[0, :, 0]
    first, second = (torch.autograd.grad(tokens[n], image, retain_graph=True)[0][0, 0, 0] > 0 for n in (0, 1))
    return (first & second).nonzero()[:, 0].tolist()


def place_of(channel, row, col):
    image = torch.zeros(1, 3, 4, 4)
    image[0, channel, row, col] = 1
    return image2patches(image, 4)[0, 0].argmax().item()


def swapped():
    table = torch.arange(8.0)[:, None].repeat(1, 2)
    table[2], table[5] = table[5], table[2]
    return table[2, 0].item(), table[5, 0].item()


def reached(encoder):
    tokens = torch.randn(2, 5, 8, requires_grad=True)
    (encoder(tokens)[:, 0] * torch.randn(2, 8)).sum().backward()
    return (tokens.grad.abs() > 1e-6).any(dim=2).any(dim=0).tolist()


def gradient_of_expanded():
    torch.manual_seed(0)
    shared, patches = torch.randn(1, 1, 8, requires_grad=True), torch.randn(4, 3, 8)
    weights = torch.randn(4, 4, 8)
    (vit_steps.prepend_cls(patches, shared) * weights).sum().backward()
    return torch.allclose(shared.grad[0, 0], weights[:, 0].sum(dim=0))


def bag_and_turn():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True).eval()
    tokens, order = torch.randn(1, 6, 8), [0, 3, 5, 1, 2, 4]
    return torch.allclose(block(tokens)[:, 0], block(tokens[:, order])[:, 0], atol=1e-5)


def turned_score(moved):
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)
    first, second = (
        vit_steps.rotate(
            each, vit_steps.rotary_angles(torch.tensor([place], dtype=torch.float64) + moved, 16)
        )
        for each, place in ((query, [0.1, 0.2]), (key, [0.5, -0.3]))
    )
    return (first * second).sum().item()


def alone_without_batch_first():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, dropout=0.0).eval()
    tokens = torch.randn(1, 5, 8)
    changed = tokens.clone()
    changed[:, 3] += torch.randn(8)
    moved = (layer(changed) - layer(tokens)).abs().amax(dim=(0, 2)) > 0
    return moved.tolist()


def smoothed(place):
    """The target is the softmax at which the loss has no slope: read it from the package's gradient."""
    logits = torch.zeros(1, 10, requires_grad=True)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1).backward()
    return (0.1 - logits.grad[0, place]).item()


def size(*shape):
    return "(" + ", ".join(map(str, shape)) + ")"


DIGITS = load_checkpoint().config
COMPUTED = {
    ("1", "patches"): lambda: cut(224, 224, 16, 16),
    ("1", "overlap"): lambda: cut(8, 8, 4, 2),
    ("1", "shared"): lambda: "{}, {} and {}".format(*shared_columns(5, 2)),
    ("1", "place"): lambda: place_of(1, 2, 3),
    ("1", "weight"): lambda: size(*vit_steps.kernel2weight(torch.ones(192, 3, 16, 16)).shape),
    ("1", "kernel"): lambda: size(*vit_steps.weight2kernel(torch.ones(768, 192), 3, 16).shape),
    ("1", "pairs"): lambda: cut(224, 224, 8, 8) ** 2 // cut(224, 224, 16, 16) ** 2,
    ("2", "tokens"): lambda: vit_steps.prepend_cls(
        image2patches(torch.ones(1, 3, 8, 8), 4), torch.ones(1, 1, 48)
    ).shape[1],
    ("2", "registers"): lambda: vit_steps.prepend_cls(
        vit_steps.prepend_registers(torch.ones(1, 196, 8), torch.ones(1, 4, 8)), torch.ones(1, 1, 8)
    ).shape[1],
    ("2", "shape"): lambda: size(*pool_mean(torch.ones(2, 11, 8), num_prefix=5).shape),
    ("2", "numbers"): lambda: ViT(**DIGITS).cls_token.numel(),
    ("3", "rows"): lambda: ViT(**DIGITS | {"image_size": 8, "patch_size": 2}).pos_embed.shape[1],
    ("3", "numbers"): lambda: f"{ViT(**DIGITS | {'image_size': 8, 'patch_size': 2}).pos_embed.numel():,}",
    ("3", "first"): lambda: ", ".join(
        f"{each:.0f}" for each in vit_steps.sincos_position((1, 2), 8)[0, :4].tolist()
    ),
    ("4", "shape"): lambda: size(*attention_weights(*torch.ones(2, 2, 3, 17, 64)).shape),
    ("4", "matrix"): lambda: size(*ViT(**DIGITS).blocks[0].attn.qkv.weight.shape),
    ("4", "scale"): lambda: (
        f"{(torch.ones(1, 1, 1, 64) @ torch.ones(64, 1)).item() / math.log(scaled_sum()):.0f}"
    ),
    ("5", "start"): lambda: f"{nn.functional.cross_entropy(torch.zeros(3, 10), torch.arange(3)).item():.2f}",
    ("5", "head"): lambda: sum(each.numel() for each in ViT(**DIGITS).head.parameters()),
    ("5", "target"): lambda: f"{smoothed(0):.2f}",
    ("5", "others"): lambda: f"{smoothed(4):.3f}",
    ("5", "overflow"): lambda: str((-torch.tensor([0.0, 200.0]).softmax(dim=0).log()[0]).item()),
}


def scaled_sum():
    """How far apart the weights are that a score of 64 makes: by e to the power of 64 / √64."""
    query, key = torch.ones(1, 1, 2, 64, dtype=torch.float64), torch.ones(1, 1, 2, 64, dtype=torch.float64)
    key[0, 0, 1] = 0
    weights = attention_weights(query, key)[0, 0, 0]
    return (weights[0] / weights[1]).item()


@pytest.mark.parametrize("key", COMPUTED, ids=" ".join)
def test_the_right_answer_is_what_the_package_gives(key):
    assert QUESTIONS[key].right == str(COMPUTED[key]())


def test_right_answers_in_words_are_what_happens():
    kernel = torch.arange(2 * 48.0).reshape(48, 2)
    twin = kernel.reshape(2, 3, 4, 4)
    assert twin.shape == vit_steps.weight2kernel(kernel, 3, 4).shape
    assert not torch.equal(twin, vit_steps.weight2kernel(kernel, 3, 4))  # 1 twin
    patches = image2patches(torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12), 4)
    blocks = patches.reshape(2, 2, 3, 3, 4, 4).permute(0, 3, 1, 4, 2, 5)  # 1 back
    assert torch.equal(blocks.reshape(2, 3, 8, 12), vit_steps.patches2image(patches, 4, (8, 12)))
    tokens = torch.randn(2, 11, 8)
    assert torch.allclose(tokens[:, 5:].mean(dim=1), pool_mean(tokens, num_prefix=5))  # 2 mean
    assert tokens[:, :-0].numel() == 0  # 2 minus
    assert gradient_of_expanded()  # 2 gradient
    assert reached(lambda tokens: tokens) == [True] + 4 * [False]  # 2 alone
    assert reached(nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True)) == 5 * [True]  # 2 through
    assert swapped() == (5.0, 5.0)  # 3 swap
    assert bag_and_turn()  # 3 bag
    assert abs(turned_score(0.0) - turned_score(torch.tensor([0.3, -0.25]))) < 1e-12  # 3 turn
    assert lessons.check_sincos_1d(lambda *_: None, None) is False
    weights = attention_weights(torch.ones(1, 1, 1, 1), torch.tensor([[[[0.0]]]]).expand(1, 1, 1, 1))
    assert weights.item() == 1
    scores = attention_weights(torch.ones(1, 1, 2, 1), torch.tensor([[[[0.0], [math.log(3)]]]]))[0, 0, 0]
    assert torch.allclose(scores, torch.tensor([0.25, 0.75]))  # 4 softmax
    late = encoder.WEIGHTS_ZOO["scaling after the softmax (its weights sum to 1 / √head_dim)"]
    assert torch.allclose(late(*torch.randn(2, 1, 1, 3, 16)).sum(dim=-1), torch.tensor(0.25))  # 4 late
    merge = encoder.ATTENTION_ZOO["heads merged without the transpose (with one head it does no harm)"]
    given = torch.randn(2, 5, 8), nn.Linear(8, 24), nn.Linear(8, 8)
    same = [
        torch.allclose(merge(*given, h)[0], vit_steps.self_attention(*given, h)[0], atol=1e-6) for h in (1, 2)
    ]
    assert same == [True, False]  # 4 one
    assert alone_without_batch_first() == [False, False, False, True, False]  # 4 first, and still
    assert all(torch.equal(pool(torch.ones(2, 5, 8)), torch.ones(2, 8)) for pool in encoder.POOL_ZOO.values())
    model = ViT(**DIGITS).requires_grad_(False)
    assert not any(each.requires_grad for each in model.parameters())  # 5 freeze


def test_the_line_has_the_pairs_of_the_exercise():
    """Question 3 line: its right answer is the one pair that breaks at the end of a row."""
    pairs = {text: tuple(map(int, re.findall(r"\d+", text))) for text, _ in QUESTIONS["3", "line"].choices}
    breaks = [text for text, (first, second) in pairs.items() if second - first == 1 and second % 7 == 0]
    assert breaks == [QUESTIONS["3", "line"].right]


# Wrong answers are mistakes

REACHED = {
    ("1", "overlap"): lambda answer: str(answer((8, 8), 4, 2)[0]),
    ("1", "shared"): lambda answer: spoken(answer((5, 20), 5, 2)[1]),
    ("2", "registers"): lambda answer: str(answer(*registers()).shape[1]),
    ("2", "shape"): lambda answer: shape_of(answer(torch.ones(2, 11, 8), 5)),
}


def spoken(columns):
    *most, last = map(str, columns)
    return f"{', '.join(most)} and {last}"


def shape_of(tensor):
    return f"({tensor.shape[0]},)" if tensor.ndim == 1 else size(*tensor.shape)


def registers():
    return torch.ones(1, 196, 8), torch.ones(1, 1, 8), torch.ones(1, 4, 8)


@pytest.mark.parametrize("key", REACHED, ids=" ".join)
def test_a_wrong_answer_is_what_the_mistake_gives(key):
    for choice in QUESTIONS[key].wrong:
        if choice.exercise:
            mistakes = find_exercise(choice.exercise).mistakes
            given = {
                words: REACHED[key](answers[0])
                for words, answers in mistakes.items()
                if choice.mistake in words
            }
            assert choice.text in given.values(), given


@each_lesson
def test_there_are_ten_questions_and_most_wrong_answers_are_mistakes_that_checks_know(lesson):
    exam = read_exam(lesson)
    assert len(exam.questions) == 10
    assert len({question.name for question in exam.questions}) == 10
    assert len(exam.needs) == 3
    for question in exam.questions:
        assert len({question.right, *(choice.text for choice in question.wrong)}) == 4
        assert len(question.choices) == 4
    known = [choice for question in exam.questions for choice in question.wrong if choice.exercise]
    assert all(choice.exercise[0] == lesson[0] for choice in known)
    assert len(known) >= 9
    assert sum(any(choice.exercise for choice in question.wrong) for question in exam.questions) >= 6


def test_the_right_answer_stands_at_each_place():
    places = [[text for text, _ in each.choices].index(each.right) for each in QUESTIONS.values()]
    assert all(places.count(place) >= 6 for place in range(4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "needs: a\n\n? b: c\n= 1\n- 2 | d\n- 3 | e\n# f",
            "question b needs one right answer, three wrong ones",
        ),
        ("needs: a\n\n? b: c\n= 1\n- 2 | d\n- 3 | e\n- 4\n# f", "the wrong answer '4' says no mistake"),
        (
            "needs: a\n\n? b: c\n= 1\n- 2 | 1c you dance\n- 3 | e\n- 4 | g\n# f",
            "exercise 1c names no mistake 'you dance'",
        ),
    ],
)
def test_a_file_that_says_too_little_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_exam(LESSONS[0], text)


# The plan


@each_lesson
def test_a_plan_fills_ninety_minutes_and_names_every_section(lesson):
    notebook = json.loads((find_lessons() / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    parts = plan.sections(notebook)
    assert sum(part.minutes for part in parts) == 45
    assert min(part.minutes for part in parts) >= 1
    headings = [
        line.lstrip("# ")
        for cell in notebook["cells"]
        if cell["cell_type"] == "markdown"
        and cell["metadata"].get("slideshow", {}).get("slide_type") == "slide"
        and not cell["id"].startswith("exercise")
        for line in "".join(cell["source"]).splitlines()
        if re.match("##? ", line)
    ]
    assert [part.title for part in parts] == headings
    written = plan.write_plan(read_exam(lesson))
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ", written, flags=re.M)
    begin = 0
    for minutes, start in rows:
        assert int(start) == begin
        begin += int(minutes)
    assert begin == 90


@each_lesson
def test_every_mistake_that_a_check_names_stands_in_the_plan(lesson):
    written = plan.write_plan(read_exam(lesson))
    for exercise in EXERCISES:
        if exercise.lesson == lesson:
            assert exercise.title in written
            for words in exercise.mistakes:
                if not (words.startswith(plan.SLIP) and "; " in words):
                    assert words.removeprefix(plan.SLIP)[1:].rstrip(".?") in written
    assert f"| together | {10 + sum(each.points for each in EXERCISES if each.lesson == lesson)} |" in written


def test_a_mistake_becomes_a_sentence():
    assert sentence("you forget it") == "You forget it."
    assert sentence("is it so?") == "Is it so?"
    assert sentence("model.eval() does nothing") == "model.eval() does nothing."


# What platforms read

MOODLE = {
    "category": ["category"],
    "multichoice": [
        *("name", "questiontext", "generalfeedback", "defaultgrade", "penalty", "hidden", "single"),
        *("shuffleanswers", "answernumbering", "answer", "answer", "answer", "answer"),
    ],
}


@each_lesson
def test_moodle_finds_ten_questions_each_with_one_right_answer(lesson):
    root = ElementTree.fromstring(to_moodle(read_exam(lesson)))
    first, *questions = root
    assert (root.tag, first.get("type"), len(questions)) == ("quiz", "category", 10)
    assert first.findtext("category/text") == f"$course$/vit-steps/{lesson}"
    for question in [first, *questions]:
        assert [child.tag for child in question] == MOODLE[question.get("type")]
    for question, ours in zip(questions, read_exam(lesson).questions, strict=True):
        assert question.findtext("questiontext/text") == to_html(ours.text)
        answers = question.findall("answer")
        assert sorted(answer.get("fraction") for answer in answers) == ["0", "0", "0", "100"]
        assert {answer.get("format") for answer in answers} == {"html"}
        (right,) = [answer.findtext("text") for answer in answers if answer.get("fraction") == "100"]
        assert right == to_html(ours.right)
        assert all(answer.findtext("feedback/text") for answer in answers)
        for text in question.iter("text"):
            ElementTree.fromstring(f"<p>{text.text}</p>")  # HTML that is XML, too


# Of QTI 1.2's own DTD (ims_qtiasiv1p2.dtd), what we use of it: children in their order, and attributes.
QTI = {
    "questestinterop": ("assessment", set()),
    "assessment": ("section", {"ident", "title"}),
    "section": ("(item )+", {"ident"}),
    "item": ("presentation resprocessing (itemfeedback )+", {"ident", "title"}),
    "presentation": ("material response_lid", set()),
    "material": ("mattext", set()),
    "mattext": ("", {"texttype"}),
    "response_lid": ("render_choice", {"ident", "rcardinality"}),
    "render_choice": ("(response_label )+", {"shuffle"}),
    "response_label": ("material", {"ident"}),
    "resprocessing": ("outcomes (respcondition )+", set()),
    "outcomes": ("decvar", set()),
    "decvar": ("", {"varname", "vartype", "minvalue", "maxvalue", "defaultval"}),
    "respcondition": ("conditionvar setvar displayfeedback", {"continue"}),
    "conditionvar": ("varequal", set()),
    "varequal": ("", {"respident"}),
    "setvar": ("", {"action", "varname"}),
    "displayfeedback": ("", {"feedbacktype", "linkrefid"}),
    "itemfeedback": ("flow_mat", {"ident"}),
    "flow_mat": ("material", set()),
}


@each_lesson
def test_qti_is_as_its_definition_says_and_scores_the_right_answer(lesson):
    exam = read_exam(lesson)
    root = ElementTree.fromstring(to_qti(exam))
    for element in root.iter():
        assert element.tag.startswith("{http://www.imsglobal.org/xsd/ims_qtiasiv1p2}")
        element.tag = element.tag.partition("}")[2]
    for element in root.iter():
        children, attributes = QTI[element.tag]
        found = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(children.strip() + " ?" if children else "", found), (element.tag, found)
        assert {*element.attrib} == attributes
    items = root.findall("assessment/section/item")
    assert len({item.get("ident") for item in items}) == 10
    for item, ours in zip(items, exam.questions, strict=True):
        labels = {
            each.get("ident"): each.findtext("material/mattext") for each in item.iter("response_label")
        }
        scores = {
            each.findtext("conditionvar/varequal"): each.findtext("setvar")
            for each in item.iter("respcondition")
        }
        (right,) = [ident for ident, score in scores.items() if score == "100"]
        assert labels[right] == f"<p>{to_html(ours.right)}</p>"
        assert {*labels} == {*scores}
        feedback = {each.get("ident") for each in item.iter("itemfeedback")}
        assert {each.get("linkrefid") for each in item.iter("displayfeedback")} == feedback


def test_the_package_has_a_manifest_and_the_same_bytes_each_time(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_package(tmp_path / name, read_exam(LESSONS[0]))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as package:
        assert package.namelist() == ["imsmanifest.xml", "assessment.xml"]
        manifest = ElementTree.fromstring(package.read("imsmanifest.xml"))
    (resource,) = manifest.iter("{http://www.imsglobal.org/xsd/imscp_v1p1}resource")
    assert (resource.get("type"), resource.get("href")) == ("imsqti_xmlv1p2", "assessment.xml")


# The command


def test_the_command_writes_a_folder_for_each_lesson(tmp_path, capsys):
    assert command.main(["1", "4_encoder", "--out", str(tmp_path)]) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1_patch_embedding", "4_encoder"]
    names = sorted(each.name for each in (tmp_path / "4_encoder").iterdir())
    assert names == ["moodle.xml", "plan.md", "qti.zip", "questions.md"]
    questions = (tmp_path / "4_encoder/questions.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\*\*\d+\.\*\*", questions, flags=re.M)) == 10
    assert len(re.findall(r"^\d+\. \*\*[abcd]\)\*\*", questions, flags=re.M)) == 10
    assert capsys.readouterr().out.count("\n") == 2


def test_a_lesson_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main(["6", "--out", str(tmp_path)])
    assert "lesson must be one of 1_patch_embedding, 2_cls_token" in capsys.readouterr().err


@pytest.mark.parametrize("module", [moodle, plan])
def test_examples_in_docstrings_are_right(module):
    assert doctest.testmod(module).failed == 0
