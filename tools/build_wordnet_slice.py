"""Regenerates ``helpers/costs/wordnet30.json``, the slice of WordNet 3.0 behind `wordnet_cost`, from NLTK's corpus.

    NLTK_DATA=/folder/with/corpora python -m tools.build_wordnet_slice

The slice holds the sense chosen for each class, with its gloss, and every hypernym (and instance hypernym) edge
from those senses up to the root: enough for the path, Wu-Palmer and Leacock-Chodorow distances of NLTK.

Senses were chosen by their gloss: the one that describes what the images show; where several do, the one that
agrees with the data set's own super-class. The choices that are open to debate:

- aquarium_fish: the images show cichlids, discus and goldfish alike, so `fish.n.01`, not goldfish.
- forest: land with trees (`forest.n.02`), a scene like plain and mountain, not the set of its trees.
- girl, boy: the two "youthful person" senses, so that they are each other's mirror.
- keyboard: Krizhevsky's table says "computer keyboard". lamp: any source of light, as in the images.
- mushroom, sweet_pepper: the food (super-class "fruit and vegetables"), as in ImageNet's mushroom.
- castle: the fortress, not the palace. possum: the American opossum. television: the receiver.
- rocket: the vehicle, not its engine. tank: the armoured vehicle (both from super-class "vehicles 2").
"""

import json
from pathlib import Path

SLICE = Path(__file__).parents[1] / "helpers" / "costs" / "wordnet30.json"

CIFAR10 = {
    "airplane": "airplane.n.01", "automobile": "car.n.01", "bird": "bird.n.01", "cat": "cat.n.01",
    "deer": "deer.n.01", "dog": "dog.n.01", "frog": "frog.n.01", "horse": "horse.n.01",
    "ship": "ship.n.01", "truck": "truck.n.01",
}

CIFAR100 = {
    "apple": "apple.n.01", "aquarium_fish": "fish.n.01", "baby": "baby.n.01", "bear": "bear.n.01",
    "beaver": "beaver.n.07", "bed": "bed.n.01", "bee": "bee.n.01", "beetle": "beetle.n.01",
    "bicycle": "bicycle.n.01", "bottle": "bottle.n.01", "bowl": "bowl.n.01", "boy": "male_child.n.01",
    "bridge": "bridge.n.01", "bus": "bus.n.01", "butterfly": "butterfly.n.01", "camel": "camel.n.01",
    "can": "can.n.01", "castle": "castle.n.02", "caterpillar": "caterpillar.n.01", "cattle": "cattle.n.01",
    "chair": "chair.n.01", "chimpanzee": "chimpanzee.n.01", "clock": "clock.n.01", "cloud": "cloud.n.02",
    "cockroach": "cockroach.n.01", "couch": "sofa.n.01", "crab": "crab.n.01", "crocodile": "crocodile.n.01",
    "cup": "cup.n.01", "dinosaur": "dinosaur.n.01", "dolphin": "dolphin.n.02", "elephant": "elephant.n.01",
    "flatfish": "flatfish.n.02", "forest": "forest.n.02", "fox": "fox.n.01", "girl": "female_child.n.01",
    "hamster": "hamster.n.01", "house": "house.n.01", "kangaroo": "kangaroo.n.01",
    "keyboard": "computer_keyboard.n.01", "lamp": "lamp.n.01", "lawn_mower": "lawn_mower.n.01",
    "leopard": "leopard.n.02", "lion": "lion.n.01", "lizard": "lizard.n.01", "lobster": "lobster.n.02",
    "man": "man.n.01", "maple_tree": "maple.n.02", "motorcycle": "motorcycle.n.01",
    "mountain": "mountain.n.01", "mouse": "mouse.n.01", "mushroom": "mushroom.n.05", "oak_tree": "oak.n.02",
    "orange": "orange.n.01", "orchid": "orchid.n.01", "otter": "otter.n.02", "palm_tree": "palm.n.03",
    "pear": "pear.n.01", "pickup_truck": "pickup.n.01", "pine_tree": "pine.n.01", "plain": "plain.n.01",
    "plate": "plate.n.04", "poppy": "poppy.n.01", "porcupine": "porcupine.n.01", "possum": "opossum.n.02",
    "rabbit": "rabbit.n.01", "raccoon": "raccoon.n.02", "ray": "ray.n.07", "road": "road.n.01",
    "rocket": "rocket.n.01", "rose": "rose.n.01", "sea": "sea.n.01", "seal": "seal.n.09",
    "shark": "shark.n.01", "shrew": "shrew.n.02", "skunk": "skunk.n.04", "skyscraper": "skyscraper.n.01",
    "snail": "snail.n.01", "snake": "snake.n.01", "spider": "spider.n.01", "squirrel": "squirrel.n.01",
    "streetcar": "streetcar.n.01", "sunflower": "sunflower.n.01", "sweet_pepper": "sweet_pepper.n.02",
    "table": "table.n.02", "tank": "tank.n.01", "telephone": "telephone.n.01",
    "television": "television_receiver.n.01", "tiger": "tiger.n.02", "tractor": "tractor.n.01",
    "train": "train.n.01", "trout": "trout.n.02", "tulip": "tulip.n.01", "turtle": "turtle.n.02",
    "wardrobe": "wardrobe.n.01", "whale": "whale.n.02", "willow_tree": "willow.n.01", "wolf": "wolf.n.01",
    "woman": "woman.n.01", "worm": "worm.n.01",
}

# The official wnids.txt, in its order: a wnid is "n" and the offset of the noun synset in WordNet 3.0.
TINY_IMAGENET = """
n02124075 n04067472 n04540053 n04099969 n07749582 n01641577 n02802426 n09246464 n07920052 n03970156
n03891332 n02106662 n03201208 n02279972 n02132136 n04146614 n07873807 n02364673 n04507155 n03854065
n03838899 n03733131 n01443537 n07875152 n03544143 n09428293 n03085013 n02437312 n07614500 n03804744
n04265275 n02963159 n02486410 n01944390 n09256479 n02058221 n04275548 n02321529 n02769748 n02099712
n07695742 n02056570 n02281406 n01774750 n02509815 n03983396 n07753592 n04254777 n02233338 n04008634
n02823428 n02236044 n03393912 n07583066 n04074963 n01629819 n09332890 n02481823 n03902125 n03404251
n09193705 n03637318 n04456115 n02666196 n03796401 n02795169 n02123045 n01855672 n01882714 n02917067
n02988304 n04398044 n02843684 n02423022 n02669723 n04465501 n02165456 n03770439 n02099601 n04486054
n02950826 n03814639 n04259630 n03424325 n02948072 n03179701 n03400231 n02206856 n03160309 n01984695
n03977966 n03584254 n04023962 n02814860 n01910747 n04596742 n03992509 n04133789 n03937543 n02927161
n01945685 n02395406 n02125311 n03126707 n04532106 n02268443 n02977058 n07734744 n03599486 n04562935
n03014705 n04251144 n04356056 n02190166 n03670208 n02002724 n02074367 n04285008 n04560804 n04366367
n02403003 n07615774 n04501370 n03026506 n02906734 n01770393 n04597913 n03930313 n04118538 n04179913
n04311004 n02123394 n04070727 n02793495 n02730930 n02094433 n04371430 n04328186 n03649909 n04417672
n03388043 n01774384 n02837789 n07579787 n04399382 n02791270 n03089624 n02814533 n04149813 n07747607
n03355925 n01983481 n04487081 n03250847 n03255030 n02892201 n02883205 n03100240 n02415577 n02480495
n01698640 n01784675 n04376876 n03444034 n01917289 n01950731 n03042490 n07711569 n04532670 n03763968
n07768694 n02999410 n03617480 n06596364 n01768244 n02410509 n03976657 n01742172 n03980874 n02808440
n02226429 n02231487 n02085620 n01644900 n02129165 n02699494 n03837869 n02815834 n07720875 n02788148
n02909870 n03706229 n07871810 n03447447 n02113799 n12267677 n03662601 n02841315 n07715103 n02504458
""".split()


def _record(name, synset):
    return {
        "class": name,
        "synset": synset.name(),
        "wnid": f"n{synset.offset():08d}",
        "lemmas": synset.lemma_names(),
        "gloss": synset.definition(),
    }


def build():
    """The text of ``wordnet30.json``: one line a class, one line a synset, in a fixed order.

    Raises
    ------
    LookupError
        From NLTK, which says where it looked for the WordNet corpus.
    ValueError
        The corpus found is not WordNet 3.0.
    """
    from nltk.corpus import wordnet as corpus

    if corpus.get_version() != "3.0":
        raise ValueError(f"The slice is made from WordNet 3.0, but NLTK found WordNet {corpus.get_version()}. "
                         "Point NLTK_DATA at the folder that holds corpora/wordnet of version 3.0.")
    chosen = {
        "cifar10": {name: corpus.synset(sense) for name, sense in CIFAR10.items()},
        "cifar100": {name: corpus.synset(sense) for name, sense in CIFAR100.items()},
        "tiny-imagenet-200": {
            wnid: corpus.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in TINY_IMAGENET
        },
    }
    edges, waiting = {}, [synset for senses in chosen.values() for synset in senses.values()]
    while waiting:
        synset = waiting.pop()
        above = synset.hypernyms() + synset.instance_hypernyms()
        edges[synset.name()] = sorted(parent.name() for parent in above)
        waiting += [parent for parent in above if parent.name() not in edges]
    tables = ",\n".join(
        f"{json.dumps(data_set)}: [\n"
        + ",\n".join(json.dumps(_record(name, synset)) for name, synset in senses.items())
        + "\n]"
        for data_set, senses in chosen.items()
    )
    graph = ",\n".join(f"{json.dumps(name)}: {json.dumps(edges[name])}" for name in sorted(edges))
    about = ("From WordNet 3.0, Copyright 2006 by Princeton University, all rights reserved; the licence is in "
             "WORDNET_LICENSE.txt. classes: the sense chosen for each class. hypernyms: every edge above them.")
    return f'{{\n"about": {json.dumps(about)},\n"classes": {{\n{tables}\n}},\n"hypernyms": {{\n{graph}\n}}\n}}\n'


if __name__ == "__main__":
    SLICE.write_text(build(), encoding="utf-8")
    print(f"wrote {SLICE} ({SLICE.stat().st_size} bytes)")
