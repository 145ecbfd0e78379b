"""What a notebook's ``parameters`` cell declares, and whether a profile's values fit it."""

import ast
import json

from runner.cli import suggest

SCALARS = {"bool": bool, "int": int, "float": float, "str": str}


def declared(path):
    """Return the literals of a notebook's cell tagged ``parameters`` as ``{name: default}``.

    Raises
    ------
    ValueError
        The file is no notebook, or the cell holds anything but assignments of literals.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook ({error!r}); restore it from git.") from None
    found = {}
    for cell in cells:
        if "parameters" not in cell.get("metadata", {}).get("tags", []):
            continue
        try:
            for statement in ast.parse("".join(cell["source"])).body:
                found.update(_literal(statement))
        except (SyntaxError, ValueError) as error:
            raise ValueError(
                f"the `parameters` cell of {path.name} must hold nothing but literals assigned to names, "
                f"as in `epochs = 3` ({error})."
            ) from None
    return found


def _literal(statement):
    """Return ``{name: value}`` of one assignment; a docstring or a comment line gives nothing."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return {}
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target = statement.target
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    else:
        target = None
    if not isinstance(target, ast.Name):
        raise ValueError(f"line {statement.lineno}: {ast.unparse(statement)}")
    return {target.id: ast.literal_eval(statement.value)}


def train_fields(repo):
    """Return ``{field: tuple of types, or None for any}`` of ``helpers.training.TrainConfig``.

    Read from the source: importing it would import torch, which takes longer than all other checks together.
    """
    folder = repo / "helpers"
    for path in sorted(folder.glob("training/*.py")) + sorted(folder.glob("training.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name == "TrainConfig":
                fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
                return {item.target.id: _types(item.annotation) for item in fields}
    return {}


def _types(annotation):
    names = {
        node.id if isinstance(node, ast.Name) else str(node.value)
        for node in ast.walk(annotation)
        if isinstance(node, ast.Name | ast.Constant)
    }
    if not names <= {*SCALARS, "None"}:
        return None
    return tuple(type(None) if name == "None" else SCALARS[name] for name in sorted(names))


def check(value, default, where, fields):
    """Raise ValueError unless `value` fits the notebook's `default`.

    Parameters
    ----------
    value, default : object
        A value of the profile and the literal of the notebook. A default of None takes anything, a float
        takes an int, a bool is no int; in a non-empty dict every key must be known, in a non-empty list
        every item must look like one of the default's.
    where : str
        Names the value in the message, as in ``01_toy_boundaries: train.epochs``.
    fields : dict
        `train_fields`: keys that any dict may hold besides its default's.
    """
    if default is None:
        return
    if isinstance(default, dict) and isinstance(value, dict):
        for key in value if default else ():
            if key in default:
                check(value[key], default[key], f"{where}.{key}", fields)
            elif key in fields:
                _check_type(value[key], fields[key], f"{where}.{key}")
            else:
                known = [*default, *fields]
                raise ValueError(
                    f"{where} has no key {key!r}.{suggest(key, known)} Known: {', '.join(map(str, default))}"
                    + (" and the fields of helpers.training.TrainConfig." if fields else ".")
                )
    elif isinstance(default, list | tuple) and isinstance(value, list | tuple):
        for index, item in enumerate(value if default else ()):
            check(item, _example(default), f"{where}[{index}]", fields)
    else:
        _check_type(value, (type(default),), where)


def _example(items):
    """Merge the items of a default list into one default that each of a profile's items must fit."""
    if all(isinstance(item, dict) for item in items):
        return {key: value for item in items for key, value in item.items()}
    kinds = {type(item) for item in items}
    if len(kinds) == 1:
        return items[0]
    return 0.0 if kinds == {int, float} else None


def _check_type(value, types, where):
    if types is None or type(value) in types or (type(value) is int and float in types):
        return
    wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
    raise ValueError(f"{where} is {value!r}, a {type(value).__name__}; the notebook takes {wanted}.")
