// Where a number comes from, for each kind: a sentence with the numbers in it, the vectors drawn, the code that ran.

const CODE = {
  patch: [image2patches],
  token: [image2emb_naive, linear, prepend_cls],
  position: [add_position],
  weight: [attention_weights, attention_scores, softmax, self_attention],
  stream: [encoder_block, layer_norm, gelu],
  answer: [classify, pool_cls, layer_norm],
};

// What is shown is the very code that ran.
const sourceOf = (step) => (/^(function|async)/.test(String(step)) ? String(step) : `const ${step.name} = ${step};`);

const part = (title, ...drawn) => ({ title, drawn }); // what is drawn are pictures and, as text, notes
const noted = (drawn) => (typeof drawn === "string" ? make("p", {}, drawn) : drawn);
const ordinal = (col) => `Number ${col + 1}`;

const ORIGINS = {
  patch({ row, col }) {
    const patch = patchesShown()[row];
    const [top, left] = placeOf(row + 1).map((place) => place * config.patch_size + 1);
    const [y, x] = [top + Math.floor(col / config.patch_size), left + (col % config.patch_size)];
    return {
      sentence: [`${capital(nameOf(row + 1))} is four pixels, laid in a row. ${ordinal(col)} of them is the pixel in row ${y}, column ${x} of the picture: `, strong(patch[col]), ", from 0 (no ink) to 1."],
      parts: [
        part("the patch", patchPicture(patch, grey)),
        part("flattened", bars(patch, { mark: col, most: 1, step: 34, names: patch.map(number), colour: () => "#767682" })),
        part("its token: the row times E", bars(state.seen.patches[row], { step: 5 }), `${config.dim} numbers: the same row in the next step`),
      ],
    };
  },

  token({ row, col }) {
    const token = state.seen.with_cls[row];
    if (!row) return {
      sentence: [`The CLS token is learned, and the same for every picture. ${ordinal(col)} of it is `, strong(token[col]), ". It belongs to no patch: it will gather the answer."],
      parts: [part(`cls_token: ${config.dim} learned numbers`, bars(token, { step: 8, mark: col, height: 80 }))],
    };
    const patch = patchesShown()[row - 1];
    const { weight, bias } = model().patch_embed.proj;
    const products = patch.map((value, place) => value * weight[col][place]);
    const sum = patch.map((value, place) => `${number(value)} · ${bracket(weight[col][place])}`).join(" + ");
    return {
      sentence: [`${ordinal(col)} of the token of ${nameOf(row)}: ${sum} + bias ${bracket(bias[col])} = `, strong(token[col])],
      parts: [
        part("the patch", patchPicture(patch, grey)),
        part(`× column ${col + 1} of E`, patchPicture(weight[col], (value) => rgb(signed(value, largest(weight)))), "read as a picture: a kernel"),
        part("products, and the bias", bars([...products, bias[col]], { step: 38, names: [...products.map(number), number(bias[col])] }), `sum ${number(token[col])}`),
        part("the whole token", bars(token, { step: 7, mark: col })),
      ],
    };
  },

  position({ row, col }) {
    const table = changed(model(), state.on).pos_embed;
    const length = (one) => Math.sqrt(dot(one, one)) || 1;
    const alike = table.map((other) => dot(table[row], other) / (length(other) * length(table[row])));
    const strips = [state.seen.with_cls[row], table[row], state.seen.with_position[row]];
    const strip = (values) => bars(values, { step: 4, mark: col, most: largest(strips), height: 92 });
    const [token, place, sum] = strips.map((values) => values[col]);
    return {
      sentence: [`${capital(nameOf(row))} is told where it is: ${ordinal(col).toLowerCase()} becomes ${number(token)} + ${bracket(place)} = `, strong(sum), ". The table is learned, a row for each place, and the same for every picture."],
      parts: [
        part("token", strip(strips[0])), part("+ position", strip(strips[1])), part("= token with position", strip(strips[2])),
        part("places that are alike (cosine)", mapOf(alike, { mark: row, picture: false, colour: (value) => cividis((value + 0.4) / 1.4) })),
      ],
    };
  },

  weight({ row, col }) {
    return isMean() ? ofMean(row, col) : ofHead(row, col);
  },

  stream({ row, col }) {
    const { before, attended, thought, tokens } = block();
    const [had, looked, minded, now] = [before, attended, thought, tokens].map((all) => all[row]);
    const strip = (values) => bars(values, { step: 2.6, mark: col, most: largest([had, looked, minded, now]), height: 92 });
    const way = [state.seen.blocks[0].before[row][col], ...state.seen.blocks.flatMap((one) => [one.attended[row][col], one.thought[row][col]])];
    const names = ["start", ...range(config.depth).flatMap((number) => [`a${number + 1}`, `m${number + 1}`])];
    return {
      sentence: [`${ordinal(col)} of the token of ${nameOf(row)} came into block ${state.block + 1} as ${number(had[col])}. Attention added ${bracket(looked[col])}, the MLP ${bracket(minded[col])}: `, strong(now[col]), ". Nothing is ever replaced: this sum is the residual stream."],
      parts: [
        part("what came in", strip(had)), part("+ attention", strip(looked)), part("+ MLP", strip(minded)), part("= what goes out", strip(now)),
        part(`number ${col + 1}: start, and what each added`, bars(way, { step: 27, height: 80, names })),
      ],
    };
  },

  answer({ row, col }) {
    const { norm, head } = model();
    const normed = pool_cls(layer_norm(state.seen.states[col], norm, config.eps));
    const [logits, shares] = [state.seen.lens[col], softmax(state.seen.lens[col])];
    const products = normed.map((value, place) => value * head.weight[row][place]);
    const strip = (values) => bars(values, { step: 3.4, height: 64 });
    const when = col ? `After block ${col}` : "Before the first block";
    const early = col < config.depth ? " The head was trained to read after the last block only; here it reads early." : "";
    return {
      sentence: [`${when}, the CLS token says ${row} with `, make("b", {}, `${(100 * shares[row]).toFixed(1)} %`), `: its logit is ${number(dot(normed, head.weight[row]))} + bias ${bracket(head.bias[row])} = `, strong(logits[row]), `, and softmax sets it against the other nine.${early}`],
      parts: [
        part("CLS token, normed", strip(normed)), part(`× row ${row} of the head`, strip(head.weight[row])), part("products", strip(products), `sum ${number(dot(normed, head.weight[row]))}`),
        part("logits of the digits", bars(logits, { step: 16, mark: row, names: range(logits.length), height: 64 })),
        part("softmax: they sum to 1", bars(shares, { step: 16, most: 1, mark: row, names: range(logits.length), height: 64, colour: cividis })),
      ],
    };
  },
};

const namesOfTokens = () => range(numTokens).map((token) => token || "C");
const there = (values) => values.map((value) => (Number.isNaN(value) ? 0 : value));

function ofHead(row, col) {
  const table = weightsShown();
  const most = largest(table);
  const [query, key] = [block().query[state.head][row], block().key[state.head][col]];
  const divisor = state.on.division ? 1 : Math.sqrt(head_dim);
  const scores = block().key[state.head].map((other) => dot(query, other) / divisor);
  const sum = there(scores.map(Math.exp)).reduce((total, each) => total + each, 0);
  const product = dot(query, key);
  const divided = state.on.division ? `${number(product)}, not divided` : `q · k / √${head_dim} = ${number(product)} / ${number(divisor)} = ${number(scores[col])}`;
  const share = state.on.trap
    ? [". The trap: each token runs alone, so there is nobody else to look at. The score would be ", divided, "."]
    : [" = e", sup(number(scores[col])), " / sum of e", sup("score"), ` = ${number(Math.exp(scores[col]))} / ${number(sum)}. The score: ${divided}.`];
  return {
    sentence: [`In block ${state.block + 1}, head ${state.head + 1}, ${nameOf(row)} looks at ${nameOf(col)} with weight `, strong(table[row][col]), ...share],
    parts: [
      part(`where ${shortName(row)} looks`, mapOf(table[row], { mark: row, key: col, colour: (value) => cividis(value / most) })),
      part(`query of ${shortName(row)}, key of ${shortName(col)}`, ...[query, key].map((values) => bars(values, { most: largest([query, key]), height: 38 })), `${head_dim} numbers each`),
      part(`products: sum ${number(product)}`, bars(query.map((value, place) => value * key[place]), { height: 76 }), state.on.division ? "not divided" : `/ √${head_dim} = score ${number(scores[col])}`),
      part(`${shortName(row)}’s scores for all`, bars(there(scores), { mark: col, names: namesOfTokens(), height: 76 })),
      part("softmax: weights, sum 1", bars(there(table[row]), { mark: col, names: namesOfTokens(), height: 76, colour: (value) => cividis(value / most) })),
    ],
  };
}

function ofMean(row, col) {
  const table = weightsShown();
  const heads = block().weights.map((head) => head[row][col]);
  const colour = (value) => cividis(value / largest(table));
  return {
    sentence: [`In block ${state.block + 1}, ${nameOf(row)} looks at ${nameOf(col)} with weight `, strong(table[row][col]), `, the mean of the heads: (${heads.map(number).join(" + ")}) / ${heads.length}. Choose a head to see where its weight comes from.`],
    parts: [
      part(`where ${shortName(row)} looks`, mapOf(table[row], { mark: row, key: col, colour })),
      part("the heads", bars(heads, { step: 44, names: heads.map((_, head) => `head ${head + 1}`), height: 76, colour })),
      part("weights: they sum to 1", bars(there(table[row]), { mark: col, names: namesOfTokens(), height: 76, colour })),
    ],
  };
}

// ---- into the page ----

// Of a dropped token the patch and its token are still there, and nothing behind them.
function isGone({ kind, row, col }) {
  const { drop } = state.on;
  return Boolean(drop) && ((["weight", "stream"].includes(kind) && row === drop) || (kind === "weight" && col === drop));
}

function originOf(at) {
  if (!isGone(at)) return ORIGINS[at.kind](at);
  return { sentence: [`${capital(nameOf(state.on.drop))} is not here: it was dropped before block 1.`], parts: [] };
}

let speaking;
function explain(at) {
  const { sentence, parts } = originOf(at);
  get("sentence").replaceChildren(...sentence);
  const figures = parts.map(({ title, drawn }) => make("figure", {}, make("figcaption", {}, title), ...drawn.map(noted)));
  const arrow = () => make("b", { class: "then", "aria-hidden": true }, "→");
  get("origin").replaceChildren(...figures.flatMap((figure, place) => (place ? [arrow(), figure] : [figure])));
  showCode(at.kind);
  clearTimeout(speaking); // what is read aloud waits until hand and pen rest
  speaking = setTimeout(() => { get("spoken").textContent = `${get("says").textContent}. ${spoken()}`; }, 400);
}

const spoken = () => [...get("sentence").childNodes].map((node) => (node.nodeName === "SUP" ? " to the power of " : "") + node.textContent).join("");

let codeOf;
function showCode(kind) {
  if (codeOf === kind) return;
  codeOf = kind;
  get("javascript").textContent = CODE[kind].map(sourceOf).join("\n\n");
  get("python").textContent = CODE[kind].map((step) => PYTHON[step.name]).filter(Boolean).join("\n\n\n");
}

function unfold(isOpen) {
  get("why").classList.toggle("folded", !isOpen);
  get("fold").textContent = isOpen ? "Less" : "More";
  get("fold").setAttribute("aria-expanded", isOpen);
}
get("fold").addEventListener("click", () => unfold(get("why").classList.contains("folded")));
