"""SERVE: the page and the API over the ledger."""
