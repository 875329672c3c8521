"""Accuracy and F1 of received pictures: by whom, of what, and that neither batches nor stored cells mix things up."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from helpers import PixelCodec
from openjscc.bench import Sweep, evaluate
from openjscc.bench.cells import measure_cell, plan_cells, store, stored
from openjscc.bench.measure import measure
from openjscc.bench.point import FORMAT, Point, Precision
from openjscc.bench.task_metrics import check_networks, open_networks, quantities
from openjscc.codec import LOST_GREY, Conditions, Frame, Received, Reconstruction
from openjscc.data.datasets import PictureDataset, open_dataset
from openjscc.errors import UsageError
from openjscc.metrics import task
from task_networks import Brightness, labelled

SWEEP = Sweep(snr_db=(60.0,), metrics=("psnr", "accuracy", "f1"))


class LosesSome(PixelCodec):
    """Loses the frames of dark pictures."""

    def decode(self, received: Received) -> Reconstruction:
        image = super().decode(received).image
        assert image is not None
        ok = image.mean((1, 2, 3)) > 0.3
        return Reconstruction(image=torch.where(ok[:, None, None, None], image, LOST_GREY), ok=ok)


@pytest.fixture
def dataset(tmp_path: Path) -> PictureDataset:
    return open_dataset(labelled(tmp_path / "labelled.npz"))


def one_by_one(records: list) -> dict[tuple[str, str | None], dict]:
    return {(record.metric, record.task_network): dataclasses.asdict(record) for record in records}


def test_figures_are_those_of_the_metrics(dataset: PictureDataset) -> None:
    good, blind = Brightness(), Brightness("blind", (0.0, 5.0, 6.0))
    records = evaluate(PixelCodec(), dataset, SWEEP, networks=[good, blind])
    assert [(record.metric, record.task_network) for record in records] == [
        ("psnr", None),
        ("accuracy", "brightness"),
        ("accuracy", "blind"),
        ("f1", "brightness"),
        ("f1", "blind"),
    ]
    found = one_by_one(records)
    assert found["psnr", None]["task_network_sha256"] is None
    assert found["f1", "blind"]["task_network_sha256"] == blind.sha256 != good.sha256
    assert found["accuracy", "brightness"]["mean"] == pytest.approx(9 / 12)
    assert found["accuracy", "blind"]["mean"] == pytest.approx(4 / 12)  # all dark: three of the first nine, one of the last
    truth = torch.arange(12) % 3
    assert dataset.labels is not None
    entries = task.class_entries(truth, dataset.labels)
    assert found["f1", "brightness"]["mean"] == pytest.approx(task.f1(entries))
    assert found["accuracy", "brightness"]["std"] == pytest.approx((9 * 3 / 12 / 11) ** 0.5)
    assert found["accuracy", "brightness"]["ci95"] == pytest.approx(0.2823, abs=1e-4)  # 9 of 12: Wilson from 0.4677
    assert found["f1", "brightness"]["ci95"] is None


def test_batches_and_threads_do_not_matter(dataset: PictureDataset) -> None:
    sweep = dataclasses.replace(SWEEP, snr_db=(-5.0,), trials=3)
    one = evaluate(PixelCodec(), dataset, sweep, networks=[Brightness()])
    other = evaluate(PixelCodec(), dataset, sweep, networks=[Brightness()], batch_pixels=1, jobs=2)
    for left, right in zip(one, other, strict=True):
        assert left.mean == pytest.approx(right.mean, rel=1e-6)
        assert left.ci95_noise == pytest.approx(right.ci95_noise, abs=1e-6)
        assert left.trials == 3


def test_a_lost_picture_is_looked_at_as_grey(dataset: PictureDataset) -> None:
    found = one_by_one(evaluate(LosesSome(), dataset, SWEEP, networks=[Brightness()]))["accuracy", "brightness"]
    # sent dark, middle, bright in turn: the four dark ones are seen as middle, which is the label of the last of them
    assert found["outage_rate"] == pytest.approx(4 / 12)
    assert found["mean"] == pytest.approx((6 + 1) / 12)
    assert found["mean_arrived"] == pytest.approx(6 / 8)


def test_a_picture_is_encoded_once_and_each_that_arrives_is_looked_at_once(dataset: PictureDataset) -> None:
    """Of a digital link all trials show the same pictures: those that arrived, and grey."""

    class Counting(Brightness):
        looked = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.looked += len(x)
            return super().forward(x)

    class Digital(LosesSome):
        """Every other trial loses the dark pictures; what arrives is what was sent."""

        encoded = decoded = 0

        def encode(self, x: torch.Tensor, conditions: Conditions) -> Frame:
            self.encoded, self.x = self.encoded + len(x), x
            return super().encode(x, conditions)

        def decode(self, received: Received) -> Reconstruction:
            self.decoded += 1
            ok = (self.x.mean((1, 2, 3)) > 0.3) | (self.decoded % 2 == 0)
            return Reconstruction(image=torch.where(ok[:, None, None, None], self.x, LOST_GREY), ok=ok)

    codec, network = Digital(), Counting()
    records = evaluate(codec, dataset, dataclasses.replace(SWEEP, trials=4), networks=[network])
    assert (codec.encoded, codec.decoded) == (12, 4)
    assert network.looked == 12 + 1, "all pictures, and a grey one"
    assert one_by_one(records)["accuracy", "brightness"]["mean"] == pytest.approx((7 + 9) / 24)


def test_cells_of_another_network_are_other_cells(dataset: PictureDataset, tmp_path: Path) -> None:
    def planned(metrics: tuple[str, ...], *networks: Brightness):
        return plan_cells(
            [("pixels", PixelCodec(), (None,))], dataset, channels=["awgn"], snr_db=[60.0], metrics=metrics,
            precision=Precision(2), networks=networks,
        )  # fmt: skip

    one, other = planned(("accuracy",), Brightness()), planned(("accuracy",), Brightness(centres=(0.1, 0.5, 1.0)))
    both = planned(("accuracy",), Brightness(), Brightness("second"))
    without = planned(("psnr",))
    cells = [plan.cells[0] for plan in (one, other, both, without)]
    assert len({cell.key for cell in cells}) == 4
    facts = {key: value for key, value in dataclasses.asdict(cells[3]).items() if key not in ("task_networks", "masks_sha256")}
    old = hashlib.sha256(json.dumps({"format": FORMAT, **facts}, sort_keys=True).encode()).hexdigest()[:16]
    assert cells[3].key == old, "cells without task networks and masks keep the key that they had before there were any"

    store(tmp_path, measure_cell(both, cells[2], dataset), dataset.ids)
    again = stored(tmp_path, cells[2])
    assert again is not None
    assert [record.task_network for record in again.records] == ["brightness", "second"]
    assert again.measured is not None
    assert again.measured.values["accuracy:second"] == [[1.0, 1.0]] * 9 + [[0.0, 0.0]] * 3
    assert stored(tmp_path, cells[0]) is None


def test_trials_until_the_widest_network_is_known_well(dataset: PictureDataset) -> None:
    networks = [Brightness("steady", (0.5, 5.0, 6.0)), Brightness("other", (0.49, 0.5, 0.51))]
    plan = plan_cells(
        [("pixels", PixelCodec(), (None,))], dataset, channels=["awgn"], snr_db=[-20.0], metrics=["accuracy"],
        precision=Precision(2, 0.04, "accuracy", 60), networks=networks,
    )  # fmt: skip
    result = measure_cell(plan, plan.cells[0], dataset)
    assert result.error is None
    steady, other = result.records
    assert steady.ci95_noise == pytest.approx(0, abs=1e-12)
    assert other.trials > 2
    assert other.ci95_noise is not None
    assert other.ci95_noise <= 0.04 or other.trials == 60


def test_a_failed_cell_names_every_figure(dataset: PictureDataset) -> None:
    class Fails(PixelCodec):
        def decode(self, received: Received) -> Reconstruction:
            raise UsageError("no")

    plan = plan_cells(
        [("pixels", Fails(), (None,))], dataset, channels=["awgn"], snr_db=[10.0], metrics=["psnr", "accuracy"],
        precision=Precision(), networks=[Brightness(), Brightness("second")],
    )  # fmt: skip
    records = measure_cell(plan, plan.cells[0], dataset).records
    assert [(record.metric, record.task_network, record.error) for record in records] == [
        ("psnr", None, "no"),
        ("accuracy", "brightness", "no"),
        ("accuracy", "second", "no"),
    ]


def test_refused_before_the_work(dataset: PictureDataset, tmp_path: Path, make_picture) -> None:
    (tmp_path / "pictures").mkdir()
    make_picture(tmp_path / "pictures" / "a.png")
    unlabelled = open_dataset(tmp_path / "pictures")
    network = Brightness()
    with pytest.raises(UsageError, match="accuracy needs labels"):
        evaluate(PixelCodec(), unlabelled, SWEEP, networks=[network])
    with pytest.raises(UsageError, match="accuracy without a task network"):
        evaluate(PixelCodec(), dataset, SWEEP)
    with pytest.raises(UsageError, match="without a task network"):
        quantities(["psnr", "f1"], [])
    with pytest.raises(UsageError, match="two task networks are called"):
        check_networks(["f1"], dataset, [network, Brightness()])
    with pytest.raises(UsageError, match="but no labels"):
        measure(
            PixelCodec(), torch.rand(1, 3, 8, 8), Point("awgn", None, 10.0), ["f1"], trials=range(1), seed=0, networks=[network]
        )
    with pytest.raises(UsageError, match="psnr is a figure of pictures, miou one of segmentations"):
        Sweep(metrics=("psnr", "miou"))
    with pytest.raises(UsageError, match="but no masks"):
        measure(PixelCodec(), torch.rand(1, 3, 8, 8), Point("awgn", None, 10.0), ["miou"], trials=range(1), seed=0)
    narrow, segmenter = Brightness(), Brightness()
    narrow.classes, segmenter.kind = ("dark", "bright"), "segmentation"
    with pytest.raises(UsageError, match="class number 2"):
        check_networks(["accuracy"], dataset, [narrow])
    with pytest.raises(UsageError, match="is for segmentation"):
        check_networks(["accuracy"], dataset, [segmenter])
    assert check_networks(["psnr"], unlabelled, []) is None


def test_which_networks_are_opened(dataset: PictureDataset, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENJSCC_WEIGHTS", str(tiny_weights))
    assert open_networks(None, ["psnr"], dataset) == ()
    with pytest.raises(UsageError, match="needs a task network"):
        open_networks(None, ["accuracy"], dataset)
    with pytest.raises(UsageError, match="no metric of labels") as caught:
        open_networks(["classifier"], ["psnr"], dataset)
    assert "accuracy" in caught.value.hint
    dataset.name = "cifar10"
    (network,) = open_networks(None, ["accuracy"], dataset)
    assert network.name == "classifier.cifar10"
