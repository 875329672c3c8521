"""Masks: VOC's layout under every name, class numbers as they are stored, and what is said of a wrong file."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openjscc.classes import VOC, VOC_NINE, VOID, class_numbers, voc_palette
from openjscc.data.datasets import ENVIRONMENT, open_dataset
from openjscc.data.masks import masks_of
from openjscc.errors import IntegrityError, MissingError, UsageError
from openjscc.training.batches import CropSource, Maps
from voc_data import save_mask, voc_folder

REAL = os.environ.get(ENVIRONMENT)


def test_classes_and_colours_are_vocs() -> None:
    assert len(VOC) == len(set(VOC)) == 21
    assert class_numbers(VOC_NINE) == (0, 8, 9, 10, 12, 13, 15, 17, 18)
    palette = voc_palette()
    assert len(set(palette)) == 256
    known = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 255: (224, 224, 192)}
    assert {number: palette[number] for number in known} == known


@pytest.mark.parametrize("lists", ["ImageSets", "ImageSets/Segmentation"])
@pytest.mark.parametrize("by_name", [True, False])
def test_masks_belong_to_the_pictures(tmp_path: Path, lists: str, by_name: bool) -> None:
    written = voc_folder(tmp_path / "voc", lists=lists)
    data = open_dataset("voc", tmp_path) if by_name else open_dataset(tmp_path / "voc", split="train")
    masks = masks_of(data)
    assert len(masks) == len(data) == 3
    assert data.ids == ("a.jpg", "b.jpg", "c.jpg")
    for index, name in enumerate("abc"):
        assert masks[index].dtype == torch.uint8
        assert masks[index].shape == (1, *data[index].shape[1:])
        assert np.array_equal(masks[index][0].numpy(), written[name])
    assert torch.equal(masks[-1], masks[2])
    with pytest.raises(IndexError):
        masks[3]


def test_voc_224(tmp_path: Path) -> None:
    """The middle square of 16x24 pixels at 14 times the size, mask and picture alike."""
    written = voc_folder(tmp_path / "voc")
    data, plain = open_dataset("voc-224", tmp_path, limit=2), open_dataset("voc", tmp_path, limit=2)
    assert (data.name, data.fixed_size, data[0].shape, data[0].dtype) == ("voc-224", (224, 224), (3, 224, 224), torch.uint8)
    mask = masks_of(data)[1][0]
    assert torch.equal(mask, torch.from_numpy(written["b"])[:, 4:20].repeat_interleave(14, 0).repeat_interleave(14, 1))
    assert float(data[1].float().mean(0)[mask == 0].mean()) < 60 < 200 < float(data[1].float().mean(0)[mask == 15].mean())
    assert data.fingerprint() != plain.fingerprint()
    assert data.some([1]).ids == ("b.jpg",)
    assert data.some([1])[0].shape == (3, 224, 224)


def test_limit_and_exclusions_choose_masks_too(tmp_path: Path) -> None:
    written = voc_folder(tmp_path)
    masks = masks_of(open_dataset(tmp_path, exclude=["a"], limit=1))
    assert len(masks) == 1
    assert np.array_equal(masks[0][0].numpy(), written["b"])


def test_a_folder_without_lists_says_where_they_belong(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets" / "val.txt").unlink()
    with pytest.raises(MissingError, match="test pictures") as caught:
        open_dataset(tmp_path)
    assert "val.txt" in caught.value.hint
    assert len(open_dataset(tmp_path, split="train")) == 3
    (tmp_path / "ImageSets" / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntegrityError, match=r"train\.txt"):
        open_dataset(tmp_path, split="train")


def test_indices_are_never_colours(tmp_path: Path) -> None:
    voc_folder(tmp_path, names=("a",))
    numbers = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24) % 21
    save_mask(tmp_path / "SegmentationClass" / "a.png", numbers)
    assert np.array_equal(masks_of(open_dataset(tmp_path))[0][0].numpy(), numbers)
    save_mask(tmp_path / "SegmentationClass" / "a.png", numbers, "L")
    assert np.array_equal(masks_of(open_dataset(tmp_path))[0][0].numpy(), numbers)
    save_mask(tmp_path / "SegmentationClass" / "a.png", numbers, "RGB")
    with pytest.raises(IntegrityError, match="RGB") as caught:
        masks_of(open_dataset(tmp_path))[0]
    assert "class numbers" in caught.value.hint


def test_wrong_masks_are_refused(tmp_path: Path) -> None:
    written = voc_folder(tmp_path, names=("a",))
    path = tmp_path / "SegmentationClass" / "a.png"
    masks = masks_of(open_dataset(tmp_path))
    for numbers, words in ((np.zeros((16, 23), np.uint8), "23x16"), (np.full((16, 24), 21, np.uint8), "class 21 of 21")):
        save_mask(path, numbers)
        with pytest.raises(IntegrityError, match=words):
            masks[0]
    for content in (b"", b"nonsense", path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises((IntegrityError, UsageError), match=r"a\.png"):
            masks[0]
    save_mask(path, np.full((16, 24), VOID, np.uint8))
    assert bool((masks[0] == VOID).all())
    save_mask(path, written["a"])
    assert bool((masks[0] == VOID).all())  # kept
    masks[0].zero_()  # the caller's own copy
    assert bool((masks[0] == VOID).all())


def test_missing_masks(tmp_path: Path) -> None:
    voc_folder(tmp_path / "voc")
    data = open_dataset("voc", tmp_path)
    (tmp_path / "voc" / "SegmentationClass" / "b.png").unlink()
    with pytest.raises(IntegrityError, match=r"1 masks of 3 .*b\.png"):
        masks_of(data)
    shutil.rmtree(tmp_path / "voc" / "SegmentationClass")
    with pytest.raises(MissingError, match="without its masks") as caught:
        masks_of(open_dataset("voc", tmp_path))
    assert "SegmentationClass" in caught.value.hint


def test_other_data_has_no_masks(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = open_dataset(tmp_path)
    assert data.masks is None
    with pytest.raises(UsageError, match="no masks") as caught:
        masks_of(data)
    assert "voc" in caught.value.hint


def test_fingerprint_is_of_the_files(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    first = masks_of(open_dataset(tmp_path)).fingerprint()
    assert masks_of(open_dataset(tmp_path)).fingerprint() == first
    assert masks_of(open_dataset(tmp_path, limit=2)).fingerprint() != first
    save_mask(tmp_path / "SegmentationClass" / "c.png", np.zeros((16, 24), np.uint8))
    assert masks_of(open_dataset(tmp_path)).fingerprint() != first


def test_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    masks = masks_of(open_dataset(tmp_path))
    assert torch.equal(pickle.loads(pickle.dumps(masks))[1], masks[1])


def test_masks_are_cut_and_mirrored_with_training_crops(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    data = open_dataset(tmp_path, split="train")
    maps: Maps = masks_of(data)
    batch = CropSource([data], 12, True, 0, torch.device("cpu"), [maps]).batch(range(40))
    assert batch.maps is not None
    assert batch.maps.dtype == torch.uint8
    assert batch.maps.shape == (40, 1, 12, 12)
    bright = batch.x.mean(1, keepdim=True) > 0.5
    known = batch.maps != VOID
    agree = ((batch.maps == 15) == bright)[known].float().mean()
    assert agree > 0.97  # JPEG blurs the edge
    assert {bool((part[0, :, 0] == 0).all()) for part in batch.maps} == {True, False}  # some are mirrored


@pytest.mark.skipif(not REAL, reason=f"{ENVIRONMENT} is not set")
def test_real_masks() -> None:
    data = open_dataset("voc", REAL)
    masks = masks_of(data)
    seen = set()
    for index in range(0, len(data), 10):
        assert masks[index].shape[1:] == data[index].shape[1:]
        seen.update(masks[index].unique().tolist())
    assert {0, 15, VOID} <= seen <= {*range(21), VOID}


def test_classes_have_vocs_numbers() -> None:
    """VOC counts its twenty classes in the order of the alphabet; its masks have a colour for each."""
    assert VOC[0] == "background"
    assert list(VOC[1:]) == sorted(VOC[1:])
    colours = {"aeroplane": (128, 0, 0), "bird": (128, 128, 0), "cat": (64, 0, 0), "dog": (64, 0, 128), "person": (192, 128, 128)}
    assert {name: voc_palette()[VOC.index(name)] for name in colours} == colours
