"""Ledgers of before, written as the programs of before write them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxr_edge.ledger import Ledger, database, schema
from cxr_edge.ledger.database import iso, utf8
from cxr_edge.result import Identifiers, Result


class OlderLedger(Ledger):
    """As of schema 1 and 2: a finding is its name, its probability and its threshold, and nothing
    is known of distances and site profiles."""

    def _insert(
        self, folder_id: int, file_id: int, result: Result, identifiers: Identifiers
    ) -> int:
        findings = [[f.name, f.probability, f.threshold] for f in result.findings]
        row = self.one(
            "INSERT INTO predictions (folder_id, file_id, source, sha256, status, code, reason, "
            "findings, model, model_sha256, provider, version, duration_ms, processed_at, patient, "
            "study, instance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "RETURNING id",
            *(folder_id, file_id, os.fsencode(result.source), result.sha256, result.status),
            *(result.code, utf8(result.reason), json.dumps(findings), result.model),
            *(result.model_sha256, result.provider, "0.1.0", result.duration_ms),
            *(iso(result.processed_at), *map(utf8, vars(identifiers).values())),
        )
        return int(row[0])


def older_ledger(path: Path, version: int) -> OlderLedger:
    """Opened by a program that knows no later version of the schema."""
    with knowing(version):
        return OlderLedger(path)


@contextmanager
def knowing(version: int) -> Iterator[None]:
    """Within it, the program knows the schema up to that version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", schema.MIGRATIONS[:version])
        patch.setattr(database, "SCHEMA_VERSION", version)
        yield
