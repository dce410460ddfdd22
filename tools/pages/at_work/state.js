// What the page knows, and how it is computed: one picture, one model, the questions that are asked of it.

function bytesOf(letters) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(letters);
  const text = atob(letters);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

const trained = read_safetensors(bytesOf(get("weights").textContent).buffer);
const { config } = trained;
const [rows, cols] = config.image_size;
const perRow = cols / config.patch_size;
const numPatches = perRow * (rows / config.patch_size);
const numTokens = 1 + numPatches;
const head_dim = config.dim / config.num_heads;
const MEAN = config.num_heads; // behind the heads stands their mean

const { examples: EXAMPLES, python: PYTHON } = JSON.parse(get("data").textContent);
const pictureOf = ({ pixels }) => range(rows).map((row) => pixels.slice(row * cols, (row + 1) * cols).map((value) => value / 16));

const state = {
  image: pictureOf(EXAMPLES[3]), pen: [3, 3], isDown: false,
  isTwin: false, on: { ...NONE }, swap: { block: 3, digit: 8 },
  block: 0, head: 2, pinned: { kind: "weight", row: 0, col: 7 }, hover: undefined,
  seen: undefined, plain: undefined, ms: 0,
};

let twin;
const model = () => (state.isTwin ? (twin ??= fresh(trained, 1)) : trained);
const wonders = () => Object.values(state.on).some(Boolean);

const shown = () => state.hover ?? state.pinned;
const block = () => state.seen.blocks[state.block];
const isMean = () => state.head === MEAN;
const meanOf = (heads) => heads[0].map((line, row) => line.map((_, col) => heads.reduce((sum, head) => sum + head[row][col], 0) / heads.length));
const weightsShown = () => (isMean() ? meanOf(block().weights) : block().weights[state.head]);

const placeOf = (token) => [Math.floor((token - 1) / perRow), (token - 1) % perRow];
const tokenOf = ({ kind, row }) => (kind === "patch" ? row + 1 : kind === "answer" ? 0 : row);
const shortName = (token) => (token ? `patch ${token}` : "CLS");
// To the reader all is counted from 1.
const nameOf = (token) => (token ? `patch ${token} (row ${placeOf(token)[0] + 1}, column ${placeOf(token)[1] + 1})` : "the CLS token");

let show = () => {}; // page.js paints, once all is there

function compute() {
  const start = performance.now();
  if (state.on.swap) state.on.swap = { block: state.swap.block, image: [pictureOf(EXAMPLES[state.swap.digit])] };
  state.seen = wonder([state.image], model(), state.on);
  state.ms = performance.now() - start;
  state.plain = wonders() ? wonder([state.image], model(), NONE) : state.seen;
  show();
}

let isWaiting = false;
function computeSoon() { // at most once a frame, however fast the pen is
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; compute(); });
}
