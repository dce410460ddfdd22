// Draw on a pad of a few pixels. If a model came along, it answers right here, by vit.js, which stands before this
// script together with ink.js; if not, the kernel answers. An answer is scores, the attention behind them, a sentence.

const SIDE = 26; // of a pixel of the pad, in CSS pixels
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function render({ model, el }) {
  const [rows, cols] = model.get("size");
  const page = buildPage(el, model, rows, cols);
  const vit = modelIn(model.get("weights"));
  const state = { ink: [...model.get("ink")], pen: [(rows - 1) / 2, (cols - 1) / 2].map(Math.floor), isDown: false };

  const show = () => {
    drawInk(page.pad, state.ink, rows, cols);
    drawPen(page.pad, state);
    drawInk(page.map, state.ink, rows, cols);
    drawAttention(page.map, model.get("reply").attention, model.get("colours"));
    const { scores, sentence } = model.get("reply");
    page.meters.forEach((meter, number) => (meter.value = scores[number]));
    page.numbers.forEach((label, number) => (label.textContent = scores[number].toFixed(2)));
    if (page.sentence.textContent !== sentence) page.sentence.textContent = sentence;
  };
  const draw = (to) => {
    state.ink = stroke(state.ink, state.pen, to, cols, page.rubber.checked);
    state.pen = to;
    send();
  };
  const send = () => {
    model.set("ink", state.ink);
    if (vit) model.set("reply", answer(vit, state.ink, [rows, cols], model.get("labels")));
    model.save_changes();
    show();
  };

  page.pad.addEventListener("pointerdown", (event) => {
    page.pad.setPointerCapture(event.pointerId);
    state.pen = pixelUnder(event, page.pad);
    draw(state.pen);
  });
  page.pad.addEventListener("pointermove", (event) => event.buttons && draw(pixelUnder(event, page.pad)));
  page.stage.addEventListener("keydown", (event) => {
    const isPen = event.key === " " || event.key in ARROWS;
    if (!isPen) return;
    event.preventDefault(); // or the page would scroll
    event.stopPropagation();
    if (event.key === " ") state.isDown = !state.isDown;
    const [down, right] = ARROWS[event.key] ?? [0, 0];
    const to = [clamp(Math.round(state.pen[0]) + down, rows - 1), clamp(Math.round(state.pen[1]) + right, cols - 1)];
    if (state.isDown) return draw(to);
    state.pen = to;
    show();
  });
  page.clear.addEventListener("click", () => {
    state.ink = state.ink.map(() => 0);
    state.isDown = false;
    send();
  });
  model.on("change:reply", show);
  show();
  return () => model.off("change:reply", show);
}

export default { render };

// ---- the answer, without a kernel ----

function modelIn(weights) {
  if (!weights.byteLength) return undefined;
  return read_safetensors(weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength));
}

function answer(vit, ink, [rows, cols], labels) {
  const picture = range(rows).map((row) => ink.slice(row * cols, (row + 1) * cols));
  const { blocks, logits } = trace([picture], vit);
  const scores = softmax(logits);
  const prefix = num_prefix(vit.config);
  const reached = attention_rollout(blocks.map(({ weights }) => weights)).map((row) => row.slice(prefix));
  const { pool } = vit.config;
  const looked = pool === "cls" ? reached[0] : pool_mean(reached, pool === "mean" ? prefix : 0);
  const across = cols / vit.config.patch_size;
  const attention = range(looked.length / across).map((row) => looked.slice(row * across, (row + 1) * across));
  const [best, second] = [...scores.keys()].sort((one, other) => scores[other] - scores[one]);
  const told = [best, second].map((place) => `${labels[place]} (${scores[place].toFixed(2)})`);
  return { scores, attention, sentence: `The model says ${told[0]}, then ${told[1]}.` };
}

// ---- ink ----

const clamp = (number, most) => Math.min(Math.max(number, 0), most);

function pixelUnder(event, pad) {
  const box = pad.getBoundingClientRect();
  const side = SIDE * (box.width / pad.offsetWidth); // a slide is drawn larger or smaller than it is laid out
  return [(event.clientY - box.top) / side - 0.5, (event.clientX - box.left) / side - 0.5];
}

// ---- drawing ----

function drawInk(canvas, ink, rows, cols) {
  const pen = canvas.getContext("2d");
  pen.globalAlpha = 1;
  ink.forEach((value, pixel) => {
    pen.fillStyle = `rgb(${Array(3).fill(Math.round(255 * value)).join()})`;
    pen.fillRect((pixel % cols) * SIDE, Math.floor(pixel / cols) * SIDE, SIDE, SIDE);
  });
}

function drawPen(canvas, { pen: [row, col], isDown }) {
  const pen = canvas.getContext("2d");
  for (const [colour, lineWidth] of [["black", 5], ["white", 2]]) { // seen on any ink
    Object.assign(pen, { strokeStyle: colour, lineWidth });
    pen.beginPath();
    pen.arc((col + 0.5) * SIDE, (row + 0.5) * SIDE, SIDE * (isDown ? 0.2 : 0.4), 0, 2 * Math.PI);
    pen.stroke();
  }
}

function drawAttention(canvas, attention, colours) {
  const pen = canvas.getContext("2d");
  const sharpness = window.devicePixelRatio || 1;
  const height = canvas.height / sharpness / attention.length;
  const width = canvas.width / sharpness / attention[0].length;
  const most = Math.max(...attention.flat()) || 1;
  pen.globalAlpha = 0.65;
  attention.forEach((row, y) =>
    row.forEach((value, x) => {
      const colour = 4 * Math.round((255 * value) / most);
      pen.fillStyle = `rgb(${[0, 1, 2].map((part) => colours.getUint8(colour + part)).join()})`;
      pen.fillRect(x * width, y * height, width, height);
    }),
  );
}

// ---- page ----

function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

function buildPage(el, model, rows, cols) {
  const root = add(el, "div", { className: "vit-steps" });
  const keys = "arrow keys move the pen, space puts it down and lifts it";
  add(root, "p", { className: "vit-steps-hint", textContent: `Draw with the mouse, or click the pad: ${keys}.` });
  const views = add(root, "div", { className: "vit-steps-stage" });
  const stage = add(views, "div", { tabIndex: 0 });
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", `Pad of ${rows} by ${cols} pixels: ${keys}`);
  const pad = addCanvas(stage, "draw here", rows, cols);
  const map = addCanvas(views, "where the answer looked", rows, cols);
  const { meters, numbers } = addScores(views, model.get("labels"));
  const controls = add(root, "div", { className: "vit-steps-controls" });
  const clear = add(controls, "button", { textContent: "Clear the pad" });
  const rubber = add(add(controls, "label"), "input", { type: "checkbox" });
  rubber.after(" Rub out");
  keepKeys(stage, clear, rubber);
  const sentence = add(root, "p", { className: "vit-steps-sentence" });
  sentence.setAttribute("aria-live", "polite");
  return { stage, pad, map, meters, numbers, clear, rubber, sentence };
}

// JupyterLab's shortcuts look for the element in focus, so that the mark must stand on each control, not above it.
function keepKeys(...controls) {
  controls.forEach((control) => (control.dataset.lmSuppressShortcuts = "true"));
}

function addCanvas(parent, caption, rows, cols) {
  const figure = add(parent, "figure");
  add(figure, "figcaption", { textContent: caption });
  const canvas = add(figure, "canvas");
  const sharpness = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: cols * SIDE * sharpness, height: rows * SIDE * sharpness });
  Object.assign(canvas.style, { width: `${cols * SIDE}px`, height: `${rows * SIDE}px` });
  canvas.getContext("2d").scale(sharpness, sharpness);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${caption}: the sentence below tells the answer`);
  return canvas;
}

function addScores(parent, labels) {
  const figure = add(parent, "figure");
  add(figure, "figcaption", { textContent: "probability" });
  const table = add(figure, "div", { className: "vit-steps-scores" });
  const rows = labels.map((name) => {
    const label = add(table, "label", { textContent: name });
    const meter = add(label, "meter", { min: 0, max: 1 });
    return { meter, number: add(label, "span") };
  });
  return { meters: rows.map(({ meter }) => meter), numbers: rows.map(({ number }) => number) };
}
