// Small drawings for the explanations: vectors as bars, one number for each token as a map. All are SVG, and silent.

const drawing = (width, height, ...parts) =>
  svg("svg", { viewBox: `-2 -2 ${width + 4} ${height + 4}`, style: `--width: ${width + 4}px`, "aria-hidden": true }, ...parts);

const rect = (x, y, width, height, attributes) => svg("rect", { x, y, width, height, ...attributes });

// Bars up and down from a line; the one that is spoken of is framed.
function bars(values, { mark, most = Math.max(...values.map(Math.abs)), step = 14, height = 44, colour, names } = {}) {
  const middle = values.every((value) => value >= 0) ? height : height / 2;
  const width = values.length * step;
  const parts = values.map((value, place) => {
    const tall = (Math.abs(value) / (most || 1)) * middle;
    const paint = colour ? { fill: colour(value, place) } : { class: value < 0 ? "below" : "above" };
    return [
      rect(place * step, value < 0 ? middle : middle - tall, Math.max(1, step - 1), Math.max(tall, 0.6), paint),
      place === mark ? rect(place * step - 1, 0, step + 1, height, { class: "mark" }) : undefined,
      names ? svg("text", { x: place * step + step / 2, y: height + 11, class: place === mark ? "marked" : "" }, names[place]) : undefined,
    ];
  });
  const line = svg("line", { x2: width, y1: middle, y2: middle, class: "axis" });
  return drawing(width, height + (names ? 12 : 0), line, ...parts);
}

// One number for each token over the picture, the CLS token's square above it.
function mapOf(values, { mark, key, colour, picture = true }) {
  const side = 28;
  const top = 21;
  const pixel = side / config.patch_size;
  const box = (token) => (token ? [placeOf(token)[1] * side, top + placeOf(token)[0] * side, side, side] : [0, 0, 18, 18]);
  const ink = picture
    ? state.seen.given[0].flatMap((line, y) => line.map((value, x) => rect(x * pixel, top + y * pixel, pixel, pixel, { fill: grey(value) })))
    : [];
  const fills = values.map((value, token) =>
    Number.isNaN(value) ? undefined : rect(...box(token), { fill: colour(value), opacity: picture && token ? 0.72 : 1, class: "cell" }));
  const marks = [[key, "3 2"], [mark, undefined]].filter(([token]) => token !== undefined);
  const frames = marks.map(([token, dash]) => [rect(...box(token), { class: "under" }), rect(...box(token), { class: "mark", "stroke-dasharray": dash })]);
  return drawing(perRow * side, top + (numPatches / perRow) * side, ...ink, ...fills, svg("text", { x: 24, y: 14, class: "left" }, "CLS"), ...frames);
}

function patchPicture(values, colour) {
  const side = 26;
  const { patch_size } = config;
  const cell = (value, place) => rect((place % patch_size) * side, Math.floor(place / patch_size) * side, side - 1, side - 1, { fill: colour(value) });
  return drawing(side * patch_size, side * patch_size, ...values.map(cell));
}

// Ten pairs of bars: the answer before and after.
function pairs(before, after) {
  const [step, height] = [30, 46];
  const parts = before.flatMap((share, digit) => [
    rect(digit * step, height * (1 - share), 11, Math.max(height * share, 0.6), { class: "was" }),
    rect(digit * step + 12, height * (1 - after[digit]), 11, Math.max(height * after[digit], 0.6), { class: "is" }),
    svg("text", { x: digit * step + 12, y: height + 12 }, digit),
  ]);
  return drawing(before.length * step, height + 13, ...parts);
}
