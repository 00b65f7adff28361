"""The parity ladders that bundles carry in their manifests, side by side, as a table.

python tests/bench_parity.py bundle-nano bundle-3b bundle-7b
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.manifest import Parity, StageParity


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    opened = [open_bundle(path, verify=False) for path in parser.parse_args().bundles]
    proofs = [_proof(bundle) for bundle in opened]
    ladders = [_ladder(proof) for proof in proofs]
    stages = list(dict.fromkeys(stage for ladder in ladders for stage in ladder))
    _row("stage", *(bundle.path.name for bundle in opened))
    _row(*["---"] * (len(opened) + 1))
    _row("precision", *(bundle.manifest.precision for bundle in opened))
    _row("pairs", *(str(proof.num_pairs) for proof in proofs))
    for stage in stages:
        _row(stage, *(ladder.get(stage, "") for ladder in ladders))


def _proof(bundle: Bundle) -> Parity:
    if bundle.manifest.parity is None:
        raise SystemExit(f"{bundle.path} has no parity")
    return bundle.manifest.parity


def _ladder(parity: Parity) -> dict[str, str]:
    """The error by stage and how it is measured; of the blocks the worst."""
    blocks = [stage for stage in parity.stages if stage.stage.startswith("block_")]
    ladder = {}
    for stage in parity.stages:
        if stage not in blocks:
            ladder[stage.stage] = _cell(stage)
        elif stage == blocks[0]:
            worst = max(blocks, key=lambda item: item.error)
            ladder["worst block"] = f"{_cell(worst)}, {worst.stage} of {len(blocks)}"
    return ladder


def _cell(stage: StageParity) -> str:
    if stage.metric == "mismatches":
        return f"{stage.error:.0f}"
    return f"{stage.error:.2g} ({stage.metric})"


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
