// The map of cells, their pictures, and the switches of channels and outlines.
function cells() {
  const C = D.cells;
  if (!C) return;
  const values = floats(C.values), groups = Object.keys(C.groups), count = C.count;
  const column = (at) => values.subarray(at * count, (at + 1) * count);
  const of = (name, at) => C.groups[name].values[C.groups[name].of[at]];

  function picture(at, size) {
    const side = size || D.tiles.side, ratio = side / D.tiles.side;
    const box = element("span", { class: "tile" });
    box.style.width = box.style.height = `${side}px`;
    if (!D.tiles || C.tile[at] < 0) return box;
    const x = -(C.tile[at] % D.tiles.across) * side, y = -Math.floor(C.tile[at] / D.tiles.across) * side;
    for (const kind of ["pixels", ...(D.tiles.lines ? ["lines"] : [])]) {
      const layer = element("span", { class: kind });
      layer.style.backgroundPosition = `${x}px ${y}px`;
      layer.style.backgroundSize = `${D.tiles.across * D.tiles.side * ratio}px auto`;
      box.append(layer);
    }
    return box;
  }

  function facts(at) {
    const lines = [[C.well[at] || D.noun.slice(0, -1), `${D.noun.slice(0, -1)} ${C.number ? C.number[at] : at + 1}${C.site ? `, site ${C.site[at]}` : ""}`]];
    for (const name of groups.slice(0, 3)) if (of(name, at)) lines.push([plain(name), of(name, at)]);
    return lines;
  }

  const card = byId("cell-card");
  function show(at, extra) {
    if (at < 0 || at === undefined) return;
    const list = element("dl");
    for (const [name, value] of [...facts(at), ...(extra ? [extra] : [])]) list.append(element("dt", {}, name), element("dd", {}, value));
    if (C.parts[C.part[at]]) list.append(element("dt", {}, "part"), element("dd", { class: "path" }, C.parts[C.part[at]]));
    if (C.id) list.append(element("dt", {}, "id"), element("dd", { class: "path" }, C.id[at]));
    card.replaceChildren(...(D.tiles ? [picture(at, 144)] : []), list);
    if (D.tiles && C.tile[at] < 0) card.prepend(element("p", { class: "note" }, "No picture of this cell was kept."));
  }

  if (byId("map-of-cells") && C.x && globalThis.Bokeh) map(show);
  if (byId("gallery") && D.tiles) gallery();

  function map(tell) {
    const target = byId("map-of-cells"), choice = byId("colour-choice"), legend = byId("map-legend");
    const x = floats(C.x), y = floats(C.y);
    const source = new Bokeh.ColumnDataSource({ data: { x, y, colour: Array(count).fill(NONE), shape: Array(count).fill("circle") } });
    const ring = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
    const figure = plot(target, { height: 480, x_axis_label: C.axes[0], y_axis_label: C.axes[1] });
    const marks = figure.scatter({ field: "x" }, { field: "y" }, { source, size: count > 3000 ? 5 : 7, marker: { field: "shape" }, fill_color: { field: "colour" }, line_color: css("--soft"), line_width: 0.4, fill_alpha: 0.85 });
    figure.scatter({ field: "x" }, { field: "y" }, { source: ring, size: 15, fill_color: null, line_color: css("--accent"), line_width: 3 });
    figure.add_tools(new Bokeh.HoverTool({ tooltips: null, renderers: [marks] }));
    let at = -1;
    function go(next) {
      at = next;
      ring.data = { x: [x[at]], y: [y[at]] };
      const colour = choice.value.startsWith("c") ? Number(choice.value.slice(1)) : -1;
      tell(at, colour >= 0 ? [C.columns[colour].n, `${number(column(colour)[at])} ${unit(C.columns[colour])}`] : null);
    }
    source.connect(source.inspect, () => { const found = source.inspected.indices; if (found.length && found[0] !== at) go(found[0]); });
    // Arrow keys: the nearest cell within 45 degrees of that direction.
    target.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      if (at < 0) return go(0);
      const wide = Math.max(...x) - Math.min(...x) || 1, high = Math.max(...y) - Math.min(...y) || 1;
      let best = -1, least = Infinity;
      for (let i = 0; i < count; i++) {
        const dx = (x[i] - x[at]) / wide, dy = (y[i] - y[at]) / high, along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
        if (i !== at && along > 0 && along >= across && along + across < least) { least = along + across; best = i; }
      }
      if (best >= 0) go(best);
    });
    function colour() {
      const kind = choice.value[0], name = choice.value.slice(1);
      let colours = Array(count).fill(NONE), shapes = Array(count).fill("circle");
      legend.replaceChildren();
      if (kind === "g") {
        const tones = palette(C.groups[name].values);
        colours = C.groups[name].of.map((i) => tones.colour[C.groups[name].values[i]]);
        shapes = C.groups[name].of.map((i) => tones.shape[C.groups[name].values[i]]);
        const GLYPH = { circle: "●", triangle: "▲", square: "■", diamond: "◆", inverted_triangle: "▼", plus: "✚", hex: "⬢" };
        C.groups[name].values.slice(0, 24).forEach((value) => {
          const mark = element("i", { "aria-hidden": "true" }, GLYPH[tones.shape[value]]);
          mark.style.color = tones.colour[value];
          legend.append(element("span", { class: "key2" }, mark, value || "none"));
        });
      } else if (kind === "k") {
        colours = C.control.map((one) => (one ? COLOURS[0] : COLOURS[1]));
        shapes = C.control.map((one) => (one ? "circle" : "triangle"));
        [["●", "controls", 0], ["▲", "all others", 1]].forEach(([glyph, text, i]) => {
          const mark = element("i", { "aria-hidden": "true" }, glyph);
          mark.style.color = COLOURS[i];
          legend.append(element("span", { class: "key2" }, mark, text));
        });
      } else if (kind === "c") {
        const shown = column(Number(name)), tones = scale(shown);
        colours = Array.from(shown, (value) => tones.colour(value) || NONE);
        const bar = element("i", { class: "bar2" });
        bar.style.background = D.gradient;
        legend.append(element("span", { class: "scale" }, element("span", {}, number(tones.low)), bar, element("span", {}, `${number(tones.high)} ${unit(C.columns[name])}`)));
      }
      source.data = { x, y, colour: colours, shape: shapes };
    }
    const pairs = [...(C.control.some(Boolean) ? [["k", "controls and others"]] : []), ...groups.map((name) => [`g${name}`, plain(name)]), ...C.columns.map((one, i) => [`c${i}`, one.n]), ["n", "nothing"]];
    options(choice, pairs, D.colour && C.groups[D.colour] ? `g${D.colour}` : pairs[0][0]);
    choice.addEventListener("change", colour);
    colour();
    const [middle] = percentiles(x, [0.5]), [centre] = percentiles(y, [0.5]), far = (i) => Math.hypot(x[i] - middle, y[i] - centre);
    const seen = [...x.keys()].filter((i) => !C.tile || C.tile[i] >= 0);
    go(seen.reduce((best, i) => (far(i) < far(best) ? i : best), seen[0] ?? 0));
    target.closest(".panel").hidden = false;
  }

  function gallery() {
    const target = byId("gallery"), which = byId("gallery-choice"), order = byId("gallery-order"), words = byId("gallery-words");
    const have = [...C.tile.keys()].filter((at) => C.tile[at] >= 0), MOST = 60;
    const sets = [["all", "a random sample of all cells"]];
    if (C.control.some(Boolean)) sets.push(["k", "controls"], ["o", "all but controls"]);
    const name = D.colour && C.groups[D.colour] ? D.colour : groups[0];
    if (name) C.groups[name].values.forEach((value, i) => value !== "" && sets.push([`g${i}`, `${plain(name)} ${value}`]));
    sets.push(["w", "one well (choose it on the plate map)"]);
    let well = "";
    options(which, sets, "all");
    options(order, [["", "as they come"], ...C.columns.flatMap((one, i) => [[`+${i}`, `${one.n}, highest first`], [`-${i}`, `${one.n}, lowest first`]])], "");
    function draw() {
      const kind = which.value;
      let chosen = have.filter((at) => kind === "all" || (kind === "k" && C.control[at]) || (kind === "o" && !C.control[at])
        || (kind[0] === "g" && C.groups[name].of[at] === Number(kind.slice(1))) || (kind === "w" && C.well[at] === well));
      const found = chosen.length, by = order.value ? Number(order.value.slice(1)) : -1;
      if (by >= 0) {
        const shown = column(by), sign = order.value[0] === "+" ? -1 : 1;
        chosen = chosen.filter((at) => Number.isFinite(shown[at])).sort((a, b) => sign * (shown[a] - shown[b]));
      }
      // Unsorted cells stand field by field: every k-th shows them all.
      if (by < 0 && chosen.length > MOST) chosen = chosen.filter((_, i) => Math.floor((i * MOST) / found) !== Math.floor(((i - 1) * MOST) / found));
      chosen = chosen.slice(0, MOST);
      target.replaceChildren(...chosen.map((at) => {
        const text = `${C.well[at]}, cell ${C.number[at]}${by >= 0 ? `, ${number(column(by)[at])} ${unit(C.columns[by])}` : ""}`;
        const one = element("button", { type: "button", title: text, "aria-label": text }, picture(at, 64));
        one.addEventListener("click", () => { show(at); byId("gallery-told").replaceChildren(...[...card.childNodes].map((node) => node.cloneNode(true))); });
        return one;
      }));
      words.textContent = `${chosen.length} of ${found.toLocaleString("en-GB")} pictured cells${kind === "w" ? ` of ${well || "no well"}` : ""}; each square is ${number(D.tiles.pixels)} px of the image across.`;
    }
    which.addEventListener("change", draw);
    order.addEventListener("change", draw);
    showWell = (plate, wanted) => {
      well = [plate === "(no plate)" ? "" : plate, wanted].join(" ").trim();
      which.value = "w";
      draw();
    };
    draw();
    target.closest(".panel").hidden = false;
  }
}

// Red, green and blue of a picture are one channel each; one matrix gives them the page's colours and switches them.
function channels() {
  const boxes = [...document.querySelectorAll("input[data-channel]")], matrix = byId("channel-matrix");
  if (!matrix || !boxes.length) return;
  const tint = D.channels.map((one) => [1, 3, 5].map((i) => parseInt(one.colour.slice(i, i + 2), 16) / 255));
  function mix() {
    const on = new Set(boxes.filter((one) => one.checked).map((one) => Number(one.dataset.channel)));
    // A channel alone is grey: the eye sees more in grey than in any colour.
    const colour = (channel, part) => (on.has(channel) ? (on.size === 1 ? 1 : tint[channel][part]) : 0);
    const rows = [0, 1, 2].map((part) => [0, 1, 2].map((channel) => (channel < tint.length ? colour(channel, part) : 0)).join(" ") + " 0 0");
    matrix.setAttribute("values", `${rows.join(" ")} 0 0 0 1 0`);
    for (const one of boxes) for (const other of boxes) if (one.dataset.channel === other.dataset.channel) other.checked = one.checked;
  }
  for (const one of boxes) one.addEventListener("change", () => {
    for (const other of boxes) if (other.dataset.channel === one.dataset.channel) other.checked = one.checked;
    mix();
  });
  mix();
}

function outlines() {
  const boxes = [...document.querySelectorAll("input[data-outlines]")];
  for (const one of boxes) one.addEventListener("change", () => {
    for (const other of boxes) other.checked = one.checked;
    document.documentElement.classList.toggle("no-outlines", !one.checked);
  });
}
