// The page that `explorer_page` makes: unpack its rows, and look by them with the explorer of the widget.

const OCTAVE = 2048; // as in _kept.py
const PARTS = 65535;

async function unpack(letters, Kind = Uint8Array) {
  const bytes = bytesOf(letters);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Kind(await new Response(stream).arrayBuffer());
}

function bytesOf(letters) {
  return Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
}

async function readTable({ levels, peaks, before, ...numbers }) {
  const parts = [unpack(levels), unpack(peaks, Uint16Array), unpack(before, Uint16Array)];
  const [steps, largest, first] = await Promise.all(parts);
  return { ...numbers, levels: steps, peaks: largest, before: first };
}

// A row of weights: the CLS token's, then those of the patches.
function rowIn({ levels, peaks, before, top, most, steps }, number, { tokens, numCls }) {
  const patches = tokens - numCls;
  const step = (top * 2 ** (-peaks[number] / OCTAVE)) / steps;
  return Float32Array.from({ length: tokens }, (_, token) =>
    token < numCls ? (before[number] * most) / PARTS : levels[number * patches + token - numCls] * step,
  );
}

function meanOf(rows) {
  return rows[0].map((_, token) => rows.reduce((sum, row) => sum + row[token], 0) / rows.length);
}

// Where only the CLS token's rows are kept, it is the one who asks, whatever is framed.
const asks = (rows, query) => (rows === "all" ? query : 0);

const isCut = ([, , , end]) => end === 1;

const counted = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;

const LOOKS = {
  answer(data, chosen) {
    const rows = data.tables.answer.map((table) => rowIn(table, 0, data));
    const start = `By rollout through all ${counted(data.depth, "block")}, the answer was drawn most from`;
    const caption = (name) => `what the answer was drawn from ${name}`;
    return { ...weighed(data, rows, "", isCut(chosen)), start, asking: undefined, caption };
  },
  rollout(data, chosen, query) {
    const asking = asks(data.kept.rollout, query);
    const rows = data.tables.rollout.map((table) => rowIn(table, asking, data));
    const where = `rollout through all ${counted(data.depth, "block")}`;
    const caption = (name) => `what ${shortly(asking, data)} was drawn from ${name}`;
    const note = onlyCls(data.kept.rollout, "rollout");
    return { ...weighed(data, rows, "was drawn most from", isCut(chosen)), asking, where, caption, note };
  },
  heads(data, chosen, query) {
    const [, block, head] = chosen;
    const isMean = head === 0;
    const kept = isMean && data.tables.mean ? data.kept.mean : data.kept.heads;
    const asking = asks(kept, query);
    const rows = data.names.map((_, map) => attentionOf(data, map, block, head, asking));
    const where = `block ${block + 1}, ${isMean ? "mean of heads" : `head ${head}`}`;
    const caption = (name) => `where ${shortly(asking, data)} looks ${name}`;
    const note = onlyCls(kept, isMean ? "the mean of heads" : "single heads");
    return { ...weighed(data, rows, "looks most at", isCut(chosen)), asking, where, caption, note };
  },
  pooling(data, chosen) {
    const [, , head] = chosen;
    const rows = data.tables.pooling.map((table) => {
      const all = Array.from({ length: data.heads }, (_, number) => rowIn(table, number, data));
      return head === 0 ? meanOf(all) : all[head - 1];
    });
    const start = `The probe that pools (${head === 0 ? "mean of heads" : `head ${head}`}) looks most at`;
    const caption = (name) => `where the probe looks ${name}`;
    return { ...weighed(data, rows, "", isCut(chosen)), start, asking: undefined, caption };
  },
  likeness(data, chosen, query) {
    const rows = data.directions.map((vectors) => cosines(vectors, query, data));
    const limits = rows.map(() => data.limits);
    const where = "tokens of the last block";
    const caption = (name) => `like ${shortly(query, data)} ${name}`;
    return { ...LIKE, rows, limits, where, caption, tells: (token) => !isNear(token, query, data) };
  },
};

function attentionOf(data, map, block, head, asking) {
  const { tables, kept, heads, tokens } = data;
  if (head === 0 && tables.mean) return rowIn(tables.mean[map], block * tokens + asking, data);
  const length = kept.heads === "all" ? tokens : 1;
  const of = (number) => rowIn(tables.heads[map], (block * heads + number) * length + asking, data);
  return head === 0 ? meanOf(Array.from({ length: heads }, (_, number) => of(number))) : of(head - 1);
}

function onlyCls(kept, of) {
  return kept === "all" ? undefined : `Of ${of} this page keeps what the CLS token looks at, and no patch.`;
}

function shortly(token, data) {
  return token < data.numCls ? "CLS" : "the framed patch";
}

// Which of the choices change nothing in a map.
function idle(map) {
  return [false, map !== "heads", !["heads", "pooling"].includes(map), map === "likeness"];
}

async function readPage(given) {
  const tables = {};
  for (const [name, packed] of Object.entries(given.tables)) tables[name] = await Promise.all(packed.map(readTable));
  const all = await unpack(given.directions, Int16Array);
  const length = all.length / given.names.length;
  return layOut({
    ...given,
    tables,
    directions: given.names.map((_, map) => all.subarray(map * length, (map + 1) * length)),
    colours: bytesOf(given.colours),
    pictures: [await readPicture(bytesOf(given.picture))],
    kind: { caption: (name) => name, look: (data, chosen, query) => LOOKS[data.maps[chosen[0]]](data, chosen, query) },
    idle: ([map]) => idle(given.maps[map]),
  });
}

async function start() {
  const waits = document.getElementById("waits");
  if (!("DecompressionStream" in window)) {
    waits.textContent = "This browser cannot unpack what the page keeps: it is older than Chrome 80, Firefox 113 or Safari 16.4.";
    return;
  }
  const given = JSON.parse(document.getElementById("data").textContent);
  if (given.names.length > 1) document.documentElement.classList.add("with-control");
  const data = await readPage(given);
  window.explorer = data;
  waits.remove();
  const el = document.getElementById("explorer");
  explore(data, el);
  const dark = matchMedia("(prefers-color-scheme: dark)"); // as in the style sheet
  dark.addEventListener("change", () => el.dispatchEvent(new Event("recolour")));
}

start();
