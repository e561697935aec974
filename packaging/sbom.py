"""The parts of a bundle as a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/).

It is the same to the byte for the same bundle.
"""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from parts import BundleError, Part, is_program_code

_TYPES = {
    "program": ComponentType.APPLICATION,
    "distribution": ComponentType.LIBRARY,
    "library": ComponentType.LIBRARY,
    "model": ComponentType.MACHINE_LEARNING_MODEL,
}


def as_cyclonedx(parts: Sequence[Part], bundle: Path, made_at: datetime) -> str:
    """parts: the program first. made_at: with its time zone. Raises BundleError."""
    program, *others = (_component(part, bundle) for part in parts)
    bom = Bom(
        components=others,
        metadata=BomMetaData(component=program, timestamp=made_at),
        serial_number=uuid.UUID(int=0),
    )
    bom.register_dependency(program, others)
    # Of the content, so that another bundle has another one, and this one always the same.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, JsonV1Dot6(bom).output_as_string())
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise BundleError(f"The list of parts is not valid CycloneDX: {error}")
    return text + "\n"


def _component(part: Part, bundle: Path) -> Component:
    purl = _purl(part)
    files = [bundle / file for file in part.files]
    model = part.kind == "model"
    return Component(
        type=_TYPES[part.kind],
        name=part.name,
        version=part.version or None,
        bom_ref=str(purl),
        purl=purl,
        licenses=[_licence(part)],
        hashes=[_sha256(path) for path in files] if model else [],
        components=[]
        if model
        else [_file(path, bundle) for path in files if is_program_code(path)],
    )


def _purl(part: Part) -> PackageURL:
    """Source: https://github.com/package-url/purl-spec."""
    name = part.name.lower().replace(" ", "-")
    if part.kind == "distribution":
        return PackageURL("pypi", name=name.replace("_", "-"), version=part.version)
    namespace = "cxr-edge" if part.kind == "model" else None
    return PackageURL("generic", namespace, name, part.version or None)


def _licence(part: Part) -> License:
    if part.kind == "model":  # its card's words
        return DisjunctiveLicense(name=part.licence)
    return LicenseExpression(part.licence)


def _file(path: Path, bundle: Path) -> Component:
    name = path.relative_to(bundle).as_posix()
    return Component(
        type=ComponentType.FILE, name=name, bom_ref=f"file:{name}", hashes=[_sha256(path)]
    )


def _sha256(path: Path) -> HashType:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
