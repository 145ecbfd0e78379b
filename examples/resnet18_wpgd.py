"""ResNet-18, a cost with a direction, WPGD beside PGD, AutoAttack and S: `python examples/resnet18_wpgd.py`.

Take a cat for a dog and it costs ten times what any other error does; a dog taken for a cat does not.  Finished runs
are found again, interrupted ones resumed; as a YAML file the recipe is a plan for several GPUs (docs/scaling.md).
"""
from helpers import attacks, costs, evaluation, training
from helpers.autoattack import AutoAttack
from helpers.losses import WassersteinLoss

DATA, EPOCHS, IMAGES, STEPS, QUERIES = "cifar10", 30, 1000, 100, 5000
EPS = 4


def flat_then_down(progress, config):
    """The learning rate in units of the largest: it rises, stays, and falls to 0 in the last third."""
    return min(1, max(progress / config.warmup, 0.01), 3 * (1 - progress))


training.register("schedule", "flat_then_down", flat_then_down)
cost = {"cat -> dog": 10, "default": 1}
recipe = {"data": DATA, "network": "resnet18", "optimizer": "adamw", "schedule": "flat_then_down", "warmup": 0.1,
          "lr": 1e-3, "weight_decay": 0.05, "epochs": EPOCHS, "augment": True, "ema": 0.995, "eps": EPS, "steps": 8}

for method in ("pgd", "wpgd"):
    run = training.train(training.configure(recipe, method=method, cost=cost, p=1.0))
    matrix = costs.from_spec(cost, run.dataset)
    cat, dog = map(run.dataset.classes.index, ("cat", "dog"))
    aimed = WassersteinLoss(matrix, p=1.0)
    for name, attack in {"none": None, "PGD-20": attacks.PGD(EPS / 255), "WPGD-20": attacks.PGD(EPS / 255, loss=aimed),
                         "AutoAttack": AutoAttack(EPS / 255, steps=STEPS, queries=QUERIES)}.items():
        found = evaluation.evaluate_run(run, attack, limit=IMAGES)
        print(f"{method:4}  attack {name:10}  error {found.error:5.1f} %  "
              f"S {evaluation.weighted_score(matrix, found):.3f}  cat taken for dog {found.confusion[cat, dog]:.1%}")
