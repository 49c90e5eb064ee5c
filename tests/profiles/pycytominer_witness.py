"""What pycytominer makes of a table: run by a Python that has it, `python pycytominer_witness.py table.json out.json`.

`table.json` holds columns by name (null for missing); so does every table written. ``pycytominer.json`` beside it
was made so, from synthetic numbers with pycytominer 1.7.1.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")


def plain(frame):
    return {name: [None if isinstance(v, float) and not np.isfinite(v) else v for v in frame[name].tolist()]
            for name in frame.columns}  # fmt: skip


def main(source, target):
    from importlib.metadata import version

    from pycytominer import aggregate, annotate, consensus, feature_select, normalize

    frame = pd.DataFrame(json.loads(Path(source).read_text()))
    features = [name for name in frame.columns if name.startswith("Cells_")]
    meta = [name for name in frame.columns if name.startswith("Metadata_")]
    full = frame.dropna(subset=features).reset_index(drop=True)
    controls = "Metadata_Control == 'negative'"
    varied = [name for name in features if full.query(controls)[name].nunique() > 1]  # noqa: PD101
    given = {"features": features, "meta_features": meta}
    told = {"version": version("pycytominer"), "tables": {}, "left_out": {}}

    for method in ("standardize", "robustize", "mad_robustize"):
        for word, samples in (("all", "all"), ("controls", controls)):
            made = normalize(frame.copy(), method=method, samples=samples, **given)
            told["tables"][f"{method}-{word}"] = plain(made[features])
    plates = [normalize(part.copy(), method="mad_robustize", samples=controls, **given)
              for _, part in frame.groupby("Metadata_Plate")]  # fmt: skip
    told["tables"]["mad_robustize-by-plate"] = plain(pd.concat(plates).sort_index()[features])
    told["varied"] = varied
    for method in ("ZCA", "PCA", "ZCA-cor", "PCA-cor"):
        for word, samples in (("all", "all"), ("controls", controls)):
            made = normalize(full.copy(), features=varied, meta_features=meta, method="spherize", samples=samples,
                             spherize_method=method)  # fmt: skip
            told["tables"][f"{method}-{word}"] = plain(made[[n for n in made.columns if n not in meta]])

    def left_out(operation, **more):
        made = feature_select(frame.copy(), features=features, operation=operation, **more)
        return [name for name in features if name not in made.columns]

    told["left_out"] = {
        "variance": left_out("variance_threshold"),
        "frequency": left_out("frequency_threshold", freq_cut=0.2, unique_cut=0.05),
        "correlation": left_out("correlation_threshold"),
        "correlation-controls": left_out("correlation_threshold", samples=controls, corr_threshold=0.6),
        "correlation-spearman": left_out("correlation_threshold", corr_method="spearman", corr_threshold=0.7),
        "missing": left_out("drop_na_columns"),
        "outlier": left_out("drop_outliers", outlier_cutoff=20),
        "noise": left_out("noise_removal", noise_removal_perturb_groups="Metadata_Compound",
                          noise_removal_stdev_cutoff=1.5),
        "all": left_out(["drop_na_columns", "variance_threshold", "correlation_threshold", "drop_outliers"],
                        outlier_cutoff=20),
    }  # fmt: skip
    for method in ("mean", "median"):
        told["tables"][f"aggregate-{method}"] = plain(
            aggregate(frame.copy(), features=features, operation=method, compute_object_count=True,
                      object_feature="Metadata_Compound"))  # fmt: skip
        told["tables"][f"consensus-{method}"] = plain(
            consensus(frame.copy(), replicate_columns=["Metadata_Compound"], operation=method, features=features)
        )
    told["tables"]["consensus-modz"] = plain(
        consensus(full.copy(), replicate_columns=["Metadata_Compound"], operation="modz", features=features)
    )
    platemap = pd.DataFrame({"well_position": ["A1", "A2", "B1", "B2"], "gene": ["g1", "g2", "g3", "g4"]})
    made = annotate(frame.copy(), platemap, join_on=["Metadata_well_position", "Metadata_Well"])
    told["tables"]["annotate"] = plain(made.sort_values("Metadata_Row")[[*meta, "Metadata_gene"]])
    Path(target).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
