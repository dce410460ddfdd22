// All parts put together: what is painted, in which order, and the knobs above the encoder.

function choices(id, names, key) {
  names.forEach((name, value) => {
    const input = make("input", { type: "radio", name: id, value });
    input.addEventListener("change", () => {
      state[key] = value;
      if (state.pinned.kind !== "weight" && state.pinned.kind !== "stream") state.pinned = { kind: "weight", row: tokenOf(state.pinned), col: 0 };
      show();
    });
    get(id).append(make("label", {}, input, make("span", {}, name)));
  });
}
choices("blocks", range(config.depth).map((each) => each + 1), "block");
choices("heads", [...range(config.num_heads).map((each) => each + 1), "mean"], "head");

function checkKnobs() {
  for (const [id, key] of [["blocks", "block"], ["heads", "head"]])
    get(id).querySelectorAll("input").forEach((input, value) => { input.checked = state[key] === value; });
}

document.querySelectorAll("[name=model]").forEach((input) => input.addEventListener("change", () => {
  state.isTwin = input.value === "twin";
  compute();
}));

show = () => {
  if (!state.seen) return;
  const at = shown();
  drawPad(at);
  drawPatches(at);
  drawRows(grids.token, state.seen.with_cls, at);
  drawRows(grids.position, changed(model(), state.on).pos_embed, at);
  drawAttention(at);
  drawRows(grids.stream, block().tokens, at);
  drawAnswer(at);
  drawWhatIf();
  tellAnswer();
  explain(at);
};

function tellAnswer() {
  const isEmpty = !state.image.flat().some(Boolean);
  get("says").textContent = `${state.isTwin ? "The twin" : "It"} says ${toldAs(softmax(state.seen.logits))}`;
  get("ms").textContent = `${isEmpty ? "of an empty pad" : "computed here"}, in ${state.ms.toFixed(state.ms < 10 ? 1 : 0)} ms`;
  get("after-block").textContent = `after block ${state.block + 1}`;
}

// For who opens the browser's console: at_work.state.seen holds every tensor of the picture that is shown.
const tables = Object.fromEntries(Object.values(grids).map((grid) => [grid.canvas.id, grid]));
window.at_work = { state, model, trace, EXAMPLES, grids: tables };

document.addEventListener("recolour", () => { readTheme(); show(); });

readTheme();
checkKnobs();
unfold(false);
compute();
if (!still.matches) write(pictureOf(EXAMPLES[3]));
performance.mark("first picture");
