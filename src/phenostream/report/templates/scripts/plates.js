// Any column over any plate: a searchable list, a map that arrow keys walk over, and the wells by treatment.
function plates() {
  const panel = byId("explore"), W = D.wells;
  if (!panel || !W) return;
  const values = floats(W.values), wells = W.name.length, groups = Object.keys(W.groups);
  const state = { column: D.first, plate: 0, group: groups[0] || "", at: -1 };
  const search = byId("column-search"), list = byId("columns-found"), plate = byId("plate-choice"), group = byId("group-choice");
  const map = byId("plate-map"), told = byId("well-told"), words = byId("map-words"), table = byId("well-table");
  const column = (at) => values.subarray(at * wells, (at + 1) * wells);
  const ROLES = { count: "Counts", field: "Fields: quality and brightness", qc: "Quality of cells", feature: "Features" };
  let strip = null;

  function find() {
    const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const sets = {};
    W.columns.forEach((one, at) => {
      const text = `${one.n} ${one.f || ""} ${one.c || ""}`.toLowerCase();
      if (asked.every((word) => text.includes(word))) {
        const name = one.r === "feature" && one.f ? `${one.f}${one.c ? ", " + one.c : ""}` : ROLES[one.r];
        (sets[name] ||= []).push(at);
      }
    });
    const found = Object.values(sets).flat().length;
    list.replaceChildren(...Object.entries(sets).map(([name, places]) =>
      element("optgroup", { label: name }, ...places.map((at) => element("option", { value: at, title: W.columns[at].n }, W.columns[at].n)))));
    list.value = String(state.column);
    byId("columns-count").textContent = `${found.toLocaleString("en-GB")} of ${W.columns.length.toLocaleString("en-GB")} columns`;
  }

  function say(at) {
    const value = column(state.column)[at], one = W.columns[state.column];
    const kinds = groups.map((name) => `${plain(name)} ${W.groups[name].values[W.groups[name].of[at]] || "–"}`);
    const why = W.missing[at] ? `; ${W.missing[at]}` : "";
    return `${W.name[at]}: ${number(value)}${unit(one) ? " " + unit(one) : ""}${why}${kinds.length ? " · " + kinds.slice(0, 3).join(" · ") : ""}`;
  }

  function point(at) {
    state.at = at;
    for (const one of map.querySelectorAll(".at")) one.classList.remove("at");
    if (at < 0) return;
    told.textContent = say(at);
    map.querySelector(`[data-at="${at}"]`)?.classList.add("at");
  }

  function draw() {
    const P = W.plates[state.plate], here = [...W.name.keys()].filter((at) => W.plate[at] === state.plate);
    const shown = column(state.column), tones = scale(shown), left = P.rowLabels.length ? 14 : 1, top = P.columnLabels.length ? 10 : 1;
    const one = W.columns[state.column];
    const svg = element("svg", { viewBox: `0 0 ${P.columns * 10 + left + 1} ${P.rows * 10 + top + 1}`, "aria-hidden": "true" });
    P.columnLabels.forEach((label, x) => {
      if (P.columns <= 24 || x % 2 === 0) svg.append(element("text", { x: left + x * 10 + 5, y: 7.5, "text-anchor": "middle" }, label));
    });
    P.rowLabels.forEach((label, y) => svg.append(element("text", { x: left - 2.5, y: top + y * 10 + 7, "text-anchor": "end" }, label)));
    svg.append(element("rect", { class: "ground", x: left, y: top, width: P.columns * 10, height: P.rows * 10, rx: 2 }));
    for (const at of here) {
      const fill = tones.colour(shown[at]), x = left + W.column[at] * 10, y = top + W.row[at] * 10;
      const mark = element("rect", { x: x + 0.5, y: y + 0.5, width: 9, height: 9, rx: 1.6, "data-at": at, ...(fill ? { fill } : { class: "none" }) });
      mark.append(element("title", {}, say(at)));
      svg.append(mark);
      if (!fill) svg.append(element("text", { class: "sign", x: x + 5, y: y + 8, "text-anchor": "middle" }, "×"));
    }
    map.replaceChildren(svg);
    svg.style.setProperty("--label", `${Math.min(6, 1.6 + 0.32 * P.columns) + (P.columns > 24 ? 3 : 0)}px`);
    const ends = byId("map-scale");
    ends.children[0].textContent = number(tones.low);
    ends.children[2].textContent = `${number(tones.high)} ${unit(one)}`;
    const known = here.filter((at) => Number.isFinite(shown[at]));
    const order = [...known].sort((a, b) => shown[a] - shown[b]), [middle] = percentiles(known.map((at) => shown[at]), [0.5]);
    byId("map-title").textContent = one.n;
    byId("map-unit").textContent = unit(one);
    words.textContent = known.length
      ? `${P.name}: ${known.length} of ${here.length} wells have a value, from ${number(shown[order[0]])} in ${W.name[order[0]]} to ${number(shown[order.at(-1)])} in ${W.name[order.at(-1)]}, median ${number(middle)}.`
      : `${P.name}: no well has a value in this column.`;
    map.setAttribute("aria-label", `Plate map of ${one.n}. ${words.textContent} Arrow keys go from well to well.`);
    byId("map-source").textContent = one.r === "field" ? `Mean over the measured fields of a well of the figure ${one.s} (ledger.db, units.qc).`
      : one.r === "count" ? "Rows of the table by well." : `Mean over the ${D.noun} of a well of the column ${one.n}.`;
    fill(here, shown, one);
    point(state.at >= 0 && W.plate[state.at] === state.plate ? state.at : -1);
    byGroup(one, shown);
  }

  function fill(here, shown, one) {
    const rows = here.map((at) => element("tr", {}, element("th", { scope: "row" }, W.name[at]), element("td", {}, number(shown[at])),
      ...groups.slice(0, 3).map((name) => element("td", { class: "word" }, W.groups[name].values[W.groups[name].of[at]]))));
    const head = element("tr", {}, ...["Well", withUnit(one), ...groups.slice(0, 3).map(plain)].map((text) => element("th", { scope: "col" }, text)));
    table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function byGroup(one, shown) {
    const target = byId("by-group");
    if (!target || !state.group || !globalThis.Bokeh) return;
    const G = W.groups[state.group], kept = G.values.map((v, i) => [v, i]).filter(([v]) => v !== "");
    const labels = kept.map(([v]) => v.slice(0, 24)), place = new Map(kept.map(([, i], at) => [i, at]));
    const tones = palette(G.values), points = { x: [], y: [], colour: [], shape: [] }, seen = {};
    for (let at = 0; at < wells; at++) {
      const x = place.get(G.of[at]);
      if (x === undefined || !Number.isFinite(shown[at])) continue;
      const n = (seen[x] = (seen[x] || 0) + 1);
      points.x.push(x + 0.5 + (((n * 0.618) % 1) - 0.5) * 0.5);
      points.y.push(shown[at]);
      points.colour.push(tones.colour[G.values[G.of[at]]]);
      points.shape.push(tones.shape[G.values[G.of[at]]]);
    }
    const middles = { x: [], y: [] };
    kept.forEach(([, i], at) => {
      const inside = [...shown].filter((v, w) => G.of[w] === i && Number.isFinite(v));
      if (inside.length) { middles.x.push(at + 0.5); middles.y.push(percentiles(inside, [0.5])[0]); }
    });
    const key = `${state.group}`;
    if (!strip || strip.key !== key) {
      const figure = plot(target, { height: 300, tools: "pan,box_zoom,reset,save", x_range: new Bokeh.Range1d({ start: 0, end: Math.max(kept.length, 1) }) });
      const source = new Bokeh.ColumnDataSource({ data: points }), medians = new Bokeh.ColumnDataSource({ data: middles });
      figure.scatter({ field: "x" }, { field: "y" }, { source, size: 7, marker: { field: "shape" }, fill_color: { field: "colour" }, line_color: css("--soft"), line_width: 0.5, fill_alpha: 0.85 });
      figure.scatter({ field: "x" }, { field: "y" }, { source: medians, marker: "dash", size: 26, line_color: css("--accent"), line_width: 3 });
      figure.xaxis.ticker = new Bokeh.FixedTicker({ ticks: kept.map((_, at) => at + 0.5) });
      figure.xaxis.major_label_overrides = new Map(labels.map((label, at) => [at + 0.5, label]));
      if (labels.join("").length > 40) figure.xaxis.major_label_orientation = 0.7;
      figure.xaxis.axis_label = plain(state.group);
      strip = { key, figure, source, medians };
    } else {
      strip.source.data = points;
      strip.medians.data = middles;
    }
    strip.figure.yaxis.axis_label = unit(one) || "no unit";
    byId("by-group-words").textContent = `${one.n} by ${plain(state.group)}: one mark a well, of all plates; bars are medians of wells.`;
  }

  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const here = [...W.name.keys()].filter((at) => W.plate[at] === state.plate);
    if (state.at < 0) return point(here[0]);
    const P = W.plates[state.plate];
    let [row, col] = [W.row[state.at] + step[0], W.column[state.at] + step[1]];
    while (row >= 0 && col >= 0 && row < P.rows && col < P.columns) {
      const next = here.find((at) => W.row[at] === row && W.column[at] === col);
      if (next !== undefined) return point(next);
      row += step[0]; col += step[1];
    }
  });
  map.addEventListener("pointerover", (event) => event.target.dataset?.at && point(Number(event.target.dataset.at)));
  map.addEventListener("click", (event) => event.target.dataset?.at && showWell(W.plates[state.plate].name, W.name[state.at]));
  search.addEventListener("input", () => {
    find();
    const first = list.querySelector("option");
    if (search.value && first && !list.value) { state.column = Number(first.value); list.value = first.value; draw(); }
  });
  list.addEventListener("change", () => { state.column = Number(list.value); draw(); });
  options(plate, W.plates.map((one, at) => [String(at), one.name]), "0");
  plate.addEventListener("change", () => { state.plate = Number(plate.value); state.at = -1; draw(); });
  plate.closest("label").hidden = W.plates.length < 2;
  options(group, groups.map((name) => [name, plain(name)]), state.group);
  group.addEventListener("change", () => { state.group = group.value; draw(); });
  group.closest(".panel2").hidden = !groups.length || !globalThis.Bokeh;
  byId("save-wells").addEventListener("click", () => {
    const shown = column(state.column);
    save("wells.csv", [["Plate", "Well", W.columns[state.column].n, ...groups],
      ...W.name.map((name, at) => [W.plates[W.plate[at]].name, name, shown[at], ...groups.map((g) => W.groups[g].values[W.groups[g].of[at]])])]);
  });
  chooseColumn = (name) => {
    const at = W.columns.findIndex((one) => one.n === name);
    if (at < 0) return;
    search.value = ""; state.column = at; find(); draw();
    panel.scrollIntoView({ block: "start" });
    list.focus({ preventScroll: true });
  };
  find();
  draw();
  panel.hidden = false;
}

let chooseColumn = () => {};
let showWell = () => {};
