// The pad: drawn on with mouse, finger or keys; an example writes itself.

const SIDE = 23; // of a pixel of the pad, in CSS pixels
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function sharpCanvas(canvas, width, height) {
  const sharpness = Math.max(2, window.devicePixelRatio || 1); // for a projector that enlarges
  Object.assign(canvas, { width: width * sharpness, height: height * sharpness });
  canvas.style.setProperty("--width", `${width}px`);
  const pen = canvas.getContext("2d");
  pen.scale(sharpness, sharpness);
  return pen;
}

const padPen = sharpCanvas(get("pad"), cols * SIDE, rows * SIDE);

function drawTo(to) {
  const ink = stroke(state.image.flat(), state.pen, to, cols, get("rub").checked);
  state.image = range(rows).map((row) => ink.slice(row * cols, (row + 1) * cols));
  state.pen = to;
  computeSoon();
}

function pixelUnder(event) {
  const box = get("pad").getBoundingClientRect();
  const side = box.width / cols;
  return [(event.clientY - box.top) / side - 0.5, (event.clientX - box.left) / side - 0.5];
}

get("pad").addEventListener("pointerdown", (event) => {
  stopWriting();
  get("pad").setPointerCapture(event.pointerId);
  state.pen = pixelUnder(event);
  drawTo(state.pen);
});
get("pad").addEventListener("pointermove", (event) => event.buttons && drawTo(pixelUnder(event)));
get("pad").addEventListener("keydown", (event) => {
  if (event.key !== " " && !(event.key in ARROWS)) return;
  event.preventDefault();
  stopWriting();
  if (event.key === " ") state.isDown = !state.isDown;
  const [down, right] = ARROWS[event.key] ?? [0, 0];
  const to = [clamp(Math.round(state.pen[0]) + down, rows - 1), clamp(Math.round(state.pen[1]) + right, cols - 1)];
  if (state.isDown) return drawTo(to);
  state.pen = to;
  show();
});
for (const name of ["focus", "blur"]) get("pad").addEventListener(name, () => show());
get("clear").addEventListener("click", () => {
  stopWriting();
  state.image = state.image.map((line) => line.map(() => 0));
  state.isDown = false;
  computeSoon();
});

EXAMPLES.forEach((example, place) => {
  const isHard = place === 10;
  const name = isHard ? `A hard one: a ${example.label} that the model takes for a ${example.answer}` : `A handwritten ${example.label}`;
  const button = make("button", { "aria-label": name, class: isHard ? "hard" : undefined }, isHard ? "a hard one" : example.label);
  button.addEventListener("click", () => write(pictureOf(example)));
  get("examples").append(button);
});

// An example is written row by row, so that one sees the steps follow; at once for who wants no motion.
let writing;
function stopWriting() { cancelAnimationFrame(writing); }
function write(goal) {
  stopWriting();
  const start = performance.now();
  const next = () => {
    const done = still.matches ? Infinity : ((performance.now() - start) / 900) * (rows + 1);
    state.image = goal.map((line, y) => line.map((value, x) => value * clamp(done - y - x / cols, 1)));
    compute();
    if (done < rows + 1) writing = requestAnimationFrame(next);
  };
  next();
}

function patchBox(token, side) {
  const [row, col] = placeOf(token);
  const size = config.patch_size * side;
  return [col * size, row * size, size, size];
}

function drawPad(at) {
  state.image.forEach((line, y) => line.forEach((value, x) => {
    padPen.fillStyle = grey(value);
    padPen.fillRect(x * SIDE, y * SIDE, SIDE, SIDE);
  }));
  Object.assign(padPen, { strokeStyle: "#ffffff55", lineWidth: 1 });
  for (let token = 1; token < numTokens; token++) padPen.strokeRect(...patchBox(token, SIDE));
  if (!state.on.shuffle) frameOnPad(at); // shuffled, the token that is pointed at lies elsewhere
  if (document.activeElement === get("pad")) drawNib();
}

function frameOnPad(at) {
  const inset = ([x, y, width, height]) => [x + 1, y + 1, width - 2, height - 1];
  const token = tokenOf(at);
  if (at.kind === "weight" && at.col && at.col !== token) frame(padPen, inset(patchBox(at.col, SIDE)), { dash: [4, 3] });
  if (token) frame(padPen, inset(patchBox(token, SIDE)));
}

function drawNib() {
  for (const [strokeStyle, lineWidth] of [["black", 5], ["white", 2]]) { // seen on any ink
    Object.assign(padPen, { strokeStyle, lineWidth });
    padPen.beginPath();
    padPen.arc((state.pen[1] + 0.5) * SIDE, (state.pen[0] + 0.5) * SIDE, SIDE * (state.isDown ? 0.2 : 0.4), 0, 2 * Math.PI);
    padPen.stroke();
  }
}
