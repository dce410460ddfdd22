// Choose a token and see its row of a table: where it looks (attention), or which places are like it.
//
// All the data came when the widget was made: nothing here asks the kernel. `render` reads a widget's `model`;
// a page without one calls it with any `model` whose `get` knows the names, or hands `explore` what `readData`
// would have read: the page of `explorer_page` unpacks its rows itself.

const LONGEST_SIDE = 264; // of a view, in CSS pixels, where no stylesheet says --vit-steps-side
const CLS_SIDE = 30; // the CLS token has no place in the picture: its square stands above it
const CLS_WIDTH = 110; // with its name
const LINED = 12; // pixels of a patch from which lines between patches help more than they hide
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const percent = (value) => `${(100 * value).toFixed(value && value < 0.0995 ? 1 : 0)} %`;
const cosine = (value) => value.toFixed(2);

// What a look shows: a row for each map, the ends of its scale, and how all that is said.
const KINDS = {
  attention: {
    caption: (name) => `where it looks ${name}`,
    look: (data, chosen, query) => weighed(data, tablesOf(data, chosen).map((table) => rowOf(data, table, query))),
  },
  similarity: {
    caption: (name) => name,
    look(data, chosen, query) {
      const tables = tablesOf(data, chosen);
      const limits = tables.map((table) => [table.reduce(smaller), table.reduce(larger)]);
      return { ...LIKE, rows: tables.map((table) => rowOf(data, table, query)), limits };
    },
  },
  likeness: {
    caption: (name) => `like the framed patch ${name}`,
    look(data, chosen, query) {
      const rows = data.names.map((_, map) => cosines(vectorsOf(data, map, chosen), query, data));
      const limits = rows.map(() => data.limits[chosen[0]]);
      return { ...LIKE, rows, limits, tells: (token) => !isNear(token, query, data) };
    },
  },
};

const LIKE = { says: "is most like", write: cosine, countsItself: false };
const smaller = (a, b) => Math.min(a, b);
const larger = (a, b) => Math.max(a, b);

// One scale for all maps, so that a control that looks nowhere in particular looks so; and a scale of patches,
// or a CLS token on which everybody stares would leave no colour to the picture. Nor does a single patch of that
// kind, where the scale may be cut: it ends where one patch in fifty lies beyond it.
function weighed({ numCls }, rows, says = "looks most at", isCut = false) {
  const patches = rows.map((row) => row.slice(numCls).sort());
  const endOf = (sorted) => sorted[sorted.length - 1 - (isCut ? Math.floor(sorted.length / 50) : 0)];
  const [end, most] = [Math.max(...patches.map(endOf)), Math.max(...patches.map((sorted) => sorted.at(-1)))];
  const limits = rows.map(() => [0, end || most]);
  return { rows, limits, says, write: percent, countsItself: true, beyond: end && end < most };
}

async function render({ model, el }) {
  explore(await readData(model), el);
}

// `data` is laid out by `layOut`, and looks by `look(data, chosen, query)`; `idle(chosen)` says which choices
// change nothing now.
function explore(data, el) {
  const page = buildPage(el, data);
  const state = { query: data.query, pinned: data.query, chosen: [...data.chosen] };

  const show = () => {
    const seen = data.kind.look(data, state.chosen, state.query);
    const asking = "asking" in seen ? seen.asking : state.query;
    const picture = data.pictures[data.pictures.length > 1 ? state.chosen[0] : 0];
    if (picture) drawView(page.picture, data, picture, undefined, asking);
    page.maps.forEach(({ view, ends, caption }, map) => {
      const [low, high] = seen.limits[map];
      drawView(view, data, picture, (value) => data.colour((value - low) / (high - low || 1)), asking, seen.rows[map]);
      const beyond = ["", seen.beyond ? "≥ " : ""];
      ends.forEach((label, end) => (label.textContent = beyond[end] + seen.write(seen.limits[map][end])));
      if (seen.caption) entitle(view, caption, seen.caption(data.names[map]));
    });
    page.selects.forEach((select, number) => (select.disabled = data.idle?.(state.chosen)[number] ?? false));
    page.sentence.textContent = describe(data, seen, asking, state.chosen);
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
    if (query === state.query) return;
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
    view.addEventListener("pointerup", (event) => look(tokenUnder(event, view, data), true));
    view.addEventListener("pointerleave", () => look(state.pinned, false));
  }
  el.addEventListener("recolour", show); // its page turned dark, or light again: words were drawn in the old colour
  show();
}

export default { render };

// ---- data ----

async function readData(model) {
  const bytes = (name) => {
    const view = model.get(name); // a DataView that may start at any byte
    return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  };
  const [rows, cols] = model.get("grid");
  const tokens = model.get("tokens");
  const kind = model.get("kind");
  return layOut({
    rows, cols, tokens,
    table: kind === "likeness" ? new Int16Array(bytes("table")) : new Float32Array(bytes("table")),
    colours: new Uint8Array(bytes("colours")),
    pictures: await Promise.all(model.get("pictures").map(readPicture)),
    choices: model.get("choices"),
    chosen: model.get("chosen"),
    query: model.get("query"),
    names: model.get("names"),
    limits: model.get("limits"),
    kind: KINDS[kind],
  });
}

function layOut(data) {
  return { ...data, numCls: data.tokens - data.rows * data.cols, colour: (share) => colourOf(data.colours, share) };
}

function readPicture(file) {
  return createImageBitmap(new Blob([file]));
}

function colourOf(colours, share) {
  const colour = 4 * Math.round(255 * Math.min(Math.max(share, 0), 1));
  return colours.subarray(colour, colour + 3);
}

function tablesOf(data, chosen) {
  return data.names.map((_, map) => partOf(data, map, chosen, data.choices.length, data.tokens ** 2));
}

function vectorsOf(data, map, chosen) {
  const number = data.names.length * data.choices[0].options.length;
  return partOf(data, map, chosen, 1, data.table.length / number);
}

function partOf({ choices, table }, map, chosen, axes, size) {
  const count = (sum, choice, axis) => sum * choices[axis].options.length + choice;
  const number = chosen.slice(0, axes).reduce(count, map);
  return table.subarray(number * size, (number + 1) * size);
}

function rowOf(data, table, query) {
  return table.subarray(query * data.tokens, (query + 1) * data.tokens);
}

// Of vectors that were of length 1 before they were rounded; one of zeros is like nobody, itself included.
function cosines(vectors, query, { tokens }) {
  const width = vectors.length / tokens;
  const dot = (a, b) => {
    let sum = 0;
    for (let place = 0; place < width; place++) sum += vectors[a * width + place] * vectors[b * width + place];
    return sum;
  };
  const own = Math.sqrt(dot(query, query));
  return Float32Array.from({ length: tokens }, (_, token) => dot(token, query) / (own * Math.sqrt(dot(token, token)) || 1));
}

// ---- places ----

function placeOf(token, { numCls, cols }) {
  return [Math.floor((token - numCls) / cols), (token - numCls) % cols];
}

function isNear(token, query, data) {
  if (token < data.numCls || query < data.numCls) return token === query;
  const [there, here] = [token, query].map((each) => placeOf(each, data));
  return Math.max(Math.abs(there[0] - here[0]), Math.abs(there[1] - here[1])) < 2;
}

// Where the patches lie in a view: in all of it, or in the box of the photograph that the model was given.
function measure({ rows, cols, numCls, box, pictures }, longest) {
  const top = numCls ? CLS_SIDE + 6 : 0;
  if (!box) {
    const side = Math.max(8, Math.floor(longest / Math.max(rows, cols)));
    return { top, wide: cols * side, high: rows * side, left: 0, up: 0, across: side, down: side };
  }
  const { width, height } = pictures[0];
  const scale = longest / Math.max(width, height);
  const [left, up, right, low] = box.map((pixels) => pixels * scale);
  const patch = { across: (right - left) / cols, down: (low - up) / rows };
  return { top, wide: width * scale, high: height * scale, left, up, ...patch };
}

function tokenUnder(event, view, data) {
  const { rows, cols, numCls, size } = data;
  const box = view.getBoundingClientRect();
  const scale = box.width / size.width; // a slide is drawn larger or smaller than it is laid out
  const [down, right] = [(event.clientY - box.top) / scale, (event.clientX - box.left) / scale];
  if (down < size.top) return right < CLS_SIDE ? 0 : undefined;
  const row = Math.floor((down - size.top - size.up) / size.down);
  const col = Math.floor((right - size.left) / size.across);
  return row >= 0 && row < rows && col >= 0 && col < cols ? numCls + row * cols + col : undefined;
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

function describe(data, seen, asking, chosen) {
  const who = asking < data.numCls ? "The CLS token" : `The patch in ${nameOf(asking, data)}`;
  const where = seen.where ?? whereOf(data, chosen);
  const lines = seen.rows.map((row, map) => `${data.names[map]}: ${describeRow(data, seen, row, asking)}`);
  const start = seen.start ?? `${who}${where && ` (${where})`} ${seen.says}`;
  return [start, ...lines, ...[seen.note ?? []].flat()].join("\n");
}

function whereOf({ choices }, chosen) {
  const words = ({ label, options, words: own }, axis) => own?.[chosen[axis]] ?? `${label} ${options[chosen[axis]]}`;
  return choices.map(words).join(", ");
}

function describeRow(data, seen, row, asking) {
  const others = [...row.keys()].filter((token) => seen.countsItself || token !== asking);
  const told = seen.tells ? others.filter(seen.tells) : others; // neighbours are alike, which tells little
  const best = (told.length ? told : others).sort((a, b) => row[b] - row[a]).slice(0, 3);
  return best.map((token) => `${nameOf(token, data)} (${seen.write(row[token])})`).join("; ");
}

// ---- drawing ----

function drawView(view, data, picture, colour, asking, row) {
  const { numCls, size } = data;
  const pen = view.getContext("2d");
  pen.clearRect(0, 0, view.width, view.height);
  if (picture && (data.box || !row)) drawPicture(pen, data, picture);
  if (row) drawMap(pen, data, row, colour);
  drawLines(pen, data, row ? 0.25 : picture.width < size.wide ? 0.6 : 0.3);
  if (numCls) drawCls(pen, row && colour(row[0]), getComputedStyle(view).color);
  if (asking !== undefined) drawFrame(pen, boxOf(asking, data));
}

function drawPicture(pen, { rows, cols, box, size }, picture) {
  const { top, wide, high, left, up, across, down } = size;
  pen.imageSmoothingEnabled = picture.width > wide;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, top, wide, high);
  if (!box) return;
  pen.beginPath(); // what lies outside the box, which the model was not given
  pen.rect(0, top, wide, high);
  pen.rect(left, top + up, cols * across, rows * down);
  pen.fillStyle = "rgba(22, 22, 28, 0.72)";
  pen.fill("evenodd");
}

function drawMap(pen, { rows, cols, numCls, size }, row, colour) {
  const small = Object.assign(document.createElement("canvas"), { width: cols, height: rows });
  const pixels = new ImageData(cols, rows);
  for (let patch = 0; patch < rows * cols; patch++) {
    pixels.data.set([...colour(row[numCls + patch]), 255], 4 * patch);
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, size.left, size.top + size.up, cols * size.across, rows * size.down);
}

function drawLines(pen, { rows, cols, size }, alpha) {
  const { top, left, up, across, down } = size;
  if (Math.min(across, down) < LINED) return;
  Object.assign(pen, { globalAlpha: alpha, strokeStyle: "white", lineWidth: 1 });
  pen.beginPath();
  for (let row = 0; row <= rows; row++) line(pen, left, top + up + row * down, cols * across, 0);
  for (let col = 0; col <= cols; col++) line(pen, left + col * across, top + up, 0, rows * down);
  pen.stroke();
  pen.globalAlpha = 1;
}

function line(pen, left, top, width, height) {
  pen.moveTo(left, top);
  pen.lineTo(left + width, top + height);
}

function drawCls(pen, fill, ink) {
  pen.fillStyle = fill ? `rgb(${fill.join()})` : "#E8E8EC";
  pen.fillRect(0, 0, CLS_SIDE, CLS_SIDE);
  pen.fillStyle = ink;
  pen.font = "14px sans-serif";
  pen.fillText("CLS token", CLS_SIDE + 6, CLS_SIDE - 10);
}

function boxOf(token, data) {
  if (token < data.numCls) return [0, 0, CLS_SIDE, CLS_SIDE];
  const [row, col] = placeOf(token, data);
  const { top, left, up, across, down } = data.size;
  return [left + col * across, top + up + row * down, across, down];
}

function drawFrame(pen, [left, top, width, height]) {
  const inset = Math.min(width, height) < 18 ? -2.5 : 2.5; // around a small patch, or nothing is left of it
  for (const [colour, lineWidth] of [["black", 5], ["white", 2]]) { // seen on any colour
    Object.assign(pen, { strokeStyle: colour, lineWidth });
    pen.strokeRect(left + inset, top + inset, width - 2 * inset, height - 2 * inset);
  }
}

// ---- page ----

function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

function buildPage(el, data) {
  const longest = parseInt(getComputedStyle(el).getPropertyValue("--vit-steps-side")) || LONGEST_SIDE;
  const size = measure(data, longest);
  data.size = { ...size, width: Math.max(size.wide, data.numCls ? CLS_WIDTH : 0), height: size.top + size.high };
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
    select.setAttribute("aria-label", label); // or the options would be read as a part of its name
    return select;
  });
}

function addView(stage, words, { size: { width, height } }) {
  const figure = add(stage, "figure");
  const caption = add(figure, "figcaption");
  const view = add(figure, "canvas");
  const sharpness = window.devicePixelRatio || 1;
  Object.assign(view, { width: Math.round(width * sharpness), height: Math.round(height * sharpness) });
  Object.assign(view.style, { width: `${width}px`, height: `${height}px` });
  view.getContext("2d").scale(sharpness, sharpness);
  view.setAttribute("role", "img");
  entitle(view, caption, words);
  return { figure, caption, view };
}

function entitle(view, caption, words) {
  caption.textContent = words;
  view.setAttribute("aria-label", `${words}: the sentence below tells it`);
}

function addMap(stage, name, data) {
  const { figure, caption, view } = addView(stage, data.kind.caption(name), data);
  const scale = add(figure, "div", { className: "vit-steps-scale" });
  const low = add(scale, "span");
  const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => `rgb(${data.colour(share).join()})`);
  add(scale, "span", { className: "vit-steps-colours" }).style.background = `linear-gradient(to right, ${stops})`;
  return { caption, view, ends: [low, add(scale, "span")] };
}
