"""README does what it says."""

import dataclasses
import re
from pathlib import Path
from types import ModuleType

import pytest

from openjscc.bench.records import Record, read_records
from openjscc.data.bundled import sample_photo

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_length() -> None:
    assert len(README.splitlines()) <= 120


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace("my.jpg", str(sample_photo())), "README.md", "exec"), {})
    assert re.match(r"tensor\(\[[23]\d\.\d+\]\) tensor\(\[0\.06", capsys.readouterr().out)
    assert Path("arrived.png").is_file()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_commands_exist() -> None:
    verbs = set(re.findall(r"openjscc (\w+)", README))
    assert verbs <= {"send", "tx", "channel", "rx", "eval", "bench", "plot", "study", "train", "models"}
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import readme

    return readme


SNRS = (-2.0, 0.0, 2.0, 4.0)


def measured(system: str, *means: float, channel: str = "awgn", told: float | None = None, lost: float = 0.0) -> list[Record]:
    """One record for each of `SNRS`; the share lost is that of the lowest."""
    (one, *_) = [record for record in read_records(ROOT / "results" / "cliff.csv") if record.metric == "psnr"]
    changes = {"system": system, "channel": channel, "told_snr_db": told, "ratio": 1 / 16}
    return [
        dataclasses.replace(one, **changes, snr_db=snr, mean=mean, outage_rate=lost if snr == SNRS[0] else 0.0)
        for snr, mean in zip(SNRS, means, strict=True)
    ]


def everywhere(system: str, *means: float, lost: float = 0.0, wrong: float = 0.0) -> list[Record]:
    """The same over both channels; less by so much where the SNR is taken for 10 dB."""
    return [
        record
        for channel in ("awgn", "rayleigh:block")
        for told, less in ((None, 0.0), (10.0, wrong))
        for record in measured(system, *(mean - less for mean in means), channel=channel, told=told, lost=lost)
    ]


def test_the_verdict_is_of_the_records_whoever_is_ahead(readme: ModuleType) -> None:
    learned = everywhere("adjscc.photo", 20.0, 21.0, 22.0, 23.0, wrong=0.5)
    first, second, *_ = readme.verdict(
        [*learned, *everywhere("bpg-ldpc", 12.0, 21.0, 24.5, 24.2, lost=1.0, wrong=3.0)]
    ).splitlines()
    known = "ahead from 2 to 4 dB (by 1.2 to 2.5 dB) and level at 0 dB and behind at -2 dB (by 8.0 dB). "
    assert known + "At its worst SNR `bpg-ldpc` loses every image, and `adjscc.photo` no image." in first
    assert "CBR 1/16: level at 2 dB and behind from -2 to 0 dB, at 4 dB (by 1.3 to 10.5 dB)." in second
    assert "The wrong SNR costs `bpg-ldpc` up to 3.0 dB, and `adjscc.photo` up to 0.5 dB." in second
    better = readme.verdict([*learned, *everywhere("bpg-ldpc", 21.0, 22.0, 23.0, 24.0)]).splitlines()
    assert len(better) == 4
    for line in better:
        assert "ahead at every SNR (by 1." in line
        assert "behind" not in line
    worse = readme.verdict([*learned, *everywhere("bpg-ldpc", 19.0, 23.0, 21.0, 23.5, lost=0.25)])
    assert "CBR 1/16: ahead at 0 dB, at 4 dB (by 0.5 to 2.0 dB) and behind at -2 dB, at 2 dB (by 1.0 dB)." in worse
    assert "`bpg-ldpc` loses 25.0 % of the images" in worse
    with pytest.raises(SystemExit, match="have other SNRs"):
        readme.verdict(learned)


def test_the_tally_counts_points_whoever_is_ahead(readme: ModuleType) -> None:
    learned = everywhere("adjscc.photo", 20.0, 21.0, 22.0, 23.0)
    digital = everywhere("bpg-ldpc", 12.0, 21.0, 24.5, 24.2, wrong=3.0)
    first, *_, last = readme.tally([*learned, *digital]).splitlines()
    assert first == "- AWGN, SNR known: `adjscc.photo` is ahead at 1 of 4 points and behind at 2."
    assert last.endswith("taken for 10 dB: `adjscc.photo` is ahead at 4 of 4 points and behind at 0.")
    first, *_, last = readme.tally([*learned, *digital, *measured("hybrid.photo", 13.0, 20.0, 24.6, 24.3)]).splitlines()
    assert "known: `hybrid.photo` is ahead at 3 of 4 points and behind at 1, `adjscc.photo` is ahead at 1" in first
    assert "hybrid" not in last


def test_the_fixed_scheme_in_words(readme: ModuleType) -> None:
    records = measured("bpg-ldpc:mcs=16qam-3/4-n1944", 12.0, 30.0, 30.0, 30.0, lost=1.0)
    assert "loses every image at -2 dB, no image from 0 to 4 dB." in readme.fixed(records)
    records[0] = dataclasses.replace(records[0], outage_rate=0.5)
    assert "loses no image from 0 to 4 dB, 50 % at -2 dB." in readme.fixed(records)
