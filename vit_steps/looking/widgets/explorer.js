// Choose a token and see its row of a table: where it looks (attention), or which positions are like it.
//
// All the data came when the widget was made: nothing here asks the kernel, and a page without one can call
// `render` with any `model` whose method `get` knows the names below.

const LONGEST_SIDE = 264; // of a view, in CSS pixels, where no stylesheet says --vit-steps-side
const CLS_SIDE = 30; // the CLS token has no place in the picture: its square stands above it
const CLS_WIDTH = 110; // with its name
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const KINDS = {
  attention: {
    caption: (name) => `where it looks ${name}`,
    says: "looks most at",
    write: (value) => `${(100 * value).toFixed(value && value < 0.0995 ? 1 : 0)} %`,
    // One scale for all maps, so that a control that looks nowhere in particular looks so.
    limits: (rows) => rows.map(() => [0, Math.max(...rows.map((row) => Math.max(...row)))]),
    countsItself: true,
  },
  similarity: {
    caption: (name) => name,
    says: "is most like",
    write: (value) => value.toFixed(2),
    limits: (rows, tables) => tables.map((table) => [table.reduce(smaller), table.reduce(larger)]),
    countsItself: false,
  },
};

const smaller = (a, b) => Math.min(a, b);
const larger = (a, b) => Math.max(a, b);

function render({ model, el }) {
  const data = readData(model, longestSide(el));
  const page = buildPage(el, data);
  const state = { query: model.get("query"), pinned: model.get("query"), chosen: [...model.get("chosen")] };

  const show = () => {
    const tables = data.names.map((_, map) => tableOf(data, map, state.chosen));
    const rows = tables.map((table) => rowOf(data, table, state.query));
    const limits = data.kind.limits(rows, tables);
    const picture = data.pictures[state.chosen[0]];
    if (picture) drawView(page.picture, data, picture, undefined, state.query);
    page.maps.forEach(({ view, ends }, map) => {
      drawView(view, data, undefined, shade(data, rows[map], limits[map]), state.query);
      ends.forEach((label, end) => (label.textContent = data.kind.write(limits[map][end])));
    });
    page.sentence.textContent = describe(data, rows, state);
  };

  page.selects.forEach((select, number) => {
    select.selectedIndex = state.chosen[number];
    select.addEventListener("change", () => {
      state.chosen[number] = select.selectedIndex;
      show();
    });
  });
  const look = (query, pin) => {
    if (query === undefined) return;
    if (pin) state.pinned = query;
    state.query = query;
    show();
  };
  page.stage.addEventListener("keydown", (event) => {
    const query = tokenAfter(event.key, state.query, data);
    if (query === undefined) return;
    event.preventDefault(); // or the page would scroll
    event.stopPropagation();
    look(query, true);
  });
  for (const view of page.views) {
    view.addEventListener("pointermove", (event) => look(tokenUnder(event, view, data), false));
    view.addEventListener("pointerdown", (event) => look(tokenUnder(event, view, data), true));
    view.addEventListener("pointerleave", () => look(state.pinned, false));
  }
  show();
}

export default { render };

// ---- data ----

function longestSide(el) {
  return parseInt(getComputedStyle(el).getPropertyValue("--vit-steps-side")) || LONGEST_SIDE;
}

function readData(model, longest) {
  const bytes = (name) => {
    const view = model.get(name); // a DataView that may start at any byte
    return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  };
  const [rows, cols] = model.get("grid");
  const tokens = model.get("tokens");
  const side = Math.max(8, Math.floor(longest / Math.max(rows, cols)));
  const numCls = tokens - rows * cols;
  return {
    rows, cols, tokens, side, numCls,
    top: numCls * (CLS_SIDE + 6),
    table: new Float32Array(bytes("table")),
    colours: new Uint8Array(bytes("colours")),
    pictures: readPictures(new Uint8ClampedArray(bytes("pictures")), model.get("picture_size")),
    choices: model.get("choices"),
    names: model.get("names"),
    kind: KINDS[model.get("kind")],
  };
}

function readPictures(pixels, [height, width]) {
  const size = height * width * 4;
  return Array.from({ length: size ? pixels.length / size : 0 }, (_, number) => {
    const canvas = Object.assign(document.createElement("canvas"), { height, width });
    const slice = pixels.slice(number * size, (number + 1) * size);
    canvas.getContext("2d").putImageData(new ImageData(slice, width, height), 0, 0);
    return canvas;
  });
}

function tableOf(data, map, chosen) {
  const number = chosen.reduce((sum, choice, axis) => sum * data.choices[axis].options.length + choice, map);
  return data.table.subarray(number * data.tokens ** 2, (number + 1) * data.tokens ** 2);
}

function rowOf(data, table, query) {
  return table.subarray(query * data.tokens, (query + 1) * data.tokens);
}

// ---- places ----

function placeOf(token, { numCls, cols }) {
  return [Math.floor((token - numCls) / cols), (token - numCls) % cols];
}

function tokenUnder(event, view, { rows, cols, side, top, numCls }) {
  const box = view.getBoundingClientRect();
  const scale = box.width / view.offsetWidth; // a slide is drawn larger or smaller than it is laid out
  const [down, right] = [(event.clientY - box.top) / scale, (event.clientX - box.left) / scale];
  if (down < top) return right < CLS_SIDE ? 0 : undefined;
  const [row, col] = [down - top, right].map((place) => Math.floor(place / side));
  return row < rows && col >= 0 && col < cols ? numCls + row * cols + col : undefined;
}

function tokenAfter(key, query, data) {
  const { rows, cols, numCls } = data;
  if (numCls && key.toLowerCase() === "c") return 0;
  if (!(key in ARROWS)) return undefined;
  if (query < numCls) return key === "ArrowDown" ? numCls : query;
  const [row, col] = placeOf(query, data).map((place, axis) => place + ARROWS[key][axis]);
  if (row < 0 && numCls) return 0;
  return row < 0 || col < 0 || row >= rows || col >= cols ? query : numCls + row * cols + col;
}

// ---- words ----

function nameOf(token, data) {
  if (token < data.numCls) return "the CLS token";
  const [row, col] = placeOf(token, data);
  return `row ${row + 1}, column ${col + 1}`; // to the reader all is counted from 1
}

function describe(data, rows, { query, chosen }) {
  const { kind, choices, names } = data;
  const where = choices.map(({ label, options }, axis) => `${label} ${options[chosen[axis]]}`).join(", ");
  const who = query < data.numCls ? "The CLS token" : `The patch in ${nameOf(query, data)}`;
  const lines = rows.map((row, map) => `${names[map]}: ${describeRow(data, row, query)}`);
  return [`${who}${where && ` (${where})`} ${kind.says}`, ...lines].join("\n");
}

function describeRow(data, row, query) {
  const { kind } = data;
  const others = [...row.keys()].filter((token) => kind.countsItself || token !== query);
  const best = others.sort((a, b) => row[b] - row[a]).slice(0, 3);
  return best.map((token) => `${nameOf(token, data)} (${kind.write(row[token])})`).join("; ");
}

// ---- drawing ----

function shade({ colours }, row, [low, high]) {
  return Array.from(row, (value) => {
    const colour = 4 * Math.round((255 * (value - low)) / (high - low || 1));
    return `rgb(${colours.slice(colour, colour + 3).join()})`;
  });
}

function drawView(view, data, picture, fills, query) {
  const { rows, cols, side, top, numCls, tokens } = data;
  const pen = view.getContext("2d");
  pen.clearRect(0, 0, view.width, view.height);
  pen.imageSmoothingEnabled = picture && picture.width > cols * side;
  if (picture) pen.drawImage(picture, 0, top, cols * side, rows * side);
  for (let token = 0; token < tokens; token++) {
    const box = boxOf(token, data);
    pen.globalAlpha = 1;
    pen.fillStyle = fills ? fills[token] : "#E8E8EC";
    if (fills || token < numCls) pen.fillRect(...box);
    pen.globalAlpha = fills ? 0.25 : 0.6;
    pen.strokeStyle = "white";
    pen.lineWidth = 1;
    pen.strokeRect(...box);
  }
  pen.globalAlpha = 1;
  pen.fillStyle = getComputedStyle(view).color;
  if (numCls) pen.fillText("CLS token", CLS_SIDE + 6, CLS_SIDE - 10);
  drawFrame(pen, boxOf(query, data));
}

function boxOf(token, data) {
  if (token < data.numCls) return [0, 0, CLS_SIDE, CLS_SIDE];
  const [row, col] = placeOf(token, data);
  return [col * data.side, data.top + row * data.side, data.side, data.side];
}

function drawFrame(pen, [left, top, width, height]) {
  for (const [colour, lineWidth] of [["black", 5], ["white", 2]]) { // seen on any colour
    Object.assign(pen, { strokeStyle: colour, lineWidth });
    pen.strokeRect(left + 2.5, top + 2.5, width - 5, height - 5);
  }
}

// ---- page ----

function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

function buildPage(el, data) {
  const root = add(el, "div", { className: "vit-steps" });
  const keys = data.numCls ? "arrow keys move, C goes to the CLS token" : "arrow keys move";
  const hint = `Point at a patch, or click one and use the keys: ${keys}.`;
  add(root, "p", { className: "vit-steps-hint", textContent: hint });
  const selects = addSelects(root, data);
  const stage = add(root, "div", { className: "vit-steps-stage", tabIndex: 0 });
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", `Choose a patch: ${keys}`);
  const picture = data.pictures.length ? addView(stage, "the picture", data).view : undefined;
  const maps = data.names.map((name) => addMap(stage, name, data));
  const sentence = add(root, "p", { className: "vit-steps-sentence" });
  sentence.setAttribute("aria-live", "polite");
  const views = [picture, ...maps.map(({ view }) => view)].filter(Boolean);
  keepKeys(...selects, stage);
  return { selects, stage, views, picture, maps, sentence };
}

// JupyterLab's shortcuts look for the element in focus, so that the mark must stand on each control, not above it.
function keepKeys(...controls) {
  controls.forEach((control) => (control.dataset.lmSuppressShortcuts = "true"));
}

function addSelects(root, { choices }) {
  const controls = add(root, "div", { className: "vit-steps-controls" });
  return choices.map(({ label, options }) => {
    const select = add(add(controls, "label", { textContent: `${label} ` }), "select");
    options.forEach((option) => add(select, "option", { textContent: option }));
    return select;
  });
}

function addView(stage, caption, data) {
  const figure = add(stage, "figure");
  add(figure, "figcaption", { textContent: caption });
  const view = add(figure, "canvas");
  const [width, height] = [Math.max(data.cols * data.side, CLS_WIDTH), data.top + data.rows * data.side];
  const sharpness = window.devicePixelRatio || 1;
  Object.assign(view, { width: width * sharpness, height: height * sharpness });
  Object.assign(view.style, { width: `${width}px`, height: `${height}px` });
  const pen = view.getContext("2d");
  pen.scale(sharpness, sharpness);
  pen.font = "14px sans-serif";
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", `${caption}: the sentence below tells it`);
  return { figure, view };
}

function addMap(stage, name, data) {
  const { figure, view } = addView(stage, data.kind.caption(name), data);
  const scale = add(figure, "div", { className: "vit-steps-scale" });
  const low = add(scale, "span");
  const stops = [0, 64, 128, 192, 255].map((stop) => `rgb(${data.colours.slice(4 * stop, 4 * stop + 3).join()})`);
  add(scale, "span", { className: "vit-steps-colours" }).style.background = `linear-gradient(to right, ${stops})`;
  return { view, ends: [low, add(scale, "span")] };
}
