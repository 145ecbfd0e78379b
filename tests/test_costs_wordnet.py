"""WordNet distances against NLTK's answers for every pair of classes, and against values counted by hand."""

import functools

import numpy as np
import pytest

from helpers import costs
from helpers.costs import wordnet

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def corpus():
    """NLTK's WordNet 3.0, its slow answers remembered (they re-open a file, or walk up, at each call)."""
    nltk_wordnet = pytest.importorskip("nltk.corpus").wordnet
    try:
        version = nltk_wordnet.get_version()
    except LookupError:
        pytest.skip("no WordNet corpus: set NLTK_DATA to compare with NLTK")
    if version != "3.0":
        pytest.skip(f"WordNet {version} instead of 3.0")
    patch, synset = pytest.MonkeyPatch(), type(nltk_wordnet.synset("dog.n.01"))
    for name in ("_shortest_hypernym_paths", "shortest_path_distance", "min_depth", "max_depth", "hypernyms",
                 "instance_hypernyms"):
        patch.setattr(synset, name, functools.cache(getattr(synset, name)))
    patch.setattr(nltk_wordnet, "get_version", lambda: version)
    # the depth of the noun taxonomy cancels in our lch; NLTK would read all 82,115 nouns to find it
    patch.setitem(nltk_wordnet._max_depth, ("n", False), 19)
    yield nltk_wordnet
    patch.undo()


def test_wordnet_equals_nltk_for_all_pairs(corpus):
    for name in wordnet.DATA_SETS:
        synsets = [corpus.synset(row["synset"]) for row in wordnet.senses(name)]
        ours = {distance: costs.wordnet_cost(name, distance).values for distance in wordnet.DISTANCES}
        highest = synsets[0].lch_similarity(synsets[0])
        for i, a in enumerate(synsets):
            for j, b in enumerate(synsets[:i]):
                assert ours["path"][i, j] == a.shortest_path_distance(b)
                assert ours["path_similarity"][i, j] == 1 - a.path_similarity(b)
                assert ours["wup"][i, j] == ours["wup"][j, i] == 1 - a.wup_similarity(b)
                assert ours["lch"][i, j] == pytest.approx(highest - a.lch_similarity(b), abs=1e-12)


def test_slice_is_what_its_script_writes(corpus):
    from tools.build_wordnet_slice import build

    assert build() == wordnet.SLICE.read_text(encoding="utf-8")


def test_tables_agree_with_the_corpus(corpus):
    for name in wordnet.DATA_SETS:
        for row in wordnet.senses(name):
            synset = corpus.synset_from_pos_and_offset("n", int(row["wnid"][1:]))
            assert (synset.name(), synset.definition()) == (row["synset"], row["gloss"])


def test_wordnet_pinned_by_hand():
    """automobile - motor vehicle - truck; cat - feline - carnivore - canine - dog; NLTK's own howto: 0.2, 6/7."""
    pair = {d: costs.wordnet_cost("cifar10", d, ["cat", "dog"]).values[0, 1] for d in wordnet.DISTANCES}
    assert pair["path"] == 4
    assert pair["path_similarity"] == pytest.approx(1 - 1 / 5)
    assert pair["wup"] == pytest.approx(1 - 6 / 7)
    assert pair["lch"] == pytest.approx(np.log(5))
    path = costs.wordnet_cost("cifar10")
    named = path.to_frame()
    assert named.loc["automobile", "truck"] == 2
    assert named.loc["bird", "frog"] == 3  # bird - vertebrate - amphibian - frog
    assert named.loc["airplane", "ship"] == 5  # heavier-than-air craft, aircraft, craft, vessel
    assert path.classes == CIFAR10 and path.values.max() == 19
    # man - adult - woman; leopard, lion and tiger are big cats; tabby - domestic cat - Egyptian cat
    people = costs.wordnet_cost("cifar100", classes=["woman", "man"])
    assert people.classes == ("woman", "man") and people.values[0, 1] == 2
    cats = costs.wordnet_cost("cifar100", classes=["leopard", "lion", "tiger"])
    np.testing.assert_array_equal(cats.values, 2 * (1 - np.eye(3)))
    assert costs.wordnet_cost("tiny-imagenet-200", classes=["tabby", "Egyptian cat"]).values[0, 1] == 2


def test_wordnet_similar_classes_are_cheap():
    for distance in wordnet.DISTANCES:
        values = costs.wordnet_cost("cifar10", distance).to_frame()
        assert values.loc["cat", "dog"] < values.loc["cat", "truck"]
        assert values.loc["automobile", "truck"] == values[values > 0].min().min()


def test_wordnet_classes_and_their_order():
    assert tuple(row["class"] for row in wordnet.senses("cifar10")) == CIFAR10
    hundred = [row["class"] for row in wordnet.senses("cifar100")]
    assert len(hundred) == 100 and hundred == sorted(hundred) and hundred[32] == "flatfish"
    tiny = wordnet.senses("tiny-imagenet-200")
    assert len(tiny) == 200 and all(row["class"] == row["wnid"] for row in tiny)
    assert [row["class"] for row in tiny[:2] + tiny[-1:]] == ["n02124075", "n04067472", "n02504458"]
    for name in wordnet.DATA_SETS:
        assert len({row["synset"] for row in wordnet.senses(name)}) == len(wordnet.senses(name))
        assert all(wordnet.find(name, [row["class"]]) == [row] for row in wordnet.senses(name))


SENSES = {  # what every class of a super-class must be, so that no homonym slips in
    "aquatic mammals": "mammal.n.01", "fish": "fish.n.01", "flowers": "plant.n.02",
    "food containers": "artifact.n.01", "fruit and vegetables": "food.n.02",
    "household electrical devices": "instrumentality.n.03", "household furniture": "furniture.n.01",
    "insects": "animal.n.01", "large carnivores": "carnivore.n.01", "large man-made outdoor things": "artifact.n.01",
    "large natural outdoor scenes": "physical_entity.n.01", "large omnivores and herbivores": "mammal.n.01",
    "medium-sized mammals": "mammal.n.01", "non-insect invertebrates": "invertebrate.n.01",
    "people": "person.n.01", "reptiles": "reptile.n.01", "small mammals": "mammal.n.01", "trees": "tree.n.01",
    "vehicles 1": "conveyance.n.03", "vehicles 2": "instrumentality.n.03",
}


def test_senses_suit_the_super_classes_and_the_gloss():
    graph = wordnet.WORDNET["hypernyms"]

    def above(synset):
        return {synset}.union(*(above(parent) for parent in graph[synset]))

    for row in wordnet.senses("cifar100"):
        assert SENSES[costs.superclasses("cifar100")[row["class"]]] in above(row["synset"]), row["class"]
    assert all("entity.n.01" in above(synset) for synset in graph)
    gloss = {row["class"]: row["gloss"] for row in wordnet.senses("cifar100")}
    for name, word in {"mouse": "rodent", "plain": "land", "can": "metal container", "tank": "military",
                       "rocket": "vehicle", "keyboard": "computer", "ray": "fishes", "castle": "fortified",
                       "cloud": "water", "seal": "marine mammals", "orange": "fruit"}.items():
        assert word in gloss[name]
    tiny = {costs.readable(row["class"]): row["gloss"] for row in wordnet.senses("tiny-imagenet-200")}
    assert "lifts and moves heavy objects" in tiny["crane"] and "memorial" in tiny["brass"]


def test_readable_names():
    assert costs.readable("n02124075") == "Egyptian cat"
    assert costs.readable("pickup_truck") == "pickup truck"
    assert costs.readable("lion") == "lion" and costs.readable("n99999999") == "n99999999"
    names = [costs.readable(row["class"]) for row in wordnet.senses("tiny-imagenet-200")]
    assert len(set(names)) == 200


@pytest.mark.parametrize(("arguments", "message"), [
    (("mnist",), "not for 'mnist'"),
    (("cifar10", "resnik"), "no WordNet distance 'resnik'.*path, path_similarity, wup, lch"),
    (("cifar10", "path", ["cat", "unicorn"]), "cifar10 has no class 'unicorn'"),
    (("cifar10", "path", ["cat"]), "two classes"),
])
def test_wordnet_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        costs.wordnet_cost(*arguments)
