"""Data sets: every layout, what is said when one is missing, and what a file must not be able to do."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from openjscc.data.datasets import DATASETS, ENVIRONMENT, SUFFIXES, PictureDataset, open_dataset
from openjscc.data.decoding import FORMATS
from openjscc.errors import IntegrityError, MissingError, UsageError

RNG = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


REAL = os.environ.get(ENVIRONMENT)
needs_data = pytest.mark.skipif(not REAL, reason=f"{ENVIRONMENT} is not set")


def make_picture(path: Path, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    values = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return values


def make_npz(path: Path, count: int = 5, **more: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {
        f"{key}_{split}": RNG.integers(0, 10 if key == "y" else 256, (count, *shape), dtype=np.uint8)
        for split in ("train", "test")
        for key, shape in (("x", (32, 32, 3)), ("y", ()))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays, **more)  # pyright: ignore[reportArgumentType]
    return arrays


def chw(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).permute(2, 0, 1)


# ---------------------------------------------------------------- folders


def test_folder_is_recursive_and_sorted(tmp_path: Path) -> None:
    names = ["b/2.png", "a.png", "b/10.JPG", "c/d/e.webp", "z.tif", "y.ppm", "x.bmp"]
    values = {name: make_picture(tmp_path / name) for name in names}
    for name in (".hidden.png", "notes.txt", ".cache/q.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    data = open_dataset(str(tmp_path))
    assert data.ids == tuple(sorted(names))
    assert len(data) == 7
    for index, name in enumerate(data.ids):
        assert data[index].dtype == torch.uint8
        if not name.lower().endswith(("jpg", "webp")):
            assert torch.equal(data[index], chw(values[name]))
    assert data.fixed_size == (4, 6)
    assert data.labels is None
    assert data.note == ""
    assert torch.equal(data[-1], data[6])
    with pytest.raises(IndexError):
        data[7]


def test_a_folder_has_every_format_that_is_read(tmp_path: Path) -> None:
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known <= set(SUFFIXES)
    names = ["a.gif", "b.avif", "c.jp2", "d.JFIF", "e.pgm", "f.j2k", "g.jpe"]
    for name in names:
        kind = "JPEG" if name.lower().endswith("jfif") else None
        Image.fromarray(RNG.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / name, kind)
    data = open_dataset(tmp_path)
    assert data.ids == tuple(names)
    assert data.note == ""
    assert all(data[index].shape == (3, 8, 8) for index in range(len(data)))


def test_what_a_folder_leaves_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    make_picture(folder / "a.png")
    make_picture(tmp_path / "other" / "b.png")
    (folder / "linked").symlink_to(tmp_path / "other")
    (folder / "file.png").symlink_to(tmp_path / "other" / "b.png")
    (folder / "gone.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(folder / "pipe.png")
    for name in ("photo.heic", "notes.txt", "data.bin", ".hidden.png"):
        (folder / name).write_bytes(b"something else")
    (folder / "IMG_0001").write_bytes((folder / "a.png").read_bytes())
    data = open_dataset(folder)
    assert data.ids == ("a.png", "file.png")
    assert data.note == (
        "5 left out: IMG_0001 (an image without the suffix of one), gone.png (a link to nothing), linked (a linked folder), "
        "photo.heic (of a format that is not read), pipe.png (not an ordinary file)"
    )
    for number in range(4):
        (folder / f"z{number}.heic").touch()
    assert open_dataset(folder).note.endswith(" and 4 more")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "a.png")
    assert open_dataset(folder).ids == ("file.png",)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.heic").touch()
    with pytest.raises(UsageError, match=r"1 left out: a\.heic"):
        open_dataset(tmp_path / "none")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_picture(tmp_path / "a.png")
    make_picture(tmp_path / "closed" / "b.png")
    real = os.scandir

    def refusing(path: str) -> Any:  # root reads everything: say no in the system's place
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    data = open_dataset(tmp_path)
    assert data.ids == ("a.png",)
    assert data.note == "1 left out: closed (permission denied)"


def test_sizes_may_differ(tmp_path: Path) -> None:
    make_picture(tmp_path / "a.png")
    make_picture(tmp_path / "b.png", (5, 5))
    assert open_dataset(tmp_path).fixed_size is None


def test_exclude_comes_before_limit(tmp_path: Path) -> None:
    for name in ("a_1", "a_2", "b_1", "c_1", "d/a_3"):
        make_picture(tmp_path / f"{name}.png")
    assert open_dataset(tmp_path, exclude=["a_"], limit=1).ids == ("b_1.png",)
    assert open_dataset(tmp_path, exclude=["a_", "c"]).ids == ("b_1.png",)
    assert len(open_dataset(tmp_path, limit=99)) == 5
    with pytest.raises(UsageError, match="no picture left"):
        open_dataset(tmp_path, exclude=["a", "b", "c"])
    with pytest.raises(UsageError, match="limit"):
        open_dataset(tmp_path, limit=0)


def test_cache_holds_what_it_may_and_never_leaks(tmp_path: Path) -> None:
    for name in "abc":
        make_picture(tmp_path / f"{name}.png", (64, 64))
    data = open_dataset(tmp_path, cache_mib=2.5 * 64 * 64 * 3 / 2**20)
    first = [data[i] for i in range(3)]
    for path in tmp_path.iterdir():
        path.unlink()
    data[0].zero_()  # the caller's own copy
    assert torch.equal(data[0], first[0])
    assert torch.equal(data[1], first[1])
    with pytest.raises(UsageError):
        data[2]  # there was room for two


def test_threads_see_the_same_pictures(tmp_path: Path) -> None:
    values = [make_picture(tmp_path / f"{i:02d}.png", (16, 16)) for i in range(20)]
    data, wrong = open_dataset(tmp_path), []

    def read() -> None:
        wrong.extend(i for i in range(20) if not torch.equal(data[i], chw(values[i])))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    values = make_picture(tmp_path / "a.png")
    copy: PictureDataset = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert torch.equal(copy[0], chw(values))


def test_fingerprint_is_as_documented(tmp_path: Path) -> None:
    make_picture(tmp_path / "a.png")
    make_picture(tmp_path / "b.png")
    digest = hashlib.sha256()
    for name in ("a.png", "b.png"):
        content = (tmp_path / name).read_bytes()
        digest.update(len(content).to_bytes(8, "big") + content)
    data = open_dataset(tmp_path)
    assert data.fingerprint() == digest.hexdigest()
    assert open_dataset(tmp_path, limit=1).fingerprint() != data.fingerprint()
    make_picture(tmp_path / "b.png")
    assert open_dataset(tmp_path).fingerprint() != data.fingerprint()


# ---------------------------------------------------------------- named layouts


@pytest.mark.parametrize("folder", ["kodak", "."])
def test_kodak(tmp_path: Path, folder: str) -> None:
    for i in (2, 1):
        make_picture(tmp_path / folder / f"kodim{i:02d}.png")
    make_picture(tmp_path / folder / "other.png")
    data = open_dataset("kodak", tmp_path)
    assert data.ids == ("kodim01.png", "kodim02.png")
    assert data.note == "2 of Kodak's 24 images"
    with pytest.raises(UsageError, match="no train"):
        open_dataset("kodak", tmp_path, "train")


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("div2k/valid_crops256", "test"),
        ("DIV2K_valid_HR", "test"),
        ("div2k/DIV2K_train_HR", "train"),
        ("DIV2K_train_HR", "train"),
    ],
)
def test_div2k(tmp_path: Path, folder: str, split: str) -> None:
    make_picture(tmp_path / folder / "0801.png")
    data = open_dataset("div2k", tmp_path, split)
    assert data.ids == ("0801.png",)
    assert ("crops" in data.note) == ("crops" in folder)
    if "HR" in folder:
        assert open_dataset("div2k", tmp_path / folder, split).ids == data.ids
    with pytest.raises(MissingError):
        open_dataset("div2k", tmp_path, "train" if split == "test" else "test")


def test_div2k_224(tmp_path: Path) -> None:
    path = tmp_path / "div2k" / "valid_crops256" / "0801.png"
    make_picture(path, size=(256, 240))
    data = open_dataset("div2k-224", tmp_path)
    assert (data.name, data.ids, data.fixed_size) == ("div2k-224", ("0801.png",), (224, 224))
    assert torch.equal(data[0], open_dataset(path.parent)[0][:, 16:240, 8:232])
    make_picture(path, size=(200, 256))
    with pytest.raises(UsageError, match="256x200"):
        open_dataset("div2k-224", tmp_path)


@pytest.mark.parametrize("layout", ["voc/ImageSets", "VOCdevkit/VOC2012/ImageSets/Segmentation"])
def test_voc(tmp_path: Path, layout: str) -> None:
    lists = tmp_path / layout
    root = tmp_path / layout.split("/ImageSets")[0]
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\ufeff2007_000002\n2007_000001\n")  # as Windows editors save it
    (lists / "val.txt").write_text("2007_000003\n2007_000009\n")
    for i in (1, 2, 3):
        make_picture(root / "JPEGImages" / f"2007_{i:06d}.jpg")
    assert open_dataset("voc", tmp_path, "train").ids == ("2007_000002.jpg", "2007_000001.jpg")
    with pytest.raises(IntegrityError, match="2007_000009"):
        open_dataset("voc", tmp_path, "test")


def test_photos_are_for_training_only(tmp_path: Path) -> None:
    make_picture(tmp_path / "photos" / "a.png")
    assert len(open_dataset("photos", tmp_path, "train")) == 1
    with pytest.raises(UsageError, match="no test"):
        open_dataset("photos", tmp_path)


# ---------------------------------------------------------------- CIFAR-10


@pytest.mark.parametrize("name", ["cifar10/cifar10.npz", "cifar10.npz", "cifar10/cifar10_mini.npz"])
def test_cifar10_npz(tmp_path: Path, name: str) -> None:
    arrays = make_npz(tmp_path / name)
    data = open_dataset("cifar10", tmp_path, "train")
    assert data.fixed_size == (32, 32)
    assert data.ids[1] == "train-00001"
    assert data.note == "5-image miniature of CIFAR-10"
    assert torch.equal(data[3], chw(arrays["x_train"][3]))
    assert data[3].is_contiguous()
    assert data.labels is not None
    assert data.labels.dtype == torch.int64
    assert data.labels.tolist() == arrays["y_train"].tolist()
    assert open_dataset("cifar10", tmp_path, "test").fingerprint() != data.fingerprint()
    part = open_dataset(tmp_path / name, split="train", exclude=["train-00000"], limit=2)
    assert part.labels is not None
    assert part.labels.tolist() == arrays["y_train"][1:3].tolist()
    assert torch.equal(part[0], data[1])
    assert part.note == ""
    part[0].zero_()
    assert torch.equal(part[0], data[1])


def test_a_miniature_keeps_the_numbers_of_the_whole(tmp_path: Path) -> None:
    make_npz(tmp_path / "mini.npz", i_test=np.array([4, 8, 15, 16, 23]))
    assert open_dataset(tmp_path / "mini.npz").ids[-1] == "test-00023"


def test_full_cifar10_is_preferred(tmp_path: Path) -> None:
    make_npz(tmp_path / "cifar10" / "cifar10_mini.npz", 2)
    make_npz(tmp_path / "cifar10" / "cifar10.npz", 3)
    assert len(open_dataset("cifar10", tmp_path)) == 3


def write_batches(folder: Path, content: Any = None, protocol: int = 2) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    written = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        written[name] = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
        batch = {"batch_label": name, "labels": [1, 2, 3, 4], "data": written[name], "filenames": ["a", "b", "c", "d"]}
        (folder / name).write_bytes(pickle.dumps(batch if content is None else content, protocol=protocol))
    return written


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_python_archive(tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    written = write_batches(folder)
    root = tmp_path
    if packed:
        root = tmp_path / "packed"
        root.mkdir()
        with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
            archive.add(folder, "cifar-10-batches-py")
    train, test = open_dataset("cifar10", root, "train"), open_dataset("cifar10", root, "test")
    assert len(train) == 20
    assert len(test) == 4
    assert test.labels is not None
    assert test.labels.tolist() == [1, 2, 3, 4]
    assert torch.equal(train[5], torch.from_numpy(written["data_batch_2"][1].reshape(3, 32, 32)))
    if packed:
        whole = (root / "cifar-10-python.tar.gz").read_bytes()
        (root / "cifar-10-python.tar.gz").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(IntegrityError):
            open_dataset("cifar10", root, "test")
    else:
        assert open_dataset("cifar10", folder).ids == test.ids


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, goal: Path) -> None:
        self.goal = goal

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.goal),))


def test_a_pickle_cannot_run_anything(tmp_path: Path) -> None:
    goal = tmp_path / "was-here"
    write_batches(tmp_path / "cifar-10-batches-py", {"data": Evil(goal), "labels": [1]})
    with pytest.raises(IntegrityError, match="mkdir"):
        open_dataset("cifar10", tmp_path)
    assert not goal.exists()
    npz = tmp_path / "evil.npz"
    np.savez(npz, x_test=np.array([Evil(goal)], dtype=object))
    with pytest.raises(IntegrityError, match="pickle"):
        open_dataset(npz)
    assert not goal.exists()


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_up_to_four_is_read(tmp_path: Path, protocol: int) -> None:
    written = write_batches(tmp_path / "cifar-10-batches-py", protocol=protocol)
    data = open_dataset("cifar10", tmp_path)
    assert torch.equal(data[2], torch.from_numpy(written["test_batch"][2].reshape(3, 32, 32)))
    assert data.labels is not None
    assert data.labels.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [[1, 2], {"data": np.zeros((2, 7), np.uint8), "labels": [1, 2]}, {"labels": [1]}])
def test_other_pickles_are_no_batches(tmp_path: Path, content: Any) -> None:
    write_batches(tmp_path / "cifar-10-batches-py", content)
    with pytest.raises(IntegrityError, match="batch"):
        open_dataset("cifar10", tmp_path)


def test_bad_npz_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(UsageError, match="no file"):
        open_dataset(path)
    make_npz(path)
    whole = path.read_bytes()
    for content in (b"", b"PK\3\4 nonsense", whole[: len(whole) // 2], whole[:300] + b"\xff" * 50 + whole[350:]):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="npz"):
            open_dataset(path, split="train")
    for arrays in ({"images": np.zeros(3)}, {"x_test": np.zeros((2, 4, 4, 3))}, {"x_test": np.zeros((2, 3, 4, 4), np.uint8)}):
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(UsageError, match=r"x_test|shape"):
            open_dataset(path)
    np.savez(path, x_test=np.zeros((2, 4, 4, 3), np.uint8), y_test=np.zeros(3, np.uint8))
    with pytest.raises(UsageError, match="labels"):
        open_dataset(path)


# ---------------------------------------------------------------- missing, unknown


@pytest.mark.parametrize("name", list(DATASETS))
def test_missing_says_where_it_looked_and_how_to_get_it(tmp_path: Path, name: str) -> None:
    split = DATASETS[name].splits[-1]
    for folder in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingError) as caught:
            open_dataset(name, folder, split)
        error = caught.value
        assert error.exit_code == 3
        assert name in str(error)
        assert folder is None or str(folder) in error.message
        for part in (DATASETS[name].source, DATASETS[name].layouts, "--data-dir", ENVIRONMENT):
            assert part in error.hint


def test_environment_is_used_and_data_dir_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_picture(tmp_path / "one" / "kodak" / "kodim01.png")
    make_picture(tmp_path / "two" / "kodak" / "kodim02.png")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "one"))
    assert open_dataset("kodak").ids == ("kodim01.png",)
    assert open_dataset("kodak", tmp_path / "two").ids == ("kodim02.png",)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_dataset("kodac")
    assert "kodak" in caught.value.hint
    with pytest.raises(UsageError, match="split"):
        open_dataset("kodak", tmp_path, "valid")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, word in (("empty", "no pictures"), ("file", "no folder"), ("none/", "no folder")):
        with pytest.raises(UsageError, match=word):
            open_dataset(tmp_path / name)


# ---------------------------------------------------------------- the real ones


@needs_data
@pytest.mark.parametrize(("name", "split", "shape"), [("kodak", "test", (3, 512, 768)), ("div2k", "test", (3, 256, 256))])
def test_real_photographs(name: str, split: str, shape: tuple[int, ...]) -> None:
    data = open_dataset(name, REAL, split)
    assert data[0].shape == shape
    assert data[0].float().std() > 10
    assert name != "kodak" or (len(data) == 24 and data.note == "")


@needs_data
@pytest.mark.parametrize("split", ["train", "test"])
def test_real_cifar10(split: str) -> None:
    data = open_dataset("cifar10", REAL, split)
    assert data.fixed_size == (32, 32)
    assert data.labels is not None
    assert sorted(set(data.labels.tolist())) == list(range(10))


@needs_data
def test_real_training_photographs_can_leave_the_bundled_one_out() -> None:
    whole = open_dataset("photos", REAL, "train")
    part = open_dataset("photos", REAL, "train", exclude=["free_lomiri-wallpapers-16.04-Picture_1A_by_freespace"])
    assert len(whole) - len(part) in (0, 6)
