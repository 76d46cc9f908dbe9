"""Prompts by style, from files, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from datagen.core.errors import InputError
from datagen.pocket.classes import CLASSES as POCKET
from datagen.prompts import main
from datagen.recipes.class_lists import IMAGENET100, OXFORD_PETS
from datagen.recipes.pet_prompts import ATTRIBUTES
from datagen.recipes.prompt_styles import SCENES_VARIABLE, STYLES, class_prompts
from datagen.recipes.wordnet import FOLDER_VARIABLE, first_lemma, hypernym

PAPILLON = [("papillon", "n02086910")]
CAT = [("cat", "n02121620")]


def synset(offset: int, words: str, pointers: str, gloss: str) -> bytes:
    """A line of data.noun (wndb(5WN))."""
    count = len(words.split()) // 2
    return f"{offset:08d} 05 n {count:02x} {words} {pointers} | {gloss}\n".encode()


@pytest.fixture
def wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data.noun in which the cat is at its own place and has two hypernyms."""
    lines = [synset(0, "big_cat 0", "000", "a feline"), b""]
    second = len(lines[0])
    lines[1] = synset(second, "carnivore 0 meat_eater 0", "000", "an animal")
    cat = synset(2121620, "cat 0 true_cat 0", f"003 ~ 00000099 n 0000 @ 00000000 n 0000 @ {second:08d} n 0000", "a pet")
    text = b"".join(lines)
    (tmp_path / "data.noun").write_bytes(text + b" " * (2121620 - len(text) - 1) + b"\n" + cat)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("style", "prompt"),
    [
        ("c", "papillon"),
        ("c, d_c", "papillon, small slender toy spaniel with erect ears and a black-spotted brown to white coat"),
        ("c, h_c", "papillon, toy spaniel"),
        ("a photo of a c", "a photo of a papillon"),
        ("no prompt", ""),
    ],
)
def test_each_style_makes_its_prompt(style: str, prompt: str) -> None:
    assert style in STYLES
    assert class_prompts(PAPILLON, style) == ((prompt,),)


def test_imagenet100_and_the_pocket_classes_have_hypernyms_without_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "/nowhere")
    ids = [*(item.wordnet_id for item in IMAGENET100), *(item.wordnet_id for item in POCKET)]
    assert all(hypernym(wordnet_id) for wordnet_id in ids)
    assert hypernym("n03594734") == "trouser"  # the first of two


def test_other_classes_take_the_first_hypernym_of_wordnet(wordnet: Path) -> None:
    assert class_prompts(CAT, "c, h_c") == (("cat, big cat",),)


def test_a_class_without_hypernym_or_definition_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "/nowhere")
    with pytest.raises(InputError, match="MINDGAP_WORDNET=/nowhere holds no WordNet"):
        class_prompts(CAT, "c, h_c")
    with pytest.raises(InputError, match=r"No definition is known for n00000000 \(nothing\)"):
        class_prompts([("nothing", "n00000000")], "c, d_c")
    with pytest.raises(InputError, match=r"a class without WordNet id \(Beagle\)"):
        class_prompts([("Beagle", "")], "c, d_c")


def test_a_damaged_wordnet_is_one_sentence(wordnet: Path) -> None:
    (wordnet / "data.noun").write_bytes(b"  1 This software and database\n" * 100_000)
    with pytest.raises(InputError, match=r"is no data\.noun of WordNet 3\.0"):
        class_prompts(CAT, "c, h_c")


def test_scenes_are_read_as_places365_lists_them_one_prompt_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="needs a list of scenes"):
        class_prompts(PAPILLON, "c, h_c inside b")
    (tmp_path / "scenes.txt").write_text("/a/apartment_building/outdoor 8\n\nbeer hall\n/b/bar 3\nbeer hall\n")
    monkeypatch.setenv(SCENES_VARIABLE, str(tmp_path / "scenes.txt"))
    start = "papillon, toy spaniel inside"
    (prompts,) = class_prompts(PAPILLON, "c, h_c inside b")
    assert set(prompts) == {f"{start} apartment building outdoor", f"{start} beer hall", f"{start} bar"}
    assert len(prompts) == 3


def test_first_lemmas_name_all_synsets_of_timm() -> None:
    assert first_lemma("n02114855") == "coyote"
    assert first_lemma("n00000000") is None


def test_every_breed_has_265_prompts_and_every_pair_of_attributes_one() -> None:
    prompts = class_prompts([(item.name, item.wordnet_id) for item in OXFORD_PETS], "pet attributes")
    assert {len(set(of_breed)) for of_breed in prompts} == {265}
    assert prompts[0][0].startswith("A photo of a Abyssinian (cat, pet), ")
    values = [text.split("; ") for text in ATTRIBUTES.values()]
    assert [len(set(items)) for items in values] == [15] * 4
    combined = [prompt.split("pet), ")[1].split(", ") for prompt in prompts[0]]
    for first in range(4):
        for second in range(first + 1, 4):
            assert len({(found[first], found[second]) for found in combined}) == 15 * 15
    with pytest.raises(InputError, match="shirt is no breed"):
        class_prompts([("shirt", "")], "pet attributes")


def test_own_prompts_come_from_a_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text('class,prompt\nshirt,a shirt\ncoat,"a coat, in the rain"\nshirt,a blue shirt\n')
    classes = [("shirt", ""), ("coat", "")]
    assert class_prompts(classes, "c", file) == (("a shirt", "a blue shirt"), ("a coat, in the rain",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("class,prompt\nshirt,a shirt\nCoat,a coat\n", "has no prompt for coat. It has prompts for Coat, which are no"),
        ("class,text\nshirt,a shirt\n", r"must have the columns class and prompt; it has \['class', 'text'\]"),
        ("class,prompt\nshirt,\n", "line 2: shirt has an empty prompt"),
        ("", "must have the columns"),
    ],
)
def test_a_csv_file_that_does_not_fit_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        class_prompts([("shirt", ""), ("coat", "")], "c", tmp_path / "prompts.csv")
    with pytest.raises(InputError, match="There is no file"):
        class_prompts([("shirt", "")], "c", tmp_path / "nothing.csv")


def test_the_command_prints_a_table_or_csv_that_is_read_again(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["pocket", "prompt_style=c, h_c"])
    assert shown.exit_code == 0 and "shirt, garment" in shown.output
    printed = CliRunner().invoke(main, ["oxford_pets_sdxl", "--csv"])
    (tmp_path / "pets.csv").write_text(printed.output)
    again = CliRunner().invoke(main, ["oxford_pets_sdxl", f"prompts_file={tmp_path / 'pets.csv'}", "--csv"])
    assert again.output == printed.output
    assert printed.output.count("\n") == 1 + 37 * 265
    assert CliRunner().invoke(main, ["pocket", "prompt_style=d"]).exit_code == 2
