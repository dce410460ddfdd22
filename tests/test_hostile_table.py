"""Every public function against every kind of hostile input; ``python -m tests.hostile`` prints the table.

It works and is right, or it is refused at the door, by name. Nothing else, and no input is ever changed.
"""

import importlib
import inspect
from pathlib import Path

import pytest
import torch
from hostile import kinds
from hostile.kinds import Kind, kinds_of
from hostile.rows import ROWS, rows_steps
from hostile.trial import Row, is_ours, judge, run, tries
from hypothesis import given, settings
from hypothesis import strategies as st

import vit_steps

pytestmark = pytest.mark.usefixtures("doors_only")

PACKAGE = Path(vit_steps.__file__).parent
RECORD = "a record: it holds what it is given, and the function that reads it is tried"
OF_A_WIDGET = "made by a function of this module, whose row it is; traitlets checks what it is given"
OF_A_FIGURE = "takes a figure that the package drew, or its PNG: show_figure and the widgets are tried"
OF_ITS_OWN = "between a widget's function and its door: the widgets are tried"
OF_THE_BASE = ("as_drawn", "drawing")
OF_SCRIPTS = "joins the scripts that lie beside it, for the widgets and the page that are made of them"
OF_A_MODEL = "made by ViT alone, after its own doors"
TO_BE_READ = "a loop that lesson 5 shows and feeds its own digits; fit is what is called with anything"
COMMAND = "a command line: argparse answers, see test_training_command and test_look_command"
NO_ARGUMENTS = "takes nothing"
OF_LAY = "between a command and lay, which is tried"
OF_A_MACHINE = "takes what the machine says of itself; test_doctor fakes all of it"
OF_A_LOOK = "between look and its command, or a look and its file: these are tried"
OF_A_PICTURE = "stands behind Preprocess and load_image_folder, which are tried with all kinds of bad files"
OF_PICTURES = ("BadPicture", "TooLarge", "BombFound", "open_picture", "convert_picture", "printable")
OF_PICTURES += ("to_eight_bits",)
OF_FILES = "within the package: what calls it is tried, with good files and bad"
WRITERS = ("write_whole", "write_table", "write_folder", "writable", "apart")
READERS = ("open_file", "read_json", "parse_json", "read_safetensors", "read_metadata")
READERS += ("shown", "digest", "naming", "open_safetensors")
OF_PRETRAINED = ("configs.read_facts", "configs.pair_of", "finding.find", "hub.download", "seals.seal")
OF_PRETRAINED += ("seals.read_own_header", "seals.check_digest", "seals.check_beside", "seals.fingerprint")
OF_PRETRAINED += ("weight_files.WeightFile", "weight_files.open_weights", "weight_files.damaged")
OF_PRETRAINED += ("unsaid.unsaid_preparation", "weight_files.opener_of", "spelling.unwrap")
OF_PRETRAINED += ("obstacles.by_keys", "weight_files.shards_of")
OF_PRETRAINED += tuple(f"architectures.{name}" for name in ("check_known", "check_arguments", "heads_of"))
OF_PRETRAINED += ("architectures.width_of", "open_clip.in_other_words")
OF_PRETRAINED += ("pickles.Limited", "pickles.check_steps", "pickles.steps_of", "shapes.check_shapes")
OF_PRETRAINED += tuple(f"archives.{name}" for name in ("members_of", "check_unpacked", "size_of", "fill"))
OF_PRETRAINED += ("scripted.folder_of_module", "scripted.open_scripted", "scripted.Scripted")
OF_PRETRAINED += tuple(f"scripted.{name}" for name in ("Global", "Module", "Storage", "Stored"))
OF_LAYERS = ("PatchEmbed", "Attention", "AttentionPool", "Block", "QuickGELU", "SwiGLU", "GEGLU", "make_mlp")
OF_PRETRAINED += tuple(
    f"positions.{name}" for name in ("read_positions", "check_angles_fit", "turning", "fit")
)
OF_PRETRAINED += ("rewriting.as_they_are_here", "rewriting.with_biases", "rewriting.from_google")
OF_PRETRAINED += (
    "rewriting.join",
    "rewriting.times",
    "rewriting.shape_tokens",
    "rewriting.split_qkv",
    "spelling.spell_as_timm",
)
OF_PRETRAINED += ("rotary.Rotary", "rotary.pair_halves", "shapes.read_kind", "positions.Table")
OF_SIGHTS = "for load_sights and the tool that makes what ships: each was checked before it comes here"
SIGHTS = ("sights.see", "sights.tokens_and_attention", "sights.in_few_directions")
SIGHTS += ("sights.unpack_signed", "sights.place_of", "crops.cut", "crops.picture_of")
OF_LOADED = "hands a name on to load_pretrained, which is tried with all kinds of them"
OF_GRADING = "between the command and a notebook: test_grading feeds it notebooks of every kind"
GRADING = ("command.Worker", "hand_ins.find_hand_ins", "notebook.read_program", "trial.run", "seal.Seal")
GRADING += tuple(f"jail.{name}" for name in ("JailError", "enter", "hold", "seen", "why", "works"))
GRADING += tuple(
    f"judge.{name}" for name in ("Trial", "alone", "checked", "judge", "main", "warm_up", "watch")
)
GRADING += tuple(f"report.{name}" for name in ("count", "rows_of", "sentence", "write_csv", "write_page"))
OF_PACK = "takes an exam that read_exam has read, or a notebook of ours"
PACK = ("command.write_pack", "moodle.to_html", "moodle.to_moodle", "qti.to_qti", "qti.write_package")
PACK += ("questions.parse_exam", "questions.sentence")
PACK += tuple(f"plan.{name}" for name in ("exercises_of", "misconceptions", "sections", "share"))
PACK += tuple(f"plan.{name}" for name in ("write_plan", "write_questions"))
RECORDS = ("exercises.Exercise", "grading.hand_ins.HandIn", "grading.jail.Limits", "grading.judge.Told")
RECORDS += tuple(f"grading.notebook.{name}" for name in ("Cell", "Program", "Statement"))
RECORDS += ("grading.report.Count", "grading.report.Row", "grading.trial.Job", "grading.trial.Pipes")
RECORDS += ("pack.plan.Section", *(f"pack.questions.{name}" for name in ("Choice", "Exam", "Question")))
NOT_FED = {
    **dict.fromkeys([f"lessons.grading.{name}" for name in GRADING], OF_GRADING),
    **dict.fromkeys([f"lessons.pack.{name}" for name in PACK], OF_PACK),
    **dict.fromkeys([f"lessons.{name}" for name in RECORDS], RECORD),
    **dict.fromkeys(["lessons.grading.command.main", "lessons.pack.command.main"], COMMAND),
    **dict.fromkeys([f"lessons.{name}" for name in SIGHTS], OF_SIGHTS),
    "looking.look.twin_of": OF_SIGHTS,
    **dict.fromkeys(["lessons.sights.Sight", "lessons.crops.Crops"], RECORD),
    "lessons.sights.load_sights": OF_LOADED,
    **dict.fromkeys([f"layers.{name}" for name in OF_LAYERS], OF_A_MODEL),
    **dict.fromkeys(
        [
            "vit.Trace",
            "looking.agreement.Agreement",
            "data.folders.ImageFolder",
            "pretrained.dialects.Wrapping",
            "pretrained.architectures.Known",
        ],
        RECORD,
    ),
    **dict.fromkeys(
        [
            *("pretrained.loading.Pretrained", "pretrained.loading.Plan", "pretrained.configs.Facts"),
            "pretrained.unsaid.Unsaid",
        ],
        RECORD,
    ),
    **dict.fromkeys(["training.recipe.History", "training.recipe.Recipe", "files.writing.Draft"], RECORD),
    **dict.fromkeys(["files.reading.Entry", "files.reading.Header"], RECORD),
    **dict.fromkeys([f"files.writing.{name}" for name in WRITERS], OF_FILES),
    **dict.fromkeys([f"files.reading.{name}" for name in READERS], OF_FILES),
    **dict.fromkeys([f"pretrained.{name}" for name in OF_PRETRAINED], OF_FILES),
    **dict.fromkeys(
        ["looking.widgets.base.LessonWidget", "looking.widgets.slider.PictureSlider"], OF_A_WIDGET
    ),
    **dict.fromkeys(["looking.widgets.explorer.Explorer", "looking.widgets.pad.DigitPad"], OF_A_WIDGET),
    "looking.widgets.base.picture_of": OF_A_FIGURE,
    "looking.widgets.base.script_of": OF_SCRIPTS,
    **dict.fromkeys([f"looking.widgets.base.{name}" for name in OF_THE_BASE], OF_ITS_OWN),
    **dict.fromkeys([f"looking.widgets.explorer.{name}" for name in ("middle", "frame")], OF_ITS_OWN),
    **dict.fromkeys([f"looking.png.{name}" for name in ("render", "pack", "screen_width")], OF_A_FIGURE),
    **dict.fromkeys([f"lessons.learning.{name}" for name in ("learn", "schedule", "follow")], TO_BE_READ),
    "training.command.main": COMMAND,
    "lessons.editions.command.main": COMMAND,
    **dict.fromkeys([f"lessons.editions.making.{name}" for name in ("Way", "Wishes")], RECORD),
    **dict.fromkeys([f"commands.{word}.main" for word in ("course", "lab", "doctor")], COMMAND),
    **dict.fromkeys(["commands.course.Laid", "commands.doctor.Finding"], RECORD),
    **dict.fromkeys([f"commands.course.{name}" for name in ("lay_or_refuse", "tell", "read_notes")], OF_LAY),
    **dict.fromkeys([f"commands.lab.{name}" for name in ("jupyter_options", "run")], OF_LAY),
    **dict.fromkeys(["commands.doctor.examine", "commands.doctor.report"], OF_A_MACHINE),
    **dict.fromkeys(["commands.machine.Machine", "commands.machine.numbers_of"], OF_A_MACHINE),
    "commands.where.find_lessons": NO_ARGUMENTS,
    "looking.command.main": COMMAND,
    "looking.look.look_at": OF_A_LOOK,
    "looking.views.View": RECORD,
    "looking.views.ending_of": OF_A_LOOK,
    "looking.widgets.curve.live_curve": NO_ARGUMENTS,
    **dict.fromkeys([f"files.pictures.{name}" for name in OF_PICTURES], OF_A_PICTURE),
}


def public_names():
    paths = {path for path in PACKAGE.rglob("[!_]*.py") if path.parent.name != "doors"}  # they refuse
    for path in sorted(paths):
        place = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = importlib.import_module(f"vit_steps.{place}")
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == module.__name__
            if own and not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
                yield f"{place}.{name}"


def test_every_public_name_has_a_row_or_a_reason():
    tried = {*ROWS} | {name.rpartition(".")[0] for name in ROWS}  # of a method its class is tried
    assert {*public_names()} - tried - {*NOT_FED} == set()


def test_no_reason_outlives_what_it_is_about():
    assert {*NOT_FED} <= {*public_names()}
    assert not {*NOT_FED} & {*ROWS}


def test_an_argument_without_a_table_is_seen():
    """Only what is free text, and what stands for "nothing yet", is tried with nothing."""
    untried = {
        (name, argument)
        for name, row in ROWS.items()
        for argument in inspect.signature(row.call).parameters
        if argument in row.make() and not any(tried == argument for tried, _, _ in tries(row))
    }
    allowed = {
        ("looking.spread.plot_draws", "xlabel"),
        ("looking.plots.plot_by_layer", "ylabel"),
        ("looking.spread.plot_spread", "ylabel"),
        ("training.loop.fit", "progress"),
        ("lessons.crops.load_crops", "grey"),
        ("lessons.editions.making.make_edition", "force"),
        *CALLABLES_OF_THE_STEPS,
    }
    assert untried <= allowed


CALLABLES_OF_THE_STEPS = {
    (name, argument) for name in rows_steps.ROWS for argument in rows_steps.ROWS[name].skip
}

pairs = sorted({(name, argument) for name, row in ROWS.items() for argument, _, _ in tries(row)})


@pytest.mark.parametrize(("name", "argument"), pairs)
def test_it_works_and_is_right_or_is_refused_by_name(name, argument):
    faults = {}
    for tried, kind_name, kind in tries(ROWS[name]):
        if tried == argument:
            outcome = judge(ROWS[name], argument, kind_name, kind)
            if outcome.fault:
                faults[kind_name] = f"{outcome.verdict}: {outcome.fault}"
    assert faults == {}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_fine_after_all_is_there(name):
    row = ROWS[name]
    tried = {(argument, kind) for argument, kind, _ in tries(row)}
    assert {(argument, kind) for argument, fine in row.fine.items() for kind in fine} <= tried


@pytest.mark.parametrize("name", [name for name in ROWS if ".check_" not in name])
def test_what_is_right_is_taken(name):
    torch.manual_seed(0)
    ran = run(ROWS[name], ROWS[name].make())
    assert ran.error is None
    assert ran.changed is None


NO_GRAPH = {
    "looking.attention_maps.deletion_curve": "counts answers, and a count has no slope",
    "classification.top_k": "gives names and numbers to read",
}
with_gradient = [
    (name, argument)
    for name in rows_steps.ROWS
    for argument, value in ROWS[name].make().items()
    if isinstance(value, torch.Tensor) and value.is_floating_point() and name not in NO_GRAPH
]


@pytest.mark.parametrize(("name", "argument"), with_gradient)
def test_a_gradient_flows_through_every_step(name, argument):
    torch.manual_seed(0)
    arguments = ROWS[name].make()
    arguments[argument].requires_grad_()
    result = ROWS[name].call(**arguments)
    parts = result if isinstance(result, tuple) else (result,)
    total = sum(part.sum() for part in parts if isinstance(part, torch.Tensor))
    (gradient,) = torch.autograd.grad(total, arguments[argument])
    assert gradient.shape == arguments[argument].shape


# All tensors of a call changed at once: another precision, no numbers at all


def with_tensors(arguments, change):
    return {
        key: change(value) if isinstance(value, torch.Tensor) else value for key, value in arguments.items()
    }


def numbers(result):
    """All numbers of a result, side by side."""
    parts = result if isinstance(result, tuple) else (result,)
    return torch.cat([part.detach().flatten() for part in parts if isinstance(part, torch.Tensor)])


# The model's own parameters are in single precision, and so is what is made of a grid alone.
OF_A_GRID = ("sincos_position", "patch_places")
OF_THE_STEPS = [
    name for name in rows_steps.ROWS if not name.startswith("vit.") and not name.endswith(OF_A_GRID)
]
NEEDS_NUMBERS = {
    "classification.top_k",
    "looking.attention_maps.kernel_components",
    "looking.attention_maps.deletion_curve",
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", [name for name in OF_THE_STEPS if name not in NEEDS_NUMBERS])
def test_other_precisions_give_the_same_to_their_precision(name, dtype):
    row = ROWS[name]
    torch.manual_seed(0)
    ours = numbers(row.call(**with_tensors(row.make(), lambda tensor: tensor.to(dtype))))
    torch.manual_seed(0)
    reference = numbers(row.call(**row.make()))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), reference, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", OF_THE_STEPS)
def test_the_meta_device_gives_shapes_or_is_refused(name):
    row = ROWS[name]
    arguments = with_tensors(row.make(), lambda tensor: tensor.to("meta"))
    if name in NEEDS_NUMBERS:
        with pytest.raises(ValueError, match="meta"):
            row.call(**arguments)
    else:
        assert numbers(row.call(**arguments)).shape == numbers(row.call(**row.make())).shape


TOO_LARGE = [
    *[("image2patches", "patch_size"), ("patches2image", "patch_size"), ("image2emb_naive", "patch_size")],
    *[("weight2kernel", "channels"), ("weight2kernel", "patch_size"), ("image2emb_conv", "stride")],
    *[("sincos_position", "dim"), ("resize_position", "num_prefix"), ("split_heads", "num_heads")],
    *[("self_attention", "num_heads"), ("fused_attention", "num_heads"), ("top_k", "k")],
    *[("cls_attention", "layer"), ("cls_attention", "head"), ("kernel_components", "num_components")],
    *[("ViT", "patch_size"), ("ViT", "num_heads"), ("ViT", "dim"), ("fused_attention", "num_queries")],
]


@pytest.mark.parametrize(("function", "argument"), TOO_LARGE)
def test_a_size_that_is_too_large_is_refused_with_its_number(function, argument):
    row = next(row for name, row in rows_steps.ROWS.items() if name.split(".")[-1] == function)
    with pytest.raises(ValueError, match=rf"{argument}.* 999999937") as caught:
        row.call(**{**row.make(), argument: 999_999_937})
    assert is_ours(caught.value)


# Random shapes, random dtypes, several things wrong at once


def wild(row, argument, good):
    """Mostly as it should be, or else of a random shape and dtype, or hostile in a way that has a name."""
    skipped = row.skip.get(argument, {})
    known = {**kinds_of(good), **row.own.get(argument, {})}
    hostile = [kind.make for name, kind in known.items() if name not in skipped]
    choices = [st.just(good)] * 2
    if hostile:
        choices.append(st.sampled_from(hostile).map(lambda make: make(good)))
    if isinstance(good, torch.Tensor):
        choices += [shapes_and_dtypes(good)] * 2
    if type(good) is int:
        choices.append(st.integers(-2, 9))
    return st.one_of(choices)


def shapes_and_dtypes(good):
    near = st.tuples(*(st.one_of(st.just(size), st.integers(0, 4)) for size in good.shape))
    shapes = st.one_of(near, near, st.lists(st.integers(0, 4), max_size=6).map(tuple))
    dtypes = st.sampled_from(
        [good.dtype] * 4 + [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.cfloat]
    )
    return st.builds(lambda shape, dtype: torch.ones(shape, dtype=dtype), shapes, dtypes)


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_anything_else_is_answered_or_refused(name, data):
    row = ROWS[name]
    torch.manual_seed(0)
    arguments = {key: data.draw(wild(row, key, good), label=key) for key, good in row.make().items()}
    ran = run(row, arguments)
    assert ran.changed is None
    if ran.error is not None:
        assert isinstance(ran.error, (TypeError, ValueError, *row.refusals)), repr(ran.error)
        assert is_ours(ran.error), repr(ran.error)


# The judge himself: what he must not let pass


def passes_silently(image):
    return 0 * image.nan_to_num(0, 0, 0)


def changes_it(image):
    if not isinstance(image, torch.Tensor):
        raise TypeError("not by me")
    return image.mul_(1)


def falls_over(image):
    return image.reshape(2, 3).softmax(dim=1)


def reads_memory(image):
    return torch.as_strided(image, (2, 3), (3, 1)).clone()


def names_nothing(image):
    raise vit_steps.compare("", 1, 1, tol=-1)


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (passes_silently, kinds.FLOATS["NaN"], "passes silently"),
        (changes_it, kinds.VIEWS["a slice"], "image was changed"),
        (falls_over, kinds.WRONG_TYPE["None"], "fails with AttributeError"),
        (falls_over, kinds.FLOATS["torch.int64"], "fails with "),
        (falls_over, kinds.SHAPES["an axis too many"], "passes silently"),
        (reads_memory, kinds.VIEWS["not contiguous"], "gives something else"),
        (names_nothing, kinds.SHAPES["a scalar"], "does not name image"),
        (names_nothing, kinds.FLOATS["requires grad"], "refuses what is right"),
        (lambda image: torch.zeros(2), kinds.HOLDERS["on meta"], "without numbers"),
        (lambda image: torch.zeros(2) / 0, kinds.SHAPES["empty"], "NaN for nothing"),
        (lambda image: {}["image"], Kind(lambda good: good), "fails with KeyError"),
    ],
)
def test_the_judge_sees_what_is_wrong(function, kind, words):
    row = Row(function, lambda: dict(image=torch.rand(2, 3)))
    assert words in (judge(row, "image", "a kind", kind).fault or "no fault")
