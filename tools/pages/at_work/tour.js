// A short tour for who comes without a lesson: six stops, by button or by key, and the way out is always there.

const STOPS = [
  { at: "draw", pin: { kind: "patch", row: 5, col: 0 }, says: "This is all that the model gets: 64 grey pixels. Draw over them whenever you like; everything to the right follows. First it cuts the picture into 16 patches of 2 × 2 pixels and lays each in a row." },
  { at: "step-1", pin: { kind: "token", row: 6, col: 20 }, says: `Four numbers say little. So each patch is multiplied by a learned matrix E and becomes a token of ${config.dim} numbers. On top stands one token more, the CLS token: it belongs to no patch and will gather the answer.` },
  { at: "step-3", pin: { kind: "position", row: 6, col: 20 }, says: "A token does not know where its patch was. So a learned row of numbers is added, another one for each place. The small map below shows which places are alike to the model." },
  { at: "step-4", pin: { kind: "weight", row: 0, col: 7 }, head: 2, block: 0, says: "Now the tokens look at each other. A row shows one token, and how much of its attention goes to each other one. In the top row the CLS token looks; in this head, mostly where ink is. There are four blocks of four heads: choose others above the table." },
  { at: "step-5", pin: { kind: "answer", row: 0, col: config.depth }, says: "After each block the CLS token knows more. Read from left to right how the answer grows, in per cent for each digit; the last column counts." },
  { at: "what-if", pin: { kind: "weight", row: 0, col: 7 }, says: "Is all of this needed? Ask: each button changes one thing, and you see the answer before and after. And do not trust a pretty map: the untrained twin, at the top, has maps, too." },
];

let stop;

function go(to) {
  document.querySelectorAll(".lit").forEach((lit) => lit.classList.remove("lit"));
  document.body.classList.toggle("touring", to !== undefined);
  get("tour").hidden = to === undefined;
  const was = stop;
  stop = to;
  if (to === undefined) return was === undefined ? undefined : get("start-tour").focus();
  const { at, pin: chosen, says, ...more } = STOPS[to];
  Object.assign(state, more, { pinned: chosen.kind === "answer" ? { ...chosen, row: best(state.seen.logits) } : chosen, hover: undefined });
  get(at).classList.add("lit");
  get("tour-place").textContent = `Stop ${to + 1} of ${STOPS.length}`;
  get("tour-says").textContent = says;
  get("tour-back").disabled = to === 0;
  get("tour-next").textContent = to === STOPS.length - 1 ? "Done" : "Next";
  checkKnobs();
  unfold(false); // on a phone it would hide what the tour shows
  show();
  get(at).scrollIntoView({ block: narrow.matches ? "start" : "nearest", behavior: still.matches ? "auto" : "smooth" });
}

const next = () => go(stop === STOPS.length - 1 ? undefined : stop + 1);

get("start-tour").addEventListener("click", () => {
  go(0);
  get("tour-next").focus();
});
get("tour-next").addEventListener("click", next);
get("tour-back").addEventListener("click", () => go(stop - 1));
get("tour-skip").addEventListener("click", () => go(undefined));
document.addEventListener("keydown", (event) => {
  if (stop !== undefined && event.key === "Escape") go(undefined);
});
get("tour").addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") next();
  else if (event.key === "ArrowLeft" && stop > 0) go(stop - 1);
});
