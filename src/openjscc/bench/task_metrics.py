"""Which task metrics are of, and what a data set must have for it: labels for what task networks see on received images,
masks for segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from ..codec import Codec, CodecInfo, check_task
from ..data.datasets import PictureDataset
from ..data.masks import MaskSet, masks_of
from ..errors import MissingError, UsageError
from ..metrics import METRICS, get_metric
from ..tasks import TaskNetwork, load_task_network

DEFAULT_NETWORKS = {"cifar10": "classifier"}
"""The task network of a data set, where nobody names one."""


RECONSTRUCTION, SEGMENTATION = "reconstruction", "segmentation"

DEFAULT_METRICS = {RECONSTRUCTION: ("psnr", "ssim"), SEGMENTATION: ("miou", "miou_nine", "pixel_accuracy")}
"""What is measured of a task, where nobody names metrics."""


def task_of(metrics: Iterable[str]) -> str:
    """The task whose result all these metrics are of.

    Raises:
        UsageError: they are of several, or unknown.
    """
    of_masks = {metric: get_metric(metric).needs == "masks" for metric in metrics}
    if len(set(of_masks.values())) > 1:
        first, second = (next(metric for metric, found in of_masks.items() if found is wanted) for wanted in (False, True))
        raise UsageError(
            f"{first} is a figure of pictures, {second} one of segmentations and masks",
            "one task a run, each has its own channel uses: measure them one after the other",
        )
    return SEGMENTATION if any(of_masks.values()) else RECONSTRUCTION


def check_asked(task: str | None, metrics: Sequence[str], networks: Sequence[str] | None) -> str:
    """The task of a run.

    Args:
        task: as named; None: the one that the metrics are of.
        metrics: names.
        networks: task networks as named; None: none are.

    Raises:
        UsageError: metrics of several tasks or of another one; task networks for segmentations.
    """
    found = task_of(metrics)
    if task is not None and task != found:
        fitting = ", ".join(DEFAULT_METRICS[task])
        raise UsageError(f"{metrics[0]} for the task {task!r}", f"it is a figure of {found}; of {task}: {fitting}")
    if networks is not None and found == SEGMENTATION:
        raise UsageError(
            f"a task network ({networks[0]}), but {metrics[0]} is a figure of segmentations and masks",
            f"name the system with it: --systems CODEC+{networks[0]}",
        )
    return found


def check_metrics(names: Iterable[str]) -> None:
    """Refuse before the work what would fail in the middle of it.

    Raises:
        UsageError: an unknown metric, or metrics of several tasks.
        MissingError: network weights that a metric needs and that are not to be had.
    """
    names = tuple(names)
    task_of(names)
    for name in names:
        metric = get_metric(name)
        if metric.needs == "weights":
            picture = torch.zeros(1, 3, 64, 64)
            metric.collect(picture, picture)


def missing_metrics(names: Iterable[str]) -> dict[str, str]:
    """Metrics whose weights are not to be had, and why.

    Raises:
        UsageError: see `check_metrics`. MissingError: none of them can be had.
    """
    missing: dict[str, MissingError] = {}
    asked = dict.fromkeys(names)
    for name in asked:
        try:
            check_metrics((name,))
        except MissingError as error:
            missing[name] = error
    if missing and len(missing) == len(asked):
        raise next(iter(missing.values()))
    return {name: error.message for name, error in missing.items()}


def open_masks(metrics: Iterable[str], dataset: PictureDataset, codec: Codec) -> MaskSet | None:
    """The masks that metrics of segmentations are measured with; None where none is asked for. Refuses before the work what would
    fail in the middle of it.

    Raises:
        UsageError: a codec that does not serve the task of the metrics, or has other classes; data without masks.
        MissingError, IntegrityError: see `openjscc.data.masks.masks_of`.
    """
    task = task_of(metrics)
    if task == SEGMENTATION:
        masks_of(dataset)
    check_task(codec, task)
    if task != SEGMENTATION:
        return None
    masks, classes = masks_of(dataset), CodecInfo(codec).classes
    if classes is not None and len(classes) != len(masks.classes):
        raise UsageError(
            f"{codec.name} has {len(classes)} classes, the masks of {dataset.name} {len(masks.classes)}",
            f"name a system for these: {', '.join(masks.classes[:3])}, ...",
        )
    return masks


class Quantity(NamedTuple):
    """One figure of a point: a metric, and for one of labels the network that looks at the images."""

    metric: str
    network: TaskNetwork | None = None

    @property
    def key(self) -> str:
        """``accuracy:classifier.cifar10``; the metric's name alone where no network is asked."""
        return self.metric if self.network is None else f"{self.metric}:{self.network.name}"


def metric_of(key: str) -> str:
    """The metric of a `Quantity.key`."""
    return key.partition(":")[0]


def quantities(metrics: Iterable[str], networks: Sequence[TaskNetwork]) -> list[Quantity]:
    """All figures of a point, in the order of the metrics: of labels one per network.

    Raises:
        UsageError: a metric of labels without a network.
    """
    found: list[Quantity] = []
    for metric in metrics:
        if _of_labels(metric) and not networks:
            raise _without_network(metric)
        found += [Quantity(metric, network) for network in networks] if _of_labels(metric) else [Quantity(metric)]
    return found


def open_networks(
    names: Sequence[str] | None, metrics: Iterable[str], dataset: PictureDataset, device: torch.device | str = "cpu"
) -> tuple[TaskNetwork, ...]:
    """The networks that metrics of labels are measured with; none where no such metric is asked for.

    Args:
        names: as `openjscc.tasks.load_task_network` takes them; None: the data set's (`DEFAULT_NETWORKS`).
        metrics: names.
        dataset: the images, with labels.
        device: where they compute.

    Raises:
        UsageError: names without a metric of labels; no name for such a metric; what `check_networks` refuses.
        MissingError, IntegrityError: of loading.
    """
    of_labels = [metric for metric in metrics if _of_labels(metric)]
    if not of_labels:
        if names is not None:
            known = ", ".join(name for name, metric in METRICS.items() if metric.needs == "labels")
            raise UsageError(f"a task network ({names[0]}), but no metric of labels", f"add one to the metrics: {known}")
        return ()
    _check_labels(of_labels[0], dataset)
    if names is None and dataset.name not in DEFAULT_NETWORKS:
        raise UsageError(
            f"{of_labels[0]} on {dataset.name} needs a task network", "name one for these classes with --task-network NAME|FILE"
        )
    networks = tuple(load_task_network(name).to(device) for name in names or [DEFAULT_NETWORKS[dataset.name]])
    check_networks(of_labels, dataset, networks)
    return networks


def open_classifier(name: str, dataset: PictureDataset) -> TaskNetwork:
    """A network that looks at images that are shown; with labels or without.

    Args:
        name: as `openjscc.tasks.load_task_network` takes it; empty: the data set's (`DEFAULT_NETWORKS`).
        dataset: the images.

    Raises:
        UsageError: no name for such data; a network of another kind, or with too few classes for the labels.
        MissingError, IntegrityError: of loading.
    """
    if not name and dataset.name not in DEFAULT_NETWORKS:
        raise UsageError(f"no task network for {dataset.name}", "name one: task_network = NAME|FILE")
    network = load_task_network(name or DEFAULT_NETWORKS[dataset.name])
    if network.kind != "classification":
        raise UsageError(f"the task network {network.name!r} is for {network.kind}", "name a classifier")
    if dataset.labels is not None:
        check_networks(["accuracy"], dataset, [network])
    return network


def check_networks(metrics: Iterable[str], dataset: PictureDataset, networks: Sequence[TaskNetwork]) -> None:
    """Refuse before the work what would fail in the middle of it.

    Raises:
        UsageError: a metric of labels without labels or without a network; a network of another kind or with too few classes;
            two networks of one name.
    """
    of_labels = [metric for metric in metrics if _of_labels(metric)]
    if not of_labels:
        return
    _check_labels(of_labels[0], dataset)
    assert dataset.labels is not None
    if not networks:
        raise _without_network(of_labels[0])
    highest = int(dataset.labels.max())
    for number, network in enumerate(networks):
        if network.kind != "classification":
            raise UsageError(
                f"{of_labels[0]} by the task network {network.name!r}, which is for {network.kind}", "name a classifier"
            )
        if highest >= len(network.classes):
            raise UsageError(
                f"{dataset.name} has class number {highest}, the task network {network.name!r} {len(network.classes)} classes",
                "name one that was trained for these classes",
            )
        if network.name in [other.name for other in networks[:number]]:
            raise UsageError(f"two task networks are called {network.name!r}", "name each once, or rename one file")


def _without_network(metric: str) -> UsageError:
    return UsageError(f"{metric} without a task network", "it is what a network finds out: name one, e.g. classifier")


def _of_labels(metric: str) -> bool:
    return get_metric(metric).needs == "labels"


def _check_labels(metric: str, dataset: PictureDataset) -> None:
    if dataset.labels is None:
        raise UsageError(
            f"{metric} needs labels, and {dataset.name} has none",
            "choose cifar10, or an .npz file with y_test; or a metric of pictures, e.g. psnr",
        )
