"""The classes of the sets that are known beforehand, and the folders that are theirs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.recipes.class_lists import CLASS_LISTS, IMAGENET100, OXFORD_PETS, match_folders
from datagen.recipes.wordnet import wordnet_definitions


def test_imagenet100_is_100_sorted_synsets_that_wordnet_knows_under_their_first_lemma() -> None:
    ids = [item.wordnet_id for item in IMAGENET100]
    assert len(set(ids)) == 100
    assert ids == sorted(ids) == [item.folder for item in IMAGENET100]
    assert set(ids) <= wordnet_definitions().keys()
    timm = find_spec("timm")
    assert timm is not None and timm.origin is not None
    lemmas = (Path(timm.origin).parent / "data" / "_info" / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    first = {line.split("\t")[0]: line.split("\t")[1].split(",")[0] for line in lemmas}
    assert [item.name for item in IMAGENET100] == [first[wordnet_id] for wordnet_id in ids]
    assert (IMAGENET100[0].name, IMAGENET100[99].name) == ("robin", "stinkhorn")


def test_oxford_pets_has_37_breeds_in_the_order_of_the_annotations() -> None:
    names = [item.name for item in OXFORD_PETS]
    assert len(set(names)) == 37
    assert names == sorted(names)
    assert [names[label] for label in (0, 5, 33, 36)] == ["Abyssinian", "Bengal", "Sphynx", "Yorkshire Terrier"]


def test_missing_and_extra_classes_are_named_in_one_sentence_and_then_counted() -> None:
    folders = [item.folder for item in IMAGENET100[8:]] + ["cats", "dogs"]
    with pytest.raises(InputError) as caught:
        match_folders(Path("pictures"), folders, "imagenet100", IMAGENET100)
    assert str(caught.value) == (
        "pictures lacks 8 of the 100 classes of imagenet100: n01558993 (robin), n01692333 (Gila monster), "
        "n01729322 (hognose snake), n01735189 (garter snake), n01749939 (green mamba) and 3 more, "
        "and has 2 folders that imagenet100 does not have: cats, dogs. Add or remove those folders."
    )


def test_breeds_are_found_however_their_folders_are_spelled() -> None:
    spelled = [item.name.upper() if label % 2 else item.folder.lower() for label, item in enumerate(OXFORD_PETS)]
    assert match_folders(Path("pets"), sorted(spelled), "oxford_pets", OXFORD_PETS) == spelled
    with pytest.raises(InputError, match="two folders of one class, EGYPTIAN MAU and Egyptian Mau"):
        match_folders(Path("pets"), [*spelled, "Egyptian Mau"], "oxford_pets", OXFORD_PETS)


def test_every_class_list_has_distinct_folders_and_names() -> None:
    for classes in CLASS_LISTS.values():
        assert len({item.folder for item in classes}) == len({item.name for item in classes}) == len(classes)
