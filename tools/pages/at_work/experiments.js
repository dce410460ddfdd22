// What if? Each question changes the picture, the weights, or the tokens between two blocks; vit.js runs as it is.

const NONE = { shuffle: undefined, positions: false, drop: undefined, swap: undefined, division: false, trap: false };

// The same steps under the chosen changes; tokens that are not there come back as rows of NaN, so that rows keep their places.
function wonder(image, model, on) {
  const given = on.shuffle ? shuffle(image, model.config.patch_size, on.shuffle) : image;
  const weights = changed(model, on);
  const other = on.swap && trace(on.swap.image, weights).states[on.swap.block][0];
  const between = (tokens, block) => {
    const kept = on.drop && block === 0 ? tokens.toSpliced(on.drop, 1) : tokens;
    return other && on.swap.block === block ? [other, ...kept.slice(1)] : kept;
  };
  const seen = on.trap ? trapped(given, weights, between) : trace(given, weights, between);
  if (on.division) seen.blocks.forEach((block) => (block.query = scaled(block.query, 1 / rootOf(model.config))));
  return on.drop ? { ...seen, given, ...filled(seen, on.drop) } : { ...seen, given };
}

const rootOf = (config) => Math.sqrt(config.dim / config.num_heads);
const scaled = (heads, factor) => heads.map((rows) => rows.map((row) => row.map((value) => value * factor)));

// order[place] is the patch that comes to lie there.
function shuffle(image, patch_size, order) {
  const cols = image[0][0].length / patch_size;
  const corner = (patch) => [Math.floor(patch / cols) * patch_size, (patch % cols) * patch_size];
  return image.map((lines) => lines.map((line, y) => line.map((_, x) => {
    const [top, left] = corner(order[Math.floor(y / patch_size) * cols + Math.floor(x / patch_size)]);
    return lines[top + (y % patch_size)][left + (x % patch_size)];
  })));
}

function anyOrder(length) {
  const order = range(length);
  for (let last = length - 1; last > 0; last--) {
    const place = Math.floor(Math.random() * (last + 1));
    [order[last], order[place]] = [order[place], order[last]];
  }
  return order;
}

function changed(model, { positions, division }) {
  const pos_embed = positions ? model.pos_embed.map((row) => row.map(() => 0)) : model.pos_embed;
  return { ...model, pos_embed, blocks: division ? model.blocks.map((block) => undivided(block, model.config)) : model.blocks };
}

// Queries √d times as long: the division by √d takes away just what they got, as if it were not there.
function undivided(block, config) {
  const isQuery = (out) => (out < config.dim ? rootOf(config) : 1);
  const weight = block.attn.qkv.weight.map((row, out) => row.map((value) => value * isQuery(out)));
  const bias = block.attn.qkv.bias.map((value, out) => value * isQuery(out));
  return { ...block, attn: { ...block.attn, qkv: { weight, bias } } };
}

// nn.TransformerEncoderLayer without batch_first takes the first axis for the sequence. Given (1, tokens, dim), it sees
// as many images of one token each: every token runs alone, and has nobody to look at but itself.
function trapped(image, model, between) {
  const { config } = model;
  const start = trace(image, { ...model, blocks: [] }, between);
  const [blocks, states] = [[], [start.encoded]];
  for (const block of model.blocks) {
    const alone = states.at(-1).map((token) => encoder_block([token], block, config.num_heads, config.eps));
    const rows = (name) => alone.flatMap((one) => one[name]);
    const heads = (name) => range(config.num_heads).map((head) => alone.map((one) => one[name][head][0]));
    const weights = range(config.num_heads).map(() => alone.map((_, row) => alone.map((_, col) => Number(row === col))));
    const names = ["attended", "looked", "hidden", "thought", "before", "tokens"];
    const parts = Object.fromEntries(names.map((name) => [name, rows(name)]));
    blocks.push({ ...parts, weights, query: heads("query"), key: heads("key"), value: heads("value") });
    states.push(between(parts.tokens, blocks.length));
  }
  const lens = states.map((tokens) => classify(tokens, model));
  return { ...start, blocks, states, encoded: states.at(-1), lens, logits: lens.at(-1) };
}

function filled({ blocks, states }, token) {
  const widened = (rows) => rows.toSpliced(token, 0, rows[0].map(() => NaN));
  const square = (rows) => widened(rows).map((row) => row.toSpliced(token, 0, NaN));
  const whole = (block) => Object.fromEntries(Object.entries(block).map(([name, value]) => {
    if (name === "weights") return [name, value.map(square)];
    return [name, Array.isArray(value[0][0]) ? value.map(widened) : widened(value)];
  }));
  return { blocks: blocks.map(whole), states: states.map(widened), encoded: widened(states.at(-1)) };
}

// ---- the twin: a model of the same shape that has learned nothing, drawn as vit_steps.training.digits_model draws it ----

function fresh(model, seed) {
  const random = generator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const uniform = (rows, most) => rows.map((row) => row.map(() => most * (2 * random() - 1)));
  const xavier = ({ weight, bias }) => ({
    weight: uniform(weight, Math.sqrt(6 / (weight.length + weight[0].length))), bias: bias.map(() => 0),
  });
  const norm = ({ weight, bias }) => ({ weight: weight.map(() => 1), bias: bias.map(() => 0) });
  const drawn = (rows, deviation) => rows.map((row) => row.map(() => deviation * normal()));
  const { proj } = model.patch_embed;
  const most = 1 / Math.sqrt(proj.weight[0].length);
  return {
    config: model.config,
    patch_embed: { proj: { weight: uniform(proj.weight, most), bias: uniform([proj.bias], most)[0] } },
    cls_token: drawn(model.cls_token, 0.02),
    pos_embed: drawn(model.pos_embed, 0.5),
    blocks: model.blocks.map(({ norm1, attn, norm2, mlp }) => ({
      norm1: norm(norm1), attn: { qkv: xavier(attn.qkv), proj: xavier(attn.proj) },
      norm2: norm(norm2), mlp: { fc1: xavier(mlp.fc1), fc2: xavier(mlp.fc2) },
    })),
    norm: norm(model.norm),
    head: { weight: drawn(model.head.weight, 0.02), bias: model.head.bias.map(() => 0) },
  };
}

// mulberry32: the same twin for everybody.
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
