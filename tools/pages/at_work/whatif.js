// What if: the buttons, and the answer before and after.

const QUESTIONS = {
  shuffle: {
    asks: () => "patches were shuffled?", on: () => anyOrder(numPatches),
    tells: () => state.on.positions
      ? `Shuffling alone changes nothing now: without positions the answer moves by ${shuffledBy()}. Patches without places are a heap.`
      : "The same patches lie in other places, and the model is told the wrong place of each.",
  },
  positions: {
    asks: () => "no token knew its place?", on: () => true,
    tells: () => state.on.shuffle ? "" : "The model still sees every patch, but not where it lies. Now shuffle them, too.",
  },
  drop: {
    asks: () => `${shortName(state.on.drop || toDrop())} were missing?`, on: () => toDrop(),
    tells: () => `${capital(nameOf(state.on.drop))} is taken out before block 1, and no token ever hears of it. For another one: undo, point at it, and ask again.`,
  },
  swap: {
    asks: () => "CLS were swapped", on: () => true,
    tells: () => state.swap.block < config.depth
      ? `After block ${state.swap.block} the CLS token is exchanged for that of the ${EXAMPLES[state.swap.digit].label} among the examples. It can still look at the patches of this digit in ${blocksLeft()}.`
      : `After block ${config.depth} nothing follows but the head: whose CLS token it is, his is the answer.`,
  },
  division: {
    asks: () => `nobody divided by √${head_dim}?`, on: () => true,
    tells: () => `Scores are ${Math.sqrt(head_dim)} times as large, so softmax is nearer to all or nothing: on average a token spends ${percent(spentOnFirst(state.seen))} on the token that it looks at most, and ${percent(spentOnFirst(state.plain))} before.`,
  },
  trap: {
    asks: () => "batch_first were forgotten?", on: () => true,
    tells: () => "nn.TransformerEncoderLayer wants (tokens, batch, dim) unless batch_first=True. Given one image, it takes the tokens for a batch of images: nobody looks at anybody, and the CLS token says the same whatever you draw. No error tells you.",
  },
};

const blocksLeft = () => (state.swap.block === config.depth - 1 ? "one block" : `${config.depth - state.swap.block} blocks`);

// The patch that is chosen, or else the one that the answer drew from most.
function toDrop() {
  const token = state.pinned.kind === "weight" ? state.pinned.col || state.pinned.row : tokenOf(state.pinned);
  if (token) return token;
  const from = attention_rollout(state.plain.blocks.map((each) => each.weights))[0].slice(1);
  return 1 + best(from);
}

function shuffledBy() {
  const unshuffled = wonder([state.image], model(), { ...state.on, shuffle: undefined });
  const far = state.seen.logits.map((logit, digit) => Math.abs(logit - unshuffled.logits[digit]));
  return Math.max(...far) < 1e-9 ? "0.00" : number(Math.max(...far));
}

function spentOnFirst({ blocks }) {
  const most = blocks.flatMap(({ weights }) => weights.flatMap((rows) => rows.map((row) => Math.max(...there(row)))));
  return most.reduce((sum, value) => sum + value, 0) / most.length;
}

// ---- the page ----

const chips = Object.fromEntries(Object.keys(QUESTIONS).map((key) => {
  const button = make("button", { "aria-pressed": false, id: `if-${key}` });
  button.addEventListener("click", () => {
    state.on[key] = state.on[key] ? NONE[key] : QUESTIONS[key].on();
    compute();
  });
  get("chips").append(button);
  return [key, button];
}));

const swapOf = (key, name, options) => {
  const select = make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
  select.value = state.swap[key];
  select.addEventListener("change", () => {
    state.swap[key] = Number(select.value);
    state.on.swap = true;
    compute();
  });
  return make("label", {}, `${name} `, select);
};
chips.swap.after(make("span", { class: "swap" },
  swapOf("block", "after block", range(config.depth).map((each) => [each + 1, each + 1])),
  swapOf("digit", "with digit", range(10).map((each) => [each, EXAMPLES[each].label]))));

get("undo").addEventListener("click", () => {
  state.on = { ...NONE };
  compute();
  chips.shuffle.focus();
});

const toldAs = (shares) => `${best(shares)} (${percent(Math.max(...shares))})`;

function drawWhatIf() {
  for (const [key, button] of Object.entries(chips)) {
    if (button.textContent !== QUESTIONS[key].asks()) button.textContent = QUESTIONS[key].asks();
    button.setAttribute("aria-pressed", Boolean(state.on[key]));
  }
  get("outcome").hidden = !wonders();
  document.body.classList.toggle("wonders", wonders());
  if (!wonders()) return;
  const [before, after] = [state.plain, state.seen].map(({ logits }) => softmax(logits));
  const told = Object.keys(QUESTIONS).filter((key) => state.on[key]).map((key) => QUESTIONS[key].tells());
  const text = `Before: ${toldAs(before)}. After: ${toldAs(after)}. ${told.filter(Boolean).join(" ")}`;
  if (get("told").textContent !== text) get("told").textContent = text;
  get("pairs").replaceChildren(pairs(before, after));
}
