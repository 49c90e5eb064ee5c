// Quality of the fields, and precision against recall.
function quality() {
  const F = D.fields, target = byId("quality-plot"), choice = byId("quality-channel"), told = byId("quality-told");
  if (!F || !target || !F.channels.length || !globalThis.Bokeh) return;
  const told_ = (at, name, figures) => `${F.well[at]}: ${F.rows[at]} cells, mean intensity ${number(figures[0][at])}, focus ${number(figures[1][at])}, saturated pixels ${percent(figures[2][at])}`;
  let figure = null, source = null, at = -1, figures = [];
  const ring = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
  function go(next) {
    at = next;
    ring.data = { x: [figures[0][at]], y: [figures[1][at]] };
    told.textContent = told_(at, choice.value, figures);
  }
  function draw() {
    const all = floats(F.figures[choice.value]);
    figures = [0, 1, 2].map((i) => all.subarray(i * F.count, (i + 1) * F.count));
    const tones = scale(F.rows), odd = outliers(figures);
    const data = { x: figures[0], y: figures[1], colour: F.rows.map((n) => tones.colour(n)), line: odd.map((one) => (one ? css("--bad") : css("--soft"))), width: odd.map((one) => (one ? 2.5 : 0.5)) };
    if (!figure) {
      source = new Bokeh.ColumnDataSource({ data });
      figure = plot(target, { height: 380, x_axis_label: "mean intensity of the field", y_axis_label: "focus (no unit)" });
      const marks = figure.scatter({ field: "x" }, { field: "y" }, { source, size: 9, fill_color: { field: "colour" }, line_color: { field: "line" }, line_width: { field: "width" } });
      figure.scatter({ field: "x" }, { field: "y" }, { source: ring, size: 17, fill_color: null, line_color: css("--accent"), line_width: 3 });
      figure.add_tools(new Bokeh.HoverTool({ tooltips: null, renderers: [marks] }));
      source.connect(source.inspect, () => { const found = source.inspected.indices; if (found.length && found[0] !== at) go(found[0]); });
    } else source.data = data;
    const ends = byId("quality-scale");
    ends.children[0].textContent = `${number(tones.low)} cells`;
    ends.children[2].textContent = `${number(tones.high)} cells`;
    list(odd);
  }
  // Further than five robust standard deviations from the median field in focus or brightness, or 1 % saturated.
  function outliers([mean, focus, saturated]) {
    const far = (values) => {
      const logs = Array.from(values, (v) => Math.log(Math.max(v, 1e-12))), [middle] = percentiles(logs, [0.5]);
      const [spread] = percentiles(logs.map((v) => Math.abs(v - middle)), [0.5]);
      return logs.map((v) => spread > 0 && Math.abs(v - middle) > 5 * 1.4826 * spread);
    };
    const byFocus = far(focus), byMean = far(mean);
    return Array.from(mean, (_, i) => [byFocus[i] && "focus", byMean[i] && "brightness", saturated[i] > 0.01 && "saturation"].filter(Boolean).join(", "));
  }
  function list(odd) {
    const rows = odd.map((why, i) => [why, i]).filter(([why]) => why).slice(0, 50);
    byId("quality-list").replaceChildren(...rows.map(([why, i]) => element("li", {}, `${told_(i, choice.value, figures)} (stands out by ${why})`)));
    byId("quality-words").textContent = rows.length ? `${odd.filter(Boolean).length} of ${F.count} fields stand out in ${choice.value}:` : `No field stands out in ${choice.value}.`;
  }
  target.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const order = [...figures[0].keys()].sort((a, b) => figures[0][a] - figures[0][b]);
    go(order[Math.min(Math.max(order.indexOf(at) + step, 0), order.length - 1)]);
  });
  options(choice, F.channels.map((name) => [name, name]), F.channels[0]);
  choice.closest("label").hidden = F.channels.length < 2;
  choice.addEventListener("change", draw);
  draw();
  target.closest(".panel").hidden = false;
}

function curves() {
  const target = byId("pr-plot"), choice = byId("pr-choice");
  if (!D.curves || !target || !globalThis.Bokeh) return;
  const figure = plot(target, { height: 420, x_axis_label: "recall", y_axis_label: "precision", tools: "pan,box_zoom,reset,save", x_range: new Bokeh.Range1d({ start: 0, end: 1.01 }), y_range: new Bokeh.Range1d({ start: 0, end: 1.02 }) });
  const faint = new Bokeh.ColumnDataSource({ data: { xs: [], ys: [] } }), bold = new Bokeh.ColumnDataSource({ data: { x: [], y: [] } });
  figure.multi_line({ field: "xs" }, { field: "ys" }, { source: faint, line_color: css("--soft"), line_alpha: 0.45 });
  figure.line({ field: "x" }, { field: "y" }, { source: bold, line_color: css("--accent"), line_width: 3 });
  const pairs = D.curves.flatMap((set, s) => set.curves.map((one, c) => [`${s}.${c}`, D.curves.length > 1 ? `${one.name}: ${set.name}` : one.name]));
  function draw() {
    const [s, c] = choice.value.split(".").map(Number), set = D.curves[s].curves;
    faint.data = { xs: set.map((one) => one.recall), ys: set.map((one) => one.precision) };
    bold.data = { x: set[c].recall, y: set[c].precision };
    byId("pr-words").textContent = `${set[c].name} is drawn bold${set[c].ap === null ? "" : `, average precision ${number(set[c].ap)}`}; the other classes are grey. ${D.curves[s].name}.`;
  }
  options(choice, pairs, pairs[0][0]);
  choice.addEventListener("change", draw);
  draw();
  target.closest(".panel").hidden = false;
}
