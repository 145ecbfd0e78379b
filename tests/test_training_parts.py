"""Networks, data, losses, optimisers, schedules and augmentations of a reader's own: trained, named, refused."""
import numpy as np
import pytest
import torch
from torch import nn

from helpers import costs, data, losses, training
from helpers.evaluation import evaluate_run
from helpers.training import parts
from helpers.training.store import prepare
from jobs.__main__ import main
from jobs.runs import config_of, find

BASE = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "batch_size": 16, "val_size": 16,
        "val_images": 12, "val_steps": 1, "steps": 1, "method": "pgd", "eps": 8.0}


class Patches(nn.Module):
    """A vision transformer in small: patches, LayerNorm, attention; no buffer, no BatchNorm."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, 16, 4, 4)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, num_classes))

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(dim=1))


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    """What a test registers ends with it."""
    monkeypatch.setattr(parts, "PARTS", {kind: dict(known) for kind, known in parts.PARTS.items()})


@pytest.fixture
def run_it(stripes, tmp_path):
    def run(*settings, store="runs", **own):
        config = training.configure(BASE, *settings, own)
        return training.train(config, data_root=stripes, store=tmp_path / store, progress=False)
    return run


def images(*shape, dtype=torch.uint8, classes=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(48, *shape, generator=generator)
    x = (255 * x).to(dtype) if dtype == torch.uint8 else x
    y = torch.arange(48) % classes
    return data.Dataset("mine", x, y, x[:12], y[:12], [f"c{k}" for k in range(classes)])


def test_a_network_of_ones_own_is_trained_found_loaded_and_evaluated(run_it):
    training.register("network", "vit", Patches)
    run = run_it(network="vit", ema=0.5, optimizer="adamw", schedule="constant", augment=True)
    assert run.folder.name.startswith("stripes_vit_PGD_eps=8_optimizer=adamw_seed=0-")
    again = run_it(network="vit", ema=0.5, optimizer="adamw", schedule="constant", augment=True)
    assert again.loaded and evaluate_run(again).error == evaluate_run(run).error
    model, config = training.load_model(run.folder)
    assert config["network"] == "vit" and all(map(torch.equal, model.parameters(), run.model.parameters()))
    weights = [one.clone() for one in run_it(network="vit", store="seed").model.parameters()]
    assert all(map(torch.equal, weights, run_it(network="vit", store="other").model.parameters()))


def test_an_own_loss_schedule_augmentation_and_optimizer_are_used(run_it):
    seen = set()

    def spy(name, result):
        return lambda *words, **settings: seen.add(name) or result(*words, **settings)

    training.register("loss", "top", spy("loss", losses.margin_loss))
    training.register("schedule", "half", spy("schedule", lambda progress, config: 0.5))
    training.register("augment", "mirror", spy("augment", lambda images, generator: images.flip(3)))
    training.register("optimizer", "adam", spy("optimizer", lambda some, config: torch.optim.Adam(some, config.lr)))
    own = {"loss": "top", "schedule": "half", "augment": "mirror", "optimizer": "adam"}
    run = run_it(own)
    assert seen == set(own) and run.rows[0]["lr"] == 0.025 and "loss=top optimizer=adam" in run.config.label
    names = {run_it({name: own[name]}, store=name).folder.name for name in own} | {run.folder.name}
    assert len(names) == 5, "each is part of the hash"
    assert run_it(method="wpgd", cost=[[0, 1, 2], [1, 0, 1], [2, 1, 0]], loss="top").config.loss == "cross_entropy"


def test_adamw_is_torchs_and_resumes(run_it, stripes, tmp_path, monkeypatch):
    """Against a loop by hand, on the same batches."""
    run = run_it(method="ce", optimizer="adamw", schedule="constant")
    torch.manual_seed(0)
    model = parts.build_network("W-10-1", 3, 1, run.dataset.mean, run.dataset.std).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=5e-4)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    for part in order.split(16):
        index = run.parts.train[part]
        loss = nn.functional.cross_entropy(model(run.dataset.x_train[index] / 255), run.dataset.y_train[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for mine, theirs in zip(run.model.parameters(), model.parameters()):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 16, 16), (3, 16, 20), (1, 24, 16)])
def test_channels_and_shapes_of_any_number(run_it, shape):
    training.register("data", "mine", images(*shape))
    run = run_it(data="mine", augment=True, val_size=9, val_images=9)
    assert run.model(run.dataset.x_test / 255).shape == (12, 3) and run.folder.name.startswith("mine_W-10-1")


def test_images_and_points_of_floats(run_it):
    training.register("data", "bright", images(3, 16, 16, dtype=torch.float32))
    training.register("data", "points", images(5, dtype=torch.float32))
    assert run_it(data="bright", augment="crop", val_size=9).metrics["train_images"] == 39
    assert run_it(data="points", network="mlp-8", val_size=9).model(torch.rand(2, 5)).shape == (2, 3)


def test_torchvisions_resnet_by_name_in_a_plan(stripes, tmp_path, capsys):
    training.register("data", "rgb", images(3, 32, 32))
    plan = tmp_path / "plan.yaml"
    plan.write_text("recipe: {data: rgb, network: resnet18, epochs: 1, lr: 0.01, batch_size: 32, val_size: 9, steps: 1,"
                    " val_steps: 1, val_images: 9}\nmodels: [{method: pgd, eps: 4}]\nevaluate: {eps: [4], steps: 1}\n")
    assert main([str(plan), "--store", str(tmp_path / "runs"), "--export", str(tmp_path / "out")]) == 0
    folder, = find(tmp_path / "runs", network="resnet18")
    assert training.load_model(folder)[0](torch.rand(2, 3, 32, 32)).shape == (2, 3)
    assert (tmp_path / "out" / folder.name / "answers.npz").is_file()


def test_a_plan_imports_the_file_that_registers_its_parts(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from helpers import training\nfrom torch import nn\n"
        "training.register('network', 'line', lambda classes, channels: nn.Linear(channels, classes))\n")
    plan = tmp_path / "plan.yaml"
    plan.write_text("imports: [mine.py]\nrecipe: {data: toy3, network: line, epochs: 1, lr: 0.1, val_size: 90}\n"
                    "models: [{method: ce}]\n")
    assert main([str(plan), "--store", str(tmp_path / "runs")]) == 0
    assert find(tmp_path / "runs", network="line")
    plan.write_text(plan.read_text().replace("mine.py", "absent.py"))
    assert main([str(plan), "--store", str(tmp_path / "runs")]) == 2 and "absent.py" in capsys.readouterr().err


@pytest.mark.parametrize("settings, says", [
    ({"network": "vit"}, "unknown network 'vit'.*training.register"),
    ({"network": "resnet81"}, "Did you mean 'resnet18'"),
    ({"network": "resnet18"}, "resnet18 reads 3 channels, these inputs have 1"),
    ({"network": "pair"}, "must return logits .* not a tuple"),
    ({"network": "dict"}, "must return logits .* not a dict"),
    ({"network": "rgb"}, r"network 'rgb' cannot read inputs of shape \(1, 16, 16\) of 'stripes'"),
    ({"network": "wide"}, "gives 7 logits, 'stripes' has 3 classes"),
    ({"data": "toy3"}, "'W-10-1' cannot read inputs of .* of 'toy3' .*mlp-64-64 for points"),
    ({"loss": "mine"}, "loss = 'mine': choose one of cross_entropy, margin, or name your own"),
    ({"optimizer": "lion"}, "choose one of sgd, adamw"), ({"augment": "cutout"}, "choose one of True, False, crop"),
    ({"schedule": "linear"}, "choose one of one_cycle"), ({"network": nn.ReLU()}, "type ReLU: .*register"),
    ({"loss": losses.margin_loss}, "of type function.*register"),
    ({"data": images(3, 16, 16)}, "of type Dataset.*register")])
def test_what_has_no_name_or_does_not_fit_is_refused_before_training(stripes, settings, says):
    class Returns(nn.Linear):
        def __init__(self, how, features=3):
            super().__init__(256, features)
            self.how = how

        def forward(self, x):
            return self.how(super().forward(x.flatten(1)))

    training.register("network", "pair", lambda classes, channels: Returns(lambda z: (z, z)))
    training.register("network", "dict", lambda classes, channels: Returns(lambda z: {"logits": z}))
    training.register("network", "rgb", lambda classes, channels: nn.Conv2d(3, 3, 3))
    training.register("network", "wide", lambda classes, channels: Returns(lambda z: z, 7))
    with pytest.raises(ValueError, match=says):
        prepare(training.configure(BASE, settings), stripes)


@pytest.mark.parametrize("kind, name, says", [
    ("netwrk", "mine", "'netwrk' is no part of a run"), ("network", "two words", "cannot name"),
    ("network", None, "cannot name"), ("network", "W-16-1", "there already"), ("data", "cifar10", "there already"),
    ("schedule", "one_cycle", "there already"), ("augment", "crop", "there already")])
def test_names_that_say_nothing_or_something_else_are_refused(kind, name, says):
    with pytest.raises(ValueError, match=says):
        training.register(kind, name, lambda *words: None)


def test_a_cost_with_class_names_is_matched_by_name_or_refused(stripes):
    values = np.array([[0, 1, 2], [5, 0, 3], [1, 1, 0]])
    cost = costs.CostMatrix(values, ("c0", "c1", "c2"), symmetric=False)
    turned = cost.select(("c2", "c0", "c1"))
    own = {"method": "wpgd"}
    one, two = (prepare(training.configure(BASE, own, cost=given), stripes) for given in (cost, turned))
    assert one.folder == two.folder and np.array_equal(two.cost.values, values)
    with pytest.raises(ValueError, match="no class 'c2'"):
        other = costs.CostMatrix(values, ("c0", "c1", "x"), symmetric=False)
        prepare(training.configure(BASE, own, cost=other), stripes)


def test_a_registered_part_that_changed_is_told(run_it, tmp_path):
    training.register("schedule", "mine", lambda progress, config: 0.5)
    run_it(schedule="mine")
    parts.PARTS["schedule"]["mine"] = lambda progress, config: 0.25
    with pytest.warns(UserWarning, match="trained by other code"):
        assert run_it(schedule="mine").loaded


def test_the_config_of_a_run_keeps_its_parts(run_it):
    run = run_it(optimizer="adamw", loss="margin")
    assert config_of(run.folder) == run.config
