"""Which room may know which, what an import costs, how long a function may be: read from the code itself."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vit_steps
from vit_steps.looking import attention_maps, look, views
from vit_steps.pretrained import Preprocess

PACKAGE = Path(vit_steps.__file__).parent
STEPS = {"patch_embedding", "cls_token", "position_embedding", "encoder", "classification"}
# room: the rooms that it may know. A room without a rule is a failure; CONTRIBUTING.md has the same table.
MAY_KNOW = {
    "doors": set(),
    **{step: {"doors"} for step in STEPS},
    "layers": {*STEPS, "doors"},
    "vit": {*STEPS, "layers", "doors"},
    "files": {"doors"},
    "data": {"files", "doors"},
    "pretrained": {*STEPS, "layers", "vit", "data", "files", "doors"},
    "training": {"vit", "data", "pretrained", "files", "doors"},
    "looking": {*STEPS, "vit", "files", "doors"},
    "__init__": {*STEPS, "vit", "looking", "commands"},
}
MAY_KNOW["lessons"] = {*MAY_KNOW} - {"__init__"}
MAY_KNOW["lessons"] |= {"commands"}  # where the lessons lie
MAY_KNOW["commands"] = {"files", "doors", "__init__"}  # of __init__ the version
MAY_KNOW["__main__"] = set()  # a table of names: what is behind a word is loaded when it is asked for
# module: the rooms that it may know besides, and no other module of its room, nor through it.
ALONE = {"looking.look": {"pretrained"}, "looking.command": {"pretrained"}}
CORE = [*sorted(STEPS), "layers", "vit", "looking.attention_maps"]
LONGEST = 15
LARGEST = {"vit_steps": 400, "tools": 500, "tests": 500}
HEAVY = {
    *("matplotlib", "IPython", "ipywidgets", "anywidget", "tqdm", "PIL", "sklearn", "skimage", "scipy"),
    *("transformers", "timm", "torchvision", "accelerate", "safetensors"),
    *("huggingface_hub", "requests", "urllib3", "httpx", "aiohttp"),
}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
modules = [*FILES]
every_module = pytest.mark.parametrize("module", modules)
core_module = pytest.mark.parametrize("module", CORE)


def parse(module):
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def room_of(module):
    return module.split(".")[0]


def imported_names(module):
    """Every dotted name that the module imports anywhere, also inside its functions."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, ["vit_steps" if node.level else "", node.module]))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def rooms_known(module):
    """The rooms of this package whose names a module imports, but for its own."""
    parts = [name.split(".") for name in imported_names(module)]
    known = {name[1] if len(name) > 1 else "__init__" for name in parts if name[0] == "vit_steps"}
    return known - {room_of(module)}


def test_there_is_something_to_check():
    assert {*CORE, "__init__", "doors"} <= set(modules)
    assert {*STEPS} <= rooms_known("vit") | rooms_known("layers")


@every_module
def test_a_room_knows_only_the_rooms_that_it_may(module):
    assert room_of(module) in MAY_KNOW, f"{module} has no rule: say in MAY_KNOW whom it may know"
    assert rooms_known(module) <= MAY_KNOW[room_of(module)] | ALONE.get(module, set())


def test_what_a_module_may_know_alone_reaches_no_other_of_its_room():
    within = {"looking.command": {"looking.look"}, "looking.__main__": {"looking.command"}}
    for module in modules:
        if module.startswith("looking"):
            names = {name.removeprefix("vit_steps.") for name in imported_names(module)}
            known = {each for each in ALONE if any(f"{name}.".startswith(f"{each}.") for name in names)}
            assert known <= within.get(module, set()), f"{module} knows {known}"


def test_no_rule_outlives_its_room():
    assert {room_of(module) for module in modules} == {*MAY_KNOW}
    assert {*ALONE} <= {*modules}
    assert all(ALONE[module] <= rooms_known(module) for module in ALONE)


@pytest.mark.parametrize(
    "room", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
)
def test_a_room_says_what_lives_there(room):
    assert len(ast.get_docstring(parse(room)).split()) > 5


def test_no_file_is_too_long_to_be_read_in_one_go():
    root = PACKAGE.parent
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in LARGEST
        for path in (root / folder).rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > LARGEST[name.split("/")[0]]} == {}


@pytest.mark.parametrize("module", [*CORE, "looking.agreement"])
def test_the_core_stands_on_torch_alone(module):
    outside = {name.split(".")[0] for name in imported_names(module)} - {"vit_steps", "torch", "jaxtyping"}
    assert outside <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", sorted(STEPS))
def test_a_step_is_maths_and_refuses_nothing_itself(module):
    """What is refused is said above ``def``; a guard inside would stand in the lesson."""
    assert not [node.lineno for node in ast.walk(parse(module)) if isinstance(node, ast.Raise)]
    assert not [function.name for function in functions(module) if function.name.startswith("_")]


def test_importing_the_package_loads_torch_and_nothing_heavy_besides():
    program = """
import sys, torch
before = set(sys.modules)
import vit_steps
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    loaded = set(run.stdout.split())
    assert "vit_steps" in loaded
    assert loaded & HEAVY == set()


def test_the_room_of_looking_loads_nothing_heavy_by_itself():
    program = """
import sys, vit_steps
before = set(sys.modules)
import vit_steps.looking
print(*sorted(set(sys.modules) - before))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert run.stdout.split() == []


def test_every_public_function_of_the_steps_can_be_imported_from_the_package():
    public = {
        node.name
        for module in [*STEPS, "vit", "looking.agreement"]
        for node in parse(module).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }
    assert set(vit_steps.__all__) == public
    assert list(vit_steps.__all__) == sorted(vit_steps.__all__)
    assert all(hasattr(vit_steps, name) for name in vit_steps.__all__)


def functions(module):
    for node in ast.walk(parse(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def code_lines(function, source):
    """Lines of the body, without docstring, comments and blank lines."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    lines = range(body[0].lineno, body[-1].end_lineno + 1) if body else ()
    return [
        number
        for number in lines
        if source[number - 1].strip() and not source[number - 1].strip().startswith("#")
    ]


@core_module
def test_no_function_is_longer_than_fifteen_lines(module):
    source = FILES[module].read_text(encoding="utf-8").splitlines()
    too_long = {
        function.name: len(code_lines(function, source))
        for function in functions(module)
        if len(code_lines(function, source)) > LONGEST
    }
    assert too_long == {}


def test_the_length_of_a_function_is_counted_in_lines_of_code():
    source = '''
def f(
    a,
):
    """Two
    lines."""
    b = a

    # why
    return [
        a, b
    ]
'''
    (function,) = ast.parse(source).body
    assert len(code_lines(function, source.splitlines())) == 4


@pytest.mark.parametrize("module", [module for module in modules if "plots" not in module])
def test_no_tensor_is_called_x(module):  # in plots, x is an axis
    names = {node.id for node in ast.walk(parse(module)) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(parse(module)) if isinstance(node, ast.arg)}
    assert "x" not in names


@every_module
def test_no_assert_guards_a_door(module):
    assert not [node.lineno for node in ast.walk(parse(module)) if isinstance(node, ast.Assert)]


@every_module
def test_nothing_is_ever_unpickled(module):
    names = set(imported_names(module))
    assert not {name.split(".")[0] for name in names} & {"pickle", "cloudpickle", "dill", "joblib"}
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            safe = {"torch.load": ("weights_only", "True")}.get(
                ast.unparse(node.func), ("allow_pickle", "False")
            )
            assert options.get(safe[0]) == safe[1], f"{module}.py, line {node.lineno}"


# What notebooks and students call: names, order, and what must be named at the call.
CONTRACT = [
    (vit_steps.image2patches, "image, patch_size"),
    (vit_steps.patches2image, "patches, patch_size, image_size"),
    (vit_steps.weight2kernel, "weight, channels, patch_size"),
    (vit_steps.kernel2weight, "kernel"),
    (vit_steps.image2emb_naive, "image, patch_size, weight"),
    (vit_steps.image2emb_conv, "image, kernel, stride"),
    (vit_steps.map2emb, "feature_map"),
    (vit_steps.resize_kernel, "kernel, patch_size"),
    (vit_steps.prepend_cls, "tokens, cls_token"),
    (vit_steps.prepend_registers, "tokens, registers"),
    (vit_steps.split_cls, "tokens"),
    (vit_steps.add_position, "tokens, table"),
    (vit_steps.sincos_position, "grid, dim, *, temperature=10000.0"),
    (vit_steps.resize_position, "table, old_grid, new_grid, *, num_prefix=1, like='timm'"),
    (vit_steps.position_similarity, "table"),
    (vit_steps.patch_places, "grid"),
    (vit_steps.rotary_angles, "places, head_dim, *, temperature=100.0"),
    (vit_steps.rotate, "heads, angles"),
    (vit_steps.split_heads, "tokens, num_heads"),
    (vit_steps.merge_heads, "heads"),
    (vit_steps.attention_weights, "query, key"),
    (vit_steps.self_attention, "tokens, qkv, proj, num_heads"),
    (vit_steps.fused_attention, "tokens, qkv, proj, num_heads, *, num_queries=None"),
    (vit_steps.cross_attention, "queries, tokens, q, kv, proj, num_heads"),
    (vit_steps.cls_block, "tokens, norm1, attn, norm2, mlp"),
    (vit_steps.encoder_block, "tokens, norm1, attn, norm2, mlp"),
    (vit_steps.pool_cls, "tokens"),
    (vit_steps.pool_mean, "tokens, *, num_prefix=1"),
    (vit_steps.pool_first, "tokens, num_tokens"),
    (vit_steps.pool_cls_and_mean, "tokens, *, num_prefix=1"),
    (vit_steps.classify, "tokens, norm, head, *, pool=pool_cls"),
    (vit_steps.top_k, "logits, labels, k=5"),
    (
        vit_steps.ViT,
        "*, image_size, patch_size, channels=3, dim, depth, num_heads, mlp_dim, num_classes, "
        "pool='cls', eps=1e-06, num_registers=0, class_token=True, position='table', act='gelu', "
        "pre_norm=False, final_norm='tokens'",
    ),
    (vit_steps.ViT.forward, "self, image"),
    (vit_steps.ViT.trace, "self, image, *, layers=None"),
    (vit_steps.Trace, "patches, with_cls, with_position, attention, encoded, logits, pooling"),
    (vit_steps.compare, "name, ours, reference, *, tol"),
    (attention_maps.cls_attention, "attention, grid, *, layer=-1, head=None, num_prefix=1"),
    (attention_maps.attention_rollout, "attention"),
    (attention_maps.attention_entropy, "attention"),
    (attention_maps.mean_attention_distance, "attention, grid, patch_size, *, num_prefix=1"),
    (attention_maps.kernel_components, "kernel, num_components=28"),
    (attention_maps.deletion_curve, "model, images, labels, order"),
    (look.look, "model, photo, *, control=False, seed=0"),
    (views.Look.attention, "self, *, layer=None, head=None"),
    (views.Look.likeness, "self, row, col"),
    (views.Look.patch_at, "self, across, down"),
    (Preprocess.box, "self, width, height"),
]


def written_out(function):
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r"<function (\w+) at \w+>", r"\1", text)[1:-1]


@pytest.mark.parametrize(("function", "signature"), CONTRACT)
def test_signatures_are_the_ones_that_others_rely_on(function, signature):
    if function is vit_steps.Trace:
        assert ", ".join(function._fields) == signature
    else:
        assert written_out(function) == signature
