"""Where vectors live: rows in SQLite (the truth), vectors in append-only files, exact search over both."""

from mmret.index.merge import MergedHit, MergeOptions, ScoredWindow, merge_hits
from mmret.index.store import IndexStore

__all__ = ["IndexStore", "MergeOptions", "MergedHit", "ScoredWindow", "merge_hits"]
