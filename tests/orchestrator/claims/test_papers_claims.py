"""The claims that studies name, run on the papers' own tables, give the papers' numbers."""

from __future__ import annotations

import pytest

from orchestrator.claims.checks import Finding, evaluate
from orchestrator.planning.catalog import load_study, study_names
from orchestrator.reporting.published import published_accuracies

NUMBERS = {
    "layer_importance": {
        "gap": 23.0,
        "largest fall, at N = 16": 3.5,
        "largest rise, at N = 2": 1.0,
        "drop from N = 16 to 17": 11.3,
        "largest rise, at N = 14": 2.0,
        "rise from N = 14 to 17": 18.4,
    },
    "data_reduction": {
        "cost of 1/8 after pretraining": 7.7,
        "cost of 1/8 from scratch": 20.1,
        "cost of 1/8 to the transfer": 4.2,
        "slope": -2.23,
        "intercept": 85.61,
    },
    "normalization": {
        "real: exact input norm gains": 0.7,
        "synthetic: exact input norm gains": 1.1,
        "synthetic: batchnorm train mode gains": 0.4,
        "gap exact input norm": 22.6,
    },
    "augmentation": {"gap none": 23.2, "gap dino multicrop": 23.0, "real: dino multicrop less pixmix": 1.3},
    "stylized": {"gap stylized": 25.1, "real: stylized costs": 12.2, "synthetic: stylized costs": 14.3},
    "oracle_prompts": {"gap unclip sd21": 21.2, "difference": 26.3},
}
PETS = "oxford_pets"
PETS_NUMBERS = {"gap": 18.4, "gap imagenet pretrained": 12.9, "rise from N = 14 to 17": 0.6}


def findings(study: str, data_set: str) -> list[Finding]:
    claims = load_study(study).claims
    return [
        finding
        for outcome in evaluate(claims, published_accuracies(study, data_set), data_set)
        for finding in outcome.findings
    ]


@pytest.mark.parametrize(
    ("study", "data_set", "numbers"),
    [
        *((study, "imagenet100", numbers) for study, numbers in NUMBERS.items()),
        ("layer_importance", PETS, PETS_NUMBERS),
    ],
)
def test_the_papers_numbers_come_out_of_the_papers_tables(study: str, data_set: str, numbers: dict[str, float]) -> None:
    found = findings(study, data_set)
    assert all(finding.holds for finding in found)
    means = {finding.check.name: finding.mean for finding in reversed(found)}
    assert {name: means[name] for name in numbers} == pytest.approx(numbers, abs=0.011)


def test_every_study_of_a_papers_table_names_claims() -> None:
    for name in study_names():
        study = load_study(name)
        assert bool(study.claims) == bool(study.published), name
