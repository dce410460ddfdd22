"""The decorator: read the signature once, judge what comes, and know again what was let in before."""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch.compiler import is_compiling

from vit_steps.doors.annotations import Call, anything, asker_of, look_of, reader_of
from vit_steps.doors.sentences import parse

REMEMBERED = 1000  # different calls; a door that has let in so many forgets them and begins anew
SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def door(*rules: str | Callable, **instead: Callable[[str, Any], Any]) -> Callable[[Callable], Callable]:
    """Hang a door in front of a function: ``@door()``, or with rules.

    Args:
        rules: sentences as :mod:`vit_steps.doors.sentences` reads them, or functions that take some of the
            arguments by their names and raise.
        instead: argument -> what judges it in place of its annotation, called with name and value as the
            functions of :mod:`vit_steps.doors.values` are.

    Raises:
        ValueError: a sentence without a relation.
    """

    def hang(function: Callable) -> Callable:
        contract = Contract(function, rules, instead)
        known, judges = contract.known, contract.judges

        @wraps(function)
        def behind_the_door(*args: Any, **kwargs: Any) -> Any:
            try:
                # When compiled, sizes are symbols, and a door is passed once.
                key = None if is_compiling() else contract.key(args, kwargs)
                asks = known.get(key)
            except (AttributeError, KeyError, TypeError):  # no tensor, no such argument, a list
                key = asks = None
            if asks is None:
                if torch.jit.is_tracing():  # sizes are tensors then
                    return function(*args, **kwargs)
                asks = contract.admit(args, kwargs, key)
            if judges:
                contract.judge(args, kwargs)
            if asks:
                args, kwargs = ask_by_name(asks, args, kwargs)
            return function(*args, **kwargs)

        return behind_the_door

    return hang


class Contract:
    """What a function's signature and rules ask of its arguments."""

    def __init__(self, function: Callable, rules: tuple[str | Callable, ...], instead: dict[str, Callable]):
        parameters = inspect.signature(function).parameters
        single = {name: each for name, each in parameters.items() if each.kind not in SEVERAL}
        annotations = {name: each.annotation for name, each in single.items()}
        self.names = tuple(single)
        self.defaults = {n: each.default for n, each in single.items() if each.default is not each.empty}
        self.sentences = [parse(rule) for rule in rules if isinstance(rule, str)]
        self.judges = [(rule, (*inspect.signature(rule).parameters,)) for rule in rules if callable(rule)]
        self.judges += [(partial(judge, name), (name,)) for name, judge in instead.items()]
        self.readers = {
            name: anything if name in instead else reader_of(name, each, self._least(name))
            for name, each in annotations.items()
        }
        self.looks = {name: look_of(each) for name, each in annotations.items()}
        self.in_order = tuple(self.looks.values())
        askers = {name: asker_of(name, each) for name, each in annotations.items()}
        self.askers = [(place, name, askers[name]) for place, name in enumerate(askers) if askers[name]]
        self.known: dict[tuple | None, list] = {}

    def key(self, args: tuple, kwargs: dict[str, Any]) -> tuple:
        """What a call has to be known by."""
        seen = [look(value) for look, value in zip(self.in_order, args)]  # noqa: B905 (what is too much is not judged)
        for name, value in kwargs.items():
            seen += name, self.looks[name](value)
        return tuple(seen)

    def admit(self, args: tuple, kwargs: dict[str, Any], key: tuple | None) -> list:
        """Refuse what does not fit; of what does, remember the key and how its callables are to be asked."""
        call = Call()
        for name, value in self.given(args, kwargs).items():
            if name in self.readers:
                self.readers[name](value, call)
        for sentence in self.sentences:
            sentence.check(call.sizes)
        asks = [(place, name, asker(call)) for place, name, asker in self.askers]
        if key is not None:
            self._remember(key, asks)
        return asks

    def judge(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Let the rules that are functions see the values; nothing of it can be remembered."""
        given = self.given(args, kwargs)
        for rule, names in self.judges:
            if all(name in given for name in names):
                rule(*(given[name] for name in names))

    def given(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, in the signature's order; Python says best what is missing or too much."""
        given = {**self.defaults, **dict(zip(self.names, args)), **kwargs}  # noqa: B905
        return {name: given[name] for name in self.names if name in given}

    def _remember(self, key: tuple, asks: list) -> None:
        if len(self.known) >= REMEMBERED:
            self.known.clear()
        self.known[key] = asks

    def _least(self, name: str) -> int | None:
        """Where the integers of an argument begin: at 1, unless a sentence says where."""
        for sentence in self.sentences:
            if sentence.left.text == name and sentence.relation == "is an index of":
                return None
            if sentence.left.text == name and sentence.relation == "is at least" and not sentence.right.terms:
                return int(sentence.right.text)
        return 1


def ask_by_name(asks: list, args: tuple, kwargs: dict[str, Any]) -> tuple[list, dict[str, Any]]:
    """Put in the place of each callable one that says its own name where it gives what does not fit."""
    args = list(args)
    for place, name, ask in asks:
        if place < len(args):
            args[place] = ask(args[place])
        elif name in kwargs:
            kwargs[name] = ask(kwargs[name])
    return args, kwargs
