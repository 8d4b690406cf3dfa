"""Objects as Python source: what `eject` prints so that a run can be repeated without netwright.

`expression` and `layers_source` print what builds an object, `definitions` and `extract` the source of what
PyTorch does not have, `joined` puts such parts together. Each result is code that can be executed after
`import torch` and `from torch import nn`.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import nn

from netwright.errors import NetwrightError

# Where PyTorch's public names are looked for, and how a script that begins with `import torch` and
# `from torch import nn` writes them.
_PUBLIC = {
    "torch.nn": "nn",
    "torch.optim": "torch.optim",
    "torch.optim.lr_scheduler": "torch.optim.lr_scheduler",
    "torch.nn.functional": "nn.functional",
    "torch": "torch",
}
_MISSING = object()


def expression(entry: Any, options: Mapping[str, Any], *arguments: str) -> str:
    """Returns the Python expression that calls a registry's entry with options.

    `entry` is a class or function, or a functools.partial of one, whose arguments the options override.
    `arguments` are Python source themselves and come first. A name that is not PyTorch's is written bare: see
    `definitions`. Raises NetwrightError for a value that has no source.

    >>> sgd_momentum = functools.partial(torch.optim.SGD, momentum=0.9)
    >>> expression(sgd_momentum, {"lr": 0.1}, "network.parameters()")
    'torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)'
    """
    positional: list[str] = [*arguments]
    keywords: dict[str, Any] = dict(options)
    while isinstance(entry, functools.partial):
        positional += [literal(value) for value in entry.args]
        keywords |= {key: value for key, value in entry.keywords.items() if key not in keywords}
        entry = entry.func
    return f"{qualified(entry)}({', '.join([*positional, *(f'{key}={literal(value)}' for key, value in keywords.items())])})"


def qualified(thing: Any) -> str:
    """Returns how a class or function is written in a script: `nn.Linear`, `torch.optim.SGD`, `MyOwn`.

    >>> qualified(nn.Linear), qualified(torch.optim.lr_scheduler.StepLR), qualified(nn.functional.relu)
    ('nn.Linear', 'torch.optim.lr_scheduler.StepLR', 'nn.functional.relu')
    """
    name = getattr(thing, "__name__", "")
    for module, written in _PUBLIC.items():
        if name and getattr(importlib.import_module(module), name, None) is thing:
            return f"{written}.{name}"
    if not name.isidentifier():
        raise NetwrightError(f"{thing!r} has no name to print: define it with `def` or `class` in a file")
    return name


def literal(value: Any) -> str:
    """Returns the source of a plain value, a tensor, a dtype, a class or function, or a partial of one.

    >>> literal((1, float("inf"), torch.float32, torch.tensor([0.5, 2.0])))
    "(1, float('inf'), torch.float32, torch.tensor([0.5, 2.0], dtype=torch.float32))"
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype)):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    if isinstance(value, torch.Tensor):
        return f"torch.tensor({literal(value.detach().cpu().tolist())}, dtype={value.dtype})"
    if isinstance(value, functools.partial):
        inner = ", ".join(
            [*map(literal, value.args), *(f"{key}={literal(item)}" for key, item in value.keywords.items())]
        )
        return f"functools.partial({literal(value.func)}{', ' if inner else ''}{inner})"
    if isinstance(value, nn.Module):
        return layers_source(value)
    if inspect.isclass(value) or inspect.isroutine(value):
        return qualified(value)
    raise NetwrightError(f"{type(value).__name__} {value!r} cannot be printed as Python")


def layers_source(module: nn.Module) -> str:
    """Returns the constructor code of a layer, a loss or a (nested) nn.Sequential of layers.

    Under the same seed the code makes the same structure with the same initial weights, if `module` was made
    layer after layer. What is printed is built once for a check (without touching the random generators). Raises
    NetwrightError for a layer whose arguments cannot be recovered from it, and for one that is used twice.

    >>> print(layers_source(nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.Softmax(dim=1))))
    nn.Sequential(
        nn.Flatten(),
        nn.Linear(4, 2, bias=False),
        nn.Softmax(dim=1),
    )
    """
    _check_not_shared(module)
    return _layers(module)


def foreign(module: nn.Module) -> list[type[nn.Module]]:
    """Returns the classes of a module's layers that are not PyTorch's: what `definitions` must print for it."""
    kinds = dict.fromkeys(type(part) for part in module.modules())
    return [kind for kind in kinds if not kind.__module__.startswith("torch.")]


def definitions(objects: Iterable[Any]) -> str:
    """Returns the source of the classes and functions that are not PyTorch's, each once, with what they need.

    Netwright's own stand alone; a person's come with the imports and definitions of their file that they use
    (`extract`). A partial counts as its function. Raises NetwrightError for an object without printable source.
    """
    parts: list[str] = []
    by_file: dict[str, list[str]] = {}
    for thing in dict.fromkeys(_unwrapped(thing) for thing in objects):
        if thing.__module__.partition(".")[0] in ("torch", "builtins"):
            continue
        try:
            source, file = inspect.getsource(thing), inspect.getsourcefile(thing)
        except (OSError, TypeError) as error:
            raise NetwrightError(f"{thing!r} has no source to print: define it in a file") from error
        if thing.__name__ == "<lambda>" or thing.__qualname__ != thing.__name__:
            raise NetwrightError(
                f"{thing.__qualname__} is not at the top of its file, so its source cannot be printed alone"
            )
        if thing.__module__.partition(".")[0] == "netwright" or file is None:
            parts.append(textwrap.dedent(source).rstrip() + "\n")
        else:
            by_file.setdefault(file, []).append(thing.__name__)
    parts += [extract(file, *names) for file, names in by_file.items()]
    return joined(*parts)


def extract(path: str | Path, *names: str) -> str:
    """Returns the imports and top-level definitions of a file that `names` need, in the order of the file.

    Needed is found by name, through functions, classes and constants, never by running anything. Left out are
    `if __name__ == "__main__"` and every statement that binds nothing needed, such as a bare call. If the file
    imports its neighbours, a line puts its folder on sys.path. Raises NetwrightError for a file that is not
    Python and a name that it does not define.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        raise NetwrightError(f"{path}:{error.lineno}: not valid Python: {error.msg}") from error
    future = [node for node in tree.body if _is_future(node)]
    statements = [node for node in tree.body if not _is_future(node) and not _is_main_guard(node)]
    bound = {id(node): _binds(node) for node in statements}
    for name in names:
        if not any(name in names_bound for names_bound in bound.values()):
            raise NetwrightError(f"{path} does not define {name!r} at its top level")
    kept: set[int] = set()
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop()
        for node in statements:
            if id(node) not in kept and (name in bound[id(node)] or "*" in bound[id(node)]):
                kept.add(id(node))
                new = (_loads(node, future) | bound[id(node)]) - seen
                seen |= new
                waiting += sorted(new)
    chosen = [node for node in statements if id(node) in kept]
    head = [ast.unparse(node) for node in future]
    if any(_imports_neighbour(node, path.parent) for node in chosen):
        head.append(f"import sys\n\nsys.path.insert(0, {str(path.parent.resolve())!r})")
    return joined(*head, *_sources(chosen, tree, text))


def joined(*parts: str) -> str:
    """Returns the parts as one piece of code: `from __future__` first, plain imports repeated only once.

    >>> print(joined("import torch\\n\\nclass A: ...", "from __future__ import annotations\\nimport torch\\nB = 1"))
    from __future__ import annotations
    <BLANKLINE>
    import torch
    <BLANKLINE>
    class A: ...
    <BLANKLINE>
    <BLANKLINE>
    B = 1
    <BLANKLINE>
    """
    futures: dict[str, None] = {}
    imports: set[str] = set()
    text, before = "", ""
    for part in parts:
        tree, lines = ast.parse(part), part.splitlines()
        dropped: set[int] = set()
        for node in tree.body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            written = ast.unparse(node)
            if _is_future(node):
                futures[written] = None
            elif written not in imports:
                imports.add(written)
                continue
            if _alone(node, tree):
                dropped |= set(range(node.lineno - 1, node.end_lineno or node.lineno))
        rest = "\n".join(line for number, line in enumerate(lines) if number not in dropped).strip("\n")
        if rest:
            kind = _statement_kind(rest)
            gap = 0 if not text else 3 if "definitions" in (kind, before) else 1 if kind == before else 2
            text, before = f"{text}{gap * chr(10)}{rest}", kind
    return "\n\n".join(piece for piece in ("\n".join(futures), text) if piece) + (
        "\n" if futures or text else ""
    )


def _statement_kind(text: str) -> str:
    body = ast.parse(text).body
    if all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body):
        return "imports"
    return "values" if all(isinstance(node, (ast.Assign, ast.AnnAssign)) for node in body) else "definitions"


def _layers(module: nn.Module) -> str:
    if isinstance(module, nn.Sequential) and type(module).__init__ is nn.Sequential.__init__:
        kind = qualified(type(module))
        children = list(module.named_children())
        if [name for name, _ in children] == [str(index) for index in range(len(children))]:
            inner = [_layers(child) for _, child in children]
            return f"{kind}({_block(inner)})"
        inner = [f"({name!r}, {_layers(child)})" for name, child in children]
        return f"{kind}(collections.OrderedDict([{_block(inner)}]))"
    arguments = _arguments(module)
    _check_rebuilds(module, arguments)
    return _call(type(module), arguments)


def _block(lines: list[str]) -> str:
    return "\n" + textwrap.indent("".join(f"{line},\n" for line in lines), "    ") if lines else ""


def _call(kind: type, arguments: Mapping[str, Any]) -> str:
    parameters = inspect.signature(kind).parameters
    written: list[str] = []
    in_order = True
    for name, value in arguments.items():
        # Required arguments read best by position, as people write them: nn.Linear(784, 10), but
        # nn.Softmax(dim=1).
        required = name in parameters and parameters[name].default is inspect.Parameter.empty
        in_order = in_order and required
        written.append(literal(value) if in_order else f"{name}={literal(value)}")
    return f"{qualified(kind)}({', '.join(written)})"


def _arguments(module: nn.Module) -> dict[str, Any]:
    """The constructor's arguments, read off the attributes of the same name, where they are not the defaults."""
    if isinstance(module, nn.RNNBase):
        return _recurrent_arguments(module)
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or name.startswith("_"):
            continue
        if name in ("device", "size_average", "reduce"):
            continue
        value = _attribute(module, name)
        if value is _MISSING:
            if parameter.default is parameter.empty:
                raise NetwrightError(
                    f"{type(module).__name__} does not keep its argument {name!r}, so the code that makes it cannot "
                    f"be printed. Keep it as `self.{name}`, or put the whole network into a file"
                )
            continue
        if parameter.default is parameter.empty or not _same(value, parameter.default):
            arguments[name] = value
    return arguments


def _attribute(module: nn.Module, name: str) -> Any:
    if name == "dtype":
        kinds = {tensor.dtype for tensor in module.parameters()}
        return kinds.pop() if len(kinds) == 1 and kinds != {torch.get_default_dtype()} else None
    if isinstance(module, nn.MultiheadAttention) and name in ("bias", "add_bias_kv"):
        return (module.in_proj_bias if name == "bias" else module.bias_k) is not None
    value = getattr(module, name, _MISSING)
    if name == "bias" and (value is None or isinstance(value, torch.Tensor)):
        return value is not None
    return value


def _recurrent_arguments(module: nn.RNNBase) -> dict[str, Any]:
    defaults = {
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        "proj_size": 0,
        "nonlinearity": "tanh",
    }
    arguments: dict[str, Any] = {"input_size": module.input_size, "hidden_size": module.hidden_size}
    for name, default in defaults.items():
        if getattr(module, name, default) != default:
            arguments[name] = getattr(module, name)
    dtype = _attribute(module, "dtype")
    return arguments | ({} if dtype is None else {"dtype": dtype})


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, torch.Tensor) or isinstance(default, torch.Tensor):
        return value is default
    if isinstance(value, tuple) and isinstance(default, int):
        return all(entry == default for entry in value)
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _check_rebuilds(module: nn.Module, arguments: Mapping[str, Any]) -> None:
    try:
        with torch.random.fork_rng(devices=[]):
            again = type(module)(**arguments)
    except Exception as error:
        raise NetwrightError(
            f"{type(module).__name__} cannot be printed as code: made again with {dict(arguments)} it fails: {error}"
        ) from error
    if repr(again) != repr(module) or _shapes(again) != _shapes(module):
        raise NetwrightError(
            f"{type(module).__name__} cannot be printed as code: made again with {dict(arguments)} it is\n"
            f"{again!r}\ninstead of\n{module!r}"
        )


def _shapes(module: nn.Module) -> dict[str, Any]:
    return {
        key: (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else type(value)
        for key, value in module.state_dict().items()
    }


def _check_not_shared(module: nn.Module) -> None:
    seen: set[int] = set()
    for name, part in module.named_modules(remove_duplicate=False):
        if id(part) in seen:
            raise NetwrightError(
                f"the layer {name} ({type(part).__name__}) is used twice, which cannot be printed as one expression"
            )
        seen.add(id(part))
    tensors = [parameter for _, parameter in module.named_parameters(remove_duplicate=False)]
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        raise NetwrightError("two layers share a weight, which cannot be printed as one expression")


def _unwrapped(thing: Any) -> Callable[..., Any]:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test)
    )


def _binds(node: ast.stmt) -> set[str]:
    """The top-level names that a statement defines, imports, assigns to or changes an entry of."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Expr):
        return {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
    names: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            names |= _binds(child)
        elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
            for statement in child.body:
                names |= _binds(statement)
        else:
            names |= _stored(child)
    return names


def _stored(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
        return {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return set()
    return set().union(*(_stored(child) for child in ast.iter_child_nodes(node)))


def _loads(node: ast.stmt, future: list[ast.stmt]) -> set[str]:
    """The global names that a statement reads, also inside its functions: Python's compiler knows the scopes."""
    names: set[str] = set()
    waiting = [compile(ast.Module([*future, node], []), "<statement>", "exec")]
    while waiting:
        code = waiting.pop()
        names |= {
            str(instruction.argval)
            for instruction in dis.get_instructions(code)
            if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
        }
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def _imports_neighbour(node: ast.stmt, folder: Path) -> bool:
    modules: list[str] = []
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            modules += [alias.name for alias in part.names]
        elif isinstance(part, ast.ImportFrom) and part.module:
            modules.append(part.module)
    tops = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)
    return any((folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file() for top in tops)


def _alone(node: ast.stmt, tree: ast.Module) -> bool:
    lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return not any(
        other is not node and lines & {other.lineno, other.end_lineno or other.lineno} for other in tree.body
    )


def _sources(nodes: list[ast.stmt], tree: ast.Module, text: str) -> list[str]:
    lines = text.splitlines()
    sources: list[str] = []
    for node in nodes:
        if not _alone(node, tree):
            sources.append(ast.get_source_segment(text, node) or ast.unparse(node))
            continue
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        while first > 0 and lines[first - 1].startswith("#") and not lines[first - 1].startswith("#!"):
            first -= 1
        sources.append("\n".join(lines[first : node.end_lineno]))
    return sources
