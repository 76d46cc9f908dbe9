"""Pictures that lie in one folder, with a list of their classes."""

from __future__ import annotations

from pathlib import Path

from datagen.datasets.shards import read_manifest
from datagen.importing.importer import import_images
from datagen.importing.picture_lists import labelled_list, oxford_pets_lists
from datagen.recipes.class_lists import OXFORD_PETS
from tests.datagen.importing.folders import encoded, image_folder, picture, rows_of, run


def pets(root: Path, train: list[str], test: list[str]) -> Path:
    """Oxford-IIIT Pet as it is unpacked, with these pictures listed, all of them there."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name, stems in (("trainval.txt", train), ("test.txt", test)):
        lines = ["#Image CLASS-ID SPECIES BREED ID", *[f"{stem} 1 2 1" for stem in stems]]
        (root / "annotations" / name).write_text("\n".join(lines) + "\n")
    for seed, stem in enumerate(train + test):
        (root / "images" / f"{stem}.jpg").write_bytes(encoded(picture(seed)))
    (root / "images/Abyssinian_100.mat").write_bytes(b"of no use")
    return root


def test_oxford_pets_as_downloaded_is_the_same_set_as_sorted_by_hand(cluster: None, tmp_path: Path) -> None:
    # Cats are spelled with a capital and dogs without, as in the original.
    spelled = [item.folder if label % 3 == 0 else item.folder.lower() for label, item in enumerate(OXFORD_PETS)]
    train, test = ([f"{name}_{number}" for name in spelled for number in numbers] for numbers in ((7, 12), (3,)))
    downloaded = pets(tmp_path / "pets", train, test)
    for split, stems in (("train", train), ("val", test)):
        for stem in stems:
            folder = tmp_path / "sorted" / split / stem.rpartition("_")[0]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{stem}.jpg").write_bytes((downloaded / "images" / f"{stem}.jpg").read_bytes())
    done = run("--name", "oxford_pets", "--pets", downloaded, "--out", tmp_path / "one")
    assert done.exit_code == 0, done.output
    folders = [tmp_path / "sorted/train", tmp_path / "sorted/val"]
    done = run("--name", "oxford_pets", "--train", folders[0], "--val", folders[1], "--out", tmp_path / "two")
    assert done.exit_code == 0, done.output
    for split, rows in (("train", 74), ("validation", 37)):
        manifest = read_manifest(tmp_path / "one" / split)
        assert manifest == read_manifest(tmp_path / "two" / split) and manifest.rows == rows


def test_listed_pictures_that_are_missing_or_damaged_are_named_and_counted(cluster: None, tmp_path: Path) -> None:
    downloaded = pets(tmp_path / "pets", ["cat_1", "cat_2", "cat_3", "dog_1"], ["cat_4", "dog_2"])
    (downloaded / "images/cat_2.jpg").unlink()
    whole = (downloaded / "images/cat_3.jpg").read_bytes()
    (downloaded / "images/cat_3.jpg").write_bytes(b"\0\0" + whole[2:])  # a damaged header
    (downloaded / "images/dog_2.jpg").write_bytes(encoded(picture(3).quantize(8), "gif"))  # as some of the original are
    lists = oxford_pets_lists(downloaded)
    manifests = import_images("own", lists, tmp_path / "out", limit_corrupt=0.6)
    corrupt = manifests["train"].description["corrupt"]
    assert [item["file"] for item in corrupt] == ["cat/cat_2.jpg", "cat/cat_3.jpg"]
    assert [item["reason"] for item in corrupt] == ["a link to nothing, or no file", "not a picture"]
    assert [row["image"]["path"] for row in rows_of(tmp_path / "out/train")] == ["cat/cat_1.jpg", "dog/dog_1.jpg"]
    assert manifests["validation"].description["converted"] == 1


def test_validation_pictures_in_one_folder_are_sorted_by_their_list(cluster: None, tmp_path: Path) -> None:
    train = image_folder(tmp_path / "train", {"n00000001": 1, "n00000002": 1})
    flat = tmp_path / "val"
    flat.mkdir()
    for number in range(1, 6):
        (flat / f"ILSVRC2012_val_0000000{number}.JPEG").write_bytes(encoded(picture(number)))
    ids = ["n00000002", "n00000009", "n00000001", "n00000002", "n00000001"]
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    (tmp_path / "solution.csv").write_text(
        "ImageId,PredictionString\n"
        + "".join(f"ILSVRC2012_val_0000000{n},{ids[n - 1]} 85 1 499 272 \n" for n in (4, 3, 2, 1, 5))
    )
    for number, labels in enumerate(("ids.txt", "solution.csv")):
        listing = labelled_list(flat, tmp_path / labels)
        import_images("own", {"train": train, "validation": listing}, tmp_path / str(number))
        rows = rows_of(tmp_path / str(number) / "validation")
        assert [(row["class_name"], row["image"]["path"][-6:-5]) for row in rows] == [
            ("n00000001", "3"),
            ("n00000002", "1"),
            ("n00000001", "5"),
            ("n00000002", "4"),
        ]  # n00000009 is none of the set's classes


def test_each_mistake_in_a_list_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    good = pets(tmp_path / "pets", ["cat_1"], ["cat_2"])
    both = pets(tmp_path / "both", ["cat_1", "cat_2"], ["cat_2"])
    odd = pets(tmp_path / "odd", ["cat_1"], ["cat_2"])
    (odd / "annotations/test.txt").write_text("cat_2.jpg;1\n")
    (tmp_path / "none").mkdir()
    twice, short, numbers = (tmp_path / f"{name}.txt" for name in ("twice", "short", "numbers"))
    twice.write_text("cat_1.jpg n00000001\ncat_1.jpg n00000002\n")
    short.write_text("n00000001\n")
    numbers.write_text("cat_1.jpg 65\ncat_2.jpg 970\n")
    outside = tmp_path / "outside.txt"
    outside.write_text("../secret.jpg n00000001\n")
    train = image_folder(tmp_path / "train", {"n00000001": 1})
    lists = ["--train", train, "--val", good / "images", "--val-labels"]
    for arguments, complaint in [
        (["--pets", tmp_path / "none"], "Unpack images.tar.gz and annotations.tar.gz"),
        (["--pets", both], "1 picture of"),
        (["--pets", odd], "test.txt, line 1 is not like 'Abyssinian_100 1 1 1': 'cat_2.jpg;1'"),
        (["--pets", good, "--train", good], "leave out --train"),
        ([], "Name the folders of the splits"),
        (["--train", train, "--val-labels", short], "name the folder of the validation images, too"),
        ([*lists, twice], "lists 1 picture twice: cat_1.jpg"),
        ([*lists, short], "has 1 line, but"),
        ([*lists, numbers], "line 2 has no picture and WordNet id"),
        ([*lists, outside], "names pictures outside"),
        ([*lists, tmp_path / "nowhere.txt"], "There is no file"),
    ]:
        done = run("--name", "own", *arguments, "--out", tmp_path / "out")
        assert done.exit_code == 2 and complaint in done.output, (complaint, done.output)
        assert done.output.count("Error: ") == 1 and not (tmp_path / "out").exists()
