"""Makes copairs.json: what copairs 0.5.5 says of a few synthetic profiles.

Run with an environment that has it: ``pip install copairs==0.5.5`` and ``python tests/benchmark/copairs_witness.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

PLATES, WELLS, DRUGS, TARGETS = 3, 14, 8, 4


def profiles() -> dict[str, list]:
    """Wells of three plates: six controls and eight drugs each, one without effect; two drugs a target."""
    rng = np.random.default_rng(20)
    effect = rng.normal(size=(DRUGS, 10)) * np.linspace(0, 1.2, DRUGS)[:, None]
    aim = rng.normal(size=(TARGETS, 10))
    rows = []
    for plate in range(PLATES):
        shift = 0.3 * rng.normal(size=10)
        for well in range(WELLS):
            drug = well - (WELLS - DRUGS)
            made = rng.normal(size=10) + shift
            if drug >= 0:
                made = made + effect[drug] + 0.7 * aim[drug // 2]
            rows.append(
                (f"P{plate}", f"D{drug}" if drug >= 0 else "DMSO", f"T{drug // 2}" if drug >= 0 else "none", made)
            )
    return {
        "plate": [row[0] for row in rows],
        "drug": [row[1] for row in rows],
        "target": [row[2] for row in rows],
        "features": [[round(float(one), 4) for one in row[3]] for row in rows],
    }


def main() -> None:
    """Ask copairs two questions by three distances, and write it all."""
    import pandas as pd
    from copairs.map import average_precision, mean_average_precision
    from copairs.matching import assign_reference_index

    made = profiles()
    meta = pd.DataFrame({name: made[name] for name in ("plate", "drug", "target")})
    features = np.array(made["features"])
    told = {**made, "activity": {}, "consistency": {}}
    reference = assign_reference_index(meta, "drug == 'DMSO'", reference_col="reference", default_value=-1)
    for distance in ("cosine", "correlation", "euclidean"):
        ap = average_precision(
            reference, features, ["drug", "reference"], [], ["plate"], ["drug", "reference"],
            distance=distance, progress_bar=False,
        )  # fmt: skip
        scores = mean_average_precision(
            ap[ap["drug"] != "DMSO"], ["drug"], null_size=200_000, threshold=0.05, seed=0, progress_bar=False
        )
        told["activity"][distance] = _plain(ap, scores, "drug")
        treated = meta[meta["drug"] != "DMSO"].reset_index(drop=True)
        ap = average_precision(
            treated, features[(meta["drug"] != "DMSO").to_numpy()], ["target"], ["drug"], [], ["target"],
            distance=distance, progress_bar=False,
        )  # fmt: skip
        scores = mean_average_precision(ap, ["target"], null_size=200_000, threshold=0.05, seed=0, progress_bar=False)
        told["consistency"][distance] = _plain(ap, scores, "target")
    Path(__file__).with_name("copairs.json").write_text(json.dumps(told), encoding="utf-8")


def _plain(ap, scores, by) -> dict:
    precision = [None if np.isnan(one) else float(one) for one in ap["average_precision"]]
    groups = {
        row[by]: [row["mean_average_precision"], row["p_value"], row["corrected_p_value"]]
        for row in scores.to_dict("records")
    }
    return {"average_precision": precision, "groups": groups}


if __name__ == "__main__":
    main()
