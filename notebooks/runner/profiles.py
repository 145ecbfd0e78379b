"""Checks a profile against every notebook before anything runs."""
import ast
import json

from helpers.profiles import COSTS, read, suggest
from runner import cli
from study.parameters import resolve

# Who sets the parameters that are no business of a notebook's section.
ELSEWHERE = {**dict.fromkeys(("profile", "results", "data_root"), "the command line (see ./run_all.sh --help)"),
             **dict.fromkeys(("recipe", "models"), "the top of the profile, for all notebooks")}


def load(options, repo=cli.REPO):
    """Read the profile that the `options` of `cli.parse` choose, and check it against all notebooks of a checkout.

    Returns name, description and {notebook: {parameter: value}}; `options.imports` are the files to import.
    Raises ValueError or FileNotFoundError: one paragraph that names the offending entry and what was expected.
    """
    content = read(options.profile, repo / "notebooks" / "profiles")
    declared = {source.stem: _declared(source) for source in cli.sources(repo)}
    try:
        values = _values(content, declared)
        options.imports = content["imports"]
        if content["models"] or content["recipe"]:
            from helpers.training.plan import expand, import_file  # with torch, longer than all other checks together
            list(map(import_file, options.imports))
            expand(content["models"], content["recipe"])
    except ValueError as error:
        raise ValueError(f"profile {options.profile}: {error}") from None
    for notebook, given in values.items():
        places = {"profile": content["name"], "results": options.results, "data_root": options.data_root}
        given |= {name: str(place) for name, place in places.items() if place and name in declared[notebook]}
    for source in options.notebooks:
        _check_chosen(source.stem, {**declared[source.stem], **values[source.stem]}, options.data_root)
    return content["name"], content["description"], values


def _declared(path):
    """Return the literals of a notebook's cell tagged ``parameters`` as ``{name: default}``."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook ({error!r}); restore it from git.") from None
    try:
        return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse("\n".join(code)).body}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(f"the `parameters` cell of {path.name} must hold nothing but literals assigned to names, "
                         f"as in `epochs = 3`; put other code into a cell below it ({error}).") from None


def _check_chosen(notebook, parameters, data_root):
    """A notebook that trains must have models, and its data must be here: what is not is downloaded now."""
    if parameters.get("models") == []:
        raise ValueError(f"the profile {parameters['profile']} has no models for {notebook}: leave it out with --only.")
    usual = parameters.get("recipe", {}).get("data")
    names = {parameters.get("data"), *(model.get("data", usual) for model in parameters.get("models", ()))}
    for name in sorted(names - {None}):
        from helpers.data import provide
        provide(name, data_root)


def _values(content, declared):
    """Return ``{notebook: {parameter: value}}``, all checked, as the sections `common` and `notebooks` say."""
    for notebook, values in content["notebooks"].items():
        if notebook not in declared:
            raise ValueError(f"notebooks: there is no notebook {notebook!r}.{suggest(notebook, declared)} There are "
                             f"{', '.join(declared)}.")
        if not isinstance(values, dict):
            raise ValueError(f"{notebook} must be a mapping of names to values, not {values!r}.")
    every = sorted({name for names in declared.values() for name in names})
    for key in content["common"]:
        if key not in every:
            raise ValueError(f"common: no notebook declares the parameter {key!r}.{suggest(key, every)}")
    found = {}
    for notebook, defaults in declared.items():
        own = [name for name in defaults if name not in ELSEWHERE]
        common = [key for key in content["common"] if key in defaults]
        for key in (*common, *content["notebooks"].get(notebook, {})):
            if key in ELSEWHERE:
                raise ValueError(f"{notebook}: {key!r} is set by {ELSEWHERE[key]}; remove it.")
            if key not in defaults:
                raise ValueError(f"{notebook} declares no parameter {key!r}.{suggest(key, own)} It declares "
                                 f"{', '.join(own) or 'none'}.")
        given = resolve(notebook, content)
        found[notebook] = {name: given[name] for name in given if name in defaults}
        for name in (name for name in own if name in found[notebook] and name not in COSTS):  # read in the notebook
            _check(found[notebook][name], defaults[name], f"{notebook}: {name}")
    return found


def _check(value, default, where):
    """Raise ValueError unless `value` fits a notebook's `default`: the same type, and in it known keys and like items.

    A default of None, or an empty one, takes anything; a float takes an int, a bool is no int.
    """
    if isinstance(default, dict) and isinstance(value, dict):
        for key in value if default else ():
            if key not in default:
                raise ValueError(f"{where} has no key {key!r}.{suggest(key, default)} Known: {', '.join(default)}.")
            _check(value[key], default[key], f"{where}.{key}")
    elif isinstance(default, list) and isinstance(value, list):
        for index, item in enumerate(value if default else ()):
            _check(item, default[0], f"{where}[{index}]")
    elif default is not None and type(value) is not type(default) and (type(value), type(default)) != (int, float):
        raise ValueError(f"{where} is {value!r}, a {type(value).__name__}; it must be {type(default).__name__}.")
