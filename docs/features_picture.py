"""Draw ``docs/features.png``: what each feature family sees, on one synthetic nucleus.

Run ``python docs/features_picture.py`` after a change of the families.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, Ellipse, Polygon, Rectangle
from scipy.ndimage import gaussian_filter

from phenostream.features import measure
from phenostream.features.families import intensity, radial_distribution
from phenostream.features.hulls import enclosing_circles
from phenostream.features.scene import Scene

mpl.use("Agg")
SIDE = 72


def nucleus() -> tuple[np.ndarray, np.ndarray]:
    """Three nuclei with grains, uint8, and their labels; the middle one, 1, is bean-shaped."""
    rng = np.random.default_rng(4)
    rows, cols = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.int32)
    bean = ((rows - 36) / 17) ** 2 + ((cols - 34) / 23) ** 2 < 1
    labels[bean & ((rows - 17) ** 2 + (cols - 34) ** 2 > 70)] = 1
    labels[((rows - 50) ** 2 + (cols - 62) ** 2 < 110) & (labels == 0)] = 2
    labels[((rows - 12) ** 2 + (cols - 64) ** 2 < 60) & (labels == 0)] = 3
    grains = gaussian_filter(rng.random((SIDE, SIDE)) ** 8, 1.2)
    image = np.where(labels > 0, 70 + 110 * grains / grains.max() + 0.9 * cols, 14) + rng.normal(0, 3, labels.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def own(scene: Scene, values: np.ndarray) -> np.ndarray:
    """`values` of object pixels as an image, NaN elsewhere and in the other objects."""
    picture = np.full(scene.labels.shape, np.nan)
    picture.ravel()[scene.pixels] = values
    return np.where(scene.labels == 1, picture, np.nan)


def main() -> None:
    """Draw all panels."""
    image, labels = nucleus()
    scene = Scene(image, labels)
    row = measure(image, labels).slice(0, 1).to_pylist()[0]
    shape = {name.removeprefix("Nuclei_AreaShape_"): value for name, value in row.items()}
    figure, panels = plt.subplots(2, 4, figsize=(11, 5.9), dpi=100, layout="constrained")
    titles = (
        "size and shape",
        "Feret and hull",
        "Zernike circle",
        "intensity: edge",
        "radial distribution",
        "texture pairs",
    )
    for panel, title in zip(panels.flat, (*titles, "granularity: grains", "neighbours"), strict=True):
        panel.imshow(image, cmap="gray")
        panel.contour(labels == 1, [0.5], colors="#ffb000", linewidths=1)
        panel.set_title(title, fontsize=10)
        panel.set_axis_off()
    draw = {"fill": False, "linewidth": 1.4}
    centre = shape["Center_X"], shape["Center_Y"]
    left, top = shape["BoundingBoxMinimum_X"] - 0.5, shape["BoundingBoxMinimum_Y"] - 0.5
    wide, tall = shape["BoundingBoxMaximum_X"] - 0.5 - left, shape["BoundingBoxMaximum_Y"] - 0.5 - top
    axes = shape["MajorAxisLength"], shape["MinorAxisLength"]
    panels[0, 0].add_patch(Rectangle((left, top), wide, tall, color="#40b0ff", **draw))
    panels[0, 0].add_patch(Ellipse(centre, *axes, angle=90 - shape["Orientation"], color="#ff5090", **draw))
    points, borders = scene.hulls
    panels[0, 1].add_patch(Polygon(points[: borders[1], ::-1], color="#40b0ff", **draw))
    y, x, radius = enclosing_circles(points, borders)[0]
    panels[0, 2].add_patch(Circle((x, y), radius, color="#40b0ff", **draw))
    edge = intensity.edge_pixels(scene.labels, *scene.places)
    panels[0, 3].imshow(own(scene, np.where(edge, 1.0, np.nan)), cmap="autumn", alpha=0.8)
    rings = radial_distribution.sectors(scene, radial_distribution.Settings())
    panels[1, 0].imshow(own(scene, rings // 8 + 0.35 * (rings % 2)), cmap="viridis", alpha=0.75)
    for down, right in ((0, 3), (3, 3), (3, 0), (3, -3)):
        arrow = {"arrowstyle": "->", "color": "#40b0ff", "linewidth": 1.6}
        panels[1, 1].annotate("", (34 + 4 * right, 40 + 4 * down), (34, 40), arrowprops=arrow)
    panels[1, 2].imshow(
        own(scene, scene.values("DNA") - gaussian_filter(image / 255, 3).ravel()[scene.pixels]), cmap="magma"
    )
    centres = [np.argwhere(labels == number).mean(axis=0)[::-1] for number in (1, 2, 3)]
    for other in centres[1:]:
        panels[1, 3].plot(*zip(centres[0], other, strict=True), "o-", color="#40b0ff", linewidth=1.4)
    figure.savefig(Path(__file__).with_name("features.png"))


if __name__ == "__main__":
    main()
