function effects() {
  const choice = byId("effect-choice"), sets = [...document.querySelectorAll("[data-effects]")];
  if (choice) {
    const draw = () => sets.forEach((one) => { one.hidden = one.dataset.effects !== choice.value; });
    choice.addEventListener("change", draw);
    draw();
    choice.closest("p").hidden = false;
  }
  for (const one of document.querySelectorAll("button[data-column]")) one.addEventListener("click", () => chooseColumn(one.dataset.column));
}

if (globalThis.Bokeh) Bokeh.logger.set_level("off");
for (const part of [plates, cells, channels, outlines, quality, curves, effects]) part();
document.documentElement.classList.add("ready");
