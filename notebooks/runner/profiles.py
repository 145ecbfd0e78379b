"""Reads a profile and checks it against every notebook before anything runs."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from runner import parameters
from runner.cli import suggest

FROM_COMMAND_LINE = ("profile", "results", "data_root")
EMBEDDED = ("mnist5k", "toy3")  # data that come with the packages: nothing to look for


@dataclass(frozen=True)
class Profile:
    """A checked profile.

    Attributes
    ----------
    name : str
        Names the folder below ``results/``.
    path : Path
        The YAML file.
    description : str
        One line for the reader.
    values : dict
        ``{notebook: {parameter: value}}`` of every notebook, common values included.
    declared : dict
        ``{notebook: {parameter: default}}``, what the notebooks themselves say.
    """

    name: str
    path: Path
    description: str
    values: dict
    declared: dict

    def data(self, notebook):
        """Return the names of the data sets that a notebook asks for with this profile."""
        return set(_data_names({**self.declared[notebook], **self.values[notebook]}))

    def injected(self, notebook, options):
        """Return what papermill sets in a notebook: the profile's values and the places it declares."""
        places = {"profile": self.name, "results": str(options.results)}
        if options.data_root is not None:
            places["data_root"] = str(options.data_root)
        own = {name: value for name, value in places.items() if name in self.declared[notebook]}
        return {**self.values[notebook], **own}


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``1e-3`` is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path, notebooks, repo):
    """Read the profile at `path` and check it against all `notebooks` of the checkout `repo`.

    Raises
    ------
    ValueError
        One paragraph that names the file, the offending entry and what was expected.
    """
    content = _extended(path, repo / "notebooks" / "profiles")
    declared = {source.stem: parameters.declared(source) for source in notebooks}
    try:
        name = _name(content, path, repo)
        values = _values(content, declared, parameters.train_fields(repo))
    except ValueError as error:
        raise ValueError(f"profile {path}: {error}") from None
    return Profile(name, path, str(content.get("description") or ""), values, declared)


def _extended(path, bundled, above=()):
    """Return the content of a profile, laid over that of the bundled profile which it ``extends``, if any.

    Mappings are merged key by key, however deep; anything else, an empty mapping too, replaces what it finds.
    ``name`` and ``description`` are never inherited.
    """
    content = _read(path)
    base = content.pop("extends", None)
    if base is None:
        return content
    known = sorted(one.stem for one in bundled.glob("*.yaml"))
    if base not in known or base in above:
        raise ValueError(
            f"profile {path}: it extends {base!r}, which is no other bundled profile.{suggest(str(base), known)} "
            f"There are {', '.join(known)}."
        )
    inherited = _extended(bundled / f"{base}.yaml", bundled, (*above, path.stem))
    return _merged({key: inherited[key] for key in ("common", "notebooks") if key in inherited}, content)


def _merged(below, above):
    if not (isinstance(below, dict) and isinstance(above, dict) and above):
        return above
    return below | {key: _merged(below.get(key), value) for key, value in above.items()}


def _read(path):
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"profile {path}:{line} is not valid YAML: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"profile {path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"profile {path} must be a mapping with the keys name, description, extends, common, notebooks."
        )
    return content


def _name(content, path, repo):
    known = ("name", "description", "common", "notebooks")
    for key in content:
        if key not in known:
            raise ValueError(f"unknown key {key!r}.{suggest(key, known)} Known: {', '.join(known)}.")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not re.fullmatch(r"[\w][\w.-]*", name):
        raise ValueError(f"the name {name!r} must be letters, digits, '.', '_' or '-': it names a folder.")
    bundled = repo / "notebooks" / "profiles" / f"{name}.yaml"
    if bundled.is_file() and not bundled.samefile(path):
        raise ValueError(
            f"the name {name!r} is that of {bundled}, whose results it would overwrite; choose another."
        )
    return name


def _values(content, declared, fields):
    common, own = (_mapping(content, key) for key in ("common", "notebooks"))
    for notebook in own:
        if notebook not in declared:
            raise ValueError(
                f"notebooks: there is no notebook {notebook!r}.{suggest(notebook, declared)} "
                f"There are {', '.join(declared)}."
            )
    for key in common:
        if not any(key in names for names in declared.values()):
            every = sorted({name for names in declared.values() for name in names})
            raise ValueError(f"common: no notebook declares the parameter {key!r}.{suggest(key, every)}")
    values = {}
    for notebook, defaults in declared.items():
        given = {key: value for key, value in common.items() if key in defaults}
        given.update(_mapping(own, notebook))
        for key, value in given.items():
            _check_parameter(notebook, key, value, defaults, fields)
        values[notebook] = given
    return values


def _mapping(content, key):
    found = content.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{key} must be a mapping of names to values, not {found!r}.")
    return found


def _check_parameter(notebook, key, value, defaults, fields):
    if key in FROM_COMMAND_LINE:
        raise ValueError(
            f"{notebook}: {key!r} is set by the command line (see ./run_all.sh --help); remove it."
        )
    if key not in defaults:
        own = [name for name in defaults if name not in FROM_COMMAND_LINE]
        known = ", ".join(own) or "none"
        raise ValueError(f"{notebook} declares no parameter {key!r}.{suggest(key, own)} It declares {known}.")
    parameters.check(value, defaults[key], f"{notebook}: {key}", fields)


def _data_names(value):
    """Yield every string, or string in a list, that stands under a key ``data``, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            names = item if isinstance(item, list | tuple) else [item]
            if key == "data" and all(isinstance(name, str) for name in names):
                yield from names
            else:
                yield from _data_names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _data_names(item)


def check_data(profile, notebooks, data_root):
    """Raise FileNotFoundError where a chosen notebook needs a data set that is neither here nor reachable."""
    names = set().union(*(profile.data(source.stem) for source in notebooks)) - set(EMBEDDED)
    if not names:
        return
    import helpers.data

    available = getattr(helpers.data, "available", None)
    for name in sorted(names) if available else ():
        available(name, data_root)
