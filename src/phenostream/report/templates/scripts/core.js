// What every part of the page uses. Text from the table only ever becomes text: nothing here makes markup of it.
const D = JSON.parse(document.getElementById("data").textContent);
const RAMP = D.ramp;
// Okabe and Ito's colours, told apart with and without colour vision deficiency; shapes say the same once more.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c"];
const SHAPES = ["circle", "triangle", "square", "diamond", "inverted_triangle", "plus", "hex"];
const NONE = "#9aa0a6";

const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "text", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function floats(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const view = new DataView(bytes.buffer), values = new Float32Array(raw.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
  return values;
}

function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size && (size >= 1e6 || size < 1e-3)) return value.toExponential(2).replace("e", " × 10^").replace("^+", "^");
  return size >= 100 ? Math.round(value).toLocaleString("en-GB") : String(Number(value.toPrecision(3)));
}

const percent = (share) => (share > 0 && share < 1e-4 ? "under 0.01 %" : `${number(100 * share)} %`);
const unit = (column) => (column.u && column.u !== "1" ? column.u : "");
const withUnit = (column) => column.n + (unit(column) ? ` (${unit(column)})` : "");

function percentiles(values, shares) {
  const known = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
  return shares.map((share) => {
    const at = share * (known.length - 1), below = Math.floor(at);
    return known.length ? known[below] + (at - below) * ((known[below + 1] ?? known[below]) - known[below]) : NaN;
  });
}

function scale(values) {
  const many = Array.from(values).filter(Number.isFinite).length > 20;
  const [low, high] = percentiles(values, many ? [0.02, 0.98] : [0, 1]);
  return { low, high, colour: (value) => {
    if (!Number.isFinite(value)) return "";
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return RAMP[Math.round(255 * Math.min(1, Math.max(0, share)))];
  } };
}

const isNumeric = (values) => values.filter((one) => one !== "").every((one) => Number.isFinite(Number(one)));

// Colours of groups: numbers (doses) run along the ramp, names get a colour and a shape each.
function palette(values) {
  const named = values.filter((one) => one !== "");
  const numeric = named.length > 2 && isNumeric(values);
  const colour = {}, shape = {};
  named.forEach((one, i) => {
    colour[one] = numeric ? RAMP[Math.round((255 * i) / (named.length - 1))] : COLOURS[i % COLOURS.length];
    shape[one] = numeric ? "circle" : SHAPES[(i + Math.floor(i / COLOURS.length)) % SHAPES.length];
  });
  colour[""] = NONE;
  shape[""] = "circle";
  return { colour, shape };
}

const plain = (name) => name.replace(/^Image_Metadata_|^Metadata_/, "").replaceAll("_", " ");

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, words]) => {
    const one = element("option", { value }, words);
    one.selected = value === chosen;
    return one;
  }));
}

function save(name, rows) {
  // A cell that begins like a formula must not become one in a spreadsheet.
  const safe = (one) => (/^[=+@\t\r]|^-(?![\d.])/.test(one) ? `'${one}` : one);
  const cell = (one) => `"${safe(String(one)).replaceAll('"', '""')}"`;
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const link = element("a", { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = [];

// BokehJS figures in the page's own colours, again whenever those change.
function dress(figure) {
  const soft = css("--soft"), line = css("--line"), ink = css("--ink");
  figure.background_fill_color = null;
  figure.border_fill_color = null;
  figure.outline_line_color = line;
  for (const axis of [...figure.below, ...figure.left]) {
    axis.axis_label_text_color = ink;
    axis.major_label_text_color = soft;
    axis.axis_line_color = soft;
    axis.major_tick_line_color = soft;
    axis.minor_tick_line_color = null;
    axis.axis_label_text_font_style = "normal";
    axis.axis_label_text_font_size = "13px";
    axis.major_label_text_font_size = "12px";
    axis.axis_label_standoff = 8;
  }
  for (const grid of figure.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
}

function plot(target, settings) {
  const touch = matchMedia("(pointer: coarse)").matches;
  const figure = Bokeh.Plotting.figure({
    height: 420, sizing_mode: "stretch_width", tools: "pan,box_zoom,wheel_zoom,reset,save",
    toolbar_location: "above", ...settings,
  });
  figure.toolbar.logo = null;
  if (touch) figure.toolbar.active_drag = null;
  dress(figure);
  drawn.push(figure);
  target.replaceChildren();
  Bokeh.Plotting.show(figure, target);
  return figure;
}

dark.addEventListener("change", () => drawn.forEach(dress));
