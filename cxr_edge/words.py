"""What a person is told for the words that programs go by: codes, outcomes, findings."""

from typing import TYPE_CHECKING

from .language import Message, _, told

if TYPE_CHECKING:
    from .result import Result

NOT_FOR_DIAGNOSIS = Message("Not for diagnostic use: a trained person must read every film.")

OUTCOMES = {
    "positive": Message("positive"),
    "negative": Message("negative"),
    "unsure": Message("unsure"),
    "refused": Message("refused"),
    "failed": Message("failed"),
}

# What a clinician says of the model's answer.
VERDICTS = {
    "agree": Message("agree"),
    "disagree": Message("disagree"),
    "unsure": Message("unsure"),
}

# As those who speak it call it; of another catalog its letters are shown.
LANGUAGES = {"en": "English", "es": "Español", "fr": "Français", "pt": "Português"}

# What a code at the start of `reason` means, whatever else the reason says.
REASONS = {
    "age": Message("The patient's age is outside what the model is for. Have a person read it."),
    "blank": Message("The image is blank or nearly so. Check the exposure and the export."),
    "colour": Message("The image is in colour; a radiograph is greyscale. Export it again."),
    "corrupt": Message("The image is damaged or cut short. Copy the file again."),
    "empty": Message("The file is empty. Copy it again."),
    "file_too_large": Message("The file is too large. Export the radiograph again."),
    "internal_error": Message("A fault of this program. Please report it."),
    "invalid_pixels": Message("Some pixels are not numbers. Export the radiograph again."),
    "inverted": Message("Black and white are exchanged. Export it again with white bones."),
    "io_error": Message("The file could not be read. Check the disk, and copy the file again."),
    "lateral": Message("This is a lateral view. Send the frontal view (PA or AP)."),
    "lungs_cut_off": Message("Parts of the lungs are cut off. Export the whole radiograph."),
    "mirrored": Message("Left and right are exchanged. Export it again, not mirrored."),
    "missing": Message("There is no such file. Check the path, and whether the disk is connected."),
    "no_permission": Message("You may not open this file. Ask for the right to read it."),
    "no_reader": Message("Reading could not begin. Check free memory and the virus scanner."),
    "not_a_chest_film": Message(
        "This does not look like a chest radiograph. Send a frontal one (PA or AP)."
    ),
    "not_a_file": Message("This is a folder or a device that cannot be read."),
    "not_a_radiograph": Message("This is not a radiograph. Send chest radiographs only."),
    "odd_shape": Message("This cannot be a whole chest radiograph. Export the whole one."),
    "out_of_memory": Message("This PC has too little memory for the file. Close other programs."),
    "overexposed": Message(
        "The film is overexposed. Check exposure and window, and export or take it again."
    ),
    "photographed": Message(
        "This looks like a photograph of a screen. Export the radiograph itself."
    ),
    "reader_crashed": Message("Reading this image failed. Export the radiograph again."),
    "rotated_180": Message("The film stands upside down. Turn it upright and export it again."),
    "rotated_270": Message(
        "The film lies turned counter-clockwise. Turn it upright and export it again."
    ),
    "rotated_90": Message("The film lies turned clockwise. Turn it upright and export it again."),
    "several_frames": Message("The file holds several images. Export one radiograph per file."),
    "stalled": Message("The disk or share does not answer. It is tried again."),
    "stopped": Message("The reading was ended from outside. It is read again."),
    "too_many_pixels": Message("The image is too large. Export the radiograph again."),
    "too_small": Message("The image is too small. Export it at full size, not as a thumbnail."),
    "took_too_long": Message("Reading took too long. Export the radiograph again."),
    "underexposed": Message(
        "The film is underexposed. Check exposure and window, and export or take it again."
    ),
    "unlike_training": Message(
        "This film is unlike all that the model learned from. Have a person read it."
    ),
    "unsupported_format": Message("This kind of file is not read here. Export JPEG, PNG or DICOM."),
    "view": Message("The model is not for this view. Send the frontal view (PA or AP)."),
}

# What a page says for the codes of problems (web/problems.py) that its scripts may meet.
UPLOAD_PROBLEMS = {
    "cut_short": Message("It did not arrive whole."),
    "ledger_unusable": Message("The result cannot be kept now."),
    "login_needed": Message("Log in again first."),
    "not_recorded": Message("The result cannot be kept now."),
    "too_large": Message("The file is too large to be sent."),
    "too_slow": Message("It did not come in time."),
}
VIEWER_PROBLEMS = {
    "film_not_there": Message(
        "The film is not there any more: it was moved, deleted or replaced since it was read, or "
        "its name is kept as a pseudonym."
    ),
    "login_needed": Message("Log in again first."),
    "other_model": Message("Another model read this film, so that there is no heatmap of it."),
}

# Of the shipped models, and of others that are trained by the recipes.
FINDINGS = (
    Message("COVID-19"),
    Message("bacterial pneumonia"),
    Message("lung opacity"),
    Message("no finding"),
    Message("pneumonia"),
    Message("tuberculosis"),
    Message("viral pneumonia"),
)
# Figures of a model card, as train.measure calls them.
ALL_LABELS = Message("all labels")
FIGURES = {
    "accuracy": Message("accuracy"),
    "auprc": Message("AUPRC"),
    "auroc": Message("AUROC"),
    "balanced accuracy": Message("balanced accuracy"),
    "brier": Message("Brier score"),
    "ece": Message("expected calibration error"),
    "macro auroc": Message("mean AUROC"),
    "sensitivity": Message("sensitivity"),
    "specificity": Message("specificity"),
}
INTENDED_USES = (
    Message(
        "frontal chest radiographs of children of 1 to 5 years, to point out possible pneumonia; "
        "research and education only, not for diagnosis"
    ),
    Message(
        "frontal chest radiographs, to study how findings are told apart where the source predicts "
        "the label: its pneumonia films are of children of 1 to 5 years, its COVID-19 films of "
        "adults, and outside these sources its answers are not to be relied on; research and "
        "education only, not for diagnosis"
    ),
)


def finding_told(name: str) -> str:
    """A finding of a model card; one that no catalog has stays as it is."""
    return _(name)


def reason_told(result: "Result") -> str:
    """Why there is no answer: the code and what it means, or in English the whole reason, which
    tells more. Of an answer: which refusals the site overrules."""
    if result.accepted:
        told_of = _("read although it would be refused: {codes}")
        return told_of.format(codes=", ".join(result.accepted))
    meaning = REASONS.get(result.code, "")
    meant = told(meaning)
    return result.reason if meant == meaning else f"{result.code}: {meant}"
