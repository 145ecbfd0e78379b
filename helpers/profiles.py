"""Profiles: YAML files that say which models to train and what the notebooks get as parameters.

A profile is a mapping with the keys

    name         of the folder below results/, by default the file's own; description, a line for the reader
    extends      a bundled profile: this one is laid over it, mapping by mapping; a list, a cost, an empty one replaces
    imports      Python files that name parts of runs of your own (`helpers.training.register`)
    recipe       `helpers.training.TrainConfig` fields that all models share
    models       what to train, in this order: see `helpers.training.expand`
    evaluate     what `python -m jobs` measures of a trained model: see `jobs.evaluate.planned_attacks`, and `images`
    common       parameters of all notebooks that declare them
    notebooks    parameters by notebook

This module needs the standard library alone (PyYAML to `read`): a misspelt name is told before anything is imported.
"""
import difflib
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "profiles"
# What a profile may inherit.
CONTENT = {"imports": [], "recipe": {}, "models": [], "evaluate": {}, "common": {}, "notebooks": {}}
COSTS = ("cost", "my_pairs")  # parameters that `helpers.costs.from_spec` reads, which takes them in many forms


def suggest(word, known):
    """Return ``" Did you mean 'x'?"`` for the word of `known` nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(str(word), [str(one) for one in known], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def find(text, folder=FOLDER):
    """The path of a profile that is given by its name, or by the path of a YAML file.

    Raises ValueError, or FileNotFoundError, where there is none; the nearest name is suggested.
    """
    if "/" in str(text) or str(text).endswith((".yaml", ".yml")):
        path = Path(text).expanduser().resolve()
        if path.is_file():
            return path
        raise FileNotFoundError(f"profile {text}: there is no such file ({path}).")
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if text not in known:
        raise ValueError(f"unknown profile {text!r}.{suggest(text, known)} Choose {', '.join(known) or 'one'} or give "
                         "the path of a YAML file.")
    return folder / f"{text}.yaml"


def read(path, folder=FOLDER):
    """A profile as a dict with all keys, whether the file has them or not, except for ``extends``, which is done.

    ``folder`` is where the profiles lie that it may extend; their names are taken. Raises ValueError: one paragraph
    that names the file, the offending entry and what was expected.
    """
    content = {**CONTENT, **_extended(path, folder)}
    name = content.setdefault("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"(?!(?i:mine|runs|benchmarks)$)\w[\w.-]*", name):
        raise ValueError(f"profile {path}: the name {name!r} must be of letters, digits and . _ -, and not mine, runs "
                         "or benchmarks, which hold other things: it names a folder of results.")
    bundled = folder / f"{name}.yaml"
    if bundled.is_file() and not bundled.samefile(path):
        raise ValueError(f"profile {path}: the name {name!r} is that of {bundled}, whose results it would overwrite; "
                         "choose another.")
    return content | {"description": str(content.get("description") or "")}


def _extended(path, folder, above=()):
    """The content of a profile, laid over that of the one which it extends; name and description are its own."""
    content = _parsed(path)
    if "extends" not in content:
        return content
    base, known = content.pop("extends"), sorted(one.stem for one in folder.glob("*.yaml"))
    if base not in known or base in (path.stem, *above):
        raise ValueError(f"profile {path}: it extends {base!r}, which is no other bundled profile."
                         f"{suggest(base, known)} There are {', '.join(known)}.")
    inherited = _extended(folder / f"{base}.yaml", folder, (*above, path.stem))
    return _merged({key: inherited[key] for key in CONTENT if key in inherited}, content)


def _merged(below, above):
    if not (isinstance(below, dict) and isinstance(above, dict) and above):
        return above
    return below | {key: value if key in COSTS else _merged(below.get(key), value)
                    for key, value in above.items()}


def _beside(content, folder):
    """The content with the path of each cost or Python file that lies relative to the profile's own folder."""
    if isinstance(content, list):
        return [_beside(item, folder) for item in content]
    if isinstance(content, dict):
        return {key: _beside(value, folder) for key, value in content.items()}
    is_file = isinstance(content, str) and content.endswith((".csv", ".tsv", ".txt", ".py"))
    return str((folder / content).resolve()) if is_file and (folder / content).is_file() else content


def _parsed(path):
    """The mapping in a YAML file, as people mean it: 1e-3 is a number, 010 ten, no is text; no key may stand twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            for index, (key, _) in enumerate(node.value):
                if any(key.value == earlier.value for earlier, _ in node.value[:index]):
                    raise yaml.MarkedYAMLError(f"the key {key.value!r} stands twice", key.start_mark)
            return super().construct_mapping(node, deep)

    tag, Loader.yaml_implicit_resolvers = "tag:yaml.org,2002:", {}  # without the words, octals and dates of YAML 1.1
    for kind, pattern in {"null": "~|null|Null|NULL|", "bool": "true|True|TRUE|false|False|FALSE", "merge": "<<",
                          "int": "[-+]?[0-9]+", "float":
                          r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"}.items():
        Loader.add_implicit_resolver(tag + kind, re.compile(f"({pattern})$"), None)
    Loader.add_constructor(tag + "int", lambda _, node: int(node.value))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {path} is not valid YAML: {' '.join(str(error).split())}.") from None
    known = ("name", "description", "extends", *CONTENT)
    if not isinstance(content, dict):
        raise ValueError(f"profile {path} must be a mapping with some of the keys {', '.join(known)}.")
    content = _beside({key: value for key, value in content.items() if value is not None}, path.parent)
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"profile {path}: unknown key {key!r}.{suggest(key, known)} Known: {', '.join(known)}.")
        if key in CONTENT and not isinstance(value, type(CONTENT[key])):
            wanted = "list" if isinstance(CONTENT[key], list) else "mapping of names to values"
            raise ValueError(f"profile {path}: {key} must be a {wanted}, not {value!r}.")
    return content
