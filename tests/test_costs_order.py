"""Order and groups of many classes against block matrices, and names against what WordNet says."""
import numpy as np
import pytest

from helpers import costs
from study import order as order_of


def block_cost(sizes, rng, within=1.0, across=10.0):
    """Classes in random order, near within a block; the block of each class."""
    block = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = np.where(block[:, None] == block, within, across) + 0.01 * rng.random((len(block), len(block)))
    values = np.triu(values, 1)
    return costs.CostMatrix(values + values.T, [f"class {index}" for index in range(len(block))]), block


def test_blocks_become_consecutive_groups():
    cost, block = block_cost([4, 7, 5], np.random.default_rng(0))
    order, groups = order_of.ordered_groups(cost)
    assert sorted(order) == list(range(16))
    assert [groups[0][1], *(stop for _, _, stop in groups)] == sorted({*(s for _, s, _ in groups), 16})
    for name, start, stop in groups:
        assert len(set(block[order[start:stop]])) == 1 and stop - start >= 3
        assert name in {f"like {cost.classes[index]}" for index in order[start:stop]}


def test_a_small_group_joins_its_nearer_neighbour(monkeypatch):
    cost, block = block_cost([6, 1, 6], np.random.default_rng(1))
    values = np.array(cost.values)
    alone, near = block == 1, block == 2
    values[np.ix_(alone, near)] = values[np.ix_(near, alone)] = 5.0
    cost = costs.CostMatrix(values, cost.classes)
    for smallest in (1, 2, 3):
        monkeypatch.setattr("study.order.SMALLEST", smallest)
        order, groups = order_of.ordered_groups(cost)
        own, = [block[order[start:stop]] for _, start, stop in groups if 1 in block[order[start:stop]]]
        assert set(own) == ({1} if smallest == 1 else {1, 2})


@pytest.mark.parametrize("data_set", ["cifar100", "tiny-imagenet-200"])
def test_wordnet_groups_carry_words(data_set):
    cost = costs.wordnet_cost(data_set)
    order, groups = order_of.ordered_groups(cost)
    assert sorted(order) == list(range(len(cost))) and 8 <= len(groups) <= 2 * len(cost) ** 0.5 + 1
    assert all(stop - start >= 3 and not name.startswith("like") for name, start, stop in groups)
    neighbours = cost.values[order[:-1], order[1:]].mean()
    assert neighbours < 0.6 * cost.values[np.triu_indices(len(cost), 1)].mean()


@pytest.mark.parametrize(("classes", "word"), [
    (["shark", "trout", "ray"], "fish"), (["man", "woman", "boy", "girl"], "person"),
    (["rose", "tulip", "poppy", "shark"], "vascular plant"), (["cat", "dog"], "carnivore"), (["4", "9"], None)])
def test_the_most_specific_word_for_most_of_the_classes(classes, word):
    assert order_of.shared_hypernym(classes) == word


def test_nltk_agrees_on_the_shared_word():
    wordnet = pytest.importorskip("nltk.corpus").wordnet
    try:
        first, second = wordnet.synset("cat.n.01"), wordnet.synset("dog.n.01")
    except LookupError:
        pytest.skip("WordNet's corpus is not here; set NLTK_DATA")
    common = first.lowest_common_hypernyms(second)[0].name().split(".")[0]
    assert order_of.shared_hypernym(["cat", "dog"]) == common


def test_pairs_are_chosen_by_rank_only_where_there_are_ranks():
    ranked = costs.CostMatrix([[0, 1, 2], [1, 0, 3], [2, 3, 0]], ("a", "b", "c"))
    assert costs.pairs_by_cost(ranked).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert costs.pairs_by_cost(ranked, which="similar").tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert costs.pairs_by_cost(ranked, share=1).sum() == 6
    values = 1 - np.eye(10)
    values[4, 9] = values[9, 4] = values[1, 7] = values[7, 1] = 10
    dear = costs.CostMatrix(values, list("0123456789"))  # 86 of 90 pairs cost the same
    assert not costs.pairs_by_cost(dear).any() and not costs.pairs_by_cost(dear, which="similar").any()
    assert costs.pairs_by_cost(dear, share=4 / 90).sum() == 4
    # All distances that the study ranks do have ranks.
    for data_set in ("cifar10", "cifar100", "tiny-imagenet-200"):
        cost = costs.wordnet_cost(data_set)
        near, far = (costs.pairs_by_cost(cost, which=which) for which in ("similar", "distant"))
        assert near.any() and far.any() and not (near * far).any()
