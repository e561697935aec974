"""Each public data set is read as it is published: made folders of exactly its layout."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import make_film
from train.data.manifest import Entry, read_manifest, write_manifest
from train.data.sources import LAYOUTS, folders, join, read_data
from train.errors import TrainError

COHEN_HEADER = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,intubated,intubation_present,"
    "went_icu,in_icu,needed_supplemental_O2,extubated,temperature,pO2_saturation,leukocyte_count,"
    "neutrophil_count,lymphocyte_count,view,modality,date,location,folder,filename,doi,url,license,"
    "clinical_notes,other_notes,"
)
FIGURE1_HEADER = (
    "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality,"
    "artifacts/distortion,notes"
)
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
SAMPLE_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,"
    "OriginalImagePixelSpacing_y"
)


def films(root: Path, *names: str) -> Path:
    for name in names:
        make_film(root / name)
    return root


def table(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding=encoding)


def kermany(root: Path) -> Path:
    films(
        root,
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0927-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/person1_bacteria_2.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg",
        "test/NORMAL/IM-0001-0001.jpeg",
        "test/PNEUMONIA/person1_virus_6.jpeg",
        "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
    )
    (root / "train" / ".DS_Store").write_bytes(b"mac")
    return root


def covid_radiography(root: Path) -> Path:
    films(
        root,
        *(
            f"{label}/{kind}/{label}-{i}.png"
            for label in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
            for kind in ("images", "masks")
            for i in (1, 2)
        ),
    )
    (root / "COVID.metadata.xlsx").write_bytes(b"PK")
    (root / "README.md.txt").write_text("about")
    return root


def covid_radiography_of_old(root: Path) -> Path:
    return films(root, "COVID/COVID-1.jpeg", "COVID/COVID-100.jpeg", "Normal/Normal-7.jpeg")


def tb_chest(root: Path) -> Path:
    (root / "Normal.metadata.xlsx").parent.mkdir(parents=True, exist_ok=True)
    (root / "Normal.metadata.xlsx").write_bytes(b"PK")
    return films(root, "Normal/Normal-1.png", "Tuberculosis/Tuberculosis-1.png")


def shenzhen(root: Path) -> Path:
    readings = {
        "CHNCXR_0001_0": "male 45yrs\nnormal\n",
        "CHNCXR_0327_1": "Female, 28yrs\nleft 3 months old fibrosis",
        "CHNCXR_0330_1": "male 16month\nSTB",
    }
    for name, reading in readings.items():
        films(root, f"CXR_png/{name}.png")
        table(root / "ClinicalReadings" / f"{name}.txt", reading)
    films(root, "CXR_png/CHNCXR_0400_1.png")  # its reading is missing
    (root / "CXR_png" / "Thumbs.db").write_bytes(b"windows")
    return root


def montgomery(root: Path) -> Path:
    readings = {
        "MCUCXR_0001_0": "Patient's Sex: F \nPatient's Age: 027Y\nnormal",
        "MCUCXR_0162_1": "Patient's Sex: M\nPatient's Age: 049Y\ncavity 3 mm",
        "MCUCXR_0166_1": "Patient's Age: 049Y\nNO REPORT (same pt as MCUCXR_0162_1)",
    }
    for name, reading in readings.items():
        films(root, f"CXR_png/{name}.png", f"ManualMask/leftMask/{name}.png")
        table(root / "ClinicalReadings" / f"{name}.txt", reading)
    return root


def nih(root: Path) -> Path:
    """Two of the twelve archives: films of the others are listed and not there."""
    table(
        root / "Data_Entry_2017.csv",
        NIH_HEADER,
        "00000001_000.png,Cardiomegaly,0,1,58,M,PA,2682,2749,0.143,0.143,",
        "00000001_001.png,Cardiomegaly|Pleural_Thickening,1,1,58,M,AP,2894,2729,0.143,0.143,",
        "00000002_000.png,No Finding,0,2,414,M,PA,2500,2048,0.171,0.171,",
        "00030805_000.png,No Finding,0,30805,27,M,PA,2048,2500,0.171,0.171,",
    )
    table(root / "train_val_list.txt", "00000001_000.png", "00000001_001.png")
    table(root / "test_list.txt", "00000002_000.png", "00030805_000.png")
    return films(
        root,
        "images_001/images/00000001_000.png",
        "images_001/images/00000001_001.png",
        "images_002/images/00000002_000.png",
    )


def nih_sample(root: Path) -> Path:
    """Its archive holds everything twice, in folders inside each other."""
    table(
        root / "sample_labels.csv",
        SAMPLE_HEADER,
        "00000013_005.png,Emphysema|Infiltration,005,00013,060Y,M,AP,3056,2544,0.139,0.139",
        "00000017_001.png,No Finding,001,00017,011M,M,PA,2500,2048,0.168,0.168",
    )
    return films(
        root,
        *(
            f"{folder}/{name}.png"
            for folder in ("images", "sample/images")
            for name in ("00000013_005", "00000017_001")
        ),
    )


def cohen(root: Path) -> Path:
    def line(patient: str, age: str, finding: str, view: str, file: str, modality: str = "X-ray"):
        cells = dict.fromkeys(COHEN_HEADER.rstrip(",").split(","), "")
        cells |= {"patientid": patient, "age": age, "finding": finding, "view": view}
        cells |= {"modality": modality, "folder": "images", "filename": file}
        cells["clinical_notes"] = '"fever, cough"'
        return ",".join(cells.values()) + ","

    table(
        root / "metadata.csv",
        COHEN_HEADER,
        line("2", "65", "Pneumonia/Viral/COVID-19", "PA", "a.jpeg"),
        line("2", "65", "Pneumonia/Viral/COVID-19", "AP Supine", "b.jpg"),
        line("4", "", "Pneumonia/Viral/SARS", "L", "c.png"),
        line("5", "40", "Pneumonia/Bacterial/Streptococcus", "AP", "d.png"),
        line("6", "40", "Pneumonia/Fungal/Pneumocystis", "PA", "e.png"),
        line("7", "40", "No Finding", "PA", "f.png"),
        line("8", "40", "Tuberculosis", "PA", "g.png"),
        line("9", "40", "todo", "PA", "not-read.png"),
        line("10", "40", "Pneumonia/Viral/COVID-19", "Axial", "ct.png", "CT"),
    )
    (root / "volumes").mkdir(parents=True, exist_ok=True)
    names = ("a.jpeg", "b.jpg", "c.png", "d.png", "e.png", "f.png", "g.png", "ct.png")
    return films(root, *(f"images/{name}" for name in names))


def figure1(root: Path) -> Path:
    """The table is in Latin-1, and one film is a PNG."""
    table(
        root / "metadata.csv",
        FIGURE1_HEADER,
        "COVID-00003a,3,F,71,COVID-19,,,,PA,X-ray,,Café au lait, \x85 and more",
        "COVID-00003b,5,F,71,COVID-19,,,,AP,X-ray,arrow,",
        "COVID-00013,,M,,Pneumonia,,,,,X-ray,,",
        "COVID-00014,,M,,No finding,,,,,,,",
        "COVID-00015,,M,,,,,,,X-ray,,",
        encoding="latin-1",
    )
    return films(
        root,
        "images/COVID-00003a.jpg",
        "images/COVID-00003b.jpg",
        "images/COVID-00013.png",
        "images/COVID-00014.jpg",
        "images/COVID-00015.jpg",
    )


def own_folders(root: Path) -> Path:
    return films(root, "NORMAL/1.png", "Lung_Opacity/ward/2.png", "tb/1.png")


LAID_OUT = {
    "kermany": kermany,
    "covid-radiography": covid_radiography,
    "tb-chest": tb_chest,
    "shenzhen": shenzhen,
    "montgomery": montgomery,
    "nih": nih,
    "cohen": cohen,
    "figure1": figure1,
    "folders": own_folders,
}


def read(root: Path) -> dict[str, Entry]:
    listed = read_data(str(root))
    assert all(entry.path.is_file() for entry in listed)
    return {entry.path.relative_to(root).as_posix(): entry for entry in listed}


def test_every_layout_is_tested() -> None:
    assert LAID_OUT.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("name", LAID_OUT)
def test_a_layout_is_told_by_its_marks_by_its_name_and_inside_its_archives_folder(
    tmp_path: Path, name: str
) -> None:
    root = LAID_OUT[name](tmp_path / "unpacked" / "set")
    told = read_data(str(root))
    assert told
    assert {entry.source for entry in told} == {"set" if name == "folders" else name}
    assert read_data(f"{name}={root}") == told
    if name != "folders":
        assert read_data(str(root.parent)) == told


@pytest.mark.parametrize("name", LAID_OUT)
def test_every_layout_goes_through_a_manifest_unchanged(tmp_path: Path, name: str) -> None:
    listed = read_data(str(LAID_OUT[name](tmp_path / "set")))
    write_manifest(listed, tmp_path / "manifest.csv")
    assert (
        read_data(str(tmp_path / "manifest.csv"))
        == listed
        == list(read_manifest(tmp_path / "manifest.csv"))
    )


def test_kermanys_names_say_the_finding_and_its_folders_the_side(tmp_path: Path) -> None:
    found = read(kermany(tmp_path / "chest_xray"))
    assert {path: (e.findings, e.patient, e.split) for path, e in found.items()} == {
        "train/NORMAL/IM-0115-0001.jpeg": ((), "IM-0115", "train"),
        "train/NORMAL/NORMAL2-IM-0927-0001.jpeg": ((), "NORMAL2-IM-0927", "train"),
        "train/PNEUMONIA/person1_bacteria_1.jpeg": (("bacterial pneumonia",), "person1", "train"),
        "train/PNEUMONIA/person1_bacteria_2.jpeg": (("bacterial pneumonia",), "person1", "train"),
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": ((), "NORMAL2-IM-1427", "validation"),
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg": (
            ("bacterial pneumonia",),
            "person1946",
            "validation",
        ),
        "test/NORMAL/IM-0001-0001.jpeg": ((), "test IM-0001", "test"),
        "test/PNEUMONIA/person1_virus_6.jpeg": (("viral pneumonia",), "test person1", "test"),
    }


def test_kermanys_label_folders_alone_have_no_official_side(tmp_path: Path) -> None:
    films(tmp_path / "films", "NORMAL/IM-1-1.jpeg", "PNEUMONIA/person1_virus_6.jpeg")
    assert {e.split for e in read(tmp_path / "films").values()} == {""}


def test_kermanys_sides_can_be_given_one_by_one(tmp_path: Path) -> None:
    root = kermany(tmp_path / "chest_xray")
    (root / "__MACOSX").rename(tmp_path / "__MACOSX")
    one_by_one = [read_data(str(root / side)) for side in ("test", "train", "val")]
    assert [entry for part in one_by_one for entry in part] == read_data(str(root))


def test_kaggles_archive_holds_kermanys_films_twice(tmp_path: Path) -> None:
    root = kermany(tmp_path / "chest_xray")
    once = read_data(str(root))
    kermany(root / "chest_xray")
    assert read_data(str(root)) == once


def test_masks_beside_the_films_of_covid_radiography_are_no_films(tmp_path: Path) -> None:
    found = read(covid_radiography(tmp_path))
    assert len(found) == 8
    assert not any("masks" in path for path in found)
    assert {e.findings for e in found.values()} == {
        ("COVID-19",),
        ("lung opacity",),
        (),
        ("viral pneumonia",),
    }


def test_covid_radiography_of_old_has_no_images_folders(tmp_path: Path) -> None:
    found = read(covid_radiography_of_old(tmp_path))
    assert {path: (e.source, e.findings) for path, e in found.items()} == {
        "COVID/COVID-1.jpeg": ("covid-radiography", ("COVID-19",)),
        "COVID/COVID-100.jpeg": ("covid-radiography", ("COVID-19",)),
        "Normal/Normal-7.jpeg": ("covid-radiography", ()),
    }


def test_tb_chest_has_two_folders(tmp_path: Path) -> None:
    found = read(tb_chest(tmp_path))
    assert found["Tuberculosis/Tuberculosis-1.png"].findings == ("tuberculosis",)
    assert found["Normal/Normal-1.png"].findings == ()


def test_shenzhens_last_digit_is_the_label_and_its_readings_have_the_age(tmp_path: Path) -> None:
    found = read(shenzhen(tmp_path))
    assert {Path(path).stem: (e.findings, e.age_years) for path, e in found.items()} == {
        "CHNCXR_0001_0": ((), 45),
        "CHNCXR_0327_1": (("tuberculosis",), 28),
        "CHNCXR_0330_1": (("tuberculosis",), 1.33),
        "CHNCXR_0400_1": (("tuberculosis",), None),
    }
    assert {e.view for e in found.values()} == {"PA"}


def test_montgomerys_readings_have_the_age_and_say_who_is_the_same_patient(
    tmp_path: Path,
) -> None:
    found = read(montgomery(tmp_path))
    assert {Path(path).stem: (e.findings, e.age_years, e.patient) for path, e in found.items()} == {
        "MCUCXR_0001_0": ((), 27, "MCUCXR_0001_0"),
        "MCUCXR_0162_1": (("tuberculosis",), 49, "MCUCXR_0162_1"),
        "MCUCXR_0166_1": (("tuberculosis",), 49, "MCUCXR_0162_1"),
    }


def test_nihs_table_and_lists(tmp_path: Path) -> None:
    found = {Path(path).stem: e for path, e in read(nih(tmp_path)).items()}
    assert found.keys() == {"00000001_000", "00000001_001", "00000002_000"}
    film = found["00000001_001"]
    assert film.findings == ("cardiomegaly", "pleural thickening")
    assert (film.patient, film.view, film.age_years, film.split) == ("1", "AP", 58, "train")
    healthy = found["00000002_000"]
    # An age of 414 is one of the table's known slips.
    assert (healthy.findings, healthy.age_years, healthy.split) == ((), None, "test")


def test_nihs_sample_has_ages_with_a_unit_and_each_film_once(tmp_path: Path) -> None:
    found = read(nih_sample(tmp_path))
    assert {path: (e.patient, e.age_years, e.split) for path, e in found.items()} == {
        "images/00000013_005.png": ("00013", 60, ""),
        "images/00000017_001.png": ("00017", 0.92, ""),
    }


def test_cohens_findings_are_paths_and_only_radiographs_are_read(tmp_path: Path) -> None:
    found = read(cohen(tmp_path))
    assert {Path(p).name: (e.findings, e.view, e.patient) for p, e in found.items()} == {
        "a.jpeg": (("COVID-19",), "PA", "2"),
        "b.jpg": (("COVID-19",), "AP", "2"),
        "c.png": (("viral pneumonia",), "lateral", "4"),
        "d.png": (("bacterial pneumonia",), "AP", "5"),
        "e.png": (("pneumonia",), "PA", "6"),
        "f.png": ((), "PA", "7"),
        "g.png": (("tuberculosis",), "PA", "8"),
    }
    assert found["images/a.jpeg"].age_years == 65
    assert found["images/c.png"].age_years is None


def test_figure1s_films_are_named_by_patient(tmp_path: Path) -> None:
    found = read(figure1(tmp_path))
    assert {Path(p).name: (e.findings, e.view, e.patient) for p, e in found.items()} == {
        "COVID-00003a.jpg": (("COVID-19",), "PA", "COVID-00003"),
        "COVID-00003b.jpg": (("COVID-19",), "AP", "COVID-00003"),
        "COVID-00013.png": (("pneumonia",), "", "COVID-00013"),
        "COVID-00014.jpg": ((), "", "COVID-00014"),
    }


def test_the_sex_is_read_where_a_set_tells_it(tmp_path: Path) -> None:
    known = {
        name: {Path(path).stem: e.sex for path, e in read(LAID_OUT[name](tmp_path / name)).items()}
        for name in ("shenzhen", "montgomery", "nih", "cohen", "figure1", "kermany")
    }
    assert known["shenzhen"]["CHNCXR_0001_0"] == "M"
    assert known["shenzhen"]["CHNCXR_0327_1"] == "F"
    assert known["shenzhen"]["CHNCXR_0400_1"] == ""
    assert known["montgomery"]["MCUCXR_0001_0"] == "F"
    assert known["montgomery"]["MCUCXR_0162_1"] == "M"
    assert known["nih"]["00000001_001"] == "M"
    assert known["cohen"]["a"] == ""
    assert known["figure1"]["COVID-00003a"] == "F"
    assert set(known["kermany"].values()) == {""}


@pytest.mark.parametrize("name", ["cohen", "figure1"])
def test_films_that_a_table_lists_and_that_are_not_there_are_named(
    tmp_path: Path, name: str
) -> None:
    root = LAID_OUT[name](tmp_path)
    film = next((root / "images").glob("*.jpg"))
    film.unlink()
    with pytest.raises(TrainError, match=film.stem):
        read_data(str(root))


def test_nih_without_one_film_of_its_table_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, "a.png,Mass,0,1,58,M,PA,1,1,1,1,")
    with pytest.raises(TrainError, match=r"No film that .* lists is there"):
        read_data(str(tmp_path))


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "Data_Entry_2017.csv", "Image Index,Finding Labels", "a.png,Mass")
    with pytest.raises(TrainError, match="without Patient ID, Patient Age, View Position"):
        read_data(str(tmp_path))


def test_label_folders_of_ones_own(tmp_path: Path) -> None:
    found = read(own_folders(tmp_path / "ward 7"))
    assert {path: (e.findings, e.patient, e.source) for path, e in found.items()} == {
        "NORMAL/1.png": ((), "NORMAL/1", "ward 7"),
        "Lung_Opacity/ward/2.png": (("lung opacity",), "Lung_Opacity/ward/2", "ward 7"),
        "tb/1.png": (("tuberculosis",), "tb/1", "ward 7"),
    }


def test_the_patient_pattern_is_for_label_folders(tmp_path: Path) -> None:
    films(tmp_path, "normal/p1_a.png", "mass/p1_b.png", "mass/p2.png")
    patients = [entry.patient for entry in read_data(str(tmp_path), r"(p\d)")]
    assert patients == ["p1", "p2", "p1"]


def test_sides_of_ones_own_folders_are_kept(tmp_path: Path) -> None:
    root = films(tmp_path / "own", "train/normal/1.png", "train/mass/2.png", "test/mass/1.png")
    found = read(root)
    assert {path: (e.split, e.source) for path, e in found.items()} == {
        "train/normal/1.png": ("train", "own"),
        "train/mass/2.png": ("train", "own"),
        "test/mass/1.png": ("test", "own"),
    }
    assert len({e.patient for e in found.values()}) == 3


def test_a_side_beside_labels_is_refused(tmp_path: Path) -> None:
    films(tmp_path, "test/1.png", "normal/1.png")
    with pytest.raises(TrainError, match="named like a side of a split"):
        folders.read(tmp_path)


def test_a_folder_that_two_layouts_fit_must_be_named(tmp_path: Path) -> None:
    shenzhen(tmp_path)
    montgomery(tmp_path)
    with pytest.raises(TrainError, match=r"shenzhen or montgomery.*shenzhen="):
        read_data(str(tmp_path))
    assert {entry.source for entry in read_data(f"montgomery={tmp_path}")} == {"montgomery"}


@pytest.mark.parametrize(
    "text", ["{}/nowhere", "kermany={}/nowhere", "mammograms={}", "{}/film.png", "{}", "nih={}"]
)
def test_data_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    make_film(tmp_path / "film.png")
    with pytest.raises(TrainError) as raised:
        read_data(text.format(tmp_path))
    assert "mammograms" in str(raised.value) or str(tmp_path) in str(raised.value)


def test_where_no_layout_fits_all_are_listed(tmp_path: Path) -> None:
    make_film(tmp_path / "film.png")
    with pytest.raises(TrainError) as raised:
        read_data(str(tmp_path))
    assert all(f"  {name}: " in str(raised.value) for name in LAYOUTS)


def test_data_given_twice_are_taken_once(tmp_path: Path) -> None:
    once = read_data(str(own_folders(tmp_path)))
    assert join([once, read_data(f"folders={tmp_path}")]) == once


def test_a_film_that_is_described_in_two_ways_is_refused(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.png")
    with pytest.raises(TrainError, match=r"a\.png is given twice"):
        join([[Entry(path, (), "1", "own")], [Entry(path, ("mass",), "1", "own")]])


def test_the_real_kermany_films_are_counted_as_they_were_published(real_films: Path) -> None:
    entries = read_data(str(real_films / "kermany-train-224"))
    counts = Counter(entry.findings for entry in entries)
    assert counts == {(): 1341, ("bacterial pneumonia",): 2530, ("viral pneumonia",): 1345}
    assert {entry.source for entry in entries} == {"kermany"}
