"""Ways of one machine to compute as others do: instruction sets, libraries, threads, and an emulation.

Each is a name, the environment that a process is started with, and what that process does before it computes.
As a pytest plugin (`-p arithmetics`, with the name in VIT_STEPS_ARITHMETIC) it runs a test suite under one.
"""

import os
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode

VARIABLE = "VIT_STEPS_ARITHMETIC"
OWN = "this machine's own"
ENVIRONMENTS = {
    OWN: {},
    "ATen without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "ATen with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN off": {},
    "oneDNN with SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
    "OpenBLAS for Prescott": {"OPENBLAS_CORETYPE": "Prescott"},  # NumPy's and scikit-learn's products
    "2 threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "4 threads": {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"},
    "emulation": {},
}
SINGLE, DOUBLE = torch.float32, torch.float64


def environment(name: str) -> dict[str, str]:
    """The environment of a process that computes so: one thread, unless threads are what is tried."""
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **one_thread, **ENVIRONMENTS[name], VARIABLE: name}


def begin(name: str) -> None:
    """Do what no variable can, for the rest of this process."""
    if name == "oneDNN off":
        torch.backends.mkldnn.set_flags(False)
    if name == "emulation":
        Emulation().__enter__()


class Emulation(TorchDispatchMode):
    """An arithmetic of no machine: float32 computed in float64 and rounded, float64 added in another order.

    Sums, products and functions of one float32 result are then as right as they can be, as on no processor;
    what goes in place or only looks at memory stays as it is.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        reordered = REORDERED.get(func)
        dtypes = {each.dtype for each in tensors_of((args, kwargs)) if each.is_floating_point()}
        if dtypes == {SINGLE} and is_plain(func) and not {"dtype", "generator"} & kwargs.keys():
            return cast(func(*cast(args, DOUBLE), **cast(kwargs, DOUBLE)), SINGLE)
        if dtypes == {DOUBLE} and reordered:
            return reordered(func, *args, **kwargs)
        return func(*args, **kwargs)


def is_plain(func) -> bool:
    """Whether an operation makes new numbers from its arguments, and from nothing else."""
    schema = func._schema
    aliases = any(each.alias_info for each in (*schema.arguments, *schema.returns))
    return not (aliases or torch.Tag.nondeterministic_seeded in func.tags or "copy" in schema.name)


def tensors_of(values) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    values = values if isinstance(values, (list, tuple)) else []
    return [each for value in values for each in tensors_of(value)]


def cast(values, dtype: torch.dtype):
    """The same structure with its floating-point tensors in another type."""
    if isinstance(values, torch.Tensor) and values.dtype in (SINGLE, DOUBLE):
        return values.to(dtype)
    if isinstance(values, dict):
        return {name: cast(value, dtype) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(cast(value, dtype) for value in values)
    return values


def turned(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both factors of a product with the inner dimension from its end to its beginning."""
    return left.flip(-1), right.flip(-2)


def _product(func, left, right):
    return func(*turned(left, right))


def _product_and_sum(func, bias, left, right, **kwargs):
    return func(bias, *turned(left, right), **kwargs)


def _sum(func, values, *args, **kwargs):
    return func(values.roll(1), *args, **kwargs)


def _sum_over(func, values, dim, *args, **kwargs):
    turned = values.roll([1] * len(dim), dim) if dim else values.roll(1)
    return func(turned, dim, *args, **kwargs)


def _convolution(func, pictures, kernel, bias, stride, padding, dilation, transposed, zeros, groups):
    if groups == 1 and not transposed:
        pictures, kernel = pictures.flip(1), kernel.flip(1)
    return func(pictures, kernel, bias, stride, padding, dilation, transposed, zeros, groups)


aten = torch.ops.aten
REORDERED: dict[object, Callable] = {
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _product_and_sum,
    aten.baddbmm.default: _product_and_sum,
    aten.convolution.default: _convolution,
    aten.sum.default: _sum,
    aten.mean.default: _sum,
    aten.sum.dim_IntList: _sum_over,
    aten.mean.dim: _sum_over,
}


def pytest_configure(config) -> None:
    """Begin, in a process of a test suite."""
    begin(os.environ[VARIABLE])
