// The five steps in plain JavaScript, under the names that they have in Python: read this beside vit_steps/*.py.
// One image and no batch: an image is [channel][row][col], tokens are an array of rows, a row is an array of numbers.

// ---- step 1: an image becomes patches, a patch becomes a token ----

export function image2patches(image, patch_size) {
  const [rows, cols] = [image[0].length / patch_size, image[0][0].length / patch_size];
  const strip = (lines, start) => lines.slice(start * patch_size, (start + 1) * patch_size);
  return range(rows * cols).map((patch) =>
    image.flatMap((channel) => strip(channel, Math.floor(patch / cols)).flatMap((line) => strip(line, patch % cols))),
  );
}

export const image2emb_naive = (image, patch_size, proj) => linear(image2patches(image, patch_size), proj);

// ---- steps 2 and 3: tokens more than there are patches, and places ----

export const prepend_registers = (tokens, registers) => [...registers, ...tokens];

export const prepend_cls = (tokens, cls_token) => [cls_token, ...tokens];

export const add_position = (tokens, table) => add_rows(tokens, table);

// ---- step 4: the encoder ----

export function split_heads(tokens, num_heads) {
  const head_dim = tokens[0].length / num_heads;
  return range(num_heads).map((head) => tokens.map((row) => row.slice(head * head_dim, (head + 1) * head_dim)));
}

export const merge_heads = (heads) => heads[0].map((_, token) => heads.flatMap((head) => head[token]));

export const attention_scores = (query, key) =>
  query.map((asks) => key.map((asked) => dot(asks, asked) / Math.sqrt(asks.length)));

export const attention_weights = (query, key) => attention_scores(query, key).map(softmax);

export function self_attention(tokens, { qkv, proj }, num_heads) {
  const heads = split_heads(linear(tokens, qkv), 3 * num_heads); // of all queries, all keys, all values
  const [query, key, value] = range(3).map((part) => heads.slice(part * num_heads, (part + 1) * num_heads));
  const weights = query.map((_, head) => attention_weights(query[head], key[head]));
  const mixed = weights.map((rows, head) => rows.map((row) => mix(row, value[head])));
  return { query, key, value, weights, attended: linear(merge_heads(mixed), proj) };
}

export function encoder_block(tokens, { norm1, attn, norm2, mlp }, num_heads, eps) {
  const seen = self_attention(layer_norm(tokens, norm1, eps), attn, num_heads);
  const looked = add_rows(tokens, seen.attended);
  const hidden = linear(layer_norm(looked, norm2, eps), mlp.fc1).map((row) => row.map(gelu));
  const thought = linear(hidden, mlp.fc2);
  return { ...seen, looked, hidden, thought, before: tokens, tokens: add_rows(looked, thought) };
}

// ---- step 5: the answer ----

export const pool_cls = (tokens) => tokens[0];

export function pool_mean(tokens, num_prefix = 1) {
  const counted = tokens.slice(num_prefix);
  return mix(counted.map(() => 1 / counted.length), counted);
}

export const num_prefix = ({ class_token = true, num_registers = 0 }) => Number(class_token) + num_registers;

export function classify(tokens, { norm, head, config }) {
  const normed = layer_norm(tokens, norm, config.eps);
  const before = { mean: num_prefix(config), mean_all: 0 }[config.pool]; // the tokens that are not averaged
  const pooled = config.pool === "cls" ? pool_cls(normed) : pool_mean(normed, before);
  return head ? linear([pooled], head)[0] : pooled;
}

// ---- all five, as ViT.trace; between(tokens, block) may change what goes into a block, or comes out of the last ----

export function trace(image, model, between = (tokens) => tokens) {
  const { config, patch_embed, cls_token, reg_token, pos_embed } = model;
  const patches = image2emb_naive(image, config.patch_size, patch_embed.proj);
  const with_registers = reg_token ? prepend_registers(patches, reg_token) : patches;
  const with_cls = cls_token ? prepend_cls(with_registers, cls_token[0]) : with_registers;
  const with_position = add_position(with_cls, pos_embed);
  const [blocks, states] = [[], [between(with_position, 0)]];
  for (const block of model.blocks) {
    blocks.push(encoder_block(states.at(-1), block, config.num_heads, config.eps));
    states.push(between(blocks.at(-1).tokens, blocks.length));
  }
  const lens = states.map((tokens) => classify(tokens, model)); // the answer so far, before and after each block
  return { patches, with_cls, with_position, blocks, states, encoded: states.at(-1), lens, logits: lens.at(-1) };
}

// How much of each input token reached each output token, through all blocks (vit_steps.looking.attention_maps).
export function attention_rollout(attention) {
  const mean = (heads, row, col) => heads.reduce((sum, head) => sum + head[row][col] / heads.length, 0);
  const mixing = attention.map((heads) =>
    heads[0].map((line, row) => line.map((_, col) => 0.5 * mean(heads, row, col) + 0.5 * (row === col))),
  );
  return mixing.reduce((before, block) => block.map((row) => mix(row, before)));
}

// ---- what torch brings along ----

export const range = (length) => Array.from({ length }, (_, number) => number);

export const add_rows = (rows, others) => rows.map((row, r) => row.map((value, c) => value + others[r][c]));

export function dot(one, other) {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += one[i] * other[i];
  return sum;
}

// A weighted sum of rows: what attention does with values.
export const mix = (weights, rows) =>
  rows[0].map((_, c) => weights.reduce((sum, weight, r) => sum + weight * rows[r][c], 0));

// As nn.Linear: weight has a row for each number that comes out. A head may have no bias.
export const linear = (rows, { weight, bias }) =>
  rows.map((row) => weight.map((column, out) => dot(column, row) + (bias ? bias[out] : 0)));

export function softmax(scores) {
  const most = Math.max(...scores);
  const parts = scores.map((score) => Math.exp(score - most));
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}

export const layer_norm = (rows, { weight, bias }, eps) =>
  rows.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, c) => ((value - mean) / Math.sqrt(variance + eps)) * weight[c] + bias[c]);
  });

export const gelu = (value) => (value / 2) * (1 + erf(value / Math.SQRT2));

// 2/√π exp(-v²) (v + 2v³/3 + 4v⁵/15 + …): all terms have one sign, so nothing cancels.
function erf(value) {
  if (Math.abs(value) > 6) return Math.sign(value);
  let [term, sum] = [value, value];
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * value * value) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-value * value) * sum;
}

// ---- a .safetensors file: its size and its header, whose names become a tree, then the numbers ----

// What other kinds of ViT have is refused: a model is computed as it is, or not at all.
const POOLS = ["cls", "mean", "mean_all"];
const ONLY = { pool: POOLS, position: ["table"], act: ["gelu"], pre_norm: [false], final_norm: ["tokens"] };

export function read_safetensors(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const model = { config: JSON.parse(__metadata__.vit_steps).config };
  for (const [name, known] of Object.entries(ONLY))
    if (![undefined, ...known].includes(model.config[name]))
      throw new TypeError(`${name} is ${model.config[name]}, vit.js knows ${known.join(", ")}`);
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const Numbers = { F32: Float32Array, F64: Float64Array }[dtype];
    if (!Numbers) throw new TypeError(`${name} is ${dtype}, F32 or F64 is needed`);
    const [begin, end] = data_offsets.map((offset) => start + offset);
    place(model, name.split("."), to_rows(Array.from(new Numbers(buffer.slice(begin, end))), shape));
  }
  return model;
}

// A kernel becomes a row, as in kernel2weight; axes of length 1 in front are left out, a vector stays one.
function to_rows(numbers, shape) {
  if (shape.length === 1) return numbers;
  const length = shape.length === 4 ? shape[1] * shape[2] * shape[3] : shape.at(-1);
  return range(numbers.length / length).map((row) => numbers.slice(row * length, (row + 1) * length));
}

function place(tree, [name, ...rest], value) {
  if (rest.length) place((tree[name] ??= /^\d+$/.test(rest[0]) ? [] : {}), rest, value);
  else tree[name] = value;
}
