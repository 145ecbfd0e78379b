"""Small numbers of the code at commit ad5b6f9: while they come out the same, today's source counts as equivalent."""
import pytest

from helpers import attacks, data, losses, training

RECIPE = {"data": "stripes", "network": "W-10-1", "epochs": 1, "lr": 0.05, "batch_size": 16, "val_size": 12,
          "val_images": 12, "val_steps": 2, "eps": 8, "steps": 2}
COST = {"values": [[0, 1, 3], [1, 0, 2], [3, 2, 0]]}
# Sum of squares of all weights, training loss; then for two attacks: squared length of the steps, sum of the logits.
GOLDEN = [({"method": "ce", "augment": True, "ema": 0.9}, [974.2618, 1.2077], [4.7425, 1.4172], [23.9795, 0.1911]),
          ({"method": "pgd", "norm": "l2", "eps": 100, "steps": 3}, [973.5992, 1.2426], [4.6285, 0.1543],
           [23.9840, 0.0627]),
          ({"method": "wpgd", "p": 2.5, "cost": COST, "augment": "crop"}, [973.0991, 1.2110], [4.6919, 1.0763],
           [23.9817, 1.1477])]


@pytest.mark.parametrize("settings, trained, linf, l2", GOLDEN)
def test_training_and_attacks_give_what_they_gave(stripes, tmp_path, settings, trained, linf, l2):
    run = training.train(training.configure(RECIPE, settings), data_root=stripes, store=tmp_path, progress=False)
    squares = sum(value.double().square().sum().item() for value in run.model.state_dict().values())
    assert [squares, run.metrics["train_loss"]] == pytest.approx(trained, abs=2e-3)
    x, y = data.to_float(run.dataset.x_test), run.dataset.y_test
    for attack, golden in ((attacks.PGD(8 / 255), linf), (attacks.PGD(1.0, norm="l2", loss=losses.margin_loss), l2)):
        found = attack(run.model, x, y)
        told = [(found - x).double().square().sum().item(), run.model(found).double().sum().item()]
        assert told == pytest.approx(golden, abs=5e-3)
