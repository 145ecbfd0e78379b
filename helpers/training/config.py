"""The recipe of one run: everything that decides its weights, validated before any work starts."""
import dataclasses
import functools
import json
import math
import typing
import warnings
from dataclasses import dataclass
from typing import Literal

from helpers.attacks import default_step_size
from helpers.profiles import suggest
from helpers.training import parts

# Fields without influence on a method's weights: they are reset, so that equal runs have equal names.
UNUSED = {"ce": ("eps", "eps_warmup", "steps", "step_size", "random_start", "cost", "p", "lam", "mu", "loss"),
          "pgd": ("cost", "p", "lam", "mu"), "wpgd": ("loss",)}
# What numbers must be, beside their types.
RANGES = ((("eps", "val_eps", "weight_decay", "steps", "val_steps", "p"), "finite and >= 0",
           lambda x: 0 <= x < math.inf),
          (("epochs", "batch_size", "val_every", "val_images", "batch_norm_parts"), ">= 1", lambda x: x >= 1),
          (("lr", "lam", "mu"), "> 0", lambda x: x > 0),
          (("warmup", "eps_warmup", "ema", "momentum"), "in [0, 1)", lambda x: 0 <= x < 1))


def later(default):
    """A field that is new since runs were first published, with what was done before as its default.

    It enters hash and label only where it differs from that, so that all older runs keep their names.  Whoever adds a
    field to `TrainConfig` declares it so.
    """
    return dataclasses.field(default=default, metadata={"later": True})


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a training run.  eps, step_size and val_eps are in 1/255, as in the paper.

    Attributes
    ----------
    data : data set, see `helpers.data.load`; like network, augment, loss, optimizer and schedule a name that
        `training.register` may have given
    classes : names of the classes to keep, a pair for the problems of Fig. 5; None keeps all
    ratio, minority : cut class `minority` to `ratio` times the other's size (Sec. 3.2)
    train_size, val_size, split_seed : see `helpers.data.split`
    augment : random crops and flips (Sec. 5.1); True, False, or "crop" for crops without flips
    network : "W-depth-width", "W-depth-width/2" (first convolution with a stride of 2), "mlp-a-b", or a classifier of
        torchvision ("resnet18")
    method : "ce" (Eq. 1), "pgd" (Eq. 2) or "wpgd" (Eq. 6)
    norm, eps, steps, step_size, random_start : of the inner attack; step_size None means 2.5 eps / steps
    eps_warmup : share of the epochs over which the eps of that attack grows from 0 (linearly, as in Gowal et al. 2018)
    cost, p, lam : of the Wasserstein loss (Eq. 5), for "wpgd"; cost is a spec of `helpers.costs.from_spec`
    mu : the attack of "wpgd" maximises the cross entropy plus mu times that loss; inf, as in the paper: it alone
    loss : that the attack of "pgd" maximises, "cross_entropy" or "margin"
    epochs, batch_size, lr, schedule, warmup, momentum, weight_decay : SGD with Nesterov momentum (Sec. 5.1)
    optimizer : "sgd" or "adamw", whose first beta is `momentum`
    ema : decay of the exponential moving average of the weights that is kept as the result; 0 switches it off
    seed : of initialisation, order, augmentation and attack
    val_every, val_images, val_steps, val_eps : validate every so many epochs: natural error on `val_images`
        held-out images, adversarial error by PGD; val_eps None means eps
    precision : "float32", "bf16" (autocast; BatchNorm and losses stay in float32), or "float64", for tests; "auto" is
        bf16 where this machine computes it natively, else float32, unless the run is there in the other (`prepare`)
    batch_norm_parts : 1: BatchNorm normalises by the whole batch, also where several processes share it; n: each of n
        processes by its own part, which only n processes can do
    start : name of a run whose weights are the initial ones, of the store or with weights in ``results/``
    """

    data: str
    epochs: int
    lr: float
    network: str = "W-16-1"
    method: Literal["ce", "pgd", "wpgd"] = "ce"
    classes: tuple | None = None
    ratio: float | None = None
    minority: str | None = None
    train_size: int | None = None
    val_size: float | int = 0.1
    split_seed: int = 0
    augment: bool | str = False
    norm: Literal["linf", "l2"] = "linf"
    eps: float = 0.0
    steps: int = 8
    step_size: float | None = None
    random_start: bool = True
    cost: object = None
    p: float = 1.0
    lam: float = 10.0
    batch_size: int = 128
    schedule: str = "one_cycle"
    warmup: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    ema: float = 0.0
    seed: int = 0
    val_every: int = 1
    val_images: int = 500
    val_steps: int = 10
    val_eps: float | None = None
    precision: Literal["float32", "bf16", "float64", "auto"] = "float32"
    mu: float = later(math.inf)
    loss: str = later("cross_entropy")
    optimizer: str = later("sgd")
    batch_norm_parts: int = later(1)
    start: str | None = later(None)
    eps_warmup: float = later(0.0)

    def __post_init__(self):
        hints, put = typing.get_type_hints(type(self)), functools.partial(object.__setattr__, self)
        for item in dataclasses.fields(self):
            put(item.name, typed(item.name, getattr(self, item.name), hints[item.name]))
        self._check()
        if self.method != "ce" and self.val_eps is None:
            put("val_eps", self.eps)
        # The norm of a plain network matters only to the attack that validates it.
        norm = ("norm",) if self.method == "ce" and not self.val_eps else ()
        for name in UNUSED[self.method] + norm:
            put(name, getattr(TrainConfig, name))  # its default
        if self.method != "ce" and self.step_size is None:
            put("step_size", default_step_size(self.eps, self.steps))

    def _check(self):
        for names, told, holds in RANGES:
            for name in names:
                if getattr(self, name) is not None and not holds(getattr(self, name)):
                    raise ValueError(f"{name} = {getattr(self, name)}: it must be {told}")
        for name in ("eps", "val_eps"):
            if 0 < (value := getattr(self, name) or 0) < 1:
                warnings.warn(f"{name} = {value:g} is in 1/255, less than a grey level: {255 * value:.3g} if "
                              f"{value:.3g} of the range of a pixel was meant", stacklevel=5)
        for kind in ("loss", "optimizer", "schedule", "augment"):
            parts.find(kind, getattr(self, kind))
        for wrong, told in (
                (self.norm == "linf" and max(self.eps, self.val_eps or 0) > 255,
                 f"eps = {self.eps:g}, val_eps = {self.val_eps}: they are in 1/255, at most 255 for L-inf"),
                (self.method != "ce" and self.eps and self.step_size is not None and not self.step_size > 0,
                 f"step_size = {self.step_size}: it must be > 0, or None for 2.5 eps / steps"),
                (self.method == "wpgd" and self.cost is None,
                 'method "wpgd" needs a cost: "wordnet:path", "linear_boundary", a CSV, or a CostMatrix'),
                ((self.ratio is None) != (self.minority is None),
                 "ratio and minority belong together: say how far to cut, and which class")):
            if wrong:
                raise ValueError(told)

    @property
    def label(self):
        """Short readable name, such as "cifar10 W-16-1 WPGD p=2.5 cost=wordnet:path eps=4 seed=0"."""
        words = [self.data.rstrip("/").split("/")[-1], *(["-".join(self.classes)] if self.classes else []),
                 *([f"ratio={self.ratio:g}"] if self.ratio else []), self.network, self.method.upper()]
        if self.method == "wpgd":
            # A cost given as numbers has no name that is short; the hash of the run's folder tells it apart.
            words += [f"p={self.p:g}", *([f"lam={self.lam:g}"] if self.lam != TrainConfig.lam else []),
                      *([f"cost={self.cost}"] if isinstance(self.cost, str) and len(self.cost) < 30 else [])]
        words += [f"eps={self.eps:g}"] if self.method != "ce" else []
        words += [f"{item.name}={getattr(self, item.name)}" for item in self._named() if item.metadata.get("later")]
        return " ".join([*words, *([self.precision] if self.precision != "float32" else []), f"seed={self.seed}"])

    @property
    def passes(self):
        """Passes through the network that training spends on an image: 2 k + 3 with k attack steps, 3 without."""
        return 3 if self.method == "ce" else 2 * self.steps + 3

    def to_dict(self):
        """The fields that name a run, JSON-able; a cost object is represented by its name and digest."""
        return {item.name: as_json(getattr(self, item.name)) for item in self._named()}

    def _named(self):
        return [item for item in dataclasses.fields(self)
                if not item.metadata.get("later") or getattr(self, item.name) != item.default]


def as_json(value):
    """A field's value as config.json has it."""
    if hasattr(value, "digest"):
        return f"{value.name}@{value.digest}"
    if isinstance(value, float) and math.isinf(value):
        return "inf"  # only lam and mu may be
    if isinstance(value, dict):  # a cost by pairs: a pair of classes as a text, as a key of JSON must be
        value = {" <-> ".join(map(str, key)) if isinstance(key, tuple) else key: cost for key, cost in value.items()}
    # An array becomes lists, anything else that JSON does not know text; the cost's digest decides, not this.
    return json.loads(json.dumps(value, default=lambda value: getattr(value, "tolist", lambda: str(value))()))


def configure(*parts, **overrides):
    """A `TrainConfig` from dictionaries, later ones winning: recipe, what this run varies.

    Raises
    ------
    ValueError
        For a name that is no field (the nearest is suggested), a value of the wrong type or out of range.
    """
    merged = {name: value for part in (*parts, overrides) for name, value in part.items()}
    check_names(merged, [item.name for item in dataclasses.fields(TrainConfig)])
    for name in ("data", "epochs", "lr"):
        if name not in merged:
            raise ValueError(f"a training run needs {name!r}: add it to the recipe or the model's settings")
    return TrainConfig(**merged)


def check_names(given, known):
    """Refuse with a ValueError what is no setting of a training run; the nearest one is suggested."""
    for name in given:
        if name not in known:
            advice = suggest(name, known) or f" The settings are {', '.join(known)}."
            raise ValueError(f"{name!r} is no setting of a training run.{advice}")


def typed(name, value, hint):
    """`value` as a field's type, or an error that names the field; an int is a float, a list or an array a tuple."""
    allowed = typing.get_args(hint) or (hint,)
    value = value.item() if getattr(value, "ndim", None) == 0 else value  # of NumPy or torch
    if typing.get_origin(hint) is Literal:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(f"{name} = {value!r}: choose one of {', '.join(allowed)}")
    if tuple in allowed and (isinstance(value, list | tuple) or hasattr(value, "tolist")):
        return tuple(str(entry) for entry in value)
    if object in allowed or type(value) in allowed:
        return value
    if float in allowed and (type(value) is int or (name in ("lam", "mu") and value == "inf")):
        return float(value)
    if name == "minority" and type(value) is int:
        return str(value)
    expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in allowed)
    raise ValueError(f"{name} = {value!r:.60} is of type {type(value).__name__}: it must be {expected}" + (
        f"; give a part of your own a name by training.register({name!r}, ...)" if name in parts.PARTS else ""))
