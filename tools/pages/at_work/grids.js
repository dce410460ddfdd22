// Tables of numbers as colours: each can be pointed at, clicked, and walked over with the arrow keys.

const ROW = 15; // height of a token, the same in every step, so that a token is one line across the page
const BELOW_CLS = 5;
const KEYS = 19; // above the attention: a small picture of each token that is asked

function makeGrid(id, { kind, count, cell, left = 0, top = 0, belowFirst = BELOW_CLS, says }) {
  const [numRows, numCols] = count;
  const [width, height] = [left + numCols * cell[0], top + numRows * cell[1] + belowFirst];
  const canvas = get(id);
  const pen = sharpCanvas(canvas, width, height);
  const box = (row, col) => [left + col * cell[0], top + row * cell[1] + (row ? belowFirst : 0), ...cell];
  const grid = { kind, canvas, pen, box, width, height, numRows, numCols, left, top, cell, belowFirst };
  const attributes = { tabindex: 0, role: "application", "aria-roledescription": "table of numbers", "aria-label": `${says} Arrow keys move.` };
  for (const [name, value] of Object.entries(attributes)) canvas.setAttribute(name, value);
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && hoverAt(under(event, grid)));
  canvas.addEventListener("pointerleave", () => hoverAt(undefined));
  canvas.addEventListener("click", (event) => pin(under(event, grid))); // not pointerdown: a finger that scrolls chooses nothing
  canvas.addEventListener("focus", () => state.pinned.kind === kind || pin(startOf(kind)));
  canvas.addEventListener("keydown", (event) => walk(event, grid));
  return grid;
}

function hoverAt(at) {
  state.hover = at;
  show();
}

function pin(at) {
  state.pinned = at;
  state.hover = undefined;
  unfold(true);
  show();
}

function under(event, { kind, canvas, width, left, top, cell, belowFirst, numRows, numCols }) {
  const frame = canvas.getBoundingClientRect();
  const scale = frame.width / width;
  const [x, y] = [(event.clientX - frame.left) / scale - left, (event.clientY - frame.top) / scale - top];
  const row = y < cell[1] + belowFirst / 2 ? 0 : Math.floor((y - belowFirst) / cell[1]);
  return { kind, row: clamp(row, numRows - 1), col: clamp(Math.floor(x / cell[0]), numCols - 1) };
}

function walk(event, { kind, numRows, numCols }) {
  const at = state.pinned;
  const toCls = event.key.toLowerCase() === "c" && kind !== "patch" && kind !== "answer";
  const [down, right] = toCls ? [-at.row, 0] : (ARROWS[event.key] ?? []);
  if (down === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const [row, col] = [at.row + down, at.col + right];
  if (row >= 0 && row < numRows && col >= 0 && col < numCols) pin({ kind, row, col });
}

// Where the keys begin in a step in which nothing was chosen: at the token that was chosen in the last one.
function startOf(kind) {
  const token = tokenOf(state.pinned);
  if (kind === "patch") return { kind, row: Math.max(token - 1, 0), col: 0 };
  if (kind === "answer") return { kind, row: best(state.seen.logits), col: config.depth };
  return { kind, row: token, col: kind === "weight" ? 0 : Math.min(state.pinned.col, config.dim - 1) };
}

const cls = "C goes to the CLS token.";
const grids = {
  patch: makeGrid("patches", { kind: "patch", count: [numPatches, config.patch_size ** 2], cell: [15, ROW], left: 20, top: ROW + BELOW_CLS, belowFirst: 0, says: "Step 1, patches: a row for each, its pixels side by side." }),
  token: makeGrid("tokens", { kind: "token", count: [numTokens, config.dim], cell: [2, ROW], says: `Steps 1 and 2, tokens: a row of ${config.dim} numbers for each, the CLS token on top. ${cls}` }),
  position: makeGrid("positions", { kind: "position", count: [numTokens, config.dim], cell: [2, ROW], says: `Step 3, positions: a learned row for each place. ${cls}` }),
  weight: makeGrid("attention", { kind: "weight", count: [numTokens, numTokens], cell: [14, ROW], top: KEYS, says: `Step 4, attention: a row for each token that asks, a column for each that is asked. ${cls}` }),
  stream: makeGrid("stream", { kind: "stream", count: [numTokens, config.dim], cell: [2, ROW], top: KEYS, says: `Step 4, tokens after the block: a row of ${config.dim} numbers for each. ${cls}` }),
  answer: makeGrid("answer", { kind: "answer", count: [config.num_classes, config.depth + 1], cell: [27, 24], left: 18, top: KEYS, belowFirst: 0, says: "Step 5, answer: a row for each digit, a column for each block after which the CLS token is read." }),
};

// ---- painting ----

function fill({ pen, width, height, numRows, numCols, box }, matrix, colourOf) {
  pen.clearRect(0, 0, width, height);
  for (let row = 0; row < numRows; row++)
    for (let col = 0; col < numCols; col++) {
      if (Number.isNaN(matrix[row][col])) continue; // a token that was dropped
      pen.fillStyle = colourOf(matrix[row][col]);
      const [x, y, wide, high] = box(row, col);
      pen.fillRect(x, y, wide, high - 1);
    }
}

function frame(pen, [x, y, width, height], { line = 2, dash = [] } = {}) {
  pen.setLineDash(dash);
  for (const [strokeStyle, lineWidth] of [["white", line + 2], [rgb(theme.pick), line]]) {
    Object.assign(pen, { strokeStyle, lineWidth });
    pen.strokeRect(x + 1, y + 1, width - 2, height - 3);
  }
  pen.setLineDash([]);
}

function frameRow(grid, row) {
  const [x, y, width, height] = grid.box(row, 0);
  frame(grid.pen, [x, y, width * grid.numCols, height], { line: 1.5 });
}

// The patch as it is, beside its numbers in a row or above its column.
function miniature(pen, patch, left, top, side) {
  const pixel = side / config.patch_size;
  patch.forEach((value, place) => {
    pen.fillStyle = grey(value);
    pen.fillRect(left + (place % config.patch_size) * pixel, top + Math.floor(place / config.patch_size) * pixel, pixel, pixel);
  });
}

function label(pen, text, x, y, { size = 11, bold = false, colour = theme.soft, align = "center" } = {}) {
  Object.assign(pen, { fillStyle: rgb(colour), textAlign: align, textBaseline: "middle" });
  pen.font = `${bold ? 700 : 400} ${size}px "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif`;
  pen.fillText(text, x, y);
}

const patchesShown = () => image2patches(state.seen.given, config.patch_size);

function drawPatches(at) {
  const { patch: grid } = grids;
  fill(grid, patchesShown(), grey);
  patchesShown().forEach((patch, row) => miniature(grid.pen, patch, 0, grid.box(row, 0)[1], ROW - 1));
  if (tokenOf(at)) frameRow(grid, tokenOf(at) - 1);
  if (at.kind === "patch") frame(grid.pen, grid.box(at.row, at.col));
}

// As a picture of one pixel for each number, which is then enlarged: a thousand rectangles would take longer than the maths.
function fillSigned({ pen, width, height, numRows, numCols, box }, matrix, most) {
  const small = new OffscreenCanvas(numCols, numRows);
  const pixels = new ImageData(numCols, numRows);
  matrix.flat().forEach((value, place) => pixels.data.set(Number.isNaN(value) ? [0, 0, 0, 0] : [...signed(value, most), 255], 4 * place));
  small.getContext("2d").putImageData(pixels, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = false;
  for (let row = 0; row < numRows; row++) {
    const [x, y, wide, high] = box(row, 0);
    pen.drawImage(small, 0, row, numCols, 1, x, y, wide * numCols, high - 1);
  }
}

function drawRows(grid, matrix, at) {
  const most = largest(matrix);
  fillSigned(grid, matrix, most);
  if (most < 1e-6) label(grid.pen, "taken away", grid.width / 2, grid.height / 2, { size: 12 });
  frameRow(grid, tokenOf(at));
  if (at.kind !== grid.kind) return;
  const [x, y, width, height] = grid.box(at.row, at.col);
  grid.pen.fillStyle = rgb(theme.pick);
  grid.pen.fillRect(x - 1, y - 2, width + 2, height + 3); // two pixels wide: a frame would hide it
}

function drawAttention(at) {
  const { weight: grid } = grids;
  const table = weightsShown();
  const most = largest(table);
  fill(grid, table, (value) => cividis(value / most));
  label(grid.pen, "C", grid.box(0, 0)[0] + 7, 8);
  patchesShown().forEach((patch, place) => miniature(grid.pen, patch, grid.box(0, place + 1)[0], 1, 13));
  frameRow(grid, tokenOf(at));
  if (at.kind === "weight") {
    frame(grid.pen, grid.box(at.row, at.col));
    frame(grid.pen, [grid.box(0, at.col)[0] - 1, 0, 16, 17], { line: 1.5, dash: [3, 2] });
  }
  get("most").textContent = number(most);
}

function drawAnswer(at) {
  const { answer: grid } = grids;
  const { pen } = grid;
  const shares = state.seen.lens.map(softmax);
  const winner = best(state.seen.logits);
  const table = range(grid.numRows).map((digit) => shares.map((share) => share[digit]));
  fill(grid, table, cividis);
  table.forEach((line, digit) => {
    const [, y, width, height] = grid.box(digit, 0);
    label(pen, digit, 2, y + height / 2, { size: 14, bold: digit === winner, colour: theme.ink, align: "left" });
    line.forEach((share, col) => {
      const colour = share > 0.46 ? [0, 0, 0] : [255, 255, 255];
      if (share >= 0.005) label(pen, (100 * share).toFixed(0), grid.box(digit, col)[0] + width / 2, y + height / 2, { colour });
    });
  });
  shares.forEach((_, col) => label(pen, col || "start", grid.box(0, col)[0] + 13, 9));
  if (at.kind === "answer") frame(pen, grid.box(at.row, at.col));
  drawBars(shares.at(-1), winner);
}

function drawBars(shares, winner) {
  const bars = get("bars");
  if (!bars.children.length) bars.append(...shares.map(() => make("div", {}, make("i"))));
  shares.forEach((share, digit) => {
    bars.children[digit].className = digit === winner ? "winner" : "";
    bars.children[digit].firstChild.style.width = `${Math.max(2, 100 * share)}%`;
  });
}
