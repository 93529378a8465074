"""Finds what a program uses of TensorRT that a recorded version lacks.

TensorRT's objects have no types that mypy knows: they are `Any`. So the checker follows them
itself: the module is called ``trt``; what a recorded method returns has the class that its
signature says; a name, a parameter or an attribute that is annotated `Any` has the class that its
name stands for (`NAMES`). An attribute of an `Any` whose class is not known is a finding too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.support.tensorrt_api import VERSIONS, api

MODULE = "module"
ENUM_ATTRIBUTES = {"name", "value", "__members__"}
UNKNOWN, NOT_TENSORRT = "?", "-"

NAMES = {
    "trt": MODULE,
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "error": "ParserError",
    "inspector": "EngineInspector",
    "logger": "ILogger",
    "monitor": "IProgressMonitor",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "severity": "Severity",
    "timing_cache": "ITimingCache",
}
"""The class of what is `Any`, by its name; ``_context`` and ``self._context`` are ``context``."""

OTHERS = {"code"}
"""What is `Any` and none of TensorRT's: CUDA's error codes."""

ALLOWED = {
    ("IBuilderConfig", "set_compute_capability"): (
        ("rtx-1.7",),
        "TensorRT builds for the GPU that is there; only RTX builds for others",
    ),
    ("IBuilderConfig", "num_compute_capabilities"): (
        ("rtx-1.7",),
        "set before set_compute_capability",
    ),
    (MODULE, "ComputeCapability"): (("rtx-1.7",), "what set_compute_capability takes"),
}
"""Members that the code uses though not every version has them: which have, and why it may."""

KNOWN = (
    {name for v in VERSIONS for name in api(v).classes}
    | {name for v in VERSIONS for name in api(v).enums}
    | {MODULE, "Severity"}
)
ENUMS = {name for v in VERSIONS for name in api(v).enums} | {"Severity"}


@dataclass
class Use:
    """What was found in a program: uses of members, and what is wrong."""

    members: set[tuple[str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def check(source: str, others: Iterable[str] = ()) -> Use:
    """What a program uses of TensorRT; ``others`` are files whose objects it may hold."""
    use = Use()
    tree = ast.parse(source)
    attributes: dict[str, str] = {}
    for text in (*others, source):
        attributes |= _self_attributes(ast.parse(text))
    for function in _functions(tree):
        _Function(function, attributes, use).check()
    return use


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.Module]:
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What lies in a function and in no function inside it, in the order of the text."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from _own(child)


def _self_attributes(tree: ast.Module) -> dict[str, str]:
    """Attributes of ``self`` that are annotated `Any`, and parameters of `Any` put there."""
    found = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        anys = {entry.arg for entry in _parameters(function) if _is_any(entry.annotation)}
        for node in _own(function):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                if _is_any(node.annotation):
                    found[node.target.attr] = _by_name(node.target.attr)
            elif isinstance(node, ast.Assign):
                for target, value in _pairs(node):
                    given = isinstance(value, ast.Name) and value.id in anys
                    if isinstance(target, ast.Attribute) and given:
                        found[target.attr] = _by_name(target.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for entry in node.body:
                if isinstance(entry, ast.AnnAssign) and _is_any(entry.annotation):
                    assert isinstance(entry.target, ast.Name)
                    found[entry.target.id] = _by_name(entry.target.id)
    return found


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=True)
        else:
            yield target, node.value


def _parameters(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _is_any(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in ("Any", "Any | None")


def _by_name(name: str) -> str:
    plain = name.lstrip("_")
    return NAMES.get(plain, NOT_TENSORRT if plain in OTHERS else UNKNOWN)


class _Function:
    """One function; a function inside it is checked alone."""

    def __init__(
        self, function: ast.FunctionDef | ast.Module, attributes: dict[str, str], use: Use
    ) -> None:
        self._node, self._attributes, self._use = function, attributes, use
        self._classes: dict[str, str] = {}
        self._guarded: set[str] = set()

    def check(self) -> None:
        self._classes = {"trt": MODULE}
        if isinstance(self._node, ast.FunctionDef):
            for entry in _parameters(self._node):
                if _is_any(entry.annotation):
                    self._classes[entry.arg] = _by_name(entry.arg)
        nodes = list(_own(self._node))
        self._guarded = {
            str(node.args[1].value)
            for node in nodes
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "hasattr"
            and isinstance(node.args[1], ast.Constant)
        }
        # Twice: a comprehension's variable stands before what it is taken from.
        for _ in range(2):
            for node in nodes:
                self._learn(node)
        for node in nodes:
            self._judge(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node):
                self._name(target, self._class_of(value))
        elif isinstance(node, ast.AnnAssign) and _is_any(node.annotation):
            known = self._class_of(node.value) if node.value is not None else None
            fallback = _by_name(node.target.id) if isinstance(node.target, ast.Name) else None
            self._name(node.target, known or fallback)
        elif isinstance(node, ast.For | ast.comprehension):
            self._name(node.target, self._element_of(node.iter))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._name(node.optional_vars, self._class_of(node.context_expr))
        elif isinstance(node, ast.NamedExpr):
            self._name(node.target, self._class_of(node.value))

    def _name(self, target: ast.expr, kind: str | None) -> None:
        if isinstance(target, ast.Name) and kind is not None:
            self._classes[target.id] = kind

    def _element_of(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            return self._class_of(node.elts[0])
        if isinstance(node, ast.Name):
            return self._classes.get(f"{node.id}[]")
        return None

    def _class_of(self, node: ast.expr) -> str | None:
        """The class of an expression's value; None for what is none of TensorRT's."""
        if isinstance(node, ast.Name):
            return self._classes.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._class_of(node.value)
            if owner == MODULE:
                return f"type {node.attr}" if node.attr in KNOWN else None
            if owner is None:
                return self._attributes.get(node.attr)
            kind = owner.removeprefix("type ")
            if owner.startswith("type ") and kind in ENUMS and not node.attr.startswith("__"):
                return kind
            if node.attr in ("ERROR", "INFO", "INTERNAL_ERROR", "VERBOSE", "WARNING"):
                return "Severity"
            return None
        if isinstance(node, ast.Call):
            return self._returned(node)
        if isinstance(node, ast.IfExp):
            return self._class_of(node.body) or self._class_of(node.orelse)
        return None

    def _returned(self, node: ast.Call) -> str | None:
        if not isinstance(node.func, ast.Attribute):
            return None
        made = self._class_of(node.func)
        if made is not None and made.startswith("type "):
            return made.removeprefix("type ")
        owner = self._class_of(node.func.value)
        for version in VERSIONS:
            for signature in api(version).signatures(owner or "", node.func.attr):
                # The parser's errors have another name in signatures than in the module.
                returns = signature.returns.replace("IParserError", "ParserError")
                if returns in KNOWN:
                    return returns
        return None

    def _judge(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            owner = self._class_of(node.value)
            if owner is not None:
                self._member(owner, node.attr, node.lineno)
        elif isinstance(node, ast.Call):
            made = self._class_of(node.func)
            if made is not None and made.removeprefix("type ") in ENUMS and made != "Severity":
                self._problem(node, f"makes a {made.removeprefix('type ')} from a number")
            for argument in [*node.args, *(entry.value for entry in node.keywords)]:
                self._number_for_an_enum(node, argument)
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(self._class_of(side) in ENUMS for side in sides):
                for side in sides:
                    if isinstance(side, ast.Constant):
                        self._problem(node, f"compares an enum with {side.value!r}")

    def _number_for_an_enum(self, call: ast.Call, argument: ast.expr) -> None:
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, int)):
            return
        if not isinstance(call.func, ast.Attribute):
            return
        owner = self._class_of(call.func.value)
        for version in VERSIONS:
            for signature in api(version).signatures(owner or "", call.func.attr):
                kinds = [entry for entry in signature.arguments if entry.kind in ENUMS]
                flags = [entry for entry in signature.arguments if entry.name == "flags"]
                if (kinds and len(signature.arguments) == len(kinds)) or flags:
                    self._problem(call, f"{call.func.attr} is given {argument.value}, not a name")
                    return

    def _member(self, owner: str, member: str, line: int) -> None:
        kind = owner.removeprefix("type ")
        if owner == NOT_TENSORRT:
            return
        if owner == UNKNOWN:
            self._use.problems.append(f"line {line}: .{member} of an Any of unknown class")
            return
        if member in self._guarded or (member.startswith("__") and member.endswith("__")):
            return
        if kind in ENUMS and owner == kind and member in ENUM_ATTRIBUTES:
            return
        self._use.members.add((kind, member))
        if (kind, member) in ALLOWED:
            return
        has = {version: _has(version, kind, member) for version in VERSIONS}
        lacking = [version for version, there in has.items() if there is False]
        where = member if kind == MODULE else f"{kind}.{member}"
        if lacking:
            self._use.problems.append(f"line {line}: {where} is not in {', '.join(lacking)}")
        elif True not in has.values():
            self._use.problems.append(f"line {line}: {where} is in no record")

    def _problem(self, node: ast.expr, text: str) -> None:
        self._use.problems.append(f"line {node.lineno}: {text}")


def _has(version: str, kind: str, member: str) -> bool | None:
    about = api(version)
    if kind == MODULE:
        return about.has(member)
    if kind == "Severity":
        return about.has_member("Logger", member)
    return about.has_member(kind, member)
